"""What the script's variables hold, and which one: messages tell several models of one class apart by that."""

from __future__ import annotations

import sys
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from . import _studio_secrets
else:
    import _studio_secrets

LONGEST = 60  # characters of what is told
DEPTH = 3  # of containers and objects within one another: results[2].models[1]
MOST_WITHIN = 10_000  # things of one container
MOST_DEEPER = 3_000  # things of one variable that lie deeper than in its own container: data may come first
MOST = 15_000  # of all variables
PLAIN = frozenset((int, float, complex, bool, str, bytes, type(None)))


def held() -> dict[int, str]:
    """By id, what the variables of `__main__` hold, and where: `model`, `models['a']`, `models[2][1]`, `trainer.model`.

    Plain variables come before those within, these by their depth, and names that begin with `_`, such as those of a
    notebook, come last.
    """
    found: dict[int, str] = {}
    for hidden in (False, True):
        for place, value, _ in walk(_enters, hidden=hidden):
            found.setdefault(id(value), place)
    return found


def walk(enters: Callable[[Any, int], bool], *, hidden: bool | None = None) -> Iterator[tuple[str, Any, int]]:
    """What the variables of `__main__` hold, with where and how deep (0: it is a variable), by depth.

    Looks within lists, tuples, sets, dictionaries, and objects of the script's own classes, as far as they are not
    huge: a script's data are in its variables too.

    Args:
        enters: Whether to look within such an object, at its depth.
        hidden: Only names that begin with `_`, or only others; None = all.
    """
    main = sys.modules.get("__main__")
    known = list(vars(main).items()) if main is not None else []
    level = [(name, True, value, name) for name, value in known if hidden is None or name.startswith("_") == hidden]
    seen: set[int] = set()
    room, rooms = MOST, dict.fromkeys([name for name, _, _, _ in level], MOST_DEEPER)
    for depth in range(DEPTH + 1):
        for place, _, value, _ in level:
            yield place, value, depth
        deeper: list[tuple[str, bool, Any, str]] = []
        for place, exact, value, top in level if depth < DEPTH else ():
            here = min(room, rooms[top]) if depth else MOST_WITHIN
            if here <= 0 or id(value) in seen:
                continue
            if issubclass(type(value), _CONTAINERS) or (type(value).__module__ == "__main__" and enters(value, depth)):
                seen.add(id(value))
                count = len(deeper)
                for within, thing in _things(value, here):
                    named = exact and bool(within)  # what has no key keeps the name of what it is in
                    deeper.append((place + within if named else place, named, thing, top))
                if depth:
                    room, rooms[top] = room - len(deeper) + count, rooms[top] - len(deeper) + count
        level = deeper


def _enters(value: Any, depth: int) -> bool:
    """Whether to look within an object of the script's: what is in a model that is itself held is a part of it."""
    return depth == 0 or not hasattr(type(value), "predict")


def shown(name: str) -> str:
    """A variable of `held` as messages have it: a key may be long, or a secret."""
    return _studio_secrets.clean(name)[:LONGEST]


def inside(value: Any) -> Iterator[Any]:
    """What a container holds, at all depths, as far as it is not huge; nothing for other things."""
    waiting = [value]
    for _ in range(MOST_WITHIN):
        if not waiting:
            return
        one = waiting.pop(0)
        if issubclass(type(one), _CONTAINERS):
            found = [thing for _, thing in _things(one, MOST_WITHIN - len(waiting))]
            waiting += found
            yield from found


_CONTAINERS = (dict, list, tuple, set, frozenset)
"""Asked of the type: a proxy says that it is a dictionary, and none of a dictionary's methods takes it."""


def _things(value: Any, most: int) -> list[tuple[str, Any]]:
    """What is in it; nothing if the script's own code, which it may run, raises."""
    try:
        return list(islice(_inside(value), most))
    except Exception:  # noqa: BLE001
        return []


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    """What is in it that is no plain value."""
    kind = type(value)
    if issubclass(kind, dict):
        for key, thing in list(islice(dict.items(value), MOST_WITHIN)):
            if type(thing) not in PLAIN:
                yield f"[{key!r}]" if isinstance(key, (str, int)) else "", thing
    elif issubclass(kind, (list, tuple)):
        for number, thing in enumerate(list(islice(value, MOST_WITHIN))):
            if type(thing) not in PLAIN:
                yield f"[{number}]", thing
    elif issubclass(kind, (set, frozenset)):
        for thing in list(islice(value, MOST_WITHIN)):
            if type(thing) not in PLAIN:
                yield "", thing
    else:
        for name, thing in list(islice(getattr(value, "__dict__", {}).items(), MOST_WITHIN)):
            if type(thing) not in PLAIN:
                yield f".{name}", thing
