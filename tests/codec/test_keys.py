"""How many named values one request may have: refused early, in every form, with 413."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from collections.abc import Callable

import pytest

from studio.errors import TooLarge
from studio.serve.codec import decode, decode_answer

MOST = 4096
JSON, PICKLE = "application/json", "application/x-pickle"
VALUES: dict[str, object] = {
    "numbers": [1.0, 2.0],
    "nested numbers": [[1, 2], [3, 4]],
    "number": 1,
    "text": "N.",
    "truth": True,
    "object": {"b": 1},
    "texts": ["a,", '{"'],
    "nested": {"a": {"b": ["c"]}},
}


@pytest.mark.parametrize("arrays", [True, False])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize(("write", "kind"), [(lambda v: json.dumps(v).encode(), JSON), (pickle.dumps, PICKLE)])
def test_one_key_too_many_is_refused_and_the_last_one_is_not(
    write: Callable[[object], bytes], kind: str, value: object, arrays: bool
) -> None:
    if arrays and kind == JSON and value == ["a,", '{"']:
        value = ["a,", "b"]
    named = {f"k{i}": value for i in range(MOST + 1)}
    with pytest.raises(TooLarge, match="more than 4096 named values") as caught:
        decode(write(named), kind, arrays=arrays)
    assert caught.value.hint == "send several requests"
    named.popitem()
    assert len(decode(write(named), kind, arrays=arrays)[0]) == MOST


@pytest.mark.parametrize("value", [VALUES[name] for name in ("numbers", "number", "text", "object")])
def test_many_keys_are_refused_before_they_are_parsed(value: object) -> None:
    body = ("{" + ",".join(f'"k{i}":{json.dumps(value)}' for i in range(200_000)) + "}").encode()
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decode(body, JSON, arrays=True)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_keys_inside_values_do_not_count() -> None:
    inner = {f"k{i}": 1 for i in range(3 * MOST)}
    for named in ({"a": inner}, {"a": 1, "b": [inner, inner]}, {"a": ":" * 9999, '"{,': {"x": inner}}):
        assert decode(json.dumps(named).encode(), JSON, arrays=False)[0] == named


def test_an_answer_may_have_more() -> None:
    named = {f"k{i}": "v" for i in range(MOST + 1)}
    assert decode_answer(json.dumps(named).encode(), JSON) == named
