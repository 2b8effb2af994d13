"""Hides which names say that their value is a secret; such values are recorded as `***`."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MASK = "***"
_ALWAYS = re.compile(r"secret|passw|passphrase|credential|private_?key|api_?key|access_?key|auth_?key", re.IGNORECASE)
_TOKEN = re.compile(r"token(?!iz|is)|(?:^|[^a-zA-Z])pwd(?![a-z])", re.IGNORECASE)
_KEY = re.compile(r"(?:^|[^a-zA-Z])keys?(?![a-zA-Z])|[a-z]Key(?![a-z])|[a-z_-]key$", re.IGNORECASE)
_URL = re.compile(r"(?<=://)[^/@\s:]*(?::[^/@\s]*)?@")
_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bhf_[A-Za-z0-9]{20,}|\bAIza[0-9A-Za-z_-]{30,}"
)
_HARMLESS = frozenset({"monkey", "donkey", "turkey", "hotkey", "whiskey", "hockey", "jockey", "keymap"})


def secret(name: str) -> bool:
    """Whether the name says key, token, secret or password."""
    if _ALWAYS.search(name) or _TOKEN.search(name):
        return True
    last = re.split(r"[^a-zA-Z]", name)[-1].lower()
    return _KEY.search(name) is not None and last not in _HARMLESS


def shown(name: str, value: Any) -> Any:
    """`value`, or `***` if its name says that it is a secret. Counts (`max_tokens=512`) and switches are none."""
    if value is None or isinstance(value, bool) or value == "":
        return value
    if isinstance(value, (int, float)) and not _ALWAYS.search(name):
        return value
    if secret(name):
        return MASK
    return clean(value) if isinstance(value, str) else value


def clean(text: str) -> str:
    """The text without credentials in URLs and without well-known kinds of keys."""
    return _KNOWN.sub(MASK, _URL.sub("", text))
