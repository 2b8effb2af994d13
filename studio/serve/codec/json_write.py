"""JSON answers: arrays and scalars as nested lists and numbers, float32 in its shortest form.

Hides orjson and what it cannot say: not-a-number and infinities become null, complex numbers and time differences
become `{"dtype", "shape", "b64"}`, dates ISO 8601 text, bytes UTF-8 text or base64. Integers of any size and
decimals keep all their digits.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence, Set, ValuesView
from decimal import Decimal

import numpy as np
import orjson

from .arrays import Array, plain, raw_bytes, type_string
from .form import Form
from .pickle_write import dumps

_MAX_DEPTH = 64
AT_ONCE = 20_000
"""Numbers that are written in one call."""

_LIMB = 4000
"""Python turns integers of at most this many digits into text."""


def write_json(outputs: Mapping[str, object], form: Form) -> bytes:
    """The JSON object of `outputs`, each value as `form` says.

    Raises:
        TypeError: a value that JSON cannot carry, that is nested too deep, or a key that comes twice as text.
    """
    values = {key: _shaped(value, form, key) for key, value in outputs.items()}
    try:
        return orjson.dumps(values, default=_default)
    except TypeError:
        # Keys that are no text, integers beyond 64 bits, lone surrogates: rare, and slow.
        return _text(values, 0).encode()


def _shaped(value: object, form: Form, key: str) -> object:
    how = form.of(key)
    if how.kind in ("text", "base64"):
        data = dumps(value, how.protocol)
        return str(base64.b64encode(data), "ascii") if how.kind == "base64" else str(data, "latin-1")
    if how.kind == "typed":
        made = plain(value)
        if isinstance(made, (np.ndarray, np.generic)):
            return typed(np.asarray(made))
    return value


def typed(array: Array) -> dict[str, object]:
    """`array` as `{"dtype", "shape", "b64"}`, in C order."""
    data = str(base64.b64encode(raw_bytes(array)), "ascii")
    return {"dtype": type_string(array.dtype), "shape": list(array.shape), "b64": data}


def _default(value: object) -> object:
    raw = _raw(value)
    return _simple(value) if raw is None else orjson.Fragment(raw)


def _raw(value: object) -> bytes | None:
    """The JSON text of arrays and scalars of numbers; None for all else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.ndim and value.dtype.itemsize <= 8:
        made = np.ascontiguousarray(value, value.dtype.newbyteorder("="))
        if not isinstance(value, np.ma.MaskedArray):
            return _text_of(made)
    if isinstance(value, np.generic) and value.dtype.kind in "iuf" and value.dtype.itemsize <= 8:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    if isinstance(value, Decimal):
        return str(value).encode() if value.is_finite() else b"null"
    return None


def _text_of(array: Array) -> bytes:
    """In pieces, since each call holds the interpreter, and the event loop with it."""
    rows = max(1, AT_ONCE * len(array) // max(1, array.size))
    if len(array) <= rows:
        return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
    pieces = [
        orjson.dumps(array[at : at + rows], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        for at in range(0, len(array), rows)
    ]
    return b"[" + b",".join(pieces) + b"]"


def _simple(value: object) -> object:
    """One step from `value` towards what JSON knows."""
    if isinstance(value, (np.bool_, np.str_)):
        return value.item()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _bytes(bytes(value))
    if isinstance(value, complex | np.complexfloating | np.timedelta64):
        return typed(np.asarray(plain(np.asarray(value))))
    if isinstance(value, np.longdouble):
        return float(value)
    if isinstance(value, (Set, Sequence, ValuesView)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ma.MaskedArray):
        return value.tolist()
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return value.tolist()
    made = plain(np.asarray(value) if isinstance(value, np.generic) else value)
    if not isinstance(made, np.ndarray):
        lazy = "; make a list of it" if isinstance(value, Iterator) else ""
        raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__}{lazy}")
    return _array(made)


def _array(array: Array) -> object:
    kind = array.dtype.kind
    if kind == "M":
        text = np.datetime_as_string(array)  # type: ignore[arg-type]
        return _mapped(text.tolist(), lambda item: None if item == "NaT" else item)
    if kind == "S":
        return _mapped(array.tolist(), _bytes)
    if kind in "cm":
        return typed(array)
    if kind == "f" and not array.ndim:
        return array[()]
    return array.tolist()


def _mapped(value: object, change: object) -> object:
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    return change(value)  # type: ignore[operator]


def _bytes(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return str(base64.b64encode(value), "ascii")


def _text(value: object, depth: int) -> str:
    """`value` as JSON text, one step at a time."""
    if depth > _MAX_DEPTH:
        raise TypeError(f"nested deeper than {_MAX_DEPTH}")
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value)
    if isinstance(value, int):
        return _digits(int(value))
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else "null"
    if isinstance(value, dict):
        return _object(value, depth)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_text(item, depth + 1) for item in value]) + "]"
    raw = _raw(value)
    return _text(_simple(value), depth + 1) if raw is None else raw.decode()


def _object(value: dict[object, object], depth: int) -> str:
    members: dict[str, str] = {}
    for key, item in value.items():
        name = _key(key)
        if name in members:
            raise TypeError(f"the key {name[:80]!r} comes twice: as text and as another type")
        members[name] = json.dumps(name) + ":" + _text(item, depth + 1)
    return "{" + ",".join(members.values()) + "}"


def _digits(value: int) -> str:
    """`str(value)`, without Python's limit on its length."""
    if value < 0:
        return "-" + _digits(-value)
    digits = int(value.bit_length() * 0.30103) + 1
    if digits <= _LIMB:
        return str(value)
    low = digits // 2
    upper, rest = divmod(value, 10**low)
    return _digits(upper) + _digits(rest).zfill(low)


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, (bool, np.bool_)):
        return "true" if key else "false"
    if isinstance(key, (int, float, np.integer, np.floating)):
        return str(key)
    raise TypeError(f"a key of type {type(key).__name__}")
