"""Which experiment a user's word means: a key, `key=KEY`, `last`, or the unique beginning of a key."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError, ExperimentNotFound, nearest
from ..experiment import CHILD, LAST, NAME, WHOLE, Experiment
from . import Tracking


def find_experiment(
    tracking: Tracking, word: str, *, project: str | None = None, owner: str | None = None, exact: bool = False
) -> Experiment:
    """The experiment that `word` means, as the store has it now.

    Args:
        word: An exact key, `last` (the newest of kind `run` of this project and owner), a unique prefix of a key, or
            `key=` and a whole key.
        exact: Whether it can be a whole key only.

    Raises:
        ExperimentNotFound: nothing fits; the hint names the nearest key.
        ConfigError: it means several; the message lists them.
    """
    exact, word = exact or word.startswith(WHOLE), word.removeprefix(WHOLE)
    if word == LAST and not exact:
        newest = tracking.index.newest(kind="run", project=project, owner=owner)
        if newest is None:
            raise _none_yet(tracking, project, owner)
        if f"records/{LAST}.json" in tracking.index.broken() or LAST in tracking.index.keys(
            LAST
        ):  # from before such a key was refused
            raise ConfigError(
                f"{word!r} means two experiments: the newest, {newest.key}, and the one with this key",
                hint=f"type the key of the newest, or {WHOLE}{word} for the other",
            )
        return newest
    found = tracking.index.keys(word) if NAME.fullmatch(word) else []
    if word in found or f"records/{word}.json" in tracking.index.broken():
        return tracking.records.get(word)
    if exact:
        found = []
    if len(found) > 1:
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise ConfigError(f"{word!r} fits {len(found)} experiments: {shown}", hint="type more of the key")
    if found:
        return tracking.records.get(found[0])
    hint = (
        nearest(word, [*(() if exact else (LAST,)), *tracking.index.keys("")[-2000:]])
        or "list them with: studio runs list"
    )
    raise ExperimentNotFound(f"no experiment {word!r} in {tracking.url}", hint=hint)


def _none_yet(tracking: Tracking, project: str | None, owner: str | None) -> ExperimentNotFound:
    """That nobody, or not this owner, has run anything yet."""
    where = f"project {project!r}" if project else "this store"
    others = owner and tracking.index.newest(kind="run", project=project)
    if others:
        return ExperimentNotFound(
            f"no experiment of yours ({owner}) in {where} yet",
            hint="studio run train.py makes one; studio runs list all shows those of others",
        )
    return ExperimentNotFound(f"no experiment in {where} yet", hint="studio run train.py makes one")


def children(tracking: Tracking, key: str) -> list[Experiment]:
    """What a run's script started as runs, in the order in which they began; not reruns or servings of the run."""
    return tracking.index.search(f'parent = "{key}" and relation = "{CHILD}"', sort="added", limit=None)


def descendants(tracking: Tracking, keys: Sequence[str]) -> list[Experiment]:
    """The children of these runs and the children of those, a run before its children; none of `keys`."""
    found: dict[str, Experiment] = {}
    waiting = list(keys)
    while waiting:
        more = [e for e in children(tracking, waiting.pop(0)) if e.key not in found and e.key not in keys]
        found.update((e.key, e) for e in more)
        waiting += [e.key for e in more]
    return list(found.values())
