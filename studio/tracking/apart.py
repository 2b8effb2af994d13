"""Metrics side by side: which values are the same within a tolerance, and at which step curves part."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ..errors import ConfigError
from ..experiment import CLOCK, SAMPLED, Experiment, Summary
from .cells import MISSING, Difference
from .damage import Kept
from .metrics import Curves

TOLERANCE = 1e-6


def check_tolerance(tolerance: float) -> None:
    """Raises ConfigError for a tolerance that is negative, infinite or no number."""
    if not 0 <= tolerance < math.inf:
        raise ConfigError(f"a tolerance of {tolerance} is not possible", hint="0 or more, such as 1e-6")


def own_metrics(experiment: Experiment) -> Mapping[str, Summary]:
    """What the script logged: all metrics but those of the machine."""
    return {name: s for name, s in experiment.summary.items() if is_own(name)}


def is_own(name: str) -> bool:
    """Whether the script logged it, and not the supervisor."""
    return not name.startswith("system/")


def clocked(experiment: Experiment, name: str) -> bool:
    """Whether a metric is sampled by the clock, such as Keras' `batch/loss`: which steps it has is then by chance."""
    found = experiment.summary.get(name)
    return found is not None and found.extra.get(SAMPLED) == CLOCK


def comparable(experiments: Sequence[Experiment]) -> list[str]:
    """The names of metrics that are not left to chance."""
    names = {name for e in experiments for name in own_metrics(e)}
    return sorted(name for name in names if not any(clocked(e, name) for e in experiments))


def same(one: float | None, other: float | None, tolerance: float) -> bool:
    """Whether two values are no further apart than the tolerance; None equals None, NaN equals NaN."""
    if one is None or other is None:
        return one is other
    if one == other or (math.isnan(one) and math.isnan(other)):
        return True
    return math.isfinite(one) and math.isfinite(other) and abs(one - other) <= tolerance * max(abs(one), abs(other))


def all_same(values: Sequence[float | None], tolerance: float) -> bool:
    """Whether no two of the values are further apart than the tolerance."""
    finite = [v for v in values if v is not None and math.isfinite(v)]
    if finite and len(finite) == len(values):
        return same(min(finite), max(finite), tolerance)
    return all(same(values[0], value, tolerance) for value in values[1:])


def numbers(values: Sequence[float | None]) -> tuple[str, ...]:
    """In six digits, or in as many as it takes to tell them apart."""
    distinct = len({v for v in values if v is not None and v == v})
    for digits in (6, 9, 12, 17):
        texts = [MISSING if v is None else f"{v:.{digits}g}" for v in values]
        if len({t for t, v in zip(texts, values, strict=True) if v is not None and v == v}) == distinct:
            break
    return tuple(texts)


def parting(experiments: Sequence[Experiment], kept: Sequence[Kept], tolerance: float) -> Iterator[Difference]:
    """The step at which each curve leaves that of the first experiment that has a whole one; and which are not whole.

    A damaged curve has a row, whatever is left of it: it is the same as no other.
    """
    compared = set(comparable(experiments))
    damaged = {name for one in kept for name in one.damaged if is_own(name)}
    for name in sorted(compared | damaged):
        whole = [i for i, one in enumerate(kept) if name not in one.damaged and len(one.curves.curve(name)[0])]
        found = {i: one.damaged[name] for i, one in enumerate(kept) if name in one.damaged}
        if name in compared:
            for i in whole[1:]:
                step = _leaves(kept[whole[0]].curves, kept[i].curves, name, tolerance)
                if step != "never" or found:
                    found[i] = step
        if any(step != "never" for step in found.values()):
            yield Difference("curves part at", name, tuple(found.get(i, MISSING) for i in range(len(experiments))))


def _leaves(one: Curves, other: Curves, name: str, tolerance: float) -> str:
    """The first step both have whose values differ; else where the shorter curve ends."""
    import numpy as np

    found = apart(one, other, name, tolerance)
    if found:
        return found
    only = np.setxor1d(one.curve(name)[0], other.curve(name)[0])
    return f"step {only[0]}, which one lacks" if len(only) else "never"


def apart(one: Curves, other: Curves, name: str, tolerance: float) -> str:
    """The first step both have whose values differ, or that they have no step in common; "" if they agree."""
    import numpy as np

    steps, _, values = one.curve(name)
    other_steps, _, other_values = other.curve(name)
    common, mine, its = np.intersect1d(steps, other_steps, return_indices=True)
    if not len(common):
        return "no common step"
    a, b = values[mine], other_values[its]
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.isfinite(a) & np.isfinite(b) & (np.abs(a - b) <= tolerance * np.maximum(np.abs(a), np.abs(b)))
    differ = common[~(near | (a == b) | (np.isnan(a) & np.isnan(b)))]
    return f"step {differ[0]}" if len(differ) else ""
