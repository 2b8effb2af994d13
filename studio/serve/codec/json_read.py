"""JSON bodies: strict text in, values and their forms out.

Hides which parser reads what. Duplicate keys, too deep nesting and too many values are refused before or while they
are read; `NaN`, `Infinity` and `-Infinity`, which Python writes, are read.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gc
import json
import math
import os
import re
import threading
from collections.abc import Callable, Mapping

from studio.errors import RefusedPickle

from .arrays import build, parse_dtype
from .form import PLAIN, Form, KeyForm, form_of
from .json_numbers import SIMD_MAX, about, list_to_array, only_number_lists, simdjson
from .limits import Budget, Limits, Malformed, check_keys, check_long_text
from .safepickle import read as read_pickle

_STRING = re.compile(rb'"[^"]*"')
_NOT_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_TEXT = rb'"[^"\\\\]{0,1000}"'
_SPACES = rb"[ \t\r\n]{0,100}"
_PLAIN_PAIR = re.compile(
    _SPACES + rb"[{,]" + _SPACES + _TEXT + _SPACES + rb":" + _SPACES
    + rb"(?:" + _TEXT + rb"|[^\[\]{}\",]{1,100}(?=[,}])"
    + rb"|\[(?:[^\[\]{}\"]|" + _TEXT + rb"){0,1000}\]|\{(?:[^\[\]{}\"]|" + _TEXT + rb"){0,1000}\})"
)  # fmt: skip
"""A key and a value in which nothing is nested, with what comes before them."""
MOST_EMPTY = 10_000
"""Empty lists and objects of one document: two bytes each to send, a hundred to hold."""

_FEW_LISTS = 5_000

_TYPED = {"dtype", "shape", "b64"}


Check = Callable[[Mapping[str, object]], None]
Elsewhere = Callable[[], "tuple[dict[str, object], Form] | None"]

MANY = 100_000
"""Values that are not in lists of numbers: some 0.5 µs each, in calls that hold the interpreter."""


def holds_long(body: bytes | bytearray) -> bool:
    """Whether to read this holds all threads for more than some 50 ms; plain lists of numbers are read before."""
    return len(body) > SIMD_MAX or body.count(b",") > MANY


def read_json(
    body: bytes | bytearray,
    budget: Budget,
    *,
    arrays: bool,
    check: Check | None = None,
    elsewhere: Elsewhere | None = None,
) -> tuple[dict[str, object], Form]:
    """The values of a JSON object; with `arrays`, lists, typed arrays and pickles in strings become arrays.

    Raises:
        Malformed: no JSON object, or one that cannot be an input; `code` is `too-large` where a cap is met.
        RefusedPickle: a string that is to be a pickle is refused.
    """
    if body.count(b",") > budget.limits.max_numbers:
        raise Malformed("too-large", f"more than {budget.limits.max_numbers} values; send a binary form")
    if arrays:
        numbers = only_number_lists(body, budget)
        if numbers is not None:
            if check is not None:
                check(numbers)
            return numbers, Form()  # type: ignore[return-value]
        if elsewhere is not None and holds_long(body):
            found = elsewhere()
            if found is not None:
                return found
    _check_plain_keys(body, budget.limits)
    values = parse(body, budget)
    if type(values) is not dict:
        raise Malformed("not-an-object", "a JSON object of named values is expected")
    check_keys(len(values), budget.limits)
    if check is not None:
        check(values)
    if not arrays:
        return values, Form()
    keys: dict[str, KeyForm] = {}
    for key, value in values.items():
        try:
            values[key], keys[key] = _value(value, budget)
        except Malformed as exc:
            raise about(key, exc) from None
        except RefusedPickle as exc:
            said = exc.detail or "this model takes arrays, so a text must be a pickle of one"
            raise RefusedPickle(exc.code, f"{key!r}: {said}") from None
    return values, form_of("json", keys)


def _check_plain_keys(body: bytes | bytearray, limits: Limits) -> None:
    """Refuses too many keys before they are parsed, as long as the first of them have values without nesting."""
    if body.count(b":") <= limits.max_keys:
        return
    at = 3 if body[:3] == b"\xef\xbb\xbf" else 0
    for count in range(1, limits.max_keys + 2):
        pair = _PLAIN_PAIR.match(body, at)
        if pair is None:
            return
        at = pair.end()
        check_keys(count, limits)


def parse(body: bytes | bytearray, budget: Budget) -> object:
    """Any JSON document as Python values.

    Raises:
        Malformed: not JSON, a key twice in one object, too deep, too many lists.
    """
    if body[:3] == b"\xef\xbb\xbf":
        body = body[3:]
    opens = body.count(b"[") + body.count(b"{")
    if opens > budget.limits.max_depth:
        if opens > budget.limits.max_numbers // 4:
            raise Malformed("too-large", f"more than {budget.limits.max_numbers // 4} lists; send a binary form")
        _check_depth(bytes(body), budget.limits.max_depth)
    check_long_text(body)
    try:
        with _COLLECTOR if opens > _FEW_LISTS else contextlib.nullcontext():
            value = _quick(body)
            return json.loads(str(body, "utf-8"), object_pairs_hook=_distinct) if value is None else value
    except Malformed:
        raise
    except UnicodeDecodeError:
        raise Malformed("not-json", "the text is not UTF-8") from None
    except (ValueError, RecursionError) as exc:
        raise Malformed("not-json", str(exc)[:120]) from None


class _Pause:
    """No garbage is collected while lists are made that are none: each time all of them would be looked at again.

    It counts, as two threads read bodies.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._was_on = False

    def forked(self) -> None:
        """A child has none of the threads that were inside, nor the one that may hold the lock."""
        if self._inside and self._was_on:
            gc.enable()
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._was_on = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._was_on:
                gc.enable()


_COLLECTOR = _Pause()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_COLLECTOR.forked)


def _quick(body: bytes | bytearray) -> dict[str, object] | None:
    """The values of an object that holds no other object, by simdjson; None for anything unusual."""
    if simdjson is None or body.count(b"{") != 1 or not 64 <= len(body) <= SIMD_MAX:
        return None
    try:
        found = simdjson.Parser().parse(bytes(body))
        count = len(found)
        values: dict[str, object] = found.as_dict()
    except (ValueError, TypeError, RuntimeError, AttributeError):
        return None
    return values if len(values) == count else None


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Malformed("duplicate-key", "a key is there twice")
    return values


def _check_depth(body: bytes, most: int) -> None:
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    bare = _STRING.sub(b"0", unescaped).translate(None, b" \t\r\n")
    if bare.count(b"[]") + bare.count(b"{}") > MOST_EMPTY:
        raise Malformed("too-large", f"more than {MOST_EMPTY} empty lists and objects")
    brackets = bare.translate(None, _NOT_BRACKETS)
    for _ in range(most):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise Malformed("too-deep", f"nested deeper than {most}, or brackets that do not match")


def _value(value: object, budget: Budget) -> tuple[object, KeyForm]:
    if type(value) is list:
        return list_to_array(value, budget), PLAIN
    if value is None and budget.limits.nulls:
        return math.nan, PLAIN
    if type(value) is str:
        return _pickled(value, budget)
    if type(value) is dict and value.keys() == _TYPED:
        return typed_to_array(value, budget), KeyForm("typed")
    return value, PLAIN


def typed_to_array(value: dict[str, object], budget: Budget) -> object:
    """The array of `{"dtype", "shape", "b64"}`.

    Raises:
        Malformed: the three do not fit each other.
    """
    dtype, shape, text = value["dtype"], value["shape"], value["b64"]
    if type(dtype) is not str or type(shape) is not list or type(text) is not str:
        raise Malformed("bad-typed", 'dtype and b64 are text, shape is a list, as {"dtype": "<f4", "shape": [2], …}')
    budget.output -= len(text)
    if budget.output < 0:
        raise Malformed("too-large", f"more than {budget.limits.output_bytes} bytes")
    return build(_from_base64(text), parse_dtype(dtype), shape, limits=budget.limits)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("bad-base64") from None


def _pickled(text: str, budget: Budget) -> tuple[object, KeyForm]:
    """A pickle in a JSON string: base64 if it starts with `gA` (no raw pickle starts with `g`), else raw text."""
    if text.startswith("gA"):
        value, protocol = read_pickle(_from_base64("".join(text.split())), budget)
        return value, KeyForm("base64", max(protocol, 2))
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError:
        raise Malformed("not-a-pickle", "this model takes arrays; a string must be a pickle of one") from None
    value, protocol = read_pickle(data, budget)
    return value, KeyForm("text", protocol)


def read_json_answer(body: bytes | bytearray, budget: Budget) -> dict[str, object]:
    """The values of an answer: rectangular lists of numbers and typed arrays as arrays, all else as it is.

    Raises:
        Malformed: no JSON object.
    """
    numbers = only_number_lists(body, budget)
    if numbers is not None:
        return dict(numbers)
    values = parse(body, budget)
    if type(values) is not dict:
        raise Malformed("not-an-object", "a JSON object of named values is expected")
    for key, value in values.items():
        if type(value) is list:
            try:
                values[key] = list_to_array(value, budget)
            except Malformed:
                continue
        elif type(value) is dict and value.keys() == _TYPED:
            values[key] = typed_to_array(value, budget)
    return values
