"""Single tensors of the Open Inference Protocol: from bytes, from JSON data, and back.

Hides the datatypes, the length-prefixed texts, and that a number must be one that its datatype has.
"""

from __future__ import annotations

import math
import re
import struct
from itertools import chain
from typing import cast

import numpy as np

from .arrays import Array, build, parse_dtype, plain, raw_bytes
from .limits import Budget, Malformed, check_long_text

TEXT = "BYTES"
DTYPES = {
    "BOOL": "|b1", "UINT8": "|u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "|i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
FLOATS = ("FP16", "FP32", "FP64")
_NAMES = {parse_dtype(text).name: name for name, text in DTYPES.items()}
_MAX_TEXTS = 250_000
"""Elements of a tensor of texts: each is an object of Python's, of 50 bytes and more."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def datatype_of(dtype: str) -> str:
    """The protocol's word for a dtype's name, such as FP32 for float32."""
    return _NAMES.get(dtype, TEXT if dtype in ("object", "str", "string") else dtype.upper())


def from_bytes(datatype: str, lengths: list[int], raw: memoryview, budget: Budget) -> Array:
    """The array over exactly the bytes of `raw`.

    Raises:
        Malformed: they do not fit the shape, or are no texts.
    """
    if datatype == TEXT:
        if math.prod(lengths) > _MAX_TEXTS:
            raise Malformed("too-large", f"more than {_MAX_TEXTS} texts")
        return _texts(_split(raw, math.prod(lengths)), lengths, budget)
    budget.output -= len(raw)
    if budget.output < 0:
        raise Malformed("too-large", f"more than {budget.limits.output_bytes} bytes")
    return build(raw, parse_dtype(DTYPES[datatype]), lengths, limits=budget.limits)


def _split(raw: memoryview, count: int) -> list[object]:
    """The `count` elements of a BYTES tensor: each is 4 bytes of length, little-endian, and so many bytes of UTF-8."""
    check_long_text(raw)
    texts: list[object] = []
    at, end = 0, len(raw)
    while at < end:
        if end - at < 4:
            raise Malformed("truncated", "an element's length")
        (size,) = struct.unpack_from("<I", raw, at)
        at += 4
        if size > end - at:
            raise Malformed("truncated", f"an element of {size} bytes, {end - at} present")
        if len(texts) == count:
            raise Malformed("size-mismatch", f"more than {count} texts")
        try:
            texts.append(str(raw[at : at + size], "utf-8"))
        except UnicodeDecodeError:
            raise Malformed("bad-unicode", "BYTES are texts in UTF-8; send other bytes as UINT8") from None
        at += size
    return texts


def _texts(texts: list[object], lengths: list[int], budget: Budget) -> Array:
    if len(texts) > _MAX_TEXTS:
        raise Malformed("too-large", f"more than {_MAX_TEXTS} texts")
    flat = build(bytes(len(texts)), np.dtype(np.uint8), lengths, limits=budget.limits).astype(object)
    flat.reshape(-1)[:] = texts
    return flat


def from_json(datatype: str, lengths: list[int], data: object, budget: Budget) -> Array:
    """The array of a flat list, or of one nested as the shape says. Infinities come in bytes only.

    Where the limits allow it, null among floats is not-a-number.

    Raises:
        Malformed: it does not fit the shape or the datatype; code `null`, and where it is.
    """
    if type(data) is not list:
        raise Malformed("bad-data", "data is no list")
    flat = _flatten(data, lengths)
    kinds = set(map(type, flat))
    if type(None) in kinds and not (budget.limits.nulls and datatype in FLOATS):
        at = np.unravel_index(flat.index(None), lengths)
        raise Malformed("null", "".join(f"[{index}]" for index in at) + " is null")
    if datatype == TEXT:
        if not kinds <= {str} or any(_SURROGATE.search(cast(str, text)) for text in flat):
            raise Malformed("bad-data", "BYTES are texts")
        return _texts(flat, lengths, budget)
    dtype = parse_dtype(DTYPES[datatype])
    budget.output -= len(flat) * dtype.itemsize
    if budget.output < 0:
        raise Malformed("too-large", f"more than {budget.limits.output_bytes} bytes")
    return build(raw_bytes(_numbers(datatype, dtype, flat, kinds)), dtype, lengths, limits=budget.limits)


def _flatten(data: list[object], lengths: list[int]) -> list[object]:
    """The elements, of a flat list or of one nested exactly as the shape says."""
    level: list[object] = data
    if list in set(map(type, data)):
        level = [data]
        for length in lengths:
            if any(type(part) is not list or len(part) != length for part in level):
                raise Malformed("size-mismatch", f"data is nested otherwise than shape {lengths[:8]} says")
            level = list(chain.from_iterable(cast("list[list[object]]", level)))
    if len(level) != math.prod(lengths):
        raise Malformed("size-mismatch", f"shape {lengths[:8]}, {len(level)} elements")
    return level


def _numbers(datatype: str, dtype: np.dtype[np.generic], flat: list[object], kinds: set[type]) -> Array:
    if dtype.kind == "b" or not kinds:
        if not kinds <= {bool}:
            raise Malformed("bad-data", "BOOL takes true and false")
    elif dtype.kind in "iu":
        whole, bounds = cast("list[int]", flat), np.iinfo(dtype)  # type: ignore[type-var]
        if kinds != {int}:
            raise Malformed("bad-data", f"{datatype} takes integers")
        if min(whole) < bounds.min or max(whole) > bounds.max:
            raise Malformed("bad-data", f"a number beyond {datatype}")
    else:
        return _floats(datatype, dtype, flat, kinds)
    return np.array(flat, dtype)


def _floats(datatype: str, dtype: np.dtype[np.generic], flat: list[object], kinds: set[type]) -> Array:
    if not kinds <= {int, float, type(None)}:
        raise Malformed("bad-data", f"{datatype} takes numbers")
    try:
        wide = np.array(flat, np.float64)
    except OverflowError:
        raise Malformed("bad-data", f"a number beyond {datatype}") from None
    with np.errstate(over="ignore", under="ignore"):
        made = wide.astype(dtype)
    if np.isinf(made).any():  # also 1e999, which Python reads as infinity, and the word itself: JSON has neither
        raise Malformed("bad-data", f"a number beyond {datatype}")
    return cast(Array, made)


def entry_of(value: object, tails: list[bytes | memoryview] | None) -> dict[str, object]:
    """Shape, datatype and data of one output; its bytes go to `tails`, if those are given.

    Raises:
        TypeError, ValueError: it is no tensor of the protocol.
    """
    array = _array(value)
    entry: dict[str, object] = {"shape": list(array.shape), "datatype": datatype_of(array.dtype.name)}
    if array.dtype.kind == "O":
        texts = [item if isinstance(item, bytes) else str(item).encode() for item in array.reshape(-1).tolist()]
        if tails is None:
            return entry | {"data": [str(text, "utf-8") for text in texts]}
        raw: bytes | memoryview = b"".join(part for text in texts for part in (struct.pack("<I", len(text)), text))
    elif tails is None:
        return entry | {"data": array.reshape(-1)}
    else:
        raw = raw_bytes(array)
    tails.append(raw)
    return entry | {"parameters": {"binary_data_size": len(raw)}}


def _array(value: object) -> Array:
    """`value` as an array of numbers, truth values, or objects that are texts or bytes.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("a masked array")
    array: Array = np.asarray(value)
    if array.dtype.kind in "SU":  # fixed width would cut trailing NULs off: only what was so already keeps it
        array = np.array(value, dtype=object)
    if array.dtype.kind == "O" and all(isinstance(i, (str, bytes)) for i in array.reshape(-1).tolist()):
        return array
    made = plain(array)
    if not isinstance(made, np.ndarray) or made.dtype.name not in _NAMES:
        raise TypeError(f"{type(value).__name__} of dtype {array.dtype}")
    return made
