"""What other servers' clients and pandas send: what carries no meaning is accepted, another's form is refused."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np
import pytest

from studio.errors import BadInput
from studio.models.base import TensorSpec
from studio.serve.codec import decode
from studio.serve.codec.oip import decode_infer
from studio.serve.foreign import refuse_foreign

JSON, PICKLE = "application/json", "application/x-pickle"
TENSOR = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]}


def spec(*names: str) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, "float32", (-1, 2)) for name in names)


def read(body: object, *names: str) -> dict[str, object]:
    inputs = spec(*names)
    return decode(json.dumps(body).encode(), JSON, arrays=True, check=lambda v: refuse_foreign(v, inputs))[0]


@pytest.mark.parametrize("more", [
    {"model_name": "m"}, {"model_name": "m", "model_version": "1"}, {"model_name": None, "model_version": None},
    {"id": None, "parameters": None, "outputs": None}, {"id": "1", "parameters": {}, "outputs": []},
    {"from_grpc": False},
    {"parameters": {"sequence_id": 0, "priority": 1, "content_type": "np"}},
    {"outputs": [{"name": "y", "parameters": None}]},
    {"outputs": [{"name": "y", "parameters": {"binary_data": False}}]},
])  # fmt: skip
@pytest.mark.parametrize("tensor", [{}, {"parameters": None}, {"parameters": {"content_type": "np"}}])
def test_open_inference_bodies_of_other_clients(more: dict[str, Any], tensor: dict[str, Any]) -> None:
    arrays, _ = decode_infer(json.dumps({"inputs": [TENSOR | tensor], **more}).encode(), None)
    assert arrays["x"].tolist() == [1.0, 2.0]


def test_a_binary_tensor_may_have_null_beside_it() -> None:
    for raw, shape in ((np.ones(2, "<f4").tobytes(), [2]), (b"", [0])):
        tensor = TENSOR | {"shape": shape, "data": None, "parameters": {"binary_data_size": len(raw)}}
        text = json.dumps({"model_name": "m", "inputs": [tensor]}).encode()
        assert decode_infer(text + raw, str(len(text)))[0]["x"].tobytes() == raw


@pytest.mark.parametrize("more", [
    {"model_name": 1}, {"model_version": {}}, {"parameters": []}, {"outputs": {}}, {"inputs": None}, {"something": 1},
    {"inputs": [TENSOR | {"data": None}]}, {"inputs": [TENSOR | {"model_name": "m"}]},
])  # fmt: skip
def test_what_would_have_a_meaning_is_refused_as_before(more: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        decode_infer(json.dumps({"inputs": [TENSOR], **more}).encode(), None)


SPLIT = {"columns": ["a", "b"], "index": [0], "data": [[1, 2]]}
FOREIGN: list[Any] = [
    {"dataframe_split": SPLIT}, {"dataframe_records": [{"a": 1, "b": 2}]}, SPLIT,
    {"columns": ["a"], "data": [["text"]]},
    {"instances": [[1, 2]]}, {"instances": [{"a": 1}], "signature_name": "serving_default"}, {"instances": 1},
    {"inputs": [[1, 2]]}, {"inputs": {"a": [1]}, "params": {}}, {"inputs": [TENSOR]}, {"inputs": [TENSOR], "id": "7"},
    {"schema": {"fields": []}, "data": [{"a": 1}]}, {"x": [{"a": 1}]},
    {"instances": [[1, 2]], "context": 1}, {"instances": [[1, 2]], "context": {"user": "ada"}},
    {"inputs": [[1, 2]], "options": None}, {**SPLIT, "dtype": None}, {"dataframe_split": SPLIT, "version": 2},
]  # fmt: skip


@pytest.mark.parametrize("body", FOREIGN, ids=lambda body: "+".join(body))
def test_anothers_form_is_refused_with_what_to_send(body: Any) -> None:
    with pytest.raises(BadInput) as caught:
        read(body, "x")
    assert caught.value.http_status == 400 and '{"x": [[…], …]}' in caught.value.hint
    assert decode(json.dumps(body).encode(), JSON, arrays=False, check=lambda v: refuse_foreign(v, None))[0] == body


def test_what_only_looks_like_it_is_answered() -> None:
    assert read({"instances": [[1, 2]]}, "instances")["instances"].tolist() == [[1, 2]]  # type: ignore[attr-defined]
    assert set(read({"columns": [1.0, 2.0], "data": [1.0, 2.0]}, "columns", "data")) == {"columns", "data"}
    assert set(read({"inputs": [1, 2], "mine": [1, 2]}, "x")) == {"inputs", "mine"}
    assert set(read({"data": [1, 2]}, "x")) == {"data"}
    assert set(read({"inputs": 1.0, "mine": 2.0}, "x")) == {"inputs", "mine"}
    assert set(read({"x": [1, 2], "y": 3.0}, "x")) == {"x", "y"}


@pytest.mark.parametrize("body", [[{"a": 1}], [[1, 2]]])
def test_bare_records_and_rows_are_refused(body: Any) -> None:
    with pytest.raises(BadInput, match="object of named values"):
        read(body, "x")


@pytest.mark.parametrize("protocol", range(6))
def test_an_ordered_dictionary_is_a_dictionary(protocol: int) -> None:
    with_attributes = OrderedDict(a=1)
    with_attributes.note = "x"  # type: ignore[attr-defined]
    shared = OrderedDict(k=np.arange(3))
    for value in (OrderedDict(), OrderedDict(b=1, a=np.ones(2)),
                  {"z": OrderedDict([("y", 1), (3, [OrderedDict(q="t")])])},
                  with_attributes, {"one": shared, "two": shared}):  # fmt: skip
        got = decode(pickle.dumps(value, protocol), PICKLE, arrays=False)[0]
        assert repr(got) == repr(_plain(value)) and type(got) is dict
    for refused in (defaultdict(list), defaultdict(None, a=1), type("Mine", (OrderedDict,), {"__module__": "m"})):
        with pytest.raises((BadInput, pickle.PicklingError)):
            decode(pickle.dumps({"a": refused}, protocol), PICKLE, arrays=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


ORDERED = b"ccollections\nOrderedDict\n"


def test_ordered_dictionaries_as_python_2_writes_them() -> None:
    assert decode(ORDERED + b"((l(lS'a'\naI1\naatR.", PICKLE, arrays=False)[0] == {"a": 1}
    late = ORDERED + b"((lp1\n(lS'a'\naI1\naatR" + b"p2\n0g1\n(lS'b'\naI2\naa0g2\n."  # POP is refused anyway
    with pytest.raises(BadInput):
        decode(late, PICKLE, arrays=False)


@pytest.mark.parametrize("attack", [
    ORDERED + b".", ORDERED + b"(I1\ntR.", ORDERED + b"((lI1\natR.", ORDERED + b"((l(lI1\naatR.", ORDERED + b"((ltb.",
    ORDERED + b"(tRI1\nb.", ORDERED + b"(tR(lb.", b"(d(db.", b"ccollections\nUserDict\n(tR.", ORDERED + b"((lS'a'\ntR.",
    ORDERED + b"(tR(lI1\nI2\ns.", ORDERED + b"((l(lI1\nI2\nI3\naaatR.",
])  # fmt: skip
def test_hostile_ordered_dictionaries_are_refused(attack: bytes) -> None:
    with pytest.raises(BadInput):
        decode(attack, PICKLE, arrays=False)


def test_a_list_of_pairs_cannot_be_copied_again_and_again() -> None:
    pairs = b"(" + b"(K\x01K\x02t" * 20_000 + b"lq\x01"
    copies = b"".join(b"ccollections\nOrderedDict\nh\x01\x85R" for _ in range(1_000))
    with pytest.raises(BadInput, match="amplification"):
        decode(b"\x80\x02(" + pairs + copies + b"l.", PICKLE, arrays=False)


@pytest.mark.parametrize("protocol", range(6))
def test_empty_text_scalars(protocol: int) -> None:
    got = decode(
        pickle.dumps({"a": np.str_(""), "b": np.bytes_(b""), "c": np.str_("x")}, protocol), PICKLE, arrays=True
    )[0]
    assert got == {"a": np.str_(""), "b": np.bytes_(b""), "c": np.str_("x")}
    assert type(got["a"]) is np.str_ and type(got["b"]) is np.bytes_


def test_only_texts_are_empty() -> None:
    good = pickle.dumps({"a": np.str_("")}, 2)
    sizes = b"K\x00K\x04K\x08"
    for old, new in ((b"U0", b"V0"), (b"U0", b"f0"), (b"U0", b"U9"), (b"U0", b"S0"), (sizes, b"K\x01K\x04K\x08"),
                     (sizes, b"K\x00K\x05K\x08"), (sizes, b"K\x00K\x04K\x09")):  # fmt: skip
        assert old in good
        with pytest.raises(BadInput):
            decode(good.replace(old, new), PICKLE, arrays=True)
