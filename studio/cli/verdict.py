"""What `studio runs rerun` says in the end: whether a run did what the run before it did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..experiment import Experiment
    from ..tracking.agree import Agreement
    from ..tracking.repetition import Repetition

MOST_NAMES = 5


def verdict(told: Repetition, found: list[Agreement], before: Experiment, again: Experiment) -> Iterator[str]:
    """Whether a rerun agrees: by outcome, parameters and variables first, then by metrics; and what does not count."""
    hindrances = _hindrances(told, found, before, again)
    yield from hindrances[:MOST_NAMES]
    if len(hindrances) > MOST_NAMES:
        yield f"and {len(hindrances) - MOST_NAMES} more such lines: studio runs compare {before.key} {again.key}"
    apart = [pair for pair, one in zip(told.pairs, found, strict=True) if one.differences]
    clocked, judged = sum(one.clocked for one in found), sum(one.judged for one in found)
    timed = list(dict.fromkeys(name for one in found for name in one.timed))
    whole = f": the whole script ran, and {_places(told, before)}" if told.place and told.pairs else ""
    if apart:
        where = f" in {len(apart)} of {len(found)} runs" if len(found) > 1 else ""
        one, other = apart[0]
        yield f"metrics differ{where}{whole}; studio runs compare {one.key} {other.key} tells more"
    elif hindrances or (judged and told.unpaired):
        although = f", although {judged} metric{'s' * (judged != 1)} had the same values" if judged else ""
        yield f"{again.key} does not repeat {before.key}{although}"
    elif judged:
        children = f" and its {_children(len(found) - 1)}" if len(found) > 1 else ""
        yield f"metrics agree with those of {before.key}{children} ({judged} metric{'s' * (judged != 1)}){whole}"
    elif told.pairs:
        what = "metrics that count" if clocked or timed else "metrics"
        yield f"{told.pairs[0][1].key} has no {what}, so there is nothing to compare{whole}"
    else:
        yield f"the whole script ran, and nothing in {again.key} can be compared with {before.key}"
    unknown = list(dict.fromkeys(name for one in found for name in one.unknown))
    if unknown:
        yield f"not compared: {', '.join(unknown)}"
    if told.unpaired:
        yield f"children not compared: {'; '.join(told.unpaired[:MOST_NAMES])}"
    unequal = [line for one in found for line in one.unequal]
    if unequal:
        more = f" and {len(unequal) - MOST_NAMES} more" if len(unequal) > MOST_NAMES else ""
        yield f"compared at the steps that both have: {', '.join(unequal[:MOST_NAMES])}{more}"
    if clocked:
        yield f"not compared: {clocked} curve{'s' if clocked != 1 else ''} sampled by the clock"
    if timed:
        yield f"not counted, as the name says time or speed: {', '.join(timed)}"


def agrees(told: Repetition, found: list[Agreement], before: Experiment, again: Experiment) -> bool:
    """Whether the verdict is that metrics agree: some were compared, and nothing differs or is in the way."""
    shown = not told.unpaired and any(one.judged for one in found)
    return shown and not any(one.differences for one in found) and not _hindrances(told, found, before, again)


def _hindrances(told: Repetition, found: list[Agreement], before: Experiment, again: Experiment) -> list[str]:
    """Why the runs cannot agree, whatever the metrics say; nothing is there twice."""
    hindrances = list(dict.fromkeys(line for one in found for line in one.hindrances))
    if again.status != "finished" and all(other.key != again.key for _, other in told.pairs):
        hindrances.insert(0, f"{again.key} {again.status}, {before.key} {before.status}")
    return hindrances


def _places(told: Repetition, before: Experiment) -> str:
    """Which child of the rerun was compared with which one before."""
    was, is_ = told.place
    what = before.key if was == before.key else f"{before.key}, {was},"
    return f"{what} is compared with {told.pairs[0][1].key}, {is_}"


def _children(count: int) -> str:
    return "child" if count == 1 else f"{count} children"
