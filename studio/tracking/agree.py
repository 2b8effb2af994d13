"""Whether a rerun did what the run before it did: judged by what is deterministic, at the steps that both have."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..experiment import Experiment
from . import Tracking
from .compare import MISSING, TOLERANCE, Difference, apart, clocked, curves_of, numbers, own_metrics, same

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_TIMES = frozenset(
    {"time", "times", "seconds", "secs", "sec", "ms", "duration", "elapsed", "eta", "runtime", "walltime", "wallclock",
     "throughput", "fps", "timestamp", "latency", "tps", "qps"}
)  # fmt: skip
_COUNTED = frozenset({"step", "steps", "error", "mae", "mse", "rmse", "loss", "accuracy"})


@dataclass(slots=True)
class Agreement:
    """How the metrics of two runs of the same code compare.

    Attributes:
        differences: What differs, as `compare` tells it.
        judged: Metrics that agree, or differ.
        unequal: A text for each metric that agrees, but of which one run has more points.
        clocked: How many curves are sampled by the clock: when, and so what, they show depends on the machine's speed.
        timed: Metrics that differ, but by their names measure time or speed: no two runs have the same.
    """

    differences: list[Difference] = field(default_factory=list)
    judged: int = 0
    unequal: list[str] = field(default_factory=list)
    clocked: int = 0
    timed: list[str] = field(default_factory=list)


def agreement(before: Experiment, again: Experiment, tracking: Tracking, *, tolerance: float = TOLERANCE) -> Agreement:
    """Compares every metric that one of them logged."""
    out = Agreement()
    pair = (before, again)
    curves = [curves_of(e, tracking) for e in pair]
    sheets = [own_metrics(e) for e in pair]
    for name in sorted({*sheets[0], *sheets[1]}):
        if any(clocked(e, name) for e in pair):
            out.clocked += 1
            continue
        found = [sheet[name].last if name in sheet else None for sheet in sheets]
        counts = [len(c.curve(name)[0]) for c in curves]
        rows: list[Difference] = []
        if not all(counts):  # one did not log it, or its points are not there any more
            if not same(found[0], found[1], tolerance):
                rows.append(Difference("metrics", name, numbers(found)))
        elif step := apart(curves[0], curves[1], name, tolerance):
            if not same(found[0], found[1], tolerance):
                rows.append(Difference("metrics", name, numbers(found)))
            rows.append(Difference("curves part at", name, (MISSING, step)))
        elif counts[0] != counts[1]:
            out.unequal.append(f"{name} has {counts[1]} points, had {counts[0]}")
        if rows and None not in found and measures_time(name):
            out.timed.append(name)
            continue
        out.judged += 1
        out.differences += rows
    return out


def measures_time(name: str) -> bool:
    """Whether a metric's name says that it is a time or a speed: `epoch_time`, `sec/it`, `samples_per_second`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if "it/s" in name or "/sec" in name or ("per" in words and words[-1] in ("s", "second", "sec")):
        return True
    return not _TIMES.isdisjoint(words) and _COUNTED.isdisjoint(words)
