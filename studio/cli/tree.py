"""A listing in which each experiment stands below the one that it is a child of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..experiment import Experiment

Find = Callable[[str], Sequence[Experiment]]
"""The experiments that a query fits."""

_AT_ONCE = 200
"""Keys in one query."""


def tree(found: Sequence[Experiment], find: Find) -> list[tuple[Experiment, int]]:
    """The experiments that stand at the top of those found, each with its depth, its children below it, and so on.

    Children stand in the order in which they began.
    """
    known = {e.key: e for e in found}
    wanted = {e.child_of for e in found if e.child_of} - set(known)
    while wanted:  # up to the runs that these are children of
        above = [e for e in _with(find, "key", wanted) if e.key not in known]
        known.update((e.key, e) for e in above)
        wanted = {e.child_of for e in above if e.child_of} - set(known)
    below = set(known)
    while below:  # and down to all of their children
        more = [e for e in _with(find, "parent", below) if e.child_of and e.key not in known]
        known.update((e.key, e) for e in more)
        below = {e.key for e in more}
    children: dict[str, list[Experiment]] = {}
    for experiment in sorted(known.values(), key=lambda e: (e.times.added, e.key)):
        if experiment.child_of in known:
            children.setdefault(str(experiment.child_of), []).append(experiment)
    tops = dict.fromkeys(_top(e, known) for e in found)
    return [line for key in tops for line in _lines(known[key], children, 0, set())]


def _with(find: Find, field: str, keys: Iterable[str]) -> list[Experiment]:
    listed = sorted(keys)
    parts = [listed[at : at + _AT_ONCE] for at in range(0, len(listed), _AT_ONCE)]
    return [e for part in parts for e in find(f"{field} in ({', '.join(_quoted(key) for key in part)})")]


def _quoted(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _top(experiment: Experiment, known: dict[str, Experiment]) -> str:
    seen = {experiment.key}  # a record that somebody forged may be its own parent
    while experiment.child_of in known and experiment.child_of not in seen:
        experiment = known[experiment.child_of]
        seen.add(experiment.key)
    return experiment.key


def _lines(
    experiment: Experiment, children: dict[str, list[Experiment]], depth: int, seen: set[str]
) -> Iterator[tuple[Experiment, int]]:
    waiting = [(experiment, depth)]
    while waiting:
        one, at = waiting.pop()
        if one.key not in seen:
            seen.add(one.key)
            yield one, at
            waiting += [(child, at + 1) for child in reversed(children.get(one.key, []))]
