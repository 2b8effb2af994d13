"""JSON lists of numbers to arrays: at once by simdjson's buffer, or from Python lists.

Hides how raggedness is seen without visiting the elements: what is left of the text when its numbers are taken out
must be the pattern of brackets and commas that the shape makes.
"""

from __future__ import annotations

import re
from types import ModuleType

import numpy as np

from .arrays import Array
from .limits import Budget, Malformed, check_keys

simdjson: ModuleType | None
try:
    import simdjson
except ImportError:  # no wheel for this platform: the slow way below reads everything
    simdjson = None

_KEY = re.compile(rb'[ \t\r\n]*"([^"\\\x00-\x1f]{0,256})"[ \t\r\n]*:[ \t\r\n]*(?=\[)')
_IN_NUMBERS = b"0123456789+-.eE \n\t\r"
SIMD_MAX = 8 << 20  # simdjson sets aside 14 times the text
_SPACE = b" \t\r\n"
_TYPES = {"d": np.dtype(np.float64), "i": np.dtype(np.int64), "u": np.dtype(np.uint64)}


def only_number_lists(body: bytes | bytearray, budget: Budget) -> dict[str, Array] | None:
    """The arrays of a JSON object that holds nothing but rectangular lists of numbers; None for any other body.

    Raises:
        Malformed: more keys than one request may have.
    """
    if simdjson is None:
        return None
    start, end = 0, len(body)
    while start < end and body[start] in _SPACE:
        start += 1
    while end > start and body[end - 1] in _SPACE:
        end -= 1
    if end - start < 2 or body[start] != 0x7B or body[end - 1] != 0x7D:
        return None
    arrays: dict[str, Array] = {}
    at = start + 1
    while True:
        key = _KEY.match(body, at, end)
        if not key:
            return None
        quote = body.find(b'"', key.end(), end)
        stop = end - 1 if quote < 0 else body.rfind(b",", key.end(), quote)
        if stop < 0 or body[stop + 1 : max(quote, 0)].strip(_SPACE):
            return None
        array = _numbers(bytes(body[key.end() : stop]), budget.limits.max_ndim)
        try:
            name = str(key[1], "utf-8")
        except UnicodeDecodeError:
            return None
        if array is None or name in arrays:
            return None
        arrays[name] = array
        check_keys(len(arrays), budget.limits)
        if quote < 0:
            return arrays
        at = stop + 1


def _numbers(text: bytes, max_ndim: int) -> Array | None:
    """The array of one JSON list of numbers, or None."""
    if simdjson is None or len(text) > SIMD_MAX:
        return None
    whole = not (b"." in text or b"e" in text or b"E" in text)
    for code in ("i", "u") if whole else ("d",):
        try:
            buffer = simdjson.Parser().parse(text).as_buffer(of_type=code)
        except (ValueError, TypeError, RuntimeError, AttributeError):
            continue
        flat = np.frombuffer(buffer, _TYPES[code])
        if text.count(b"[") == 1:
            return flat if len(flat) else None
        shape = _shape(text.translate(None, _IN_NUMBERS), len(flat), max_ndim)
        return None if shape is None else flat.reshape(shape)
    return None


def _shape(pattern: bytes, count: int, max_ndim: int) -> tuple[int, ...] | None:
    """The shape that makes `pattern`, such as `[[,],[,]]`; None if it is ragged or has no elements."""
    ndim = len(pattern) - len(pattern.lstrip(b"["))
    if not count or ndim > max_ndim:
        return None
    commas = pattern.find(b"]") - ndim
    shape = [commas + 1]
    unit = b"[" + b"," * commas + b"]"
    for level in range(2, ndim + 1):
        length = pattern.find(b"]" * level) + level - (ndim - level)
        repeats, rest = divmod(length - 1, len(unit) + 1)
        if repeats < 1 or rest:
            return None
        shape.append(repeats)
        unit = b"[" + b",".join([unit] * repeats) + b"]"
    if unit != pattern:
        return None
    shape.reverse()
    total = 1
    for size in shape:
        total *= size
    return tuple(shape) if total == count else None


def list_to_array(value: list[object], budget: Budget) -> Array:
    """A rectangular list of numbers, truth values or texts as an array.

    Where the limits allow it, `None` among numbers is not-a-number.

    Raises:
        Malformed: ragged, mixed, integers beyond 64 bits, or `None` elsewhere: code `null`, and where it is.
    """
    kinds: set[type] = set()
    longest, count = _look(value, kinds, 1, budget.limits.max_ndim)
    if type(None) in kinds and (str in kinds or not budget.limits.nulls):
        raise Malformed("null", f"{null_at(value)} is null")
    if str in kinds:
        if kinds != {str}:
            raise Malformed("mixed", "texts among numbers")
        budget.output -= 4 * longest * count
        if budget.output < 0:
            raise Malformed("too-large", f"texts of {longest} characters, {count} times")
    elif not kinds <= {int, float, bool, type(None)}:
        raise Malformed("mixed", "neither numbers nor texts")
    try:
        array: Array = np.array(value, dtype=np.float64 if type(None) in kinds or not kinds else None)
        if kinds == {int} and array.dtype.kind == "f":  # numpy's answer to int64 beside uint64
            if (array < 0).any():  # type: ignore[operator]
                raise OverflowError
            array = np.array(value, dtype=np.uint64)
    except OverflowError:
        raise Malformed("huge-int", "integers that no 64-bit type holds together") from None
    except ValueError:
        raise Malformed("ragged", "its lists differ in length") from None
    if array.dtype.kind not in "biufU":
        raise Malformed("huge-int", "an integer beyond 64 bits")
    return array


def null_at(value: object) -> str | None:
    """Where the first `None` is in nested lists, such as `[3][1]`; None if there is none."""
    if value is None:
        return ""
    for index, item in enumerate(value if type(value) is list else ()):
        if item is None or type(item) is list:
            found = null_at(item)
            if found is not None:
                return f"[{index}]{found}"
    return None


def named_list(name: str, value: list[object], budget: Budget) -> Array:
    """As `list_to_array`; what is wrong begins with the name.

    Raises:
        Malformed: as there.
    """
    try:
        return list_to_array(value, budget)
    except Malformed as exc:
        raise about(name, exc) from None


def about(name: str, exc: Malformed) -> Malformed:
    """The error of one value, with its name."""
    return Malformed(exc.code, f"{name[:80]!r}{'' if exc.code == 'null' else ': '}{exc.detail}")


def _look(value: list[object], kinds: set[type], depth: int, max_ndim: int) -> tuple[int, int]:
    """Collects the types of all elements; the longest text and the number of elements."""
    if depth > max_ndim:
        raise Malformed("too-deep", f"more than {max_ndim}")
    here = set(map(type, value))
    if list not in here:
        kinds |= here
        return (max(map(len, value)) if here == {str} else 0), len(value)  # type: ignore[arg-type]
    if len(here) > 1:
        raise Malformed("ragged", "lists beside values")
    longest = count = 0
    for item in value:
        size, number = _look(item, kinds, depth + 1, max_ndim)  # type: ignore[arg-type]
        longest, count = max(longest, size), count + number
    return longest, count
