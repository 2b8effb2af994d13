"""Texts that must fit a cell of a table in the terminal."""

from __future__ import annotations

_WIDEST = 60
_CONTROL = {n: repr(chr(n))[1:-1] for n in (*range(32), 127, *range(128, 160), 0x2028, 0x2029)}


def one_line(text: str, *, most: int = _WIDEST) -> str:
    """The text with control characters spelled out, cut to `most` characters."""
    plain = text.translate(_CONTROL)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
