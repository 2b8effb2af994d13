"""The fast lane: uvicorn's HTTP protocol, with `POST /` answered from the parser's callbacks.

Everything else takes uvicorn's ordinary way into the ASGI site. Slow senders and readers are ended by `sweep`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from http import HTTPStatus
from time import monotonic
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..errors import BadInput, NotFound, StudioError
from .endpoint import Endpoint, Ticket
from .message import Head, Reply, error_reply, make_head, request_id

TESTED = ((0, 30), (0, 59))
"""First and last minor version of uvicorn whose protocol class has the shape that this one builds on."""

MAX_HEAD = 64 * 1024
KEPT_AFTER_REFUSAL = 1024 * 1024
HEAD_DEADLINE_S = 10.0
LINGER_S = 3.0
LINGER_DRAINING_S = 1.0
QUIET_CHECKS = 5
"""While draining, an idle connection ends after so many looks without a byte; a new one gets twice as many."""

BODY_GRACE_S = 10.0
BODY_RATE = 1000.0
"""Bytes per second that a body must reach on average once the grace time is over."""

IDLE, HEAD, BODY = range(3)
_STATUS = {s.value: b"HTTP/1.1 %d %s\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
_NEEDED = ("on_message_begin", "on_headers_complete", "on_body", "on_message_complete", "on_response_complete",
           "data_received", "connection_made", "connection_lost", "pause_writing", "resume_writing", "shutdown",
           "send_400_response", "_unset_keepalive_if_required", "timeout_keep_alive_handler")  # fmt: skip


def supported() -> bool:
    """Whether this uvicorn is one that the lane is known to fit."""
    numbers = [int(n) for n in re.findall(r"\d+", uvicorn.__version__)[:2]]
    return TESTED[0] <= tuple(numbers) <= TESTED[1] and all(hasattr(HttpToolsProtocol, name) for name in _NEEDED)


class _Event:
    """Stands where uvicorn keeps an asyncio.Event that nobody here waits for."""

    def set(self) -> None:
        """Nothing waits."""


_NO_EVENT = _Event()


class Exchange:
    """One request of the lane; stands where uvicorn keeps its cycle, so that its keep-alive and shutdown hold."""

    __slots__ = (
        "body",
        "closing",
        "disconnected",
        "head",
        "keep_alive",
        "lane",
        "message_event",
        "more_body",
        "response_complete",
        "size",
        "ticket",
    )  # fmt: skip

    def __init__(self, lane: Lane, head: Head, keep_alive: bool) -> None:
        self.lane, self.head, self.keep_alive = lane, head, keep_alive
        self.body: bytes | bytearray = b""
        self.size = 0
        self.response_complete = self.disconnected = self.closing = False
        self.more_body = True
        self.message_event = _NO_EVENT
        self.ticket: Ticket | None = None

    def free(self) -> None:
        """The bytes received so far no longer count as held by this connection."""
        self.lane.endpoint.held_bytes -= self.size
        self.size = 0

    def send(self, reply: Reply) -> None:
        """Writes the reply; closes afterwards if the connection is not to be kept."""
        if self.response_complete:
            return
        self.response_complete = True
        self.body = b""
        self.free()
        transport = self.lane.transport
        if self.disconnected or transport.is_closing():
            return
        if self.lane.endpoint.draining:
            self.keep_alive = False
        parts = [_STATUS[reply.status]]
        for name, value in reply.headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"content-length: %d\r\n" % len(reply.body))
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        if len(reply.body) < 65536:
            parts.append(reply.body)
            transport.write(b"".join(parts))
        else:
            transport.writelines((b"".join(parts), reply.body))
        if not self.keep_alive:
            if self.more_body:
                self.closing = True  # what is still on its way is read and dropped, so that the reply arrives
                self.lane.mark = monotonic()
            else:
                transport.close()
        self.lane.on_response_complete()


class Lane(HttpToolsProtocol):
    """One connection. Its class attribute `endpoint` is set by `lane_for`."""

    endpoint: Endpoint

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected."""
        super().connection_made(transport)
        self.phase = IDLE
        self.mark = monotonic()
        self.chunk = self.head_least = self.head_most = 0
        self.begun = self.upgrades = self.lingering = False
        self.quiet = 0
        self.fast: Exchange | None = None
        self.unread_since = 0.0

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

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.phase = HEAD
        self.mark = monotonic()
        self.begun = True
        self.head_least = self.head_most = 0
        if self.fast is not None and self.fast.response_complete:
            self.fast = None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Takes `POST /` if nothing is pending on this connection; uvicorn has all else."""
        if self.head_most + self.chunk > MAX_HEAD and self._head_size() > MAX_HEAD:
            self._head_too_large()
            raise BadInput("the parser shall stop here")
        self.upgrades = self.parser.should_upgrade()
        if self.upgrades:
            if self.parser.get_method() != b"CONNECT":
                return  # the parser stops behind the head; `data_received` begins again
            self._end(405, NotFound("nothing answers CONNECT"))
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
            if exchange.closing:
                self.transport.close()
            return
        exchange.free()
        exchange.ticket = self.endpoint.start(exchange.head, exchange.body, exchange.send)
        exchange.body = b""

    def pause_writing(self) -> None:
        """The client does not read: nothing more is read from it either."""
        super().pause_writing()
        self.unread_since = monotonic()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self.unread_since = 0.0

    def shutdown(self) -> None:
        """The server ends: a busy connection ends after its reply, an idle one once it is `drained`."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False

    def timeout_keep_alive_handler(self) -> None:
        """Nothing was asked for a long time."""
        self.linger()

    def drained(self) -> None:
        """One look while draining: an idle connection is ended once none of a few looks saw a byte of it.

        Looks are counted, not seconds: between two of them the loop has read what had arrived.
        """
        cycle: Any = self.cycle
        if self.phase != IDLE or not (cycle is None or cycle.response_complete) or self.pipeline:
            return
        self.quiet += 1
        if self.quiet > (2 * QUIET_CHECKS if cycle is None else QUIET_CHECKS):
            self.linger()

    def linger(self) -> None:
        """Half-closes: what still comes is read and dropped, so that no reset overtakes what was written."""
        if self.lingering or self.transport.is_closing():
            return
        self.lingering = True
        self.mark = monotonic()
        self.flow.resume_reading()
        for cycle in (self.cycle, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True  # nothing can be written any more
                cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What the parser refuses gets the same error body as everything else."""
        self._end(400, BadInput("this is not HTTP/1.1 as its standard has it"))

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
        self._end(431, BadInput(f"the head of the request is larger than {MAX_HEAD} bytes"))

    def _refuse(self, exchange: Exchange, error: StudioError) -> None:
        declared = exchange.head.headers.get(b"content-length", b"")
        rest = int(declared) - self.body_bytes if declared.isdigit() else KEPT_AFTER_REFUSAL + 1
        chunked = b"transfer-encoding" in exchange.head.headers
        if self.expect_100_continue or ((chunked or declared) and rest > KEPT_AFTER_REFUSAL):
            exchange.keep_alive = False
        exchange.send(self.endpoint.refuse(error, exchange.head))

    def _end(self, status: int, error: StudioError) -> None:
        """Answers outside any exchange and closes."""
        if self.lingering or self.transport.is_closing():
            return
        reply = error_reply(error, request_id(None))
        head = b"".join([_STATUS[status], *(n + b": " + v + b"\r\n" for n, v in reply.headers)])
        tail = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(reply.body)
        self.transport.write(head + tail + reply.body)
        self.linger()

    def too_slow(self, now: float, timeout_s: float) -> bool:
        """Whether this connection must end: a head or body that drips, a reply that nobody reads, lingering."""
        if self.unread_since and now - self.unread_since > timeout_s:
            return True
        if self.lingering or (self.fast is not None and self.fast.closing):
            return now - self.mark > (LINGER_DRAINING_S if self.endpoint.draining else LINGER_S)
        waited = now - self.mark
        if self.phase == HEAD or (self.phase == IDLE and self.cycle is None):
            return waited > HEAD_DEADLINE_S
        if self.phase == BODY and not self.flow.read_paused:
            return waited > BODY_GRACE_S and self.body_bytes < (waited - BODY_GRACE_S / 2) * BODY_RATE
        return False

    def end_slow(self) -> None:
        """Ends it: 408 where an answer can still be read."""
        if self.unread_since or self.lingering or self.phase == IDLE or (self.fast is not None and self.fast.closing):
            self.transport.abort()
        else:
            self._end(408, BadInput("the request came too slowly"))


def lane_for(endpoint: Endpoint) -> type[Lane]:
    """The protocol class of one server."""
    return type("ServerLane", (Lane,), {"endpoint": endpoint})


def sweep(connections: Iterable[object], timeout_s: float) -> None:
    """Ends the connections that are too slow; call every second or so."""
    now = monotonic()
    for connection in list(connections):
        if isinstance(connection, Lane) and connection.too_slow(now, timeout_s):
            connection.end_slow()


def drain(connections: Iterable[object]) -> None:
    """One look at each connection of a server that ends; call ten times a second."""
    for connection in list(connections):
        if isinstance(connection, Lane):
            connection.drained()
