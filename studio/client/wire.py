"""One connection to a server that nobody trusts, the same in threads and on an event loop.

The socket never blocks. Where it would, the wire awaits its `Waits`, which block the thread, or let the loop go on.
So there is one way to connect, send and read, and one to keep time.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import threading
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

PIECE = 1 << 18
FIRST_PIECE = 1 << 14
"""What memory is taken for at first: most answers are short, and a look at an idle connection finds nothing."""

LATE = 16 << 20
"""Bytes that are taken after the deadline: more than a system keeps for a socket, so more cannot have come in time."""

Addresses = list[Any]
"""What `socket.getaddrinfo` returns."""


class Waits(Protocol):
    """How a client waits. Each method returns at the deadline (monotonic) at the latest."""

    async def ready(self, sock: socket.socket, *, read: bool, write: bool, deadline: float) -> bool:
        """Whether the socket can be read or written (or has failed); False at the deadline."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    async def addresses(self, host: str, port: int, deadline: float) -> Addresses:
        """Of a name.

        Raises:
            OSError: there are none.
            TimeoutError: they were not found in time.
        """

    async def enter(self, deadline: float) -> None:
        """Waits until one more connection may be used; `leave` follows.

        Raises:
            TimeoutError: too many are used.
        """

    def leave(self) -> None:
        """One connection less is used."""


_wires: weakref.WeakSet[Wire] = weakref.WeakSet()


class Wire:
    """A connected socket, which must not block."""

    def __init__(self, sock: socket.socket, waits: Waits) -> None:
        self.sock, self._waits = sock, waits
        self._came: bytes | None = None
        self._late = 0
        self._room = FIRST_PIECE
        self.writes = True
        """Whether what could not be sent can be sent when the socket can be written."""
        _wires.add(self)

    async def send(self, data: memoryview, deadline: float) -> int:
        """Sends it; returns how many bytes of it, fewer than all if something has come in meanwhile.

        Raises:
            TimeoutError: the time is over.
            OSError: the connection broke.
        """
        sent = 0
        while sent < len(data) and not (sent and self.has_news()):
            count = self._try_send(data[sent : sent + PIECE])
            if count is not None:
                sent += count
            elif self.has_news():
                break
            else:
                self._check_time(deadline)
                await self._waits.ready(self.sock, read=True, write=self.writes, deadline=deadline)
        return sent

    async def receive(self, deadline: float) -> bytes:
        """Some bytes, none at the end. What has come in time is returned later too: the process may have stood still.

        Raises:
            TimeoutError: nothing came in time.
            OSError: the connection broke.
        """
        while not self.has_news():
            self._check_time(deadline)
            await self._waits.ready(self.sock, read=True, write=False, deadline=deadline)
        came, self._came = self._came or b"", None
        self._room = PIECE if len(came) == self._room or len(came) > FIRST_PIECE else FIRST_PIECE
        if monotonic() >= deadline:
            self._late += len(came)
            if self._late > LATE:
                raise TimeoutError("the time is over")
        return came

    def has_news(self) -> bool:
        """Whether bytes have come in, or the end. Of an idle connection both mean that it is of no more use.

        Raises:
            OSError: the connection broke.
        """
        if self._came is None:
            self._came = self._try_receive()
        return self._came is not None

    def shut(self) -> None:
        """Closes the socket, and sends nothing: in a forked child, it is the parent's connection too."""
        with contextlib.suppress(OSError):
            self.sock.close()

    # -- what TLS does otherwise --------------------------------------------------------------------

    def _try_send(self, data: memoryview) -> int | None:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return None

    def _try_receive(self) -> bytes | None:
        try:
            return self.sock.recv(self._room)
        except BlockingIOError:
            return None

    def _check_time(self, deadline: float) -> None:
        if monotonic() >= deadline:
            raise TimeoutError("the time is over")


async def connect(host: str, port: int, waits: Waits, deadline: float) -> socket.socket:
    """A connected socket that does not block. Each address of a name gets an equal share of the time.

    Raises:
        TimeoutError: it was not done in time.
        OSError: nobody there.
    """
    failure: OSError = OSError(f"{host} has no address")
    addresses = await _addresses(host, port, waits, deadline)
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        now = monotonic()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await _connect(sock, address, waits, now + (deadline - now) / (len(addresses) - tried))
        except OSError as exc:
            sock.close()
            failure = exc
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


async def _connect(sock: socket.socket, address: Any, waits: Waits, deadline: float) -> None:
    code = sock.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EINTR):
        if not await waits.ready(sock, read=False, write=True, deadline=deadline):
            raise TimeoutError("the time is over")
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def _addresses(host: str, port: int, waits: Waits, deadline: float) -> Addresses:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await waits.addresses(host, port, deadline)


def look_up(host: str, port: int, tell: Callable[[Addresses | OSError], None]) -> None:
    """Asks the system for the addresses of a name, in a thread: its resolver keeps to no time limit.

    The thread is a daemon: one that still waits for the resolver holds up no end of the process.
    """

    def look() -> None:
        try:
            tell(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as exc:
            tell(exc if isinstance(exc, OSError) else OSError(str(exc)))

    threading.Thread(target=look, name="model-client-resolver", daemon=True).start()


def _after_fork() -> None:
    """The connections are the parent's: two processes that read from one take each other's answers."""
    for wire in list(_wires):
        wire.shut()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
