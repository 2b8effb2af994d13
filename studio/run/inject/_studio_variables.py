"""Which variable of the script holds an object, for messages that tell several models of one class apart."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from . import _studio_secrets
else:
    import _studio_secrets

LONGEST = 60  # characters of what is told


def held() -> dict[int, str]:
    """By id, what the variables of `__main__` hold, and where: `model`, `models['a']`, `models[0]`, `trainer.model`.

    Looks within a container or an object of the script's, one level deep. Plain variables come before those within, and
    names that begin with `_`, such as those of a notebook, come last.
    """
    main = sys.modules.get("__main__")
    known = list(vars(main).items()) if main is not None else []
    found: dict[int, str] = {}
    for hidden in (False, True):
        some = [(name, value) for name, value in known if name.startswith("_") == hidden]
        for name, value in some:
            found.setdefault(id(value), name)
        for name, value in some:
            for place, thing in _inside(value):
                found.setdefault(id(thing), name + place)
    return found


def shown(name: str) -> str:
    """A variable of `held` as messages have it: a key may be long, or a secret."""
    return _studio_secrets.clean(name)[:LONGEST]


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, thing in list(value.items()):
            yield f"[{key!r}]" if isinstance(key, (str, int)) else "", thing
    elif isinstance(value, (list, tuple)):
        for number, thing in enumerate(list(value)):
            yield f"[{number}]", thing
    elif isinstance(value, (set, frozenset)):
        for thing in list(value):
            yield "", thing
    elif type(value).__module__ == "__main__":
        for name, thing in list(getattr(value, "__dict__", {}).items()):
            yield f".{name}", thing
