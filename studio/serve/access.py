"""Who may ask: token, Host, Origin and address rules, in one check that every route of every protocol passes."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadInput, ConfigError, Forbidden, Unauthorized
from .address import is_loopback
from .message import Head
from .networks import Network, canonical, is_wildcard, own_addresses, parse_hosts, parse_networks

OPEN = frozenset({"/healthz", "/readyz"})
"""Routes without content that need neither token nor a known Host."""

_SAFE = frozenset({"GET", "HEAD"})


def choose_token(
    host: str, *, token: str | None, token_file: Path | None, no_token: bool, insecure: bool
) -> tuple[str | None, bool]:
    """The token that requests must carry (None = none), and whether it was made just now.

    Args:
        host: The address that the server binds.
        token: Given on the command line.
        token_file: Read; made, with a fresh token, if there is none.
        no_token: The user wants none.
        insecure: The user wants none although others can reach the server.

    Raises:
        ConfigError: the options contradict each other, the token is unusable, or none was wanted off loopback.
    """
    given = check_token(host, token=token, token_file=token_file, no_token=no_token, insecure=insecure)
    if given is not None or no_token:
        return given, False
    if token_file is not None:
        made = new_token()
        try:
            write_private(token_file, made + "\n")
        except OSError as exc:
            raise ConfigError(f"--token-file {token_file} cannot be made: {exc.strerror}") from exc
        return made, True
    return (None, False) if is_loopback(host) else (new_token(), True)


def check_token(host: str, *, token: str | None, token_file: Path | None, no_token: bool, insecure: bool) -> str | None:
    """The token that was given or stands in the file already; makes none. The arguments of `choose_token`.

    Raises:
        ConfigError: as `choose_token`.
    """
    if sum((token is not None, token_file is not None, no_token)) > 1:
        raise ConfigError("--token, --token-file and --no-token exclude each other")
    if no_token:
        if not is_loopback(host) and not insecure:
            raise ConfigError(
                f"--no-token on {host} would let anybody ask", hint="leave it out, or add --insecure if that is meant"
            )
        return None
    if token is not None:
        return _checked(token, "--token")
    if token_file is not None and token_file.exists():
        try:
            return _checked(token_file.read_text("ascii").strip(), str(token_file))
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"--token-file {token_file} cannot be read: {type(exc).__name__}") from exc
    return None


def new_token() -> str:
    """A fresh token, in a form by which studio knows it wherever it is written down: it is kept as `***`."""
    return "studio_token_" + secrets.token_urlsafe(32)


def _checked(token: str, where: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"the token of {where} must be printable ASCII without spaces", hint="leave it out: one is made"
        )
    return token


def write_private(path: Path, text: str) -> None:
    """Writes a file that only the user can read, also if it existed."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    os.replace(fresh, path)


@dataclass(slots=True)
class Access:
    """The rules of one server.

    Args:
        host: The address it is bound to.
        token: What `Authorization: Bearer` or the cookie must prove; None = nothing.
        allowed_hosts: Names besides its own that the Host header may say (a proxy's).
        networks: Client addresses that may ask, as CIDR; none = all.
        tls: Whether the server itself speaks TLS.
    """

    host: str
    token: str | None = None
    allowed_hosts: Sequence[str] = ()
    networks: Sequence[str] = ()
    cookie: str = "studio_token"
    tls: bool = False
    _good_hosts: set[bytes] = field(default_factory=set)
    _names: frozenset[str] = frozenset()
    _proxies: frozenset[str] = frozenset()
    _nets: list[Network] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = {"localhost", "127.0.0.1", "::1"} | (set() if is_wildcard(self.host) else {canonical(self.host)})
        if not is_loopback(self.host):
            names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._proxies = parse_hosts(self.allowed_hosts)
        self._names = frozenset(names | self._proxies)
        self._nets = parse_networks(self.networks)

    def check(self, head: Head) -> None:
        """Passes the request or says why not.

        Raises:
            BadInput: no Host, or several.
            Forbidden: this address, Host or Origin may not ask.
            Unauthorized: a token is needed and missing or wrong.
        """
        if head.path in OPEN:
            return
        if self._nets:
            self._check_address(head.client)
        self._check_host(head)
        if head.method not in _SAFE:
            self._check_origin(head)
        if self.token is not None and not self._has_token(head):
            raise self._unproven(head)

    def cookie_value(self) -> str:
        """What the browser keeps: proves the token without being it."""
        return hmac.new((self.token or "").encode(), b"studio cookie", hashlib.sha256).hexdigest()

    def token_is(self, given: str) -> bool:
        """Whether `given` is the token; takes equally long for any wrong one."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def _has_token(self, head: Head) -> bool:
        scheme, _, given = head.get(b"authorization").partition(" ")
        if scheme.lower() == "bearer" and self.token_is(given.strip()):
            return True
        for part in head.get(b"cookie").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie and hmac.compare_digest(value.encode(), self.cookie_value().encode()):
                return True
        return False

    def _unproven(self, head: Head) -> Unauthorized:
        """A missing token and a wrong one are different errors: the one is sent, the other looked up again."""
        hint = "send it as: Authorization: Bearer TOKEN"
        scheme, _, given = head.get(b"authorization").strip().partition(" ")
        if scheme.lower() == "bearer" and given.strip():
            return Unauthorized("the token is wrong", hint="send the token of this server as it runs now")
        if scheme:
            return Unauthorized("the Authorization header holds no Bearer token", hint=hint)
        if any(part.partition("=")[0].strip() == self.cookie for part in head.get(b"cookie").split(";")):
            return Unauthorized("the cookie is of another token", hint="open the page once more with ?token=TOKEN")
        return Unauthorized("a token is needed", hint=hint)

    def _check_address(self, client: str) -> None:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            raise Forbidden("the client's address is not known") from None
        mapped = getattr(address, "ipv4_mapped", None) or address
        if not any(mapped in net for net in self._nets):
            raise Forbidden(f"client {client[:100]} is not allowed", hint="the server was started with --allow")

    def _check_host(self, head: Head) -> None:
        raw = head.headers.get(b"host")
        if raw is None or head.hosts != 1:
            raise BadInput("exactly one Host header is needed")
        if raw in self._good_hosts:
            return
        name = hostname(raw.decode("latin-1"))
        if name not in self._names and (is_loopback(self.host) or name not in own_addresses()):
            raise Forbidden(f"Host {name[:100]!r} is not known here", hint=_allowing(name))
        if len(self._good_hosts) < 256:
            self._good_hosts.add(raw)

    def _check_origin(self, head: Head) -> None:
        origin = head.headers.get(b"origin")
        if origin is not None:
            scheme, found, netloc = origin.decode("latin-1").lower().partition("://")
            if not found or not self._own(scheme, netloc, head.get(b"host")):
                raise Forbidden(
                    "a page of another origin may not ask", hint="there is no CORS; ask from a server of your own"
                )
        if head.headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
            raise Forbidden("a page of another site may not ask")

    def _own(self, scheme: str, netloc: str, host: str) -> bool:
        """Whether an origin is this server's, scheme included; before a plain server, a proxy may speak TLS."""
        schemes = ("https",) if self.tls else ("http", "https") if hostname(host) in self._proxies else ("http",)
        return scheme in schemes and _with_port(netloc, scheme) == _with_port(host, scheme)


def hostname(host: str) -> str:
    """The name in a Host header in canonical form, without port and brackets."""
    host = host.strip()
    return canonical(host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0])


def _allowing(name: str) -> str:
    """How this name is let in; one that no server can allow is another way of writing one that passes, or nonsense."""
    try:
        parse_hosts([name])
    except ConfigError:
        return "ask by a name or an address of this machine"
    return f"start the server with --allowed-host {name}"


def _with_port(netloc: str, scheme: str) -> str:
    netloc = netloc.strip().lower()
    default = ":443" if scheme == "https" else ":80"
    return netloc.removesuffix(default)
