# ruff: noqa: E501
"""Tensors of the Open Inference Protocol: every datatype both ways, strict sizes, bounded memory, nothing but what is there."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from studio.errors import BadInput, ServeError, TooLarge
from studio.serve.codec import Limits
from studio.serve.codec.oip import InferForm, datatype_of, decode_infer, encode_infer

from . import oip_peer as peer


def length_of(headers: dict[str, str]) -> str | None:
    return headers.get("Inference_Header_Content_Length")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("datatype", peer.TYPES)
def test_every_datatype_comes_in_and_goes_out_whole(datatype: str, binary: bool, nested: bool) -> None:
    array = peer.samples()[datatype]
    body, headers = peer.request({"x": array}, binary=["x"] if binary else [], nested=nested, id="7")
    for whole in (body, bytearray(body)):
        arrays, form = decode_infer(whole, length_of(headers))
        assert peer.same(arrays["x"], array) and arrays["x"].flags.writeable and arrays["x"].flags.aligned
        assert form.id == "7"
        answer, length = encode_infer(arrays, InferForm("7", None, binary), {"model_name": "m"})
        assert (length is not None) == binary
        found, told = peer.read(answer, length)
        assert peer.same(found["x"], array) and told["id"] == "7" and told["model_name"] == "m"


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 3), (1,), (2, 3, 4), (1,) * 32])
@pytest.mark.parametrize("binary", [False, True])
def test_every_shape(shape: tuple[int, ...], binary: bool) -> None:
    for array in (np.zeros(shape, "f4"), np.full(shape, "é", object), np.zeros(shape, "?"), np.zeros(shape, "i8")):
        body, headers = peer.request({"x": array}, binary=["x"] if binary else [])
        arrays, _ = decode_infer(body, length_of(headers))
        assert peer.same(arrays["x"], array)
        assert peer.same(peer.read(*encode_infer(arrays, InferForm(binary=binary), {}))[0]["x"], array)


def test_json_and_binary_inputs_may_stand_in_one_request() -> None:
    arrays = peer.samples()
    body, headers = peer.request(arrays, binary=list(arrays)[::2])
    found, _ = decode_infer(body, length_of(headers))
    assert list(found) == list(arrays) and all(peer.same(found[name], arrays[name]) for name in arrays)


def test_the_outputs_wanted_come_in_their_order_and_form() -> None:
    body, _ = peer.request(
        {"x": np.zeros(1)},
        outputs=[{"name": "b", "parameters": {"binary_data": False}}, {"name": "a"}],
        parameters={"binary_data_output": True},
    )
    form = decode_infer(body, None)[1]
    answer, length = encode_infer({"a": np.ones(2, "f4"), "b": [1, 2], "c": 3}, form, {})
    found, told = peer.read(answer, length)
    assert list(found) == ["b", "a"] and [("data" in one) for one in told["outputs"]] == [True, False]  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match="no output 'b'"):
        encode_infer({"a": 1}, form, {})


@pytest.mark.parametrize(
    "value", [None, {"a": 1}, [[1], [2, 3]], 1j, np.zeros(1, "M8[s]"), np.ma.array([1]), object(), ["a", 1], "\ud800"]
)
def test_an_output_that_is_no_tensor_is_the_models_fault(value: object) -> None:
    with pytest.raises(ServeError, match="'y'") as caught:
        encode_infer({"y": value}, InferForm(), {})
    assert caught.value.http_status == 500


@pytest.mark.parametrize(
    ("value", "datatype", "data"),
    [("a\0", "BYTES", ["a\0"]), (["a", "bc"], "BYTES", ["a", "bc"]), (np.array([b"a", b"bc"]), "BYTES", ["a", "bc"]), (b"a", "BYTES", ["a"]),
     (1.5, "FP64", [1.5]), (True, "BOOL", [True]), (np.array([1, 2], object), "INT64", [1, 2]), (np.array([1], ">i2"), "INT16", [1]),
     (np.longdouble(1), "FP64", [1.0]), (np.array([[1, 2], [3, 4]]).T, "INT64", [1, 3, 2, 4]), (np.array([], "U1"), "BYTES", [])],
)  # fmt: skip
def test_what_models_return_becomes_tensors(value: object, datatype: str, data: list[object]) -> None:
    (entry,) = json.loads(encode_infer({"y": value}, InferForm(), {})[0])["outputs"]
    assert (entry["datatype"], entry["data"]) == (datatype, data)


def test_null_is_not_a_number_both_ways() -> None:
    arrays, form = decode_infer(
        b'{"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [null, NaN, 1]}]}',
        None,
        limits=Limits(nulls=True),
    )
    assert np.isnan(arrays["x"][:2]).all()
    assert json.loads(encode_infer(arrays, form, {})[0])["outputs"][0]["data"] == [None, None, 1.0]


def one(**changed: object) -> dict[str, object]:
    entry = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2], **changed}
    return {key: value for key, value in entry.items() if value != "absent"}


def raw(size: object, **changed: object) -> dict[str, object]:
    return one(data="absent", parameters={"binary_data_size": size}, **changed)


def text(*inputs: object, **more: object) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


BAD: list[bytes] = [
    b"", b"{", b"[]", b"1", b"\xff", b"{}", text(), text(1), text([]), text({}), b'{"inputs": {}}', text(one(), strange=1), text(one(strange=1)),
    text(one(), id=1), text(one(), parameters=[]), text(one(), parameters={"binary_data_output": 1}), text(one(), outputs={}), text(one(), outputs=[1]),
    text(one(), outputs=[{"name": "y", "data": []}]), text(one(), outputs=[{"name": "y"}, {"name": "y"}]), text(one(), outputs=[{"name": "y", "parameters": {"binary_data": 1}}]),
    text(one(), outputs=[{"name": "y", "parameters": {"classification": 3}}]), text(one(parameters={"shared_memory_region": "r", "shared_memory_byte_size": 8})),
    text(one(), one()), text(one(name=1)), text(one(name="")), text(one(name="absent")), text(one(name=None)), text(one(), one(name="y", data="absent")),
    text(one(datatype="FP31")), text(one(datatype=1)), text(one(datatype="absent")), text(one(datatype="fp32")), text(one(datatype="O")), text(one(datatype="BF16")),
    text(one(shape=2)), text(one(shape="absent")), text(one(shape=[3])), text(one(shape=[1])), text(one(shape=[-2])), text(one(shape=[2.0])), text(one(shape=[True, 2])),
    text(one(shape=[])), text(one(shape=["2"])), text(one(shape=[1] * 40 + [2])), text(one(shape=[0])), text(one(shape=[1 << 62, 0], data=[])),
    text(one(shape=[0, 1 << 40], data=[])), text(one(shape=[10**4000] * 500, data=[])), text(one(shape=[0, 1 << 40], datatype="BYTES", data=[])),
    text(one(data=1)), text(one(data="ab")), text(one(data={})), text(one(data=None)), text(one(data=[1, "2"])), text(one(data=[1, True])), text(one(data=[1, [2]])),
    text(one(data=[[1], [2]])), text(one(data=[[1, 2]])), text(one(shape=[2, 1], data=[[1, 2]])), text(one(shape=[2, 2], data=[[1, 2, 3], [4]])), text(one(shape=[2, 2], data=[[1, 2], 3])),
    text(one(shape=[2, 2], data=[[1, 2], [3, [4]]])), text(one(data=[1, 1e39])), text(one(datatype="FP16", data=[1, 65520])), text(one(data=[1, 10**400])), text(one(datatype="FP64", data=[1, 10**400])), text(one(data=[1, float("inf")])), text(one()).replace(b"[1, 2]", b"[1, -1e999]"), text(one(datatype="FP64")).replace(b"[1, 2]", b"[1, 1e999]"),
    text(one(datatype="INT8", data=[1, 128])), text(one(datatype="INT8", data=[1, -129])), text(one(datatype="UINT8", data=[0, -1])), text(one(datatype="UINT64", data=[0, 1 << 64])),
    text(one(datatype="INT32", data=[0, 1.0])), text(one(datatype="INT32", data=[0, None])), text(one(datatype="INT32", data=[0, True])), text(one(datatype="BOOL", data=[0, 1])),
    text(one(datatype="BOOL", data=[True, None])), text(one(datatype="BYTES", data=["a", 1])), text(one(datatype="BYTES", data=["a", None])), text(one(datatype="BYTES", data=["a", "\ud800"])),
    text(one(data=[1, 2], parameters={"binary_data_size": 8})), text(one(data="absent")), text(raw(8)), text(raw(0)), b'{"inputs": [' + b"[" * 100, b'{"inputs":' * 40,
    text(one()).replace(b'"name"', b'"name": "y", "name"'), b'{"inputs": [], ' + text(one())[1:], text(*(one(name=f"x{n}") for n in range(300))), text(one()) + b"x",
]  # fmt: skip


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_bad_json_is_refused(body: bytes) -> None:
    with pytest.raises((BadInput, TooLarge)):
        decode_infer(body, None)


def prefixed(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in texts)


BAD_BINARY: list[tuple[bytes, bytes]] = [
    (text(raw(8)), bytes(7)), (text(raw(8)), bytes(9)), (text(raw(4)), bytes(4)), (text(raw(4)), bytes(8)), (text(raw(12)), bytes(12)), (text(raw(16)), bytes(8)),
    (text(raw(-8)), bytes(8)), (text(raw(8.0)), bytes(8)), (text(raw("8")), bytes(8)), (text(raw(True, datatype="BOOL", shape=[1])), bytes(1)), (text(raw(None)), b""),
    (text(raw(1 << 70)), bytes(8)), (text(one()), b"x"), (text(raw(8), raw(8)), bytes(16)), (text(raw(8), raw(8, name="y")), bytes(8)), (text(raw(8), raw(9, name="y")), bytes(16)),
    (text(raw(0, shape=[1 << 40])), b""), (text(raw(0, shape=[0, 1 << 40])), b""), (text(raw(8, shape=[1 << 40, 1 << 40])), bytes(8)), (text(raw(8, shape=[2, -1])), bytes(8)),
    *((text(raw(len(data), datatype="BYTES", shape=[count])), data) for data, count in [
        (b"\x01\0\0", 1), (b"\x01\0\0\0", 1), (b"\xff\xff\xff\xffab", 1), (prefixed(b"a", b"b"), 1), (prefixed(b"a"), 2), (prefixed(b"\xff"), 1),
        (prefixed(b"\xed\xa0\x80"), 1), (prefixed(b"a") + b"x", 1), (b"", 1), (prefixed(b""), 0), (prefixed(b"ab")[:-1], 1),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("head", "tail"), BAD_BINARY, ids=range(len(BAD_BINARY)))
def test_bad_binary_tensors_are_refused(head: bytes, tail: bytes) -> None:
    with pytest.raises(BadInput):
        decode_infer(head + tail, str(len(head)))


@pytest.mark.parametrize("length", ["", "-1", "+9", "9999", "1e2", "0x10", " 9", "9 ", "٣", "9" * 30, "0", "5", "1_0"])
def test_a_bad_length_of_the_json_is_refused(length: str) -> None:
    body, _ = peer.request({"x": np.zeros(2, "f4")}, binary=["x"])
    with pytest.raises(BadInput):
        decode_infer(body, length)


def big_claims() -> list[tuple[bytes, str | None]]:
    """Bodies that claim or unpack to far more than they hold."""
    found: list[tuple[bytes, str | None]] = [
        (text(one(shape=[1 << 40])), None), (text(one(shape=[1 << 40], datatype="BYTES", data=["a"])), None), (text(one(shape=[0, 1 << 31], data=[])), None),
        (text(one(shape=[10**4000] * 32)), None), (b'{"inputs": [{"name": "x", "data": ' + b"[" * 400_000, None), (b"[" + b"1," * 300_000, None),
    ]  # fmt: skip
    empties = bytes(4 * 1_000_001)
    for head, tail in (
        (text(raw(len(empties), datatype="BYTES", shape=[1_000_001])), empties),
        (text(raw(6_000_000, datatype="BYTES", shape=[1])), prefixed(b"ab") * 1_000_000),
        (text(raw(1 << 40, shape=[1 << 38])), bytes(8)),
        (text(raw(6, datatype="BYTES", shape=[1])), b"\xff\xff\xff\x7fab"),
    ):
        found.append((head + tail, str(len(head))))
    return found


@pytest.mark.parametrize("number", range(10))
def test_claims_cost_no_memory(number: int) -> None:
    body, length = big_claims()[number]
    tracemalloc.start()
    try:
        with pytest.raises((BadInput, TooLarge)):
            decode_infer(body, length)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_caps_on_the_body_and_on_what_it_becomes() -> None:
    body, headers = peer.request({"x": np.zeros(1000, "f4")}, binary=["x"])
    with pytest.raises(TooLarge):
        decode_infer(body, length_of(headers), limits=Limits(max_bytes=4000))
    with pytest.raises(TooLarge):
        decode_infer(body, length_of(headers), limits=Limits(max_bytes=8000, max_output=3999))
    zeros = text(one(datatype="FP64", shape=[1000], data=[0] * 1000))
    with pytest.raises(TooLarge):
        decode_infer(zeros, None, limits=Limits(max_bytes=8000, max_output=7999))


def test_memory_is_shared_with_a_writable_body_only() -> None:
    body, headers = peer.request({"x": np.zeros(64, "u1")}, binary=["x"])
    ours = bytearray(body)
    decode_infer(ours, length_of(headers))[0]["x"][0] = 1
    assert ours != body
    decode_infer(body, length_of(headers))[0]["x"][0] = 1


def mutated(rng: random.Random, body: bytes) -> bytes:
    data = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(data))
        kind = rng.random()
        if kind < 0.2:
            del data[at : at + rng.randrange(1, 4)]
        elif kind < 0.4:
            data[at:at] = rng.choice((b"0", b"-", b"[", b"]", b"1e9", b",", b'"', b"\xff", b"\0\0\0\0"))
        elif kind < 0.7:
            data[at] = rng.choice(b'0123456789[]{},:.-e"\\\0\xff')
        else:
            data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def differential(
    rng: random.Random, check: Callable[[bytes, str | None], dict[str, np.ndarray] | None], count: int
) -> int:
    """How many of `count` mutated requests `check` accepted: each exactly as the other reader has it."""
    arrays = {name: array.reshape(-1)[-2:] for name, array in peer.samples().items()}
    accepted = 0
    for _ in range(count):
        some = dict(rng.sample(sorted(arrays.items()), 2))
        body, headers = peer.request(some, binary=rng.choice(([], list(some), list(some)[:1])))
        length = length_of(headers)
        data = mutated(rng, body)
        if length is not None and rng.random() < 0.1:
            length = str(int(length) + rng.choice((-1, 1, 4)))
        found = check(data, length)
        if found is None:
            continue
        accepted += 1
        with np.errstate(over="ignore"):
            told, _ = peer.read(data, None if length is None else int(length), "inputs")
        assert list(found) == list(told) and all(peer.same(found[name], told[name]) for name in told), (data, length)
    return accepted


@pytest.mark.parametrize("count", [20_000, pytest.param(400_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_mutated_requests_are_refused_or_read_as_another_reader_does(count: int) -> None:
    def check(data: bytes, length: str | None) -> dict[str, np.ndarray] | None:
        try:
            return decode_infer(rng.choice((bytes, bytearray))(data), length)[0]
        except (BadInput, TooLarge):
            return None

    rng = random.Random(20261120)
    assert count // 100 < differential(rng, check, count) < count


def test_names_of_dtypes() -> None:
    for name, dtype in peer.TYPES.items():
        assert datatype_of(np.dtype(dtype).name) == name
    assert datatype_of("bfloat16") == "BFLOAT16"
