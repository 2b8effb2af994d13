"""Which lines wait for what a thread does now: by this a pipe sees that it would wait for itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from .stage import Item

_NOBODY: frozenset[object] = frozenset()
_here = threading.local()


def lineage() -> frozenset[object]:
    """The lines that wait for what this thread does now; empty outside workers."""
    found: frozenset[object] = getattr(_here, "lines", _NOBODY)
    return found


def work_for(lines: frozenset[object]) -> None:
    """From now on this thread works for these lines."""
    _here.lines = lines


def forget_lineage() -> None:
    """For the one thread of a forked child."""
    _here.__dict__.clear()


def together(batch: Sequence[Item]) -> frozenset[object]:
    """The lines that wait for any item of the batch."""
    waiting = batch[0].sink.lineage
    for item in batch:
        if item.sink.lineage is not waiting:
            waiting = waiting | item.sink.lineage
    return waiting
