"""One reader and one writer for each format, behind two functions.

Hides which module knows a format; those for images, forms and safetensors are imported when first met.
"""

from __future__ import annotations

from collections.abc import Mapping

from .arrays import Array
from .form import PLAIN, Form, KeyForm, form_of
from .json_numbers import named_list
from .json_read import Check, Elsewhere, read_json
from .json_write import write_json
from .limits import Budget, Malformed, check_keys
from .media import CONTENT_TYPES
from .npy import as_arrays, read_npy, read_npz, write_npy, write_npz
from .pickle_write import dumps
from .safepickle import read as read_pickle

SINGLE = "x"
"""The name of the one value of a format that has no names."""


def read_body(
    kind: str,
    body: bytes | bytearray,
    content_type: str,
    budget: Budget,
    *,
    arrays: bool,
    check: Check | None = None,
    elsewhere: Elsewhere | None = None,
) -> tuple[dict[str, object], Form]:
    """The named values of `body` and its form.

    Raises:
        Malformed, RefusedPickle: the body is refused.
    """
    if kind == "json":
        return read_json(body, budget, arrays=arrays, check=check, elsewhere=elsewhere)
    if kind == "pickle":
        return _read_pickle(body, budget, arrays=arrays)
    found: Mapping[str, Array]
    if kind == "npy":
        found = {SINGLE: read_npy(body, budget)}
    elif kind == "npz":
        found = read_npz(body, budget)
    elif kind == "safetensors":
        from .safetensors import read_safetensors

        found = read_safetensors(body, budget)
    elif kind == "image":
        from .images import read_image

        found, kind = {SINGLE: read_image(body, budget)}, "json"
    else:
        from .multipart import read_form

        return read_form(body, content_type, budget, arrays=arrays), Form()
    return dict(found), Form(kind)


def write_body(outputs: Mapping[str, object], form: Form) -> tuple[bytes, str]:
    """`outputs` as `form` says, and the content type.

    Raises:
        TypeError, ValueError: an output cannot be written so.
    """
    media = form.media
    if media == "json":
        body = write_json(outputs, form)
    elif media == "pickle":
        body = _write_pickle(outputs, form)
    elif media == "npy" and len(arrays := as_arrays(outputs)) == 1:
        body = write_npy(next(iter(arrays.values())))
    elif media == "safetensors":
        from .safetensors import write_safetensors

        body = write_safetensors(as_arrays(outputs))
    else:
        media = "npz"
        body = write_npz(as_arrays(outputs))
    return body, CONTENT_TYPES[media]


def _read_pickle(body: bytes | bytearray, budget: Budget, *, arrays: bool) -> tuple[dict[str, object], Form]:
    values, protocol = read_pickle(body, budget)
    if type(values) is not dict:
        raise Malformed("not-a-dictionary", 'a pickle of {"name": array, …} is expected')
    check_keys(len(values), budget.limits)
    keys: dict[str, KeyForm] = {}
    for key, value in values.items():
        if type(key) is not str:
            raise Malformed("not-a-dictionary", f"the name {key!r} is not text")
        inner = _inner(value, protocol, arrays)
        if inner is not None:
            values[key], written = read_pickle(inner, budget)
            keys[key] = KeyForm("pickled", written)
        elif type(value) is list and arrays:
            values[key] = named_list(key, value, budget)
    if not keys:
        return values, Form("pickle", protocol)
    return values, form_of("pickle", {key: keys.get(key, PLAIN) for key in values}, protocol=protocol)


def _inner(value: object, protocol: int, arrays: bool) -> bytes | None:
    """The pickle that a value inside a pickle is, if it is one."""
    if type(value) is bytes and (arrays or _is_pickle(value)):
        return value
    if type(value) is str and arrays and protocol < 3 and _is_pickle(value.encode()):
        return value.encode()  # a `str` of Python 2
    return None


def _is_pickle(data: bytes) -> bool:
    """Whether bytes inside a pickle are a pickle themselves: protocol 2 to 5, or an array in protocol 0 or 1."""
    return data[-1:] == b"." and (data[:1] == b"\x80" or data[:6] == b"cnumpy")


def _write_pickle(outputs: Mapping[str, object], form: Form) -> bytes:
    values = {
        key: dumps(value, form.of(key).protocol) if form.of(key).kind == "pickled" else value
        for key, value in outputs.items()
    }
    return dumps(values, form.protocol)
