"""Which experiments of a rerun repeat which ones of the run before, where a script makes children of its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import NotFound
from ..experiment import Experiment
from . import Tracking
from .apart import own_metrics
from .find import children


@dataclass(slots=True)
class Repetition:
    """What is compared with what.

    Attributes:
        pairs: (before, again), a run before its children; empty if nothing repeats the first one.
        place: Of a child, which of its parent's children it was and is: `child 2 of m`, `child 2 of n`; else empty.
        unpaired: A line for each run whose children are not compared.
    """

    pairs: list[tuple[Experiment, Experiment]] = field(default_factory=list)
    place: tuple[str, ...] = ()
    unpaired: list[str] = field(default_factory=list)


def repetition(before: Experiment, again: Experiment, tracking: Tracking) -> Repetition:
    """Finds what repeats `before` in the rerun `again`, which ran the whole script that `before` may be a child in."""
    out = Repetition()
    chain = _up(before, tracking)
    at = _top(chain[-1], again, tracking, out)
    if at is not again:
        out.place = (before.key, f"a child of {again.key}")
    for parent, child in zip(chain[:0:-1], chain[-2::-1], strict=True):
        if at is not None:
            at = _child(parent, child, at, tracking, out)
    if at is not None:
        _add(before, at, tracking, out)
    return out


def _up(before: Experiment, tracking: Tracking) -> list[Experiment]:
    """The experiment, and the runs that it was a child of within one process: they have the same command."""
    chain = [before]
    while (key := chain[-1].child_of) is not None and all(key != one.key for one in chain):
        try:
            parent = tracking.records.get(key)
        except NotFound:  # deleted
            break
        if _command(parent) != _command(before):
            break
        chain.append(parent)
    return chain


def _top(before: Experiment, again: Experiment, tracking: Tracking, out: Repetition) -> Experiment | None:
    """What repeats a run that is no child: the rerun, or its child, if the script ran without `studio run` before."""
    theirs = children(tracking, again.key)
    count = len(children(tracking, before.key))
    if not theirs or len(theirs) == count or set(own_metrics(before)) == set(own_metrics(again)):
        return again
    like = [
        one
        for one in theirs
        if _sign(one) == _sign(before)
        and set(own_metrics(one)) == set(own_metrics(before))
        and len(children(tracking, one.key)) == count
    ]
    if len(like) > 1:
        out.unpaired.append(f"{len(like)} children of {again.key} look like {before.key}, with the same parameters")
        return None
    return like[0] if like else again


def _child(
    parent: Experiment, child: Experiment, at: Experiment, tracking: Tracking, out: Repetition
) -> Experiment | None:
    """What repeats a child of `parent` among the children of `at`, which repeats `parent`."""
    ours, theirs = children(tracking, parent.key), children(tracking, at.key)
    keys = [one.key for one in ours]
    if len(ours) != len(theirs):
        out.unpaired.append(_unequal(parent, len(ours), at, len(theirs)))
        return None
    found = _in_order(ours, theirs)[keys.index(child.key)]
    places = keys.index(child.key), [one.key for one in theirs].index(found.key)
    out.place = (f"child {places[0] + 1} of {parent.key}", f"child {places[1] + 1} of {at.key}")
    return found


def _add(before: Experiment, again: Experiment, tracking: Tracking, out: Repetition) -> None:
    """A pair, and the pairs of their children."""
    waiting = [(before, again)]
    while waiting:
        one, other = waiting.pop(0)
        if any(one.key == seen.key for seen, _ in out.pairs):  # a forged record may be its own parent
            continue
        out.pairs.append((one, other))
        ours, theirs = children(tracking, one.key), children(tracking, other.key)
        if len(ours) == len(theirs):
            waiting += zip(ours, _in_order(ours, theirs), strict=True)
        else:
            out.unpaired.append(_unequal(one, len(ours), other, len(theirs)))


def _in_order(ours: Sequence[Experiment], theirs: Sequence[Experiment]) -> list[Experiment]:
    """`theirs` in the order of `ours`: by parameters and tags if both have the same ones, else as they began.

    Children in processes that run at once begin in an order that is left to chance.
    """
    waiting: dict[str, list[Experiment]] = {}
    for one in theirs:
        waiting.setdefault(_sign(one), []).append(one)
    if sorted(map(_sign, ours)) != sorted(map(_sign, theirs)):
        return list(theirs)
    return [waiting[_sign(one)].pop(0) for one in ours]


def _sign(one: Experiment) -> str:
    return repr((sorted(one.params.items()), one.tags))


def _command(one: Experiment) -> tuple[str, str, tuple[str, ...]]:
    return one.command.kind, one.command.target, one.command.args


def _unequal(before: Experiment, had: int, again: Experiment, has: int) -> str:
    return f"{before.key} has {had or 'none'}, {again.key} has {has or 'none'}"
