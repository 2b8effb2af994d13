"""Progress lines of a training loop, smoothed; the values become metrics of the run. Works without torch."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Protocol, SupportsFloat

from ..run.inject import _studio_track
from .events import EventFile


class Output(Protocol):
    """Where a line can go."""

    def write(self, text: str, /) -> object:
        """Takes the line."""


class Reporter:
    """Collects values and prints them now and then.

    Args:
        log_interval: A line and a point for TensorBoard at the steps that this divides.
        logdir: A folder for TensorBoard's event files; None: none are written. Needs neither TensorFlow nor
            TensorBoard.
        smooth_interval: A line shows the mean of so many values.
    """

    def __init__(
        self, log_interval: int = 10, logdir: str | os.PathLike[str] | None = None, smooth_interval: int = 10
    ) -> None:
        self._log_interval = log_interval
        self._smooth_interval = smooth_interval
        self._events = None if logdir is None else EventFile(logdir)
        self._values: dict[str, deque[float]] = {}
        self._step = 0
        self._reported: tuple[int, float] | None = None

    def record(self, step: int, **values: SupportsFloat) -> None:
        """Takes the values of one step: numbers, or tensors of one number."""
        for name, value in values.items():
            self.add(step, name, value)

    def add(self, step: int, key: str, value: SupportsFloat) -> None:
        """Takes one value; it goes to `studio.log` too."""
        number = float(value.detach() if hasattr(value, "detach") else value)
        self._step = step
        self._values.setdefault(key, deque(maxlen=self._smooth_interval)).append(number)
        _studio_track.log({key: number}, step)
        if self._events is not None and step % self._log_interval == 0:
            self._events.add(step, key, number)

    def report(self, stdout: Output | None = None) -> None:
        """Prints `Step 2: k = 0.25000` if the last step is one of those; from the second line on with the seconds.

        Args:
            stdout: Takes the line instead, without an end of line.
        """
        if self._step % self._log_interval:
            return
        newest = [(name, list(values)) for name, values in list(self._values.items())]  # other threads may add to them
        means = ",".join(f"{name} = {sum(values) / len(values):.5f}" for name, values in newest)
        line = f"Step {self._step}: {means}"
        now = time.monotonic()
        if self._reported is not None:
            step, then = self._reported
            line += f" ({now - then:.3f} sec)"
            if self._events is not None and now > then:
                self._events.add(self._step, "step/sec", (self._step - step) / (now - then))
        self._reported = self._step, now
        if stdout is None:
            print(line)  # noqa: T201  (what it is for)
        else:
            stdout.write(line)
