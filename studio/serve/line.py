"""One connection to a server that nobody trusts: every exchange ends in time and within bounds, whatever comes.

`http.client` reads the answers; below it, each read and each write has what is left of the time, and of the bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import ipaddress
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any

from ..errors import ServeError, TooLarge

LONGEST_HEAD = 256 * 1024
"""Bytes of an answer before its body, interim answers included."""

INTERIM = 16
"""So many interim answers (100 Continue and the like) may come before the one that counts."""

LONGEST_OTHER = 4 << 20
"""Bytes of an answer that is no inference: errors, metadata."""

PIECE = 1 << 20
_SENT_AT_ONCE = 1 << 18
_FRAMING = 1 << 20


class Answer:
    """Status, headers by lower-case name, body, and whether the connection may be used again."""

    __slots__ = ("body", "headers", "keep", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytearray, keep: bool) -> None:
        self.status, self.headers, self.body, self.keep = status, headers, body, keep


class Line:
    """A connected socket; `ask` it one thing after the other.

    Args:
        address: Host and port.
        context: For TLS, or None.
        fingerprint: SHA-256 of the only certificate that is accepted, or None.
        deadline: When connecting must be done (monotonic).

    Raises:
        TimeoutError: it was not done by then.
        OSError: nobody there.
        ServeError: another certificate.
    """

    def __init__(
        self, address: tuple[str, int], context: ssl.SSLContext | None, fingerprint: str | None, deadline: float
    ) -> None:
        self.host, self.port = address
        self._deadline, self._left = deadline, 0
        self.sock: socket.socket = self._connect()
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                self.sock.settimeout(self._remaining())
                self.sock = context.wrap_socket(self.sock, server_hostname=self.host)
                _check_fingerprint(self.sock, self.host, fingerprint)
        except BaseException:
            self.sock.close()
            raise

    def ask(
        self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str], *, deadline: float, most: int
    ) -> Answer:
        """One request and its answer.

        Args:
            verb: Method.
            path: Target.
            body: What to send, or None.
            headers: What else to send.
            deadline: When the last byte of the answer must be here (monotonic).
            most: Bytes of the answer's body at most.

        Raises:
            TimeoutError: it is not.
            TooLarge: the answer has more bytes.
            OSError, http.client.HTTPException, ValueError: the connection broke, or what came is no answer.
        """
        self._deadline, self._left = deadline, LONGEST_HEAD
        asked = http.client.HTTPConnection(self.host, self.port)
        asked.response_class = _Response
        asked.sock = self
        asked.request(verb, path, body, dict(headers))
        response = asked.getresponse()
        _check_length(response)
        most = most if response.status == 200 else min(most, LONGEST_OTHER)
        self._left = 2 * most + _FRAMING  # chunks of a few bytes are mostly framing
        try:
            whole = _read(response, most)
        finally:
            response.close()
        told = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, told, whole, not response.will_close)

    @property
    def stale(self) -> bool:
        """Whether the server closed it or sent what nobody asked for. Over TLS that cannot be told from tickets."""
        if isinstance(self.sock, ssl.SSLSocket):
            return False
        try:
            return bool(select.select([self.sock], [], [], 0)[0])
        except (OSError, ValueError):  # closed, or a number that select does not take
            return True

    def shut(self) -> None:
        """Closes it."""
        with contextlib.suppress(OSError):
            self.sock.close()

    # -- what http.client takes for a socket -------------------------------------------------------

    def sendall(self, data: Any) -> None:
        """Sends it all in what is left of the time."""
        view = memoryview(data).cast("B")
        while view:
            self.sock.settimeout(self._remaining())
            view = view[self.sock.send(view[:_SENT_AT_ONCE]) :]

    def makefile(self, *args: object) -> io.BufferedReader:
        """For one answer."""
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        """Of `http.client`, before the body is read: the connection is closed by `shut`."""

    # -- inside ------------------------------------------------------------------------------------

    def receive(self, into: memoryview) -> int:
        """Some bytes, 0 at the end.

        Raises:
            TooLarge: more came than may come.
        """
        if self._left <= 0:
            raise TooLarge(
                f"{self.host}:{self.port} answers with more than is taken", hint="raise max_answer, or ask for less"
            )
        self.sock.settimeout(self._remaining())
        count = self.sock.recv_into(into[: min(len(into), self._left)])
        self._left -= count
        return count

    def _remaining(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time is over")
        return left

    def _connect(self) -> socket.socket:
        failure: OSError = OSError(f"{self.host} has no address")
        for family, kind, protocol, _, address in self._addresses():
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self._remaining())
                sock.connect(address)
            except OSError as exc:
                sock.close()
                failure = exc
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure

    def _addresses(self) -> list[Any]:
        """Of the host; names are looked up in a thread, for the system's resolver keeps to no time limit."""
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(self.host)
            return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        found: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

        def look() -> None:
            try:
                found.put(list(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)))
            except (OSError, UnicodeError) as exc:
                found.put(exc if isinstance(exc, OSError) else OSError(str(exc)))

        threading.Thread(target=look, name="model-client-resolver", daemon=True).start()
        try:
            addresses = found.get(timeout=self._remaining())
        except queue.Empty:
            raise TimeoutError("the name was not found in time") from None
        if isinstance(addresses, OSError):
            raise addresses
        return addresses


class _Incoming(io.RawIOBase):
    """What comes in over a line, for one answer."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, into: Any) -> int:
        """As `Line.receive`."""
        return self._line.receive(memoryview(into).cast("B"))


class _Response(http.client.HTTPResponse):
    """An answer before which interim ones may come, but not without end."""

    _interim = 0

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == 101:
                return version, status, reason
            self._interim += 1
            if self._interim > INTERIM:
                raise http.client.HTTPException("interim answers without end")
            if status == 100:
                return version, status, reason  # which the caller passes over itself
            while self.fp.readline(65537) not in (b"\r\n", b"\n", b""):
                pass


def _check_length(response: http.client.HTTPResponse) -> None:
    """Refuses a length that is no number and two that differ: where the answer ends would be a guess."""
    told = {length.strip() for length in response.headers.get_all("content-length", [])}
    if len(told) > 1 or not all(length.isascii() and length.isdigit() for length in told):
        raise http.client.HTTPException(f"its Content-Length is {' and '.join(sorted(told))[:100] or 'empty'}")


def _read(response: http.client.HTTPResponse, most: int) -> bytearray:
    """The whole body, read in pieces: a declared length is a claim, not a reason to take memory."""
    whole = bytearray()
    while piece := response.read(PIECE):
        whole += piece
        if len(whole) > most:
            raise TooLarge(f"the answer has more than {most} bytes", hint="raise max_answer, or ask for less")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return whole


def _check_fingerprint(sock: socket.socket, host: str, wanted: str | None) -> None:
    if wanted is None or not isinstance(sock, ssl.SSLSocket):
        return
    shown = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()
    if shown != wanted:
        raise ServeError(f"{host} shows another certificate: {shown}", hint="do not send it anything")
