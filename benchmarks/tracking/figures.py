"""Figures of one kind, side by side: min, median, max, and how many times better studio is."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

REFERENCE = "studio"


class Figures:
    """One table of the result.

    Args:
        title: What was measured.
        unit: `s`, `ms` or `points/s`; the more of a rate the better, the less of a time.
        note: A line under the title.
        ratios: Whether a ratio means anything here.
    """

    def __init__(self, title: str, unit: str, note: str = "", *, ratios: bool = True) -> None:
        self.title, self.unit, self.note, self.ratios = title, unit, note, ratios
        self.values: dict[str, list[float]] = {}
        self.remarks: dict[str, str] = {}

    def add(self, name: str, values: Iterable[float]) -> None:
        """Further figures of a peer."""
        self.values.setdefault(name, []).extend(values)

    def remark(self, name: str, text: str) -> None:
        """What stands behind a peer's figures, or in their place."""
        self.remarks[name] = text

    def median(self, name: str) -> float | None:
        """The middle of a peer's figures."""
        return statistics.median(self.values[name]) if self.values.get(name) else None

    def ratio(self, name: str) -> float | None:
        """How many times better studio is than this peer; below 1 it is worse."""
        mine, other = self.median(REFERENCE), self.median(name)
        if not self.ratios or mine is None or other is None or mine <= 0 or other <= 0:
            return None
        return mine / other if self.unit.endswith("/s") else other / mine

    def lines(self) -> Iterable[str]:
        """The table."""
        yield self.title
        if self.note:
            yield f"  {self.note}"
        for name in dict.fromkeys([*self.values, *self.remarks]):
            line = f"  {name:28s}"
            if found := self.values.get(name):
                shown = [show(value, self.unit) for value in (min(found), statistics.median(found), max(found))]
                ratio = None if name == REFERENCE else self.ratio(name)
                line += " ".join(f"{value:>10s}" for value in shown) + f" {self.unit:9s}"
                line += f"× {ratio:<9.{digits(ratio)}f}" if ratio is not None else 11 * " "
            yield (line + self.remarks.get(name, "")).rstrip()


def digits(value: float) -> int:
    """Digits behind the point that mean something in a ratio."""
    return 0 if value >= 20 else 1 if value >= 2 else 2


def show(value: float, unit: str) -> str:
    """A figure with as many digits as it deserves."""
    return f"{value:,.0f}" if unit.endswith("/s") else f"{value:.1f}" if unit == "ms" else f"{value:.3f}"
