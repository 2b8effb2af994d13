"""Texts for the terminal: on one line, and with nothing in them that a terminal would obey."""

from __future__ import annotations

_WIDEST = 60
_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""They make a terminal show a text in another order than it has: https://trojansource.codes"""
HIDDEN = (127, *range(128, 160), 0x2028, 0x2029, *_BIDI, 0xFEFF)
"""Characters that are not seen, and do something."""

_CONTROL = {n: repr(chr(n))[1:-1] for n in (*range(32), *HIDDEN)}
_ESCAPES = {n: f"\\u{n:04x}" for n in HIDDEN}


def one_line(text: str, *, most: int = _WIDEST) -> str:
    """The text with control characters spelled out, cut to `most` characters."""
    plain = text if text.isascii() and text.isprintable() else text.translate(_CONTROL)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def code_line(text: str) -> str:
    """A line of code with control characters spelled out, but for tabs; it is not cut."""
    return "\t".join(one_line(part, most=len(part) * 10) for part in text.split("\t"))


def escaped(document: str) -> str:
    """The same JSON document, with the control characters that JSON lets stand in a text written as escapes."""
    return document if document.isascii() and "\x7f" not in document else document.translate(_ESCAPES)
