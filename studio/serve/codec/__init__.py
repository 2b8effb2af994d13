"""The wire: bytes of a request to named values, and answers back in the form of the request.

Hides every format and every defence. `decode` and `encode` serve a server, `encode_request` and `decode_answer` a
client; both sides read through the same safe decoder. See docs/reference/wire.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from studio.errors import BadInput, ServeError, TooLarge, UnsupportedType

from .dispatch import read_body, write_body
from .form import Form
from .json_numbers import null_at
from .json_read import Check, Elsewhere, holds_long
from .limits import DEFAULT, NULL_HINT, Budget, Limits, Malformed
from .media import CONTENT_TYPES, accepted, kind_of
from .pickle_templates import known
from .weight import weight, weight_of_plain

__all__ = [
    "NULL_HINT", "SMALL_BYTES", "Form", "Limits", "decode", "decode_answer", "encode", "encode_request", "holds_long",
    "null_at", "quick", "weight", "weight_of_plain",
]  # fmt: skip

SMALL_BYTES = 8192
"""JSON and pickles up to this size are read in a moment, whatever they hold."""

_HINT = "send JSON, npy, npz, safetensors, a picture, or pickled numeric arrays"


def decode(
    body: bytes | bytearray | memoryview, content_type: str | None, *, arrays: bool, limits: Limits = DEFAULT,
    check: Check | None = None, elsewhere: Elsewhere | None = None,
) -> tuple[dict[str, object], Form]:  # fmt: skip
    """The named values of a request's body, and how it was written.

    Arrays are writable, aligned and of native byte order. They share memory with `body` where it is writable (a
    `bytearray`) and the format allows: leave it alone as long as they live.

    Args:
        body: The whole body, not compressed.
        content_type: The header, or None; a missing one or that of a form is found out from the body.
        arrays: Whether the predictor takes arrays: JSON lists become arrays, and JSON strings are read as pickles.
            Otherwise JSON values stay as they are.
        limits: What the body may cost.
        check: Sees the values of a JSON body before its lists become arrays, and may refuse them.
        elsewhere: Reads a JSON body that `holds_long`, or gives None.

    Raises:
        BadInput: the body is not what it says (400); RefusedPickle among them.
        TooLarge: the body or what it unpacks to is over a limit (413).
        UnsupportedType: no such format (415).
    """
    data = _whole(body)
    if len(data) > limits.max_bytes:
        raise TooLarge(f"the body has {len(data)} bytes, at most {limits.max_bytes} are read", hint="--max-body")
    kind = kind_of(content_type, data)
    try:
        return read_body(
            kind, data, content_type or "", Budget(limits).fit(len(data)), arrays=arrays, check=check,
            elsewhere=elsewhere,
        )  # fmt: skip
    except Malformed as exc:
        raise _refusal(kind, exc) from None


def quick(body: bytes | bytearray, content_type: str | None, *, limits: Limits = DEFAULT) -> bool:
    """Whether `decode` takes no more time than the size of the body says.

    Not so where a body unpacks (images, `.npz`, forms), nor for JSON and pickles of more than `SMALL_BYTES`; but for
    pickles that differ only in their arrays' bytes from one that was read before.
    """
    try:
        kind = kind_of(content_type, body)
    except UnsupportedType:
        return True
    if kind in ("json", "pickle") and len(body) <= SMALL_BYTES:
        return True
    return kind in ("npy", "safetensors") or (kind == "pickle" and known(body, limits))


def encode(outputs: Mapping[str, object], form: Form, *, accept: str | None = None) -> tuple[bytes, str]:
    """The body and content type of an answer: in the form of the request, or in the first of `accept` that there is.

    Raises:
        ServeError: an output cannot be written in this form (500); the message names its key.
    """
    kind = accepted(accept)
    if kind is not None and kind != form.media:
        form = Form(kind)
    try:
        return write_body(outputs, form)
    except (TypeError, ValueError, RecursionError, OverflowError) as exc:
        raise _unwritable(outputs, form, exc) from exc


def encode_request(inputs: Mapping[str, object], kind: str = "pickle") -> tuple[bytes, str]:
    """The body and content type of a request.

    Args:
        inputs: Named arrays or plain values.
        kind: `pickle` (quickest to write and read), `json`, `npy` (one input), `npz` or `safetensors`.

    Raises:
        ServeError: an input cannot be written in this form; the message names its key.
    """
    if kind not in CONTENT_TYPES:
        raise ServeError(f"no form {kind!r} on the wire", hint=f"one of {', '.join(CONTENT_TYPES)}")
    return encode(inputs, Form(kind))


def decode_answer(body: bytes | bytearray | memoryview, content_type: str | None) -> dict[str, object]:
    """The named values of an answer, read as strictly as a request: an answer is data from elsewhere too.

    JSON lists become arrays where they are rectangular, typed arrays become arrays, strings stay strings.

    Raises:
        BadInput, TooLarge, UnsupportedType: as `decode`.
    """
    data = _whole(body)
    kind = kind_of(content_type, data)
    budget = Budget(Limits(max_bytes=max(DEFAULT.max_bytes, len(data)), max_keys=DEFAULT.max_nodes, nulls=True))
    try:
        if kind == "json":
            from .json_read import read_json_answer

            return read_json_answer(data, budget)
        return read_body(kind, data, content_type or "", budget, arrays=True)[0]
    except Malformed as exc:
        raise _refusal(kind, exc) from None


def _whole(body: bytes | bytearray | memoryview) -> bytes | bytearray:
    if isinstance(body, memoryview):
        whole = body.obj
        if isinstance(whole, (bytes, bytearray)) and body.c_contiguous and body.nbytes == len(whole):
            return whole
        return bytes(body)
    return body


def _refusal(kind: str, exc: Malformed) -> BadInput | TooLarge:
    if exc.code == "too-many-keys":
        return TooLarge(f"the body has {exc.detail}", hint="send several requests")
    if exc.code == "null":
        return BadInput(exc.detail, hint=NULL_HINT)
    message = f"the body cannot be read as {kind}: {exc.code}" + (f": {exc.detail}" if exc.detail else "")
    return TooLarge(message, hint=_HINT) if exc.code == "too-large" else BadInput(message, hint=_HINT)


def _unwritable(outputs: Mapping[str, object], form: Form, exc: Exception) -> ServeError:
    """The error that names the first output that cannot be written."""
    said = ""
    for key, value in outputs.items():
        try:
            write_body({key: value}, form)
        except (TypeError, ValueError, RecursionError, OverflowError) as one:
            said = f"the value {str(key)[:80]!r} cannot be written as {form.media}: {str(one)[:200]}"
            break
    return ServeError(
        said or f"the values cannot be written as {form.media}: {str(exc)[:200]}",
        hint="use numbers, text, lists, dictionaries and arrays of numbers, truth values, dates or text",
    )
