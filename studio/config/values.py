"""Which settings there are, and the form of each one's value; a text, whether from a file, a variable or an option."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..experiment import check_name, check_variable
from ..units import check_duration, parse_size

_LEVELS = {"debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "crit": 50}
ALIASES = {
    "saveWorkspaceFrequency": "save_workspace_frequency",
    "experimentLifetime": "experiment_lifetime",
}
CLASSIC = frozenset(
    {
        "database", "storage", "queue", "saveMetricsFrequency", "cloud", "sleep_time", "worker_timeout", "optimizer",
        "server", "log", "pip", "healthcheck", "runner", "visualization", "public_key_path", "signing_key_path",
    }
)  # fmt: skip
"""Keys of the original's files: read without complaint, shown as unused."""
_CLASSIC_RESOURCES = ("gpuMem", "gpuMemStrict")
_COUNT = re.compile(r"[0-9]{1,9}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a setting is read, and what it is without one. `parse` raises ConfigError."""

    parse: Callable[[Any], Any]
    default: Callable[[], Any]
    doc: str


def home() -> Path:
    """The folder of everything local: `STUDIOML_HOME`, default `~/.studioml`."""
    try:
        return Path(os.environ.get("STUDIOML_HOME") or Path.home() / ".studioml").expanduser().absolute()
    except RuntimeError as exc:
        raise ConfigError(f"no home folder: {exc}", hint="export STUDIOML_HOME=/FOLDER") from exc
    except FileNotFoundError as exc:
        raise ConfigError("the current folder no longer exists", hint="cd to another one") from exc


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{str(value)[:200]!r} is not a text")
    if _CONTROL.search(value):
        raise ConfigError(f"{value[:200]!r} holds a control character")
    return value


def _some_text(value: object) -> str:
    if not _text(value).strip():
        raise ConfigError("it is empty")
    return _text(value)


def _project(value: object) -> str:
    return check_name(_text(value), "project")


def _level(value: object) -> str:
    word = _text(value)
    if word.lower() not in _LEVELS and not _COUNT.fullmatch(word):
        raise ConfigError(f"{word!r} is not a level", hint="one of " + ", ".join(_LEVELS) + ", or a number")
    return word


def level_number(word: str) -> int:
    """The level of `logging` that a value of the setting `verbose` means."""
    return int(word) if word.isdigit() else _LEVELS[word.lower()]


def _pairs(value: object, example: str) -> dict[str, str]:
    """A mapping of names to texts; from the environment, words `NAME=VALUE` as a shell reads them."""
    hint = f"in a file: {{{example.replace('=', ': ', 1)}}}; in the environment: {example}"
    if isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError as exc:
            raise ConfigError(f"{value[:200]!r}: {exc}", hint=hint) from exc
        found = [word.partition("=") for word in words]
        if not all(equals for _, equals, _ in found):
            raise ConfigError(f"{value[:200]!r} is not a mapping of names to values", hint=hint)
        names = [name for name, _, _ in found]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"{name} is set twice", hint="delete one of the two")
        return {name: text for name, _, text in found}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{str(value)[:200]!r} is not a mapping of names to values", hint=hint)
    for name, text in value.items():
        if text is None:
            raise ConfigError(f"{name} has no value", hint=f"delete it, or write {name}: ''")
        if not isinstance(text, str):
            raise ConfigError(f"the value of {name} is a {'list' if isinstance(text, list) else 'mapping'}", hint=hint)
    return {str(name): text for name, text in value.items()}


def _env(value: object) -> dict[str, str]:
    return {check_variable(name, text): text for name, text in _pairs(value, "MODE=fast").items()}


def _resources(value: object) -> dict[str, int]:
    found = {}
    for name, text in _pairs(value, "cpus=2").items():
        if name in ("cpus", "gpus"):
            if not _COUNT.fullmatch(text):
                raise ConfigError(f"{name}: {text!r} is not a count", hint="write a whole number, such as 2")
            found[name] = int(text)
        elif name in ("ram", "hdd"):
            found[name] = parse_size(text)
        elif name not in _CLASSIC_RESOURCES:
            raise ConfigError(f"unknown resource {name!r}", hint="known: cpus, gpus, ram, hdd")
    return found


def _switch(value: object) -> bool:
    word = str(value).strip().lower()
    if word in ("true", "yes", "on", "1", "false", "no", "off", "0"):
        return word in ("true", "yes", "on", "1")
    raise ConfigError(f"{str(value)[:200]!r} is neither true nor false")


def _names(value: object) -> list[str]:
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"{str(value)[:200]!r} is not a list of names", hint="write names: [one, two], or one,two")
    return [_text(name.strip()) for name in found if name.strip()]


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


_some_time = partial(check_duration, zero=False)

KNOWN: dict[str, Kind] = {
    "store": Kind(_some_text, lambda: f"file://{home() / 'store'}", "where experiments and models are kept"),
    "project": Kind(_project, lambda: "default", "project of new experiments"),
    "owner": Kind(_some_text, _user, "whose experiments these are"),
    "verbose": Kind(_level, lambda: "error", "log level: debug, info, warn, error, crit"),
    "python": Kind(_text, lambda: "", "interpreter of scripts; empty = the active environment's"),
    "env": Kind(_env, dict, "further environment variables of scripts"),
    "save_workspace_frequency": Kind(_some_time, lambda: 60.0, "how often mutable artifacts are captured"),
    "heartbeat": Kind(_some_time, lambda: 10.0, "how often a run says that it lives"),
    "lost_after": Kind(_some_time, lambda: 60.0, "silence after which a run counts as lost"),
    "stop_grace": Kind(check_duration, lambda: 10.0, "time between SIGTERM and SIGKILL"),
    "artifact_limit": Kind(parse_size, lambda: 1 << 30, "most that is kept of a workspace; of one file, a tenth"),
    "capture_limit": Kind(parse_size, lambda: 1 << 30, "the same of each --capture and --capture-once; 0 = no limit"),
    "resources_needed": Kind(_resources, dict, "cpus, gpus, ram, hdd of a run"),
    "experiment_lifetime": Kind(check_duration, lambda: 0.0, "age after which a waiting run expires; 0 = never"),
    "secret_names": Kind(_names, list, "further names (`*` stands for anything) whose values are secrets"),
    "mask_output": Kind(_switch, lambda: True, "whether known secrets are kept as *** in the output that is kept"),
}
