"""Reads times, durations and sizes as a query writes them."""

from __future__ import annotations

import json
import math
import re

from ..errors import ConfigError
from ..experiment import fraction
from ..units import parse_duration, parse_size
from . import exact

NUMBERS = {"true": 1, "false": 0, "inf": math.inf, "infinity": math.inf}
"""Words that are numbers."""
DAYS = ("now", "today", "yesterday")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TIME_FORMS = 'write 2026-11-01, "2026-11-01 12:30" (your local time), 2026-11-01T12:30Z, or -7d for seven days ago'


def as_json(text: str) -> str:
    """A list as records keep it, whatever its spaces; any other text as it stands."""
    if not text.startswith("["):
        return text
    try:
        return json.dumps(json.loads(text, parse_float=fraction), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def amount(text: str, *, size: bool, duration: bool) -> int | float:
    """A number, or bytes or seconds of `2h`, `3g` …; where neither is expected, whichever it can only be.

    Raises:
        ConfigError: it is none of them, or could be both.
    """
    word = text.strip()
    if _NUMBER.fullmatch(word):
        value = exact.spelled(word)
        if value is None:
            raise ConfigError(f"{text[:40]} is beyond what numbers are kept as", hint="put a text in quotes, as it is")
        return value
    if size:
        return parse_size(word)
    if duration:
        return parse_duration(word)
    found = []
    for parse in (parse_duration, parse_size):
        try:
            found.append(float(parse(word)))
        except ConfigError:
            continue
    if not found:
        raise ConfigError(f"{text!r} is not a number", hint="write a number, a duration (2h) or a size (3g)")
    if len(found) > 1:
        raise ConfigError(f"{text!r} may be a duration or a size", hint="write the number of seconds or bytes")
    return found[0]


def instant(text: str, now: float) -> float:
    """Seconds since 1970 of `2026-11-01`, `2026-11-01T12:30`, with `Z` or `+02:00`; local time without one.

    Raises:
        ConfigError: any other form.
    """
    word = text.strip()
    if word.lower() == "now":
        return now
    if is_day(word):
        return day(word, now)[0]
    if _NUMBER.fullmatch(word):
        return float(word)
    if word.startswith("-"):
        return now - parse_duration(word[1:])
    if _DAY.match(word):
        return _stamp(word)
    raise ConfigError(f"{text!r} is not a time", hint=_TIME_FORMS)


def is_day(text: str) -> bool:
    """Whether the text names a whole day."""
    return text.strip().lower() in ("today", "yesterday") or _DAY.fullmatch(text.strip()) is not None


def day(text: str, now: float) -> tuple[float, float]:
    """The first moment of a day, by the local clock, and that of the next.

    Raises:
        ConfigError: there is no such day.
    """
    import datetime

    word = text.strip().lower()
    try:
        first = datetime.date.fromtimestamp(now) if word in DAYS else datetime.date.fromisoformat(word)
        first -= datetime.timedelta(days=word == "yesterday")
        after = first + datetime.timedelta(days=1)
    except (ValueError, OverflowError) as exc:
        raise ConfigError(f"{text!r} is not a time ({exc})", hint=_TIME_FORMS) from exc
    return _stamp(first.isoformat()), _stamp(after.isoformat())


def _stamp(text: str) -> float:
    import datetime

    try:
        return datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)).timestamp()
    except (ValueError, OverflowError, OSError) as exc:
        raise ConfigError(f"{text!r} is not a time ({exc})", hint=_TIME_FORMS) from exc
