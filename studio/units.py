"""Durations and sizes as people write them: `90s`, `48h2m10s`, `1d`; `500m`, `10GB`, `2GiB`."""

from __future__ import annotations

import math
import re

from .errors import ConfigError

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", re.IGNORECASE
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)
LONGEST_S = 365 * 86400.0
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_duration(text: str | float) -> float:
    """Seconds of `90`, `90s`, `5m`, `2h`, `1d` or `48h2m10s`; a number is seconds already.

    Raises:
        ConfigError: any other form; the hint shows them.
    """
    if isinstance(text, int | float) and not isinstance(text, bool) and 0 <= text < float("inf"):
        return float(text)
    found = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None or not any(found.groups()):
        negative = isinstance(text, str | int | float) and re.match(r"\s*-\s*[\d.]", str(text))
        what = "negative, so it is not a duration" if negative else "not a duration"
        raise ConfigError(f"{str(text)[:200]!r} is {what}", hint="write 90, 90s, 5m, 2h, 1d or 48h2m10s")
    parts = [float(part or 0) for part in found.groups()]
    return sum(n * unit for n, unit in zip(parts, (86400, 3600, 60, 1), strict=True))


def check_duration(text: str | float, option: str = "", *, zero: bool = True) -> float:
    """Seconds of a duration that a clock is set to: at most 365 days.

    Args:
        option: What the error names, such as `--timeout`.
        zero: Whether 0 means something.

    Raises:
        ConfigError: it is no duration, negative, too long, or 0 where that means nothing.
    """
    named = f"{option}: " if option else ""
    try:
        seconds = parse_duration(text)
    except ConfigError as exc:
        raise ConfigError(named + exc.message, hint=exc.hint) from exc
    if seconds > LONGEST_S:
        raise ConfigError(f"{named}{str(text)[:40]!r} is too long", hint="at most 365d")
    if not zero and not seconds:
        raise ConfigError(f"{named}it must be more than 0", hint="write 90, 90s, 5m, 2h, 1d or 48h2m10s")
    return seconds


def parse_size(text: str | int) -> int:
    """Bytes of `500m`, `3g`, `10G`, `10GB` or `2GiB` (powers of 1024); an int is bytes already.

    Raises:
        ConfigError: any other form; the hint shows them.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ConfigError(f"{str(text)[:200]!r} is not a size", hint="write 500m, 3g, 10G, 10GB or 2GiB")
    size = float(found.group(1)) * 1024 ** _POWER[found.group(2).lower()]
    if size >= 1 << 63:
        raise ConfigError(f"{str(text)[:40]!r} is more than any machine has", hint="write 500m, 3g, 10G, 10GB or 2GiB")
    return int(size)


def check_size(text: str | int, option: str) -> int:
    """Bytes of an option that limits an amount; an error names the option.

    Raises:
        ConfigError: it is no size, or 0.
    """
    try:
        size = parse_size(text)
    except ConfigError as exc:
        raise ConfigError(f"{option}: {exc.message}", hint=exc.hint) from exc
    if not size:
        raise ConfigError(f"{option}: it must be more than 0", hint=f"for example {option} 64MiB")
    return size


def show_duration(seconds: float) -> str:
    """A duration as people read it: `0.4s`, `12s`, `3m05s`, `2h10m`, `3d4h`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"


def show_limit(size_bytes: float) -> str:
    """A limit as people write it: `102 MiB`, `1 GiB`."""
    number, unit = show_size(size_bytes).split(" ")
    return f"{float(number):.3g} {unit}" if float(number) < 1000 else f"{number} {unit}"


def show_size(size_bytes: float) -> str:
    """A size as people read it: `812 B`, `4.0 KiB`, `1.2 GiB`."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    power = min(4, int(math.log(size_bytes, 1024)))
    return f"{size_bytes / 1024**power:.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


def counted(count: int, one: str, many: str = "") -> str:
    """A count and what it counts: `1 row`, `1,024 rows`; `many` where that is not `one` and an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
