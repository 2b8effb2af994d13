"""What a client was made with: checked once, so that each mistake is one line before anything is sent."""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..errors import ConfigError
from ..serve.address import is_loopback

LONGEST_S = 2_000_000.0
"""More seconds than `poll` can wait, in milliseconds, is 2**31."""

FORMS = ("pickle", "json", "npy", "npz", "safetensors")
_EXAMPLE = "for example http://127.0.0.1:5000"


@dataclass(frozen=True, slots=True)
class Settings:
    """A server's address and how it is asked.

    Attributes:
        path: Of the address, `/` at its end.
        retries: None = as long as the time limit allows, where the server is busy.
        fingerprint: SHA-256 in lower-case hex, or None.
    """

    tls: bool
    host: str
    port: int
    path: str
    token: str | None
    timeout_s: float
    retries: int | None
    fingerprint: str | None
    max_answer: int

    @property
    def server(self) -> str:
        """Host and port, as messages name the server."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        """What `Host` says: without the default port, and without the zone of an IPv6 address."""
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def check_settings(
    url: Any, *, token: Any, timeout_s: Any, retries: Any, form: Any, fingerprint: Any, insecure: Any, max_answer: Any
) -> Settings:
    """The settings of the arguments of `ModelClient`, of whatever type they are.

    Raises:
        ConfigError: one of them cannot be used, they contradict each other, or the token would travel unencrypted.
    """
    _check(isinstance(url, str), "the address", "a string", url, _EXAMPLE)
    _check(token is None or isinstance(token, str), "the token", "a string", token)
    _check(fingerprint is None or isinstance(fingerprint, str), "the fingerprint", "a string", fingerprint)
    _check(_is_number(timeout_s, numbers.Real), "timeout_s", "a number of seconds", timeout_s)
    timeout_s = min(max(timeout_s, -LONGEST_S), LONGEST_S)  # compared first: an integer may be beyond every float
    _check(retries is None or _is_number(retries, numbers.Integral), "retries", "a whole number or None", retries)
    _check(_is_number(max_answer, numbers.Integral), "max_answer", "a whole number of bytes", max_answer)
    _check(isinstance(insecure, bool), "insecure", "True or False", insecure)
    if form not in FORMS:
        raise ConfigError(f"no form {form!r} on the wire", hint=f"one of {', '.join(FORMS)}")
    if math.isnan(timeout_s) or timeout_s <= 0:
        raise ConfigError(f"the time limit (timeout_s) must be more than 0, not {timeout_s:g}")
    if retries is not None and retries < 0:
        raise ConfigError(f"retries must be 0 or more, not {retries}")
    if max_answer <= 0:
        raise ConfigError(f"the largest answer (max_answer) must have more than 0 bytes, not {max_answer}")
    tls, host, port, path, pasted = _read_url(url)
    token = _one_token(token, pasted)
    if token is not None and not tls and not insecure and not is_loopback(host):
        raise ConfigError(
            f"the token would travel unencrypted to {host}", hint="use https, or insecure=True (--insecure) if meant"
        )
    digest = None if fingerprint is None else _digest(fingerprint)
    if digest is not None and not tls:
        raise ConfigError("a fingerprint needs https: over http there is no certificate to compare it with")
    return Settings(
        tls, host, port, path, token, float(timeout_s), None if retries is None else int(retries),
        digest, int(max_answer),
    )  # fmt: skip


def check_connections(connections: Any) -> int:
    """How many connections may be open at once.

    Raises:
        ConfigError: none, or no number.
    """
    _check(_is_number(connections, numbers.Integral), "connections", "a whole number", connections)
    if connections < 1:
        raise ConfigError(f"connections must be 1 or more, not {connections}")
    return int(connections)


def _check(right: bool, name: str, wanted: str, value: object, hint: str = "") -> None:
    if not right:
        raise ConfigError(f"{name} must be {wanted}, not of type {type(value).__name__}", hint=hint)


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _read_url(url: str) -> tuple[bool, str, int, str, str | None]:
    """TLS or not, host, port, path and the token of an address. No message shows what may be a secret."""
    shown = re.sub(r"//[^/]*@", "//***@", url.partition("?")[0].partition("#")[0])
    if "token=…" in url:
        raise ConfigError(f"{shown!r}: put the token itself in place of …", hint="or pass it with --token-file FILE")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError(f"{shown!r} is not an address of a server: {exc}", hint=_EXAMPLE) from exc
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or not plain or port == 0:
        raise ConfigError(f"{shown!r} is not an address of a server", hint=_EXAMPLE)
    if "@" in parts.netloc:
        raise ConfigError(f"{shown!r}: an address has no user and password here", hint="pass token=… or --token-file")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if [name for name, _ in pairs] not in ([], ["token"]) or (parts.query and not pairs):
        raise ConfigError(f"{shown!r}: an address takes nothing after ? but one token=…", hint=_EXAMPLE)
    pasted = pairs[0][1].replace(" ", "+") if pairs else None  # a "+" that was pasted as it is
    tls = parts.scheme == "https"
    host = host.replace("%25", "%")  # before the zone of an IPv6 address
    return tls, host, port or (443 if tls else 80), parts.path.rstrip("/") + "/", pasted


def _one_token(given: str | None, pasted: str | None) -> str | None:
    if given is not None and pasted is not None and given != pasted:
        raise ConfigError("the token in the address is another than the one that was given", hint="give one of them")
    token = given if given is not None else pasted
    if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
        raise ConfigError("the token must be printable ASCII without spaces")
    return token


def _digest(fingerprint: str) -> str:
    digits = fingerprint.replace(":", "").lower()
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise ConfigError("a fingerprint is the SHA-256 of a certificate: 64 hexadecimal digits")
    return digits
