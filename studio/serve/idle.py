"""Ends a server that nobody uses: counts from the last answered inference, never while one is in flight."""

from __future__ import annotations

import time


class Idle:
    """The clock of `--killafter`. Health checks, pages and refused requests do not touch it.

    Args:
        killafter_s: Seconds; 0 = never.
    """

    def __init__(self, killafter_s: float) -> None:
        self.killafter_s = killafter_s
        self._last = time.monotonic()

    def touch(self) -> None:
        """An inference was answered."""
        self._last = time.monotonic()

    def remaining_s(self, inflight: int) -> float | None:
        """Seconds until the end; all of them while something is in flight; None = never."""
        if not self.killafter_s:
            return None
        if inflight:
            self._last = time.monotonic()
            return self.killafter_s
        return max(0.0, self._last + self.killafter_s - time.monotonic())
