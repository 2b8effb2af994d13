"""What experiments and their parts may be called, and the words for their states."""

from __future__ import annotations

import os
import re
import time

from ..errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LAST = "last"
"""The word for the newest experiment, so no experiment's key."""

WHOLE = "key="
"""Before a whole key, where a command takes a key: `key=last` is the experiment of an older store that has this key."""

READ_AS = {
    LAST: "the newest experiment",
    **dict.fromkeys(("all", "project", "projects", "user", "users"), "a word of `studio runs list`"),
    **dict.fromkeys(("and", "in", "none", "not", "or"), "a word of queries"),
}
"""Words that commands read as something else than a key, in upper or lower case, and as what."""

_GROUPS = frozenset({"artifacts", "command", "env", "exit", "git", "host", "metrics", "params", "resources", "times"})
"""With a dot behind, queries read a field."""

_VARIABLE = re.compile(r"[^\s=\x00-\x1f\x7f]+")
SET_BY_STUDIO = frozenset(
    {"STUDIOML_EXPERIMENT", "STUDIOML_ARTIFACT_MAPPING", "STUDIOML_HOME", "STUDIOML_STORE", "STUDIOML_SPOOL"}
)
"""Variables of a script that say which run it belongs to."""

STATUSES = ("waiting", "running", "finished", "failed", "stopped", "lost", "expired")
ENDED = frozenset({"finished", "failed", "stopped", "lost", "expired"})
KINDS = ("run", "serving")


def check_name(name: str, what: str) -> str:
    """`name` itself, if it fits the grammar of keys, projects, artifacts, models, versions and tags.

    Raises:
        ConfigError: it does not; the message shows the grammar.
    """
    if NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{what} {name!r} is not a valid name",
            hint="a name is a letter or digit, then up to 127 of: A-Z a-z 0-9 . _ -",
        )
    return name


def check_new_key(key: str) -> str:
    """`key` itself, if a new experiment may have it.

    Raises:
        ConfigError: it is no name, or commands read it as something else.
    """
    check_name(key, "experiment key")
    group, dot, _ = key.partition(".")
    if meaning := READ_AS.get(key.lower()) or ("a field of queries" if dot and group in _GROUPS else ""):
        raise ConfigError(f"experiment key {key!r} means {meaning}", hint="choose another, or leave -e out")
    if key.endswith((".py", ".ipynb")):
        raise ConfigError(f"experiment key {key!r} reads as a script", hint="choose one without the ending")
    return key


def new_key(now: float | None = None) -> str:
    """A fresh experiment key, `<yyyymmdd>-<hhmmss>-<6 of a-z2-7>` in UTC."""
    import secrets

    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return stamp + "-" + "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(6))


def check_variable(name: str, value: str) -> str:
    """`name` itself, if a script can have an environment variable of this name with this value.

    Raises:
        ConfigError: the system has no such variables, or studio sets it.
    """
    if _VARIABLE.fullmatch(name) is None:
        raise ConfigError(
            f"{name[:200]!r} is not the name of an environment variable", hint="a name has no space and no = in it"
        )
    if "\0" in value:
        raise ConfigError(f"the value of {name} holds a null byte", hint="variables are texts")
    try:
        os.fsencode(name + value)
    except UnicodeEncodeError as exc:
        raise ConfigError(
            f"the variable {name[:200]!r} cannot be written: {exc.reason}", hint="variables are texts"
        ) from exc
    if name in SET_BY_STUDIO:
        raise ConfigError(f"{name} is set by studio for each run", hint="choose another name")
    return name
