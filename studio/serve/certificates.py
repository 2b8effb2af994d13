"""Checks `--tls-cert` and `--tls-key` before the start, and says in plain words what is wrong with them."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from ..errors import ConfigError

_CERTIFICATE = re.compile(r"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END", re.DOTALL)
_ANY_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_LOCKED = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)
_VERSION, _UTC_TIME = 0xA0, 0x17
_VALIDITY = 3
"""Of the fields of a certificate after its version: number, algorithm, issuer, validity (RFC 5280, 4.1)."""


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


def _text(option: str, path: str) -> str:
    if not Path(path).is_file():
        raise ConfigError(f"{option}: no file {path}", hint="--tls-cert and --tls-key take PEM files")
    try:
        return Path(path).read_text("latin-1")
    except OSError as exc:
        raise ConfigError(f"{option} {path} cannot be read: {exc.strerror}", hint=f"look at: ls -l {path}") from exc


def _unusable(cert: str, key: str, exc: Exception) -> ConfigError:
    reason = str(getattr(exc, "reason", None) or "")
    if "MISMATCH" in reason:
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
    whole = next(_elements(der))[1]
    fields = [content for tag, content in _elements(next(_elements(whole))[1]) if tag != _VERSION]
    begins, ends = (_moment(tag, content.decode("ascii")) for tag, content in _elements(fields[_VALIDITY]))
    return begins, ends


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
