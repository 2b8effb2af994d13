"""The variables that the user gives to a script, as a record keeps them: secrets by a digest, not by their value."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from ..experiment import Experiment, Variable, is_whole
from .redact import MASK, clean, hides

SALT_BYTES = 32
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
            digest, salt = _digest(value, home)
            found[clean(name)] = Variable(shown[:MOST_CHARS] + "…" * (len(shown) > MOST_CHARS), digest, salt)
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


def _digest(value: str, home: Path) -> tuple[str | None, str | None]:
    """The value's digest and the name of the salt that it is keyed by; None where there can be no salt."""
    salt = _salt(home / "salt")
    if salt is None:
        return None, None
    digest = hmac.new(salt, value.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:32]
    return digest, hashlib.sha256(salt).hexdigest()[:8]


def _salt(path: Path) -> bytes | None:
    """The user's salt, made when it is first needed; whoever has a store, but not this file, can try no values."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".salt-{secrets.token_hex(8)}")
        if not path.exists():
            try:
                with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(secrets.token_bytes(SALT_BYTES))
                with contextlib.suppress(FileExistsError):  # another process was quicker: its salt counts
                    os.link(beside, path)
            finally:
                beside.unlink(missing_ok=True)
        found = path.read_bytes()
        return found if len(found) == SALT_BYTES else None
    return None
