"""The safetensors format: https://huggingface.co/docs/safetensors — a JSON header and the tensors' bytes.

Hides the checks that the reference reader leaves out: names twice, holes, overlaps, empty tensors of huge dimensions.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

from .arrays import Array, build, parse_dtype, raw_bytes
from .json_read import parse
from .limits import Budget, Limits, Malformed

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1", "C64": "<c8",
}  # fmt: skip
_NAMES = {parse_dtype(text).str: name for name, text in _DTYPES.items()}
_MAX_HEADER = 1 << 20


def read_safetensors(data: bytes | bytearray, budget: Budget) -> dict[str, Array]:
    """The tensors by name, over exactly the bytes of the file.

    Raises:
        Malformed: a header that is not strict, or tensors that do not tile the data.
    """
    if len(data) < 8:
        raise Malformed("truncated")
    size = struct.unpack_from("<Q", data)[0]
    if size > min(_MAX_HEADER, len(data) - 8):
        raise Malformed("bad-header", f"{size} bytes")
    header = parse(bytes(data[8 : 8 + size]), Budget(Limits(max_depth=8)))
    if type(header) is not dict:
        raise Malformed("bad-header", "no object")
    header.pop("__metadata__", None)
    if len(header) > budget.limits.max_members:
        raise Malformed("bad-members", f"more than {budget.limits.max_members} tensors")
    body = memoryview(data)[8 + size :]
    budget.output -= len(body)
    if budget.output < 0:
        raise Malformed("too-large", f"more than {budget.limits.output_bytes} bytes")
    spans: list[tuple[int, int]] = []
    arrays = {name: _tensor(name, entry, body, spans, budget.limits) for name, entry in header.items()}
    _check_tiling(spans, len(body))
    return arrays


def _tensor(name: str, entry: object, body: memoryview, spans: list[tuple[int, int]], limits: Limits) -> Array:
    if type(entry) is not dict or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise Malformed("bad-header", f"{name[:40]!r}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(dtype) is not str or dtype not in _DTYPES:
        raise Malformed("dtype-refused", f"{name[:40]!r}: {str(dtype)[:20]}")
    if type(shape) is not list or type(offsets) is not list or [type(at) for at in offsets] != [int, int]:
        raise Malformed("bad-header", f"{name[:40]!r}")
    start, stop = offsets
    if not 0 <= start <= stop <= len(body):
        raise Malformed("bad-offsets", f"{name[:40]!r}")
    spans.append((start, stop))
    return build(body[start:stop], parse_dtype(_DTYPES[dtype]), shape, limits=limits)


def _check_tiling(spans: list[tuple[int, int]], size: int) -> None:
    at = 0
    for start, stop in sorted(spans):
        if start != at:
            raise Malformed("bad-offsets", "holes or overlaps")
        at = stop
    if at != size:
        raise Malformed("bad-offsets", "bytes that belong to no tensor")


def write_safetensors(arrays: Mapping[str, Array]) -> bytes:
    """A safetensors file; its data begins at a multiple of 8.

    Raises:
        TypeError: a dtype that the format does not have.
    """
    header: dict[str, object] = {}
    parts: list[memoryview] = []
    at = 0
    for name, array in arrays.items():
        dtype = _NAMES.get(array.dtype.newbyteorder("=").str)
        if dtype is None:
            raise TypeError(f"{name!r} is an array of {array.dtype}")
        raw = raw_bytes(array)
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + len(raw)]}
        parts.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])
