"""Checks `--tls-cert` and `--tls-key` before the start, and says in plain words what is wrong with them."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import ssl
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from ..errors import ConfigError
from .networks import canonical

_CERTIFICATE = re.compile(r"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END", re.DOTALL)
_ANY_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_LOCKED = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)
_VERSION, _UTC_TIME = 0xA0, 0x17
_EXTENSIONS = 0xA3
_VALIDITY, _SUBJECT = 3, 4
"""Of the fields of a certificate after its version: number, algorithm, issuer, validity, subject (RFC 5280, 4.1)."""

_COMMON_NAME, _ALTERNATIVE_NAMES = b"\x55\x04\x03", b"\x55\x1d\x11"
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87


def check_pair(cert: str | None, key: str | None) -> None:
    """Refuses a certificate and a key with which no server can encrypt.

    Raises:
        ConfigError: what is wrong with which file.
    """
    if (cert is None) != (key is None):
        raise ConfigError("--tls-cert and --tls-key belong together", hint="give both, or neither")
    if cert is None or key is None:
        return
    text, secret = _text("--tls-cert", cert), _text("--tls-key", key)
    if not _CERTIFICATE.search(text):
        swapped = "a private key: are --tls-cert and --tls-key swapped?" if _ANY_KEY.search(text) else ""
        raise ConfigError(
            f"--tls-cert {cert} holds {swapped or 'no certificate in PEM form'}",
            hint=f"from DER form: openssl x509 -inform der -in {cert} -out cert.pem" if not swapped else "",
        )
    if not _ANY_KEY.search(secret):
        what = "only a certificate" if _CERTIFICATE.search(secret) else "no private key in PEM form"
        raise ConfigError(f"--tls-key {key} holds {what}", hint="it takes the private key that belongs to --tls-cert")
    if _LOCKED.search(secret):
        raise ConfigError(
            f"--tls-key {key} is protected by a password, and a server cannot ask for it",
            hint=f"write it without: openssl pkey -in {key} -out plain.key",
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=b"")
    except (OSError, ValueError) as exc:
        raise _unusable(cert, key, exc) from exc


def dates(cert: str, now: float | None = None) -> list[str]:
    """A line for each certificate of the file that is not valid now: clients will refuse to connect."""
    out = []
    today = datetime.fromtimestamp(time.time() if now is None else now, timezone.utc)
    for number, found in enumerate(_CERTIFICATE.findall(Path(cert).read_text("latin-1")), 1):
        try:
            begins, ends = _validity(base64.b64decode(found))
        except (ValueError, IndexError, binascii.Error):
            continue  # OpenSSL took it; nothing can be said of its dates
        which = f"--tls-cert {cert}" + (f", certificate {number} of the chain" if number > 1 else "")
        if ends < today:
            out.append(f"{which}: expired on {ends:%Y-%m-%d %H:%M} UTC; clients will refuse to connect")
        elif begins > today:
            out.append(f"{which}: not valid before {begins:%Y-%m-%d %H:%M} UTC; until then clients refuse to connect")
    return out


def names(cert: str) -> list[str]:
    """The names and addresses that the server's own certificate is for; its common name only if it has no others."""
    der = base64.b64decode(_CERTIFICATE.findall(Path(cert).read_text("latin-1"))[0])
    try:
        fields = _fields(der)
        extensions = (content for tag, content in fields if tag == _EXTENSIONS)
        return [name for one in extensions for name in _alternative_names(one)] or list(
            _common_name(fields[_SUBJECT][1])
        )
    except (ValueError, IndexError, StopIteration):
        return []  # OpenSSL took it; nothing can be said of its names


def is_for(known: Sequence[str], host: str) -> bool:
    """Whether one of a certificate's names is `host`; `*` stands for one part of a name."""
    host = canonical(host)
    return any(host == one or (one[:2] == "*." and host.partition(".")[2] == one[2:]) for one in map(canonical, known))


def _text(option: str, path: str) -> str:
    if not Path(path).is_file():
        raise ConfigError(f"{option}: no file {path}", hint="--tls-cert and --tls-key take PEM files")
    try:
        return Path(path).read_text("latin-1")
    except OSError as exc:
        raise ConfigError(f"{option} {path} cannot be read: {exc.strerror}", hint=f"look at: ls -l {path}") from exc


def _unusable(cert: str, key: str, exc: Exception) -> ConfigError:
    reason = str(getattr(exc, "reason", None) or "")
    if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":  # of another kind: RSA and EC
        return ConfigError(
            f"--tls-key {key} does not belong to the certificate in {cert}",
            hint="a chain begins with the server's own certificate; or take the key that it was made with",
        )
    said = reason.lower().replace("_", " ") or getattr(exc, "strerror", None) or str(exc)
    return ConfigError(
        f"--tls-cert {cert} and --tls-key {key} cannot be used: {said}", hint="both take PEM files; is one cut short?"
    )


def _validity(der: bytes) -> tuple[datetime, datetime]:
    """From when until when a certificate in DER form is valid."""
    begins, ends = (_moment(tag, content.decode("ascii")) for tag, content in _elements(_fields(der)[_VALIDITY][1]))
    return begins, ends


def _fields(der: bytes) -> list[tuple[int, bytes]]:
    """Of a certificate in DER form, without its version."""
    whole = _inside(der)
    return [(tag, content) for tag, content in _elements(_inside(whole)) if tag != _VERSION]


def _common_name(subject: bytes) -> Iterator[str]:
    for _, group in _elements(subject):
        for _, pair in _elements(group):
            (_, kind), (_, value) = _elements(pair)
            if kind == _COMMON_NAME:
                yield value.decode("utf-8", "replace")


def _alternative_names(extensions: bytes) -> Iterator[str]:
    for _, extension in _elements(_inside(extensions)):
        parts = list(_elements(extension))  # which, whether it is critical, and what it says
        if parts[0][1] != _ALTERNATIVE_NAMES:
            continue
        for tag, content in _elements(_inside(parts[-1][1])):
            if tag == _DNS_NAME:
                yield content.decode("ascii", "replace")
            elif tag == _IP_ADDRESS:
                yield str(ipaddress.ip_address(content))


def _inside(data: bytes) -> bytes:
    """What the first element holds."""
    return list(_elements(data))[0][1]  # noqa: RUF015 - of damaged data, an IndexError and no StopIteration


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of a DER sequence."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[at : at + count], "big")
            at += count
        yield tag, data[at : at + length]
        at += length


def _moment(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:  # two digits of the year: up to 49 they are of this century
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
