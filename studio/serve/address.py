"""Where a server is: binds the port (the default or the next free one, an explicit one or an error); its address."""

from __future__ import annotations

import errno
import ipaddress
import socket

from ..errors import ConfigError, ServeError

DEFAULT_PORT = 5000
TRIES = 100


def listen(host: str, port: int | None) -> tuple[socket.socket, str]:
    """A listening socket, and a note if it is not on the port that one would expect ("" if it is).

    Args:
        host: Name or address to bind.
        port: None = 5000 or the next free one; 0 = any.

    Raises:
        ServeError: the explicit port is taken, or no port is free.
        ConfigError: the host is none of this machine's, or the port needs rights.
    """
    if port is not None:
        try:
            return _bind(host, port), ""
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise _refused(host, port, exc) from exc
            raise ServeError(
                f"port {port} on {host} is taken", hint="choose another --port, or --port 0 for any"
            ) from exc
    for candidate in range(DEFAULT_PORT, DEFAULT_PORT + TRIES):
        try:
            found = _bind(host, candidate)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise _refused(host, candidate, exc) from exc
            continue
        note = "" if candidate == DEFAULT_PORT else f"port {DEFAULT_PORT} is taken, using {candidate}"
        return found, note
    raise ServeError(f"no port from {DEFAULT_PORT} to {DEFAULT_PORT + TRIES - 1} is free", hint="--port 0 takes any")


def url_of(sock: socket.socket, host: str, *, tls: bool) -> str:
    """The URL to type for a server on a name or an address."""
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bind(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(2048)  # at once: two servers that only bound could both believe they have the port
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _refused(host: str, port: int, exc: OSError) -> ConfigError:
    if isinstance(exc, PermissionError):
        return ConfigError(f"port {port} needs rights that this user does not have", hint="choose a --port above 1023")
    return ConfigError(
        f"cannot listen on {host}: {exc.strerror or exc}", hint="--host takes an address of this machine"
    )
