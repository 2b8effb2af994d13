"""Reads what a server told, and believes none of it: whatever is wrong with a reply becomes one typed error."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from .. import errors
from ..errors import NotFound, Overloaded, ServeError, StudioError

if TYPE_CHECKING:
    from ..experiment import JSON

HINT = "is it a studio server?"
_BY_STATUS = {400: errors.BadInput, 401: errors.Unauthorized, 403: errors.Forbidden, 413: errors.TooLarge,
              415: errors.UnsupportedType, 503: Overloaded, 504: errors.Timeout}  # fmt: skip


def one_line(text: object, most: int = 2000) -> str:
    """Text of a server's, without line breaks and control characters."""
    words = " ".join(str(text)[:most].split())
    return "".join(c if c.isprintable() else "?" for c in words)


def wait_of(retry_after: str | None, date: str | None = None) -> float:
    """Seconds that `Retry-After` asks for: a number, or a time by the server's clock (`Date`); 0 for anything else."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    then = _seconds(text)
    now = _seconds(date or "") or time.time()
    return 0.0 if then is None else max(0.0, then - now)


def _seconds(date: str) -> float | None:
    """Since 1970, of a date in HTTP's form."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def parse_metadata(body: bytes | bytearray) -> dict[str, JSON]:
    """The object of `GET /metadata`.

    Raises:
        ServeError: it is none.
    """
    told = _json(body)
    if not isinstance(told, dict):
        raise ServeError("the server's metadata is no JSON object", hint=HINT)
    return told


def parse_errors(header: str) -> dict[str, dict[str, str]]:
    """What `X-Studio-Errors` says: by key the fields of its error, as text.

    Raises:
        ServeError: it says something else.
    """
    told = _json(header)
    if not isinstance(told, dict) or not all(isinstance(v, dict) for v in told.values()):
        raise ServeError("the server's X-Studio-Errors header cannot be read", hint=HINT)
    return {
        key: {str(name): one_line(text) for name, text in fields.items()}
        for key, fields in told.items()
        if isinstance(fields, dict)
    }


def error_of(status: int, body: bytes | bytearray) -> StudioError:
    """The error that the server named, if a server can have it; else the one that the status means."""
    told = _json(body)
    if not isinstance(told, dict) or "error" not in told:
        if 300 <= status < 400:
            return ServeError(f"the server answered {status}: it wants another address to be asked", hint=HINT)
        return _BY_STATUS.get(status, ServeError)(f"the server answered {status}", hint=HINT)
    message, hint = one_line(told["error"]), one_line(told.get("hint") or "", 500)
    kind = told.get("kind")
    found = getattr(errors, kind, None) if isinstance(kind, str) and kind.isidentifier() else None
    if found is errors.RefusedPickle:
        return errors.BadInput(message, hint=hint)
    if isinstance(found, type) and issubclass(found, (ServeError, NotFound)):
        return found(message, hint=hint)
    return _BY_STATUS.get(status, ServeError)(message, hint=hint)


def _json(text: str | bytes | bytearray) -> JSON:
    """The JSON value, or None: what is not JSON and `null` are equally useless here."""
    try:
        told: JSON = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return told
