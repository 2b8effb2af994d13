"""A request's head and a reply's bytes, independent of how they travel; the one place where errors become replies."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import Overloaded, StudioError, Unauthorized

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_ID_PREFIX = secrets.token_hex(4)
_ID_COUNTER = itertools.count(1)
MAX_ERRORS_HEADER = 8192
MAX_CAVEAT = 900

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Head:
    """Request line and headers. Header names are lower case; of repeated headers the last one counts.

    Attributes:
        client: Address of the peer, without the port.
        hosts: How many Host headers there were.
        request_id: The client's `X-Request-ID` if it is well formed, else a new one.
    """

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    client: str = ""
    hosts: int = 1
    request_id: str = ""
    arrived: float = field(default_factory=time.perf_counter)

    def get(self, name: bytes) -> str:
        """One header's value as text, or ""."""
        return self.headers.get(name, b"").decode("latin-1")


def make_head(method: str, target: tuple[str, str], pairs: Iterable[tuple[bytes, bytes]], client: str) -> Head:
    """The head of a request for `target` = (path, query)."""
    headers: dict[bytes, bytes] = {}
    hosts = 0
    for name, value in pairs:
        if name == b"host":
            hosts += 1
        headers[name] = value
    head = Head(method, target[0], target[1], headers, client, hosts)
    given = headers.get(b"x-request-id")
    head.request_id = request_id(given.decode("latin-1") if given is not None else None)
    return head


def request_id(given: str | None) -> str:
    """The given id if it may be echoed, else a new one that is unique on this machine."""
    if given is not None and _ID.fullmatch(given) is not None:
        return given
    return f"{_ID_PREFIX}-{next(_ID_COUNTER):x}"


@dataclass(slots=True)
class Reply:
    """Status, headers (without Content-Length) and body of an answer."""

    status: int
    body: bytes
    headers: Headers


def error_reply(error: StudioError, head_id: str, *, debug: bool = False, extra: Headers | None = None) -> Reply:
    """The error body of `contracts.md` with the status that the error's class carries."""
    told: dict[str, str] = {**error.as_json(), "request_id": head_id}
    if debug:
        cause = error.__cause__ or error
        told["traceback"] = "".join(traceback.format_exception(cause))
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"x-request-id", head_id.encode("latin-1")),
        (b"x-content-type-options", b"nosniff"),
    ]
    if isinstance(error, Overloaded):
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    return Reply(error.http_status, json.dumps(told).encode() + b"\n", headers + (extra or []))


def caveat_header(caveat: str) -> Headers:
    """`X-Studio-Model` of every answer of a model that is not the one to be expected; nothing for all others."""
    text = caveat if caveat.isascii() else caveat.encode("ascii", "backslashreplace").decode()
    text = " ".join(text.split())
    if len(text) > MAX_CAVEAT:
        text = text[: MAX_CAVEAT - 4].rpartition(" ")[0] + " ..."
    return [(b"x-studio-model", text.encode("ascii"))] if text else []


def errors_header(errors: dict[str, StudioError]) -> bytes:
    """`X-Studio-Errors`: JSON of key → error and kind, ASCII, at most 8 kB; what does not fit is counted."""
    told: dict[str, dict[str, str]] = {}
    size = 2
    for key, error in errors.items():
        entry = {"error": error.message[:500], "kind": error.kind}
        size += len(json.dumps({key: entry}))
        if size > MAX_ERRORS_HEADER - 64:
            told[""] = {"error": f"and {len(errors) - len(told)} more", "kind": "StudioError"}
            break
        told[key] = entry
    return json.dumps(told).encode("ascii")
