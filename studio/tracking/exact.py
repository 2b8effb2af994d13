"""The numbers that values are compared as: whole numbers of any size keep their own value."""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from typing import Any

LARGE = 2.0**63
"""From here on, and below its negative, SQLite has only doubles: what is equal there may differ by its text."""
IS_LARGE = f"({{0}} >= {LARGE!r} OR {{0}} <= -{LARGE!r})"
"""SQL for: a number of the index is not exact."""

_NUMBER = re.compile(r"\s*[+-]?([0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?)\s*")
_LONGEST = 512
_MOST_DIGITS = 4000
_MOST = sys.float_info.max
_EXACT = 2.0**53


def number(value: Any) -> int | float | None:
    """The number that a value is: itself, 1 for true, what the digits of a text spell; None for NaN and all else.

    The words NaN and inf are texts: the numbers are floats.
    """
    if isinstance(value, float):
        return value if value == value else None
    if isinstance(value, int):
        return int(value)
    return spelled(value) if isinstance(value, str) and len(value) < _LONGEST else None


def spelled(text: str) -> int | float | None:
    """The number that digits spell: a whole one exactly, any other as a double; None if no double is near it.

    A whole number that is written with a fraction or an exponent is a double if that is written so: `1e23`, but not
    `9007199254740993.0`.
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    if found[1].isdecimal():
        return int(text)
    value = float(text)
    if 0 < abs(value) < _EXACT:
        return value
    exact = Decimal(text.strip())
    if value == 0:
        return None if exact else value
    if exact.adjusted() > _MOST_DIGITS:
        return None
    if value - value == 0 and Decimal(repr(value)) == exact:
        return value
    whole = int(exact)
    return whole if whole == exact else value if value - value == 0 else None


def is_rounded(text: str) -> bool:
    """Whether the text spells a whole number that its double only is near, as 1e23 does."""
    value = spelled(text)
    return isinstance(value, float) and abs(value) >= _EXACT and int(value) != Decimal(text.strip())


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


def against(value: Any, literal: str) -> int | None:
    """As `order`, of a value with a whole number that `is_rounded`: whole numbers meet it, doubles meet its double."""
    one = None if value is None else _exact(value)
    if one is None:
        return None
    other = float(literal) if isinstance(one, float) else int(Decimal(literal))
    return (one > other) - (one < other)


def _exact(value: Any) -> int | float | None:
    return _WORDS.get(value, spelled(value)) if isinstance(value, str) else number(value)


_WORDS: dict[str, int | float | None] = {"true": 1, "false": 0, "inf": float("inf"), "-inf": -float("inf")}
"""Texts that the index has beside the numbers true, false and infinity."""
