# ruff: noqa: E501
"""npy, npz and safetensors from elsewhere: strict headers, bounded memory, nothing but what the bytes hold."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from studio.errors import BadInput, TooLarge, UnsupportedType
from studio.serve.codec import Limits, decode, encode_request

NPY = "application/x-npy"
NPZ = "application/x-npz"
TENSORS = "application/vnd.safetensors"


def npy(header: str | bytes, data: bytes = b"", *, version: bytes = b"\x01\x00") -> bytes:
    """An npy file with this header."""
    text = header.encode() if isinstance(header, str) else header
    size = struct.pack("<H", len(text)) if version == b"\x01\x00" else struct.pack("<I", len(text))
    return b"\x93NUMPY" + version + size + text + data


def described(descr: str = "'<f4'", order: str = "False", shape: str = "(2,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


EIGHT = bytes(8)


@pytest.mark.parametrize(
    "body",
    [
        npy(described("'|O'", shape="(1,)"), EIGHT), npy(described("[('a', '<f4')]"), EIGHT), npy(described("'V4'"), EIGHT),
        npy(described("'<f4,<f4'", shape="(1,)"), EIGHT), npy(described("('<f4', (2,))", shape="(1,)"), EIGHT), npy(described("'<f16'"), EIGHT * 4),
        npy(described(shape="(3,)"), EIGHT), npy(described(shape="(1,)"), EIGHT), npy(described(shape="(1099511627776,)"), EIGHT),
        npy(described("'|V0'", shape="(1099511627776,)")), npy(described("'|S0'", shape="(1099511627776,)")), npy(described(shape="(0, 1099511627776)")),
        npy(described(shape="(-2,)"), EIGHT), npy(described(shape="(2"), EIGHT), npy(described(shape="2"), EIGHT), npy(described(shape="(2)"), EIGHT),
        npy(described(shape="[2]"), EIGHT), npy(described(shape="(True,)"), EIGHT), npy(described(shape="(2.0,)"), EIGHT), npy(described(shape="(02,)"), EIGHT),
        npy(described(shape="(1+1,)"), EIGHT), npy(described(shape="(1_0,)"), EIGHT * 5), npy(described(shape="(" + "1," * 40 + ")"), EIGHT),
        npy(described(shape="(18446744073709551618,)"), EIGHT), npy(described(shape="(4294967296, 4294967296, 2)"), EIGHT),
        npy(described(order="1"), EIGHT), npy(described(order="__import__('os')"), EIGHT), npy(described("__import__('os')"), EIGHT),
        npy(described().replace("'descr'", "'descr' 'descr'"), EIGHT), npy("{}\n", EIGHT), npy("", EIGHT), npy(b"\xff" * 100, EIGHT),
        npy(described() + " " * 5000, EIGHT), npy(described(), EIGHT, version=b"\x09\x00"), npy(described(), EIGHT + b"x"), npy(described(), EIGHT[:7]),
        npy("(" * 4000 + ")" * 90, EIGHT), npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1, }\n", EIGHT),
        b"\x93NUMPY", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", b"", b"x" * 100,
        npy(described("'<U2'", shape="(1,)"), b"\xff" * 8), pickle.dumps(np.ones(2)),
    ],
)  # fmt: skip
def test_bad_npy_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        decode(body, NPY, arrays=True)


@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00"])
def test_every_version_of_npy_is_read(version: bytes) -> None:
    data = np.array([1.5, 2.5], "<f4").tobytes()
    assert decode(npy(described(), data, version=version), NPY, arrays=True)[0]["x"].tolist() == [1.5, 2.5]  # type: ignore[attr-defined]
    assert decode(npy(described(shape="(2L,)"), data, version=version), NPY, arrays=True)[0]["x"].shape == (2,)  # type: ignore[attr-defined]


def test_npy_shares_memory_with_a_writable_body_only() -> None:
    target = io.BytesIO()
    np.save(target, np.zeros(1000))
    body = bytearray(target.getvalue())
    array = decode(body, NPY, arrays=True)[0]["x"]
    array[0] = 1  # type: ignore[index]
    assert body != target.getvalue()
    array = decode(target.getvalue(), NPY, arrays=True)[0]["x"]
    array[0] = 1  # type: ignore[index]


def zipped(members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target.getvalue()


GOOD = npy(described(), EIGHT)


def test_bad_npz_is_refused() -> None:
    whole = zipped({"a.npy": GOOD, "b.npy": GOOD})
    bodies = [
        zipped({"a.txt": GOOD}), zipped({"../a.npy": GOOD}), zipped({"/a.npy": GOOD}), zipped({"a\\b.npy": GOOD}), zipped({"a.npy": b"x"}),
        zipped({"a.npy": GOOD + b"x"}), zipped({f"{i}.npy": GOOD for i in range(300)}), whole[:-10], whole[10:], b"PK\x03\x04" + bytes(50),
        zipped({"a.npy": GOOD}, method=zipfile.ZIP_BZIP2), zipped({"a.npy": GOOD}, method=zipfile.ZIP_LZMA), b"PK\x05\x06" + b"\xff" * 18,
        whole.replace(b"\x01\x02\x14\x03", b"\x01\x02\x14\x03", 1)[: len(whole) // 2], b"",
        zipped({"a.npy": npy(described("'|O'", shape="(1,)"), pickle.dumps(1))}),
    ]  # fmt: skip
    for body in bodies:
        with pytest.raises(BadInput):
            decode(body, NPZ, arrays=True)


def test_the_same_name_twice_is_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.npy", GOOD)
        archive.writestr("a.npy", GOOD)
    with pytest.raises(BadInput):
        decode(target.getvalue(), NPZ, arrays=True)


def test_a_changed_byte_in_a_member_is_seen() -> None:
    target = io.BytesIO()
    np.savez(target, a=np.zeros(100))
    body = bytearray(target.getvalue())
    body[300] ^= 1
    with pytest.raises(BadInput):
        decode(body, NPZ, arrays=True)


def test_bombs_cost_what_the_limit_allows_and_no_more() -> None:
    limits = Limits(max_bytes=8 << 20)
    bombs = [
        zipped({"a.npy": npy(described("'|u1'", shape=f"({1 << 28},)"), bytes(1 << 28))}),
        zipped({f"{i}.npy": npy(described("'|u1'", shape=f"({1 << 20},)"), bytes(1 << 20)) for i in range(200)}),
    ]
    lies = bytearray(bombs[0])  # a directory that says the member is small
    at = lies.rfind(b"PK\x01\x02")
    lies[at + 24 : at + 28] = struct.pack("<I", 100)
    for body in [*bombs, bytes(lies)]:
        assert len(body) < 1 << 20
        tracemalloc.start()
        try:
            with pytest.raises((TooLarge, BadInput)):
                decode(body, NPZ, arrays=True, limits=limits)
            assert tracemalloc.get_traced_memory()[1] < 40 << 20
        finally:
            tracemalloc.stop()


def test_a_directory_of_a_million_members_is_refused_unread() -> None:
    entry = b"PK\x01\x02" + bytes(42)
    body = b"PK\x03\x04" + entry * 100_000
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry) * 100_000, 4, 0)
    body += end
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match="bad-members"):
            decode(body, NPZ, arrays=True)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def tensors(header: object, data: bytes = b"", *, text: bytes | None = None) -> bytes:
    """A safetensors file with this header."""
    raw = json.dumps(header).encode() if text is None else text
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: str = "F32", shape: object = (2,), offsets: object = (0, 8), **more: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"1234567", struct.pack("<Q", 1 << 62) + b"{}", struct.pack("<Q", 100) + b"{}", tensors([]), tensors("x"), tensors(None, text=b"{"),
        tensors(None, text=b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}') + EIGHT,
        tensors(None, text=b'{"a": {"dtype": "F32", "dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}') + EIGHT,
        tensors({"a": entry(offsets=(0, 8)), "b": entry(offsets=(4, 12))}, bytes(12)), tensors({"a": entry(offsets=(4, 12))}, bytes(12)),
        tensors({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)), tensors({"a": entry()}, bytes(9)), tensors({"a": entry()}, bytes(7)),
        tensors({"a": entry(), "b": entry()}, bytes(8)), tensors({}, b"x"), tensors({"a": entry(shape=(0, 1 << 40), offsets=(0, 0))}),
        tensors({"a": entry(shape=(1 << 62, 4), offsets=(0, 0))}), tensors({"a": entry(shape=(-2,))}, EIGHT), tensors({"a": entry(shape=(2.0,))}, EIGHT),
        tensors({"a": entry(shape=2)}, EIGHT), tensors({"a": entry(shape=[True, 2])}, EIGHT), tensors({"a": entry(shape=[1] * 60 + [2])}, EIGHT),
        tensors({"a": entry(offsets=(8, 0))}, EIGHT), tensors({"a": entry(offsets=(-8, 0))}, EIGHT), tensors({"a": entry(offsets=(0, 8, 8))}, EIGHT),
        tensors({"a": entry(offsets=(0.0, 8))}, EIGHT), tensors({"a": entry(offsets=(0, 1 << 70))}, EIGHT), tensors({"a": entry(dtype="BF16", shape=(4,))}, EIGHT),
        tensors({"a": entry(dtype="O")}, EIGHT), tensors({"a": entry(dtype=4)}, EIGHT), tensors({"a": entry(more=1)}, EIGHT), tensors({"a": 1}, EIGHT),
        tensors({f"t{i}": entry(shape=(0,), offsets=(0, 0)) for i in range(300)}), tensors(None, text=b"[" * 1000), tensors(None, text=b'{"a":' * 500),
    ],
)  # fmt: skip
def test_bad_safetensors_are_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        decode(body, TENSORS, arrays=True)


def test_metadata_and_order_in_safetensors() -> None:
    header = {
        "__metadata__": {"by": "x"},
        "b": entry(offsets=(8, 16)),
        "a": entry(),
        "e": entry(shape=(0,), offsets=(8, 8)),
    }
    values, _ = decode(tensors(header, np.arange(4, dtype="<f4").tobytes()), TENSORS, arrays=True)
    assert {key: value.tolist() for key, value in values.items()} == {"b": [2, 3], "a": [0, 1], "e": []}  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors", "json", "pickle"])
def test_mutated_files_are_refused_or_whole(kind: str) -> None:
    random_ = random.Random(7)
    body, content_type = encode_request({"x": np.arange(12, dtype="f4").reshape(3, 4)}, kind)
    accepted = 0
    for _ in range(1500):
        data = bytearray(body)
        for _ in range(random_.choice((1, 1, 2, 5))):
            at = random_.randrange(len(data))
            if random_.random() < 0.3:
                del data[at : at + random_.randrange(1, 4)]
            elif random_.random() < 0.5:
                data[at] = random_.randrange(256)
            else:
                data[at] ^= 1 << random_.randrange(8)
        try:
            values, _ = decode(data, random_.choice((content_type, None)), arrays=True)
        except (BadInput, TooLarge, UnsupportedType):
            continue
        accepted += 1
        for value in values.values():
            assert not isinstance(value, np.ndarray) or (
                value.nbytes <= 4 * len(data) and value.dtype.kind in "biufcSUmM"
            )
    assert accepted < 1500
