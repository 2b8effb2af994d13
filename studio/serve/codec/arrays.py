"""Arrays from bytes that are present: the one place where a claimed dtype and shape become memory.

Hides the kinds that the wire admits, alignment, byte order, and when a copy is made.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .limits import DEFAULT, Limits, Malformed

Array = NDArray[np.generic]
Raw = bytes | bytearray | memoryview

_TYPESTR = re.compile(r"([<>|=]?)([biufcSUmM])([0-9]{0,7})(?:\[([0-9]{0,6})(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?\Z")
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16), "m": (8,), "M": (8,)}
_NAMES = {
    "bool": "|b1", "int8": "|i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "uint8": "|u1", "uint16": "<u2",
    "uint32": "<u4", "uint64": "<u8", "float16": "<f2", "float32": "<f4", "float64": "<f8", "complex64": "<c8",
    "complex128": "<c16",
}  # fmt: skip
_MAX_STRING = 1 << 20
_MAX_SPAN = 1 << 31


@lru_cache(maxsize=512)
def parse_dtype(text: str) -> np.dtype[np.generic]:
    """The dtype of a type string such as `<f4`, `|S3`, `>M8[ms]` or a name such as `float32`.

    Raises:
        Malformed: not one of the admitted kinds `b i u f c S U m M`.
    """
    text = _NAMES.get(text, text)
    found = _TYPESTR.match(text)
    if not found:
        raise Malformed("dtype-refused", repr(text[:20]))
    order, kind, digits, count, unit = found.groups()
    size = int(digits or 0)
    if kind in "SU":
        if not 1 <= size <= _MAX_STRING:
            raise Malformed("dtype-refused", f"string of {size} characters")
    elif size not in _SIZES[kind]:
        raise Malformed("dtype-refused", repr(text[:20]))
    if (unit and kind not in "mM") or count == "0":
        raise Malformed("dtype-refused", repr(text[:20]))
    if kind == "b":
        return np.dtype("?")
    suffix = f"[{count}{unit}]" if unit else ""
    return np.dtype(f"{order if order in '<>' else '='}{kind}{size}{suffix}")


def type_string(dtype: np.dtype[np.generic]) -> str:
    """The type string that `parse_dtype` reads back, little-endian where order matters."""
    text: str = dtype.newbyteorder("<").str
    return text


def build(
    raw: Raw, dtype: np.dtype[np.generic], shape: Sequence[object], *, fortran: bool = False, limits: Limits = DEFAULT
) -> Array:
    """An array over exactly the bytes of `raw`: native byte order, aligned, always writable.

    It shares memory with `raw` if that is writable, aligned and of native order, else it is a copy; so a claimed
    shape can never cost more than the bytes that came.

    Raises:
        Malformed: `shape` does not fit `raw`, or a string holds no valid code point.
    """
    if len(shape) > limits.max_ndim:
        raise Malformed("bad-shape", f"{len(shape)} dimensions")
    for length in shape:
        if type(length) is not int or not 0 <= length <= 1 << 40:
            raise Malformed("bad-shape", repr(length)[:20])
    lengths: tuple[int, ...] = tuple(shape)  # type: ignore[arg-type]
    count = math.prod(lengths)
    if count * dtype.itemsize != len(raw):
        raise Malformed("size-mismatch", f"{count} * {dtype.itemsize} bytes claimed, {len(raw)} present")
    if count == 0:
        if math.prod(max(length, 1) for length in lengths) >= _MAX_SPAN:
            raise Malformed("bad-shape", "empty array of huge dimensions")
        return np.empty(lengths, dtype.newbyteorder("="), order="F" if fortran else "C")
    array: Array = _over(raw, dtype).reshape(lengths, order="F" if fortran else "C")
    return array


def _over(raw: Raw, dtype: np.dtype[np.generic]) -> Array:
    if dtype.kind == "b":
        flags: Array = np.frombuffer(raw, np.uint8) != 0  # a byte over 1 is no valid bool of numpy's
        return flags
    flat: Array = np.frombuffer(raw, dtype)
    if dtype.kind == "U" and int(np.frombuffer(raw, np.dtype("u4").newbyteorder(dtype.byteorder)).max()) > 0x10FFFF:
        raise Malformed("bad-unicode", "no such code point")
    if not dtype.isnative:
        native: Array = flat.astype(dtype.newbyteorder("="))
        return native
    if not flat.flags.writeable or not flat.flags.aligned:
        flat = flat.copy()
    return flat


def raw_bytes(array: Array) -> memoryview:
    """The bytes of `array` in C order without a copy where it is contiguous; little-endian on every machine."""
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    if array.size == 0:
        return memoryview(b"")
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def plain(value: object) -> object:
    """`value` as something that the writers know: tensors and arrays of objects become arrays of `biufcSUmM`.

    Raises:
        TypeError: an array of a kind that no form of the wire can carry.
    """
    if not isinstance(value, np.ndarray):
        if isinstance(value, np.generic) or not hasattr(value, "__array__"):
            return value
        value = np.asarray(value)
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("a masked array")
    array: Array = np.asarray(value)
    if array.dtype.kind == "O":
        array = _of_objects(array)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    elif array.dtype.kind == "c" and array.dtype.itemsize > 16:
        array = array.astype(np.complex128)
    if array.dtype.kind not in "biufcSUmM" or array.dtype.itemsize == 0:
        raise TypeError(f"an array of {array.dtype}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _of_objects(array: Array) -> Array:
    items = array.reshape(-1).tolist()
    if all(isinstance(item, str) for item in items):
        return np.array(items or [""], dtype=np.str_)[: len(items)].reshape(array.shape)
    if all(isinstance(item, (bool, int, float, complex, np.number, np.bool_)) for item in items):
        made = np.array(items)
        if made.dtype.kind in "biufc":
            return made.reshape(array.shape)
    raise TypeError("an array of objects")
