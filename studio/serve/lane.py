"""The fast lane: uvicorn's HTTP protocol, with `POST /` answered from the parser's callbacks.

Everything else takes uvicorn's ordinary way into the ASGI site. Time limits and the drain are `Connection`'s.
"""

from __future__ import annotations

import asyncio
import re
from time import monotonic
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..errors import BadInput, NotFound, StudioError
from .connection import BODY, HEAD, IDLE, Connection
from .endpoint import Endpoint
from .exchange import Exchange
from .message import make_head

TESTED = ((0, 30), (0, 59))
"""First and last minor version of uvicorn whose protocol class has the shape that this one builds on."""

MAX_HEAD = 64 * 1024
KEPT_AFTER_REFUSAL = 1024 * 1024
_NEEDED = ("on_message_begin", "on_headers_complete", "on_body", "on_message_complete", "on_response_complete",
           "data_received", "connection_made", "connection_lost", "pause_writing", "resume_writing", "shutdown",
           "send_400_response", "_unset_keepalive_if_required", "timeout_keep_alive_handler")  # fmt: skip


def supported() -> bool:
    """Whether this uvicorn is one that the lane is known to fit."""
    numbers = [int(n) for n in re.findall(r"\d+", uvicorn.__version__)[:2]]
    return TESTED[0] <= tuple(numbers) <= TESTED[1] and all(hasattr(HttpToolsProtocol, name) for name in _NEEDED)


class Lane(Connection):
    """One connection whose `POST /` is answered here."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected."""
        super().connection_made(transport)
        self.chunk = self.head_least = self.head_most = 0
        self.begun = self.upgrades = self.taken = False
        self.fast: Exchange | None = None

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; a head that grows beyond the limit ends the connection."""
        if self.lingering:
            return
        self.begun = False
        self.quiet = 0
        self.chunk = len(data)
        self._unset_keepalive_if_required()
        parts: list[bytes | memoryview] = [data]
        while parts:
            part = parts.pop()
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as exc:
                rest = memoryview(part)[exc.args[0] :]
                parts += (rest, self._start_over()) if len(rest) else (self._start_over(),)
            except httptools.HttpParserError:
                self.send_400_response("")
                return
        if self.phase == HEAD:
            self.head_most += len(data)
            self.head_least += self._head_size() if self.begun else len(data)
            if self.head_least > MAX_HEAD:
                self._head_too_large()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: its work is dropped."""
        cycle: Any = self.cycle
        if isinstance(cycle, Exchange) and cycle.ticket is not None:
            cycle.ticket.cancel()
        elif self.fast is not None and self.fast.ticket is not None:
            self.fast.ticket.cancel()
        if self.fast is not None:
            self.fast.free()
        super().connection_lost(exc)
        self.cycle = None  # type: ignore[assignment]
        self.fast = None  # each of them holds the connection

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.phase = HEAD
        self.mark = monotonic()
        self.begun = True
        self.head_least = self.head_most = 0
        self.dropping = False
        if self.fast is not None and self.fast.response_complete:
            self.fast = None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Takes `POST /` if nothing is pending on this connection; uvicorn has all else."""
        for name, value in self.headers:
            if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                self.end(400, BadInput("of Transfer-Encoding only chunked is taken", hint="or send a Content-Length"))
                raise BadInput("the parser shall stop here")
        if self.head_most + self.chunk > MAX_HEAD and self._head_size() > MAX_HEAD:
            self._head_too_large()
            raise BadInput("the parser shall stop here")
        self.upgrades = self.parser.should_upgrade()
        if self.upgrades:
            if self.parser.get_method() != b"CONNECT":
                return  # the parser stops behind the head; `data_received` begins again
            self.end(405, NotFound("nothing answers CONNECT"))
            raise BadInput("the parser shall stop here")
        self.phase = BODY
        self.mark = monotonic()
        self.body_bytes = 0
        cycle: Any = self.cycle
        url = self.url
        ours = (url == b"/" or url.startswith(b"/?")) and self.parser.get_method() == b"POST"
        if not ours or not (cycle is None or cycle.response_complete):
            self.taken = False
            super().on_headers_complete()
            return
        self.taken = True
        keep = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        client = self.client[0] if self.client else ""
        head = make_head("POST", ("/", url[2:].decode("latin-1")), self.headers, client)
        exchange = Exchange(self, head, keep)
        self.fast = exchange
        self.cycle = exchange  # type: ignore[assignment]
        try:
            self.endpoint.admit(head)
        except StudioError as exc:
            self._refuse(exchange, exc)
            return
        if self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Part of a body."""
        self.body_bytes += len(body)
        if not self.taken or self.fast is None:
            super().on_body(body)
            return
        exchange = self.fast
        if exchange.response_complete:
            return
        exchange.size += len(body)
        self.endpoint.held_bytes += len(body)
        if exchange.size > self.endpoint.limits.max_body:
            self._refuse(exchange, self.endpoint.too_large())
        elif self.endpoint.full(0):
            self._refuse(exchange, self.endpoint.too_many_bytes())
        elif not exchange.body:
            exchange.body = body
        else:
            if isinstance(exchange.body, bytes):
                exchange.body = bytearray(exchange.body)
            exchange.body += body

    def on_message_complete(self) -> None:
        """The whole request is here: it is answered."""
        if self.upgrades:
            return
        self.phase = IDLE
        self.mark = monotonic()
        if not self.taken or self.fast is None:
            super().on_message_complete()
            return
        exchange = self.fast
        exchange.more_body = False
        if exchange.response_complete:
            if self.dropping:
                self.transport.close()
            return
        exchange.free()
        exchange.ticket = self.endpoint.start(exchange.head, exchange.body, exchange.send)
        exchange.body = b""

    def send_400_response(self, msg: str) -> None:
        """What the parser refuses gets the same error body as everything else."""
        self.end(400, BadInput("this is not HTTP/1.1 as its standard has it"))

    def _start_over(self) -> bytes:
        """Offers of other protocols are not taken: a new parser gets the same head without them."""
        old, self.parser = self.parser, httptools.HttpRequestParser(self)
        if hasattr(self.parser, "set_dangerous_leniencies"):
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        version = old.get_http_version().encode()
        lines = [old.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [t.strip() for t in value.split(b",")]
                value = b", ".join(t for t in tokens if t.lower() not in (b"upgrade", b"http2-settings"))
            if name not in (b"upgrade", b"http2-settings"):
                lines.append(name + b": " + value)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _head_too_large(self) -> None:
        self.end(431, BadInput(f"the head of the request is larger than {MAX_HEAD} bytes"))

    def _refuse(self, exchange: Exchange, error: StudioError) -> None:
        declared = exchange.head.headers.get(b"content-length", b"")
        rest = int(declared) - self.body_bytes if declared.isdigit() else KEPT_AFTER_REFUSAL + 1
        chunked = b"transfer-encoding" in exchange.head.headers
        if self.expect_100_continue or ((chunked or declared) and rest > KEPT_AFTER_REFUSAL):
            exchange.keep_alive = False
        exchange.send(self.endpoint.refuse(error, exchange.head))


def lane_for(endpoint: Endpoint) -> type[Lane]:
    """The protocol class of one server."""
    return type("ServerLane", (Lane,), {"endpoint": endpoint})
