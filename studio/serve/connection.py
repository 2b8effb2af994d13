"""One HTTP/1.1 connection and how it ends: slow senders and readers, idle time, the drain, lingering.

Looks at times and phases alone; what arrives is parsed and answered by `lane.Lane`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from time import monotonic
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..errors import BadInput, StudioError
from .endpoint import Endpoint
from .message import error_reply, request_id

HEAD_DEADLINE_S = 10.0
LINGER_S = 3.0
LINGER_DRAINING_S = 1.0
QUIET_CHECKS = 5
"""While draining, an idle connection ends after so many looks without a byte; a new one gets twice as many."""

HALF_CLOSED_S = 1.0
"""Whether a client has closed one direction or gone cannot be seen; after so long it is found out."""

BODY_GRACE_S = 10.0
BODY_RATE = 1000.0
"""Bytes per second that a body must reach on average once the grace time is over."""

IDLE, HEAD, BODY = range(3)
STATUS_LINES = {s.value: b"HTTP/1.1 %d %s\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
"""By status code."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with a time limit on every phase.

    Attributes:
        endpoint: What answers; a class attribute that `lane.lane_for` sets.
        phase: `IDLE`, `HEAD` or `BODY` of a request.
        mark: When the phase began (monotonic).
        body_bytes: How much of the body has come.
        dropping: A reply went out before the body was over; the rest is read and dropped.
        lingering: Half-closed; whatever still comes is read and dropped.
        half_closed: When the client said that it sends no more, while an answer was due, or was last asked whether it
            is there; 0.0 once that is known.
        asked: How often it was asked.
        quiet: While draining: looks at an idle connection since its last byte.
    """

    endpoint: Endpoint

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected."""
        super().connection_made(transport)
        self.phase = IDLE
        self.mark = monotonic()
        self.body_bytes = 0
        self.dropping = self.lingering = False
        self.quiet = 0
        self.unread_since = self.half_closed = 0.0
        self.asked = 0

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more, but waits for the answer to what it sent; over TLS there is no such state."""
        cycle: Any = self.cycle
        due = self.phase == IDLE and cycle is not None and not cycle.response_complete
        if not due or self.lingering or self.transport.get_extra_info("sslcontext") is not None:
            return False  # the transport closes
        last: Any = self.pipeline[0][0] if self.pipeline else cycle
        last.keep_alive = False
        self.half_closed = monotonic()
        return True

    def ask_half_closed(self, now: float) -> None:
        """Sends interim answers: the system of a client that has gone resets on the first, the second meets that."""
        cycle: Any = self.cycle
        if not self.half_closed or now - self.half_closed < HALF_CLOSED_S:
            return
        self.asked += 1
        self.half_closed = now if self.asked < 2 else 0.0
        started = cycle is None or cycle.response_complete or getattr(cycle, "response_started", False)
        if not started and self.parser.get_http_version() == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

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

    def drop_rest(self) -> None:
        """Reads and drops what is still on its way of the body, so that the reply arrives; then closes."""
        self.dropping = True
        self.mark = monotonic()

    def end(self, status: int, error: StudioError) -> None:
        """Answers outside any exchange and closes."""
        if self.lingering or self.transport.is_closing():
            return
        reply = error_reply(error, request_id(None))
        head = b"".join([STATUS_LINES[status], *(n + b": " + v + b"\r\n" for n, v in reply.headers)])
        tail = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(reply.body)
        self.transport.write(head + tail + reply.body)
        self.linger()

    def too_slow(self, now: float, timeout_s: float) -> bool:
        """Whether this connection must end: a head or body that drips, a reply that nobody reads, lingering."""
        if self.unread_since and now - self.unread_since > timeout_s:
            return True
        if self.lingering or self.dropping:
            return now - self.mark > (LINGER_DRAINING_S if self.endpoint.draining else LINGER_S)
        waited = now - self.mark
        if self.phase == HEAD or (self.phase == IDLE and self.cycle is None):
            return waited > HEAD_DEADLINE_S
        if self.phase == BODY and not self.flow.read_paused:
            return waited > BODY_GRACE_S and self.body_bytes < (waited - BODY_GRACE_S / 2) * BODY_RATE
        return False

    def end_slow(self) -> None:
        """Ends it: 408 where an answer can still be read."""
        if self.unread_since or self.lingering or self.phase == IDLE or self.dropping:
            self.transport.abort()
        else:
            self.end(408, BadInput("the request came too slowly"))


def sweep(connections: Iterable[object], timeout_s: float) -> None:
    """Ends the connections that are too slow; call every second or so."""
    now = monotonic()
    for connection in list(connections):
        if isinstance(connection, Connection):
            connection.ask_half_closed(now)
            if connection.too_slow(now, timeout_s):
                connection.end_slow()


def drain(connections: Iterable[object]) -> None:
    """One look at each connection of a server that ends; call ten times a second."""
    for connection in list(connections):
        if isinstance(connection, Connection):
            connection.drained()
