"""JSON answers of values that orjson does not know."""

from __future__ import annotations

import json
import sys
from collections import deque, namedtuple
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import pytest

from studio.errors import ServeError
from studio.serve.codec import encode
from studio.serve.codec.form import Form

Pair = namedtuple("Pair", "x y")


def text(value: object) -> str:
    body, kind = encode({"a": value}, Form("json"))
    assert kind == "application/json"
    return body.decode()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.longdouble("1.5"), "1.5"),
        (np.array([1, 2], np.longdouble), "[1.0,2.0]"),
        ({1: np.array([0.1], np.longdouble)}, '{"1":[0.1]}'),
        (np.longdouble("nan"), "null"),
        (10**400, str(10**400)),
        ([-(10**400), 1.5, None, True], f"[-{10**400},1.5,null,true]"),
        (Decimal("0.10"), "0.10"),
        (Decimal("NaN"), "null"),
        ({1: Decimal("2.50")}, '{"1":2.50}'),
        (range(3), "[0,1,2]"),
        (Pair(1, 2), "[1,2]"),
        (deque([1]), "[1]"),
        ({"k": 1}.keys(), '["k"]'),
        ({"k": 1}.values(), "[1]"),
        (MappingProxyType({"k": 1}), '{"k":1}'),
        ({1: np.float32(0.1)}, '{"1":0.1}'),
        ({1: [float("inf"), "\ud800"]}, '{"1":[null,"\\ud800"]}'),
    ],
    ids=repr,
)
def test_values_beyond_plain_ones(value: object, wanted: str) -> None:
    assert text(value) == '{"a":' + wanted + "}"


def test_integers_keep_every_digit_at_any_length() -> None:
    for value in (10**3999, 10**5000, -(10**5000) + 7, 7**9000, 2**40000 - 1):
        found = text(value)[5:-1]
        limit = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)
        try:
            assert found == str(value)
        finally:
            sys.set_int_max_str_digits(limit)


def test_keys_that_are_one_as_text_are_refused_by_name() -> None:
    assert json.loads(text({1: 2, "b": 9})) == {"a": {"1": 2, "b": 9}}
    with pytest.raises(ServeError, match=r"'a' .*the key '1' comes twice"):
        text({1: 2, "1": 9})


def test_an_iterator_is_refused_with_the_way_out() -> None:
    with pytest.raises(ServeError, match=r"builtins\.map; make a list of it"):
        text(map(str, [1]))
