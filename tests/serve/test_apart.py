"""Bodies that are read in another process: the same values, forms and errors as in this one."""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import pickle

import numpy as np
import pytest

from studio.errors import StudioError
from studio.models.base import TensorSpec
from studio.serve.apart import read_infer, read_wire
from studio.serve.codec import Form, Limits, decode, encode
from studio.serve.codec.oip import decode_infer
from tests.codec.equality import same

JSON = "application/json"
LIMITS = Limits(nulls=True)
TYPED = {"dtype": "<f4", "shape": [2], "b64": base64.b64encode(np.float32([1, 2]).tobytes()).decode()}
PICKLED = base64.b64encode(pickle.dumps(np.arange(3), 2)).decode()
ROWS = 60_000


def rows(row: str) -> bytes:
    return b'{"a": [' + b",".join([row.encode()] * ROWS) + b"]}"


@pytest.mark.parametrize(
    ("body", "apart"),
    [
        (rows("[true,false]"), True),
        (rows("[1,null]"), True),
        (rows('["a","b"]'), True),
        (rows("[1,true]"), True),
        (rows("[[1],[2.5]]")[:-2] + b",[1]]}", True),
        (b'{"a": "' + b"x" * (9 << 20) + b'"}', True),
        (b'{"a": [' + b",".join([b"1.123456789012345678"] * (9 << 16)) + b"]}", True),
        (rows("[1,2.5]"), False),
        (rows("[[1],[2]]"), False),
        (b'{"a": [[true], [false]]}', False),
    ],
    ids=["truth", "null", "text", "mixed", "ragged", "long text", "long", "numbers", "nested", "short"],
)
def test_what_would_hold_all_threads_is_read_elsewhere(body: bytes, apart: bool) -> None:
    there: tuple[dict[str, object], Form] = {"read": 1}, Form()
    found = decode(body, JSON, arrays=True, elsewhere=lambda: there)
    assert (found is there) == apart
    if apart and b"true,false" in body:  # where there is no other process
        values, _ = decode(body, JSON, arrays=True, elsewhere=lambda: None)
        assert same(values["a"], np.array([[True, False]] * ROWS))


def test_values_and_forms_are_those_of_this_process() -> None:
    values = {"t": [[True], [False]], "n": [1, None], "s": ["a", "bcd"], "f": [[1.5, 2]], "i": [2**64 - 1], "one": 2.5,
              "typed": TYPED, "pickled": PICKLED, "none": None, "empty": [], "ü\ud800": [1]}  # fmt: skip
    body = json.dumps(values).encode()
    here, form = decode(body, JSON, arrays=True, limits=LIMITS)
    there = read_wire(body, JSON, LIMITS, None)
    assert there is not None and list(there[0]) == list(here)
    assert all(same(there[0][key], here[key]) for key in here)
    assert there[1] == form and encode(there[0], there[1]) == encode(here, form)
    array = there[0]["s"]
    assert isinstance(array, np.ndarray) and array.flags.writeable and array.flags.aligned


@pytest.mark.parametrize(
    "body",
    [b'{"a": [1, [2]]}', b'{"a": "no pickle"}', b'{"instances": [[1.0]]}', b'{"a": [1], "a": [2]}'],
    ids=["ragged", "refused pickle", "foreign", "twice"],
)
def test_errors_are_those_of_this_process(body: bytes) -> None:
    from studio.serve.foreign import refuse_foreign

    inputs = (TensorSpec("x", "float32", (-1, 2)),)
    told = []
    for read in (
        lambda: decode(body, JSON, arrays=True, check=lambda values: refuse_foreign(values, inputs)),
        lambda: read_wire(body, JSON, Limits(), inputs),
    ):
        with pytest.raises(StudioError) as caught:
            read()
        told.append((type(caught.value), caught.value.message, caught.value.hint))
    assert told[0] == told[1]


def test_tensors_of_the_open_inference_protocol() -> None:
    entries = [{"name": "x", "shape": [2, 1], "datatype": "BOOL", "data": [[True], [False]]},
               {"name": "y", "shape": [1], "datatype": "FP32", "data": [1.5]}]  # fmt: skip
    body = json.dumps({"id": "7", "inputs": entries, "outputs": [{"name": "z"}]}).encode()
    here, there = decode_infer(body, None), read_infer(body, None, Limits())
    assert there is not None and there[1] == here[1] and same(there[0], dict(here[0]))
    text = {"name": "x", "shape": [1], "datatype": "BYTES", "data": ["text"]}
    assert read_infer(json.dumps({"inputs": [text]}).encode(), None, Limits()) is None  # texts have no bytes to send


def test_garbage_is_collected_again_after_many_lists_were_read() -> None:
    body = b'{"a": [' + b",".join([b"[true]"] * 20_000)
    for end in (b"]}", b"]", b", 1]}"):
        with contextlib.suppress(StudioError):
            decode(body + end, JSON, arrays=False)
        assert gc.isenabled()
    gc.disable()
    try:
        decode(body + b"]}", JSON, arrays=False)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_long_answer_is_written_in_pieces() -> None:
    for array in (np.arange(120_003, dtype="f4").reshape(-1, 3) / 7, np.zeros((50_000, 0)), np.ones((3, 30_000), "?")):
        body, _ = encode({"a": array}, Form())
        assert np.array_equal(np.array(json.loads(body)["a"]).astype(array.dtype), array)
