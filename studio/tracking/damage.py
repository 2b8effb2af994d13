"""Curves that are not whole: what the record counted against what the store still has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import NotFound, StoreError
from ..experiment import Experiment
from . import Tracking
from .metrics import Curves


@dataclass(frozen=True, slots=True)
class Kept:
    """The curves of an experiment as the store has them, and what is wrong with them: name → a text."""

    curves: Curves
    damaged: Mapping[str, str]


def curves_of(experiment: Experiment, tracking: Tracking) -> Kept:
    """All points that an experiment logged, as far as they can be read."""
    try:
        curves = Curves.from_store(tracking.store, experiment.key)
    except NotFound:  # deleted meanwhile
        curves = Curves({})
    except StoreError as exc:
        return Kept(Curves({}), dict.fromkeys(experiment.summary, f"unreadable: {exc.message}"))
    return Kept(curves, damaged(experiment, curves))


def damaged(experiment: Experiment, curves: Curves) -> dict[str, str]:
    """The curves that have fewer points than the record says, and how many.

    A run that goes on, or is lost, has no last count; what a record of an experiment that ended counts is in the store.
    """
    if not experiment.ended or experiment.status == "lost":
        return {}
    found = {}
    for name, summary in experiment.summary.items():
        have = curves.count(name)
        if have < summary.count:
            found[name] = f"damaged: {have:,} of {summary.count:,} points are left"
    return found


def damage_lines(key: str, found: Mapping[str, str]) -> list[str]:
    """Lines that say so, for a command that reads the curves of many experiments."""
    names = sorted(found)
    lines = [f"experiment {key}: the curve {name} is {found[name]}" for name in names[:_NAMED]]
    more = len(names) - len(lines)
    return [*lines, f"experiment {key}: {more} more curve{'s are' if more > 1 else ' is'} damaged"] if more else lines


_NAMED = 5
