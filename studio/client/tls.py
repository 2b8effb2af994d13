"""A wire over TLS: who the server must be, and an end that is told from a connection that was cut."""

from __future__ import annotations

import hashlib
import socket
import ssl
from time import monotonic

from ..errors import ServeError
from .wire import Waits, Wire


def make_context(fingerprint: str | None) -> ssl.SSLContext:
    """What the system trusts; anybody where the fingerprint decides."""
    context = ssl.create_default_context()
    if fingerprint is not None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def secure(
    sock: socket.socket, context: ssl.SSLContext, host: str, fingerprint: str | None, waits: Waits, deadline: float
) -> Wire:
    """The wire over a connected socket, once the server has shown who it is. The socket is closed on any error.

    Raises:
        TimeoutError: it was not done in time.
        OSError: the handshake failed.
        ServeError: another certificate.
    """
    try:
        talk = context.wrap_socket(
            sock, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
    except BaseException:
        sock.close()
        raise
    wire = TlsWire(talk, waits)
    try:
        while not wire.shake_hands():
            if monotonic() >= deadline:
                raise TimeoutError("the time is over")
            await waits.ready(talk, read=not wire.writes, write=wire.writes, deadline=deadline)
        _check_fingerprint(talk, host, fingerprint)
    except BaseException:
        wire.shut()
        raise
    return wire


class TlsWire(Wire):
    """An `SSLSocket` that does not block. Reading it takes tickets and other messages of TLS in as well."""

    sock: ssl.SSLSocket

    def shake_hands(self) -> bool:
        """Whether the handshake is done; else `writes` says what it waits for."""
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self.writes = False
        except ssl.SSLWantWriteError:
            self.writes = True
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as exc:
            raise ConnectionResetError("the server closed the connection in the handshake of TLS") from exc
        else:
            self.writes = True
            return True
        return False

    def _try_send(self, data: memoryview) -> int | None:
        try:
            self.writes = True
            return self.sock.send(data)
        except ssl.SSLWantReadError:
            self.writes = False
        except ssl.SSLWantWriteError:
            pass
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as exc:
            raise BrokenPipeError("the server closed the connection") from exc
        return None

    def _try_receive(self) -> bytes | None:
        try:
            return self.sock.recv(self._room)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError as exc:
            raise ConnectionResetError("the connection was cut off") from exc


def _check_fingerprint(sock: ssl.SSLSocket, host: str, wanted: str | None) -> None:
    if wanted is None:
        return
    shown = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()
    if shown != wanted:
        raise ServeError(f"{host} shows another certificate: {shown}", hint="do not send it anything")
