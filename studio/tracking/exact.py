"""The numbers that values are compared as: whole numbers of any size keep their own value."""

from __future__ import annotations

import re
import sys
from typing import Any

LARGE = 2.0**63
"""From here on, and below its negative, SQLite has only doubles: what is equal there may differ by its text."""
IS_LARGE = f"({{0}} >= {LARGE!r} OR {{0}} <= -{LARGE!r})"
"""SQL for: a number of the index is not exact."""

_NUMBER = re.compile(
    r"\s*[+-]?([0-9]+|([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?|inf(inity)?)\s*", re.I
)
_LONGEST = 64
_MOST = sys.float_info.max


def number(value: Any) -> int | float | None:
    """The number that a value is: itself, 1 for true, what a text spells, infinities too; None for NaN and all else."""
    if isinstance(value, float):
        return value if value == value else None
    if isinstance(value, int):
        return int(value)
    return _spelled(value) if isinstance(value, str) and len(value) < _LONGEST else None


def literal(text: str) -> int | float:
    """The number that its text spells: a whole one exactly, any other as a double."""
    return int(text) if text.isdecimal() else float(text)


def kept(value: int | float) -> int | float:
    """The number as SQLite keeps it: a whole one that is too large for it as the nearest double."""
    if isinstance(value, float) or -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:
        return _MOST if value > 0 else -_MOST


def is_large(value: int | float) -> bool:
    """Whether other numbers than this one may be kept as the same double."""
    return abs(value) >= LARGE and abs(value) != float("inf")


def order(a: Any, b: Any) -> int | None:
    """-1, 0 or 1 as `a` is less than, equal to or greater than `b`; each a number or its text. None if one is NULL."""
    if a is None or b is None:
        return None
    one, other = _exact(a), _exact(b)
    if one is None or other is None:
        one, other = str(a), str(b)  # type: ignore[assignment]
    return (one > other) - (one < other)  # type: ignore[operator]


def _exact(value: Any) -> int | float | None:
    return _spelled(value) if isinstance(value, str) else number(value)


def _spelled(text: str) -> int | float | None:
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    return int(text) if found[1].isdecimal() else float(text)
