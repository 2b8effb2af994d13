"""The variables that the user gives to a script, as a record keeps them: secrets by a digest, not by their value."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..experiment import Experiment, Variable, is_whole
from . import inject as inject
from .redact import MASK, clean, hides, redact_params

if TYPE_CHECKING:
    from .inject import _studio_salt
else:  # as redact does
    import _studio_salt

MOST_CHARS = 4096
_OURS = "STUDIOML_SERVE_"
"""What the plan of a server tells its process."""


def recorded(env: Mapping[str, str], home: Path) -> dict[str, Variable]:
    """The variables as the record may have them; a value that is cut, or has a secret in it, has its digest."""
    found: dict[str, Variable] = {}
    for name, value in sorted(env.items()):
        if name.startswith(_OURS):
            continue
        shown = MASK if hides(name, value) else clean(value)
        if shown == value and len(value) <= MOST_CHARS:
            found[clean(name)] = Variable(value)
        else:
            digest, salt = _studio_salt.digest(os.fsencode(value), str(home)) or (None, None)
            found[clean(name)] = Variable(shown[:MOST_CHARS] + "…" * (len(shown) > MOST_CHARS), digest, salt)
    return found


def digests_of(params: Mapping[str, object], home: Path) -> dict[str, tuple[str, str]]:
    """Of each parameter that is secret, or has a secret in it, the digest and the name of its salt; as hooks do."""
    found: dict[str, tuple[str, str]] = {}
    for name, shown in redact_params(params).items():
        if shown != params[name] and (digest := _studio_salt.digest(json.dumps(params[name]).encode(), str(home))):
            found[name] = digest
    return found


def given_again(before: Experiment, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that an experiment was given, for it to run again; those that are not kept as they are here now.

    Args:
        environment: Where the values of secrets may be, such as this process's own variables.
    """
    known = before.env or {}
    kept = {name: one.value for name, one in known.items() if is_whole(one.value, one.digest)}
    return kept | {name: environment[name] for name in known if name not in kept and name in environment}


def lacking(before: Experiment, env: Mapping[str, str], *, resume: bool = False) -> str:
    """What to say of a run of an experiment again that is without variables of it; "" if it has all."""
    names = [name for name in before.env or {} if name not in env]
    if not names:
        return ""
    return (
        f"it runs without {', '.join(names)}: the value was not kept with {before.key}. To give one:"
        f" studio run --env {names[0]}=VALUE {'--resume ' if resume else ''}{before.key}"
    )
