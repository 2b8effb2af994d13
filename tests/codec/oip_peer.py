"""Another reader and writer of the Open Inference Protocol, by its specification alone, to compare ours with."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping

import numpy as np

Array = np.ndarray
TYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BYTES": "O",
}  # fmt: skip
NAMES = {np.dtype(text): name for name, text in TYPES.items()}


def samples() -> dict[str, Array]:
    """One array of each datatype, its extremes among the values."""
    made: dict[str, Array] = {"BOOL": np.array([[True, False], [False, True]])}
    for name, text in TYPES.items():
        dtype = np.dtype(text)
        if dtype.kind in "iu":
            made[name] = np.array([[np.iinfo(dtype).min, np.iinfo(dtype).max], [0, 1]], dtype)
        elif dtype.kind == "f":
            made[name] = np.array([[np.finfo(dtype).min, np.finfo(dtype).max], [0.1, -0.0]], dtype)
    made["BYTES"] = np.array([["", "a\0"], ["grüße\0\0", "🦊" * 50]], object)
    return made


def pack(array: Array) -> bytes:
    """The binary form of one tensor."""
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    texts = [str(text).encode() for text in array.reshape(-1)]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def request(
    arrays: Mapping[str, Array], *, binary: Iterable[str] = (), nested: bool = False, **more: object
) -> tuple[bytes, dict[str, str]]:
    """A request's body and headers."""
    names, inputs, tail = set(binary), [], b""
    for name, array in arrays.items():
        entry: dict[str, object] = {"name": name, "shape": list(array.shape), "datatype": NAMES[array.dtype]}
        if name in names:
            raw = pack(array)
            entry["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            entry["data"] = array.tolist() if nested else array.reshape(-1).tolist()
        inputs.append(entry)
    text = json.dumps({"inputs": inputs, **more}).encode()
    headers = {"Content_Type": "application/octet-stream", "Inference_Header_Content_Length": str(len(text))}
    return text + tail, headers if names else {"Content_Type": "application/json"}


def read(body: bytes, length: int | None, key: str = "outputs") -> tuple[dict[str, Array], dict[str, object]]:
    """The tensors of a body by name, and its JSON."""
    told = json.loads(body if length is None else body[:length])
    raw, at = b"" if length is None else body[length:], 0
    arrays: dict[str, Array] = {}
    for entry in told[key]:
        dtype = np.dtype(TYPES[entry["datatype"]])
        if "data" in entry:
            flat = np.array(entry["data"], dtype).reshape(-1)
        else:
            size = entry["parameters"]["binary_data_size"]
            part, at = raw[at : at + size], at + size
            flat = np.array(unpack(part), object) if dtype.kind == "O" else np.frombuffer(part, dtype)
        arrays[entry["name"]] = flat.reshape(entry["shape"])
    assert at == len(raw)
    return arrays, told


def unpack(raw: bytes) -> list[str]:
    """The texts of a BYTES tensor."""
    texts, at = [], 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        assert at + 4 + size <= len(raw)
        texts.append(raw[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return texts


def same(one: Array, other: Array) -> bool:
    """Whether both hold the same: dtype, shape, and every value; not-a-number is itself, and a flag is 0 or not."""
    if one.dtype.newbyteorder("=") != other.dtype.newbyteorder("=") or one.shape != other.shape:
        return False
    if one.dtype.kind == "b":
        return bool(((one.view("u1") != 0) == (other.view("u1") != 0)).all())
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
