"""Resolves every setting once: each layer is read and checked as a whole, the first that has a setting counts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, nearest
from ..units import show_duration
from .file import read_file, settings_files
from .values import CLASSIC, KNOWN, home

_PREFIX = "STUDIOML_"
_INTERNAL = frozenset(
    {"HOME", "DEBUG", "EXPERIMENT", "ARTIFACT_MAPPING", "SPOOL", "MAIN", "DESCRIBE", "AUTOLOG", "CELL", "SUPERVISOR"}
    | {"SERVE_SOURCE"}
)
"""What follows the prefix in further variables that studio reads, or sets for scripts."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting's value and its origin, such as `--store`, `STUDIOML_STORE`, a file's path or `default`."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, resolved once."""

    settings: Mapping[str, Setting]
    unused: Mapping[str, Setting]

    def __getitem__(self, name: str) -> Any:
        return self.settings[name].value


def load(flags: Mapping[str, Any] | None = None, *, file: str | None = None, folder: Path | None = None) -> Config:
    """Resolves every setting: flag > environment > `--config` file > project's `studio.yaml` > user's file > default.

    Args:
        flags: Values from the command line; None values count as not given.
        file: A `--config` file, read before the others.
        folder: Where the search for `studio.yaml` starts (upwards); default the current folder.

    Raises:
        ConfigError: a file that is missing or not YAML, an unknown key, a value of the wrong form, in whatever layer.
    """
    given = {f"--{name.replace('_', '-')}": (name, value) for name, value in (flags or {}).items() if value is not None}
    variables = {_PREFIX + name.upper(): name for name in KNOWN}
    given |= {found: (name, os.environ[found]) for found, name in variables.items() if os.environ.get(found)}
    layers = [(origin, {name: value}) for origin, (name, value) in given.items()]
    layers += [(str(path), read_file(path)) for path in settings_files(file, folder or _current(), home())]
    settings: dict[str, Setting] = {}
    unused: dict[str, Setting] = {}
    for origin, values in layers:
        for name, value in values.items():
            if name in CLASSIC:
                unused.setdefault(name, Setting(name, value, origin))
            else:
                found = Setting(name, _parsed(name, value, origin), origin)
                settings.setdefault(name, found)
    settings = {n: settings.get(n) or Setting(n, kind.default(), "default") for n, kind in KNOWN.items()}
    _check_heartbeat(settings["heartbeat"], settings["lost_after"])
    return Config(settings, unused)


def unknown_variables() -> dict[str, str]:
    """Variables of the environment that look like settings and are none → the setting that may be meant, or ""."""
    known = {_PREFIX + name.upper() for name in (*KNOWN, *_INTERNAL)}
    return {name: nearest(name, known) for name in sorted(os.environ) if name.startswith(_PREFIX) and name not in known}


def _parsed(name: str, value: object, origin: str) -> Any:
    try:
        if value is None:
            raise ConfigError("it has no value", hint=f"delete the line, or write a value: studio config {name}")
        return KNOWN[name].parse(value)
    except ConfigError as exc:
        where = origin if origin.startswith(("--", _PREFIX)) else f"{origin}: {name}"
        raise ConfigError(f"{where}: {exc.message}", hint=exc.hint) from exc


def _check_heartbeat(heartbeat: Setting, lost_after: Setting) -> None:
    if heartbeat.value >= lost_after.value:
        raise ConfigError(
            f"lost_after ({show_duration(lost_after.value)}, {lost_after.origin}) must be longer than heartbeat "
            f"({show_duration(heartbeat.value)}, {heartbeat.origin}): else every run counts as lost",
            hint="set both, such as heartbeat: 10s and lost_after: 60s",
        )


def _current() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as exc:
        raise ConfigError("the current folder no longer exists", hint="cd to another one") from exc
