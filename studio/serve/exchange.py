"""One request of the fast lane and the bytes of its reply."""

from __future__ import annotations

from .connection import STATUS_LINES, Connection
from .endpoint import Ticket
from .message import Head, Reply


class _Event:
    """Stands where uvicorn keeps an asyncio.Event that nobody here waits for."""

    def set(self) -> None:
        """Nothing waits."""


_NO_EVENT = _Event()


class Exchange:
    """One request of the fast lane; stands where uvicorn keeps its cycle, so that its keep-alive and shutdown hold."""

    __slots__ = (
        "body",
        "connection",
        "disconnected",
        "head",
        "keep_alive",
        "message_event",
        "more_body",
        "response_complete",
        "size",
        "ticket",
    )  # fmt: skip

    def __init__(self, connection: Connection, head: Head, keep_alive: bool) -> None:
        self.connection, self.head, self.keep_alive = connection, head, keep_alive
        self.body: bytes | bytearray = b""
        self.size = 0
        self.response_complete = self.disconnected = False
        self.more_body = True
        self.message_event = _NO_EVENT
        self.ticket: Ticket | None = None

    def free(self) -> None:
        """The bytes received so far no longer count as held by this connection."""
        self.connection.endpoint.held_bytes -= self.size
        self.size = 0

    def send(self, reply: Reply) -> None:
        """Writes the reply; closes afterwards if the connection is not to be kept."""
        if self.response_complete:
            return
        self.response_complete = True
        self.body = b""
        self.ticket = None
        self.free()
        transport = self.connection.transport
        if self.disconnected or transport.is_closing():
            return
        if self.connection.endpoint.draining:
            self.keep_alive = False
        parts = [STATUS_LINES[reply.status]]
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
                self.connection.drop_rest()
            else:
                transport.close()
        self.connection.on_response_complete()
