"""Checks and cleans single values of a record: what no clock, counter or encoding can hold breaks no reader."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import ConfigError

DEEPEST = 64
"""Lists and objects within each other, beyond which a value is not read, and is not written as it is."""
LAST_SECOND = 253402300800.0
"""The end of the year 9999: the last one that calendars show."""
MASK = "***"
"""What a secret is recorded as."""
_LARGEST = 2**63
_MOST_BITS = 1024
_SPELLED = ("NaN", "Infinity", "-Infinity")
_LONE = re.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udc7f\udd00-\udfff]")


def shape(value: Any) -> str:
    """What a JSON value is, for a message."""
    known = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return known.get(type(value), "a number")


def well_formed(text: str) -> str:
    """The text with pairs of surrogates joined and lone ones replaced, but those that stand for a byte.

    `os.fsdecode` spells the bytes of a name that is no UTF-8 as U+DC80 to U+DCFF; arguments need them to run again.
    """
    return text if text.isascii() else _LONE.sub(_joined, text)


def _joined(found: re.Match[str]) -> str:
    pair = found[0]
    return pair.encode("utf-16", "surrogatepass").decode("utf-16") if len(pair) == 2 else "\ufffd"


def strict(value: object) -> object:
    """The value as any JSON parser takes it: null for NaN and infinities, halves of characters spelled out."""
    if isinstance(value, float) and value - value != 0:
        return None
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {strict(str(k)): strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [strict(v) for v in value]
    return value


def whole(value: int) -> int | str:
    """An integer as JSON can hold it: one of more than 1024 bits becomes a text that says so, with its digest."""
    bits = value.bit_length()
    if bits <= _MOST_BITS:
        return value
    digest = hashlib.sha256(value.to_bytes(bits // 8 + 1, "big", signed=True)).hexdigest()
    return f"<an integer of {bits} bits, sha256 {digest[:16]}>"


def is_whole(value: str, digest: str | None) -> bool:
    """Whether a record has the value itself: nothing of it is cut, and nothing secret."""
    return digest is None and MASK not in value


def text(what: str) -> Callable[[Any], str]:
    """Reads a text."""

    def build(value: Any) -> str:
        if not isinstance(value, str):
            raise ConfigError(f"{what} is {shape(value)}, not a text")
        return value

    return build


def texts(what: str) -> Callable[[Any], tuple[str, ...]]:
    """Reads a list of texts; numbers among them become texts."""

    def build(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{what} is {shape(value)}, not a list")
        if set(map(type, value)) <= {str}:
            return tuple(value)
        for one in value:
            if not isinstance(one, str | int | float):
                raise ConfigError(f"{what} holds {shape(one)}, not only texts")
        return tuple(map(str, value))

    return build


def flag(what: str) -> Callable[[Any], bool]:
    """Reads true or false."""

    def build(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{what} is {shape(value)}, not true or false")
        return value

    return build


def count(what: str, otherwise: int | None = None) -> Callable[[Any], Any]:
    """Reads a number of things; `otherwise` if it is larger than any computer counts, or no number at all."""

    def build(value: Any) -> Any:
        if isinstance(value, bool) or not (isinstance(value, int | float) or value in _SPELLED):
            raise ConfigError(f"{what} is {shape(value)}, not a number")
        return value if not isinstance(value, str) and -_LARGEST <= value < _LARGEST else otherwise

    return build


def moment(what: str, otherwise: float | None = None) -> Callable[[Any], Any]:
    """Reads a time in seconds since 1970; `otherwise` if no calendar has it."""

    def build(value: Any) -> Any:
        if isinstance(value, bool) or not (isinstance(value, int | float) or value in _SPELLED):
            raise ConfigError(f"{what} is {shape(value)}, not a number")
        return value if is_moment(value) else otherwise

    return build


def is_moment(value: object) -> bool:
    """Whether it is a time that calendars show, in seconds since 1970."""
    return isinstance(value, int | float) and 0 <= value < LAST_SECOND


def real(value: Any) -> float:
    """Reads a number that JSON may spell as a text: NaN and infinities. What is beyond a double is no infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ConfigError(f"{shape(value)} is not a number")
    try:
        found = float(value)
    except ValueError as exc:
        raise ConfigError(f"{value[:40]!r} is not a number" if isinstance(value, str) else str(exc)) from exc
    except OverflowError as exc:
        raise ConfigError("a whole number beyond any double") from exc
    if found - found != 0 and isinstance(value, str) and value[-1:].isdigit():
        raise ConfigError(f"{value[:40]} is beyond any double")
    return found


def fraction(digits: str) -> float | str:
    """A number of a JSON document with a fraction or exponent; its text if that is beyond any double."""
    found = float(digits)
    return found if found - found == 0 else digits


def check_depth(values: Iterable[Any]) -> None:
    """Refuses what is nested so deeply that those who walk through it by recursion would fail.

    Raises:
        ConfigError: it is.
    """
    level = [v for v in values if isinstance(v, list | dict)]
    for _ in range(DEEPEST):
        if not level:
            return
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [v for some in inner for v in some if isinstance(v, list | dict)]
    raise ConfigError(f"lists and objects in it are nested more than {DEEPEST} deep")
