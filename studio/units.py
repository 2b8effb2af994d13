"""Durations and sizes as people write them: `90s`, `48h2m10s`, `1d`; `500m`, `10GB`, `2GiB`."""

from __future__ import annotations

import math
import re

from .errors import ConfigError

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", re.IGNORECASE
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)
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
        raise ConfigError(f"{text!r} is not a duration", hint="write 90, 90s, 5m, 2h, 1d or 48h2m10s")
    parts = [float(part or 0) for part in found.groups()]
    return sum(n * unit for n, unit in zip(parts, (86400, 3600, 60, 1), strict=True))


def parse_size(text: str | int) -> int:
    """Bytes of `500m`, `3g`, `10G`, `10GB` or `2GiB` (powers of 1024); an int is bytes already.

    Raises:
        ConfigError: any other form; the hint shows them.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ConfigError(f"{text!r} is not a size", hint="write 500m, 3g, 10G, 10GB or 2GiB")
    return int(float(found.group(1)) * 1024 ** _POWER[found.group(2).lower()])


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
