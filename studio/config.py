"""Settings and where each one came from: flag, environment, project file, user file, default."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError, nearest
from .units import parse_duration, parse_size

PROJECT_FILE = "studio.yaml"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting's value and its origin, such as `--store`, `STUDIOML_STORE`, a file's path or `default`."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class _Kind:
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
        raise _gone() from exc


def _current() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as exc:
        raise _gone() from exc


def _gone() -> ConfigError:
    return ConfigError("the current folder no longer exists", hint="cd to another one")


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ConfigError(f"{value!r} is not a text")
    return str(value)


def _mapping(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{value!r} is not a mapping of names to values")
    return dict(value)


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("true", "yes", "on", "1", "false", "no", "off", "0"):
        return word in ("true", "yes", "on", "1")
    raise ConfigError(f"{value!r} is neither true nor false")


def _names(value: Any) -> list[str]:
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"{value!r} is not a list of names", hint="write names: [one, two], or one,two")
    return [name.strip() for name in found if name.strip()]


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


KNOWN: dict[str, _Kind] = {
    "store": _Kind(_text, lambda: f"file://{home() / 'store'}", "where experiments and models are kept"),
    "project": _Kind(_text, lambda: "default", "project of new experiments"),
    "owner": _Kind(_text, _user, "whose experiments these are"),
    "verbose": _Kind(_text, lambda: "error", "log level: debug, info, warn, error, crit"),
    "python": _Kind(_text, lambda: "", "interpreter of scripts; empty = the active environment's"),
    "env": _Kind(_mapping, dict, "further environment variables of scripts"),
    "save_workspace_frequency": _Kind(parse_duration, lambda: 60.0, "how often mutable artifacts are captured"),
    "heartbeat": _Kind(parse_duration, lambda: 10.0, "how often a run says that it lives"),
    "lost_after": _Kind(parse_duration, lambda: 60.0, "silence after which a run counts as lost"),
    "stop_grace": _Kind(parse_duration, lambda: 10.0, "time between SIGTERM and SIGKILL"),
    "artifact_limit": _Kind(parse_size, lambda: 1 << 30, "most that is kept of a workspace; of one file, a tenth"),
    "capture_limit": _Kind(parse_size, lambda: 1 << 30, "the same of each --capture and --capture-once; 0 = no limit"),
    "resources_needed": _Kind(_mapping, dict, "cpus, gpus, ram, hdd of a run"),
    "experiment_lifetime": _Kind(parse_duration, lambda: 0.0, "age after which a waiting run expires; 0 = never"),
    "secret_names": _Kind(_names, list, "further names (`*` stands for anything) whose values are secrets"),
    "mask_output": _Kind(_switch, lambda: True, "whether known secrets are kept as *** in the output that is kept"),
}
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
        ConfigError: a file that is missing or not YAML, an unknown key, a value of the wrong form.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = []
    layers.append(("flag", {k: v for k, v in (flags or {}).items() if v is not None}))
    layers.append(
        ("environment", {k: os.environ[_variable(k)] for k in KNOWN if k != "env" and os.environ.get(_variable(k))})
    )
    for path in _files(file, folder or _current()):
        layers.append((str(path), _read(path)))
    settings: dict[str, Setting] = {}
    unused: dict[str, Setting] = {}
    for name, kind in KNOWN.items():
        settings[name] = _pick(name, kind, layers)
    for origin, values in layers:
        for name in values:
            if name in CLASSIC:
                unused.setdefault(name, Setting(name, values[name], origin))
    return Config(settings, unused)


def _pick(name: str, kind: _Kind, layers: list[tuple[str, Mapping[str, Any]]]) -> Setting:
    for origin, values in layers:
        if name in values:
            shown = {"flag": f"--{name.replace('_', '-')}", "environment": _variable(name)}.get(origin, origin)
            try:
                return Setting(name, kind.parse(values[name]), shown)
            except ConfigError as exc:
                raise ConfigError(f"{shown}: {name}: {exc.message}", hint=exc.hint) from exc
    return Setting(name, kind.default(), "default")


def _variable(name: str) -> str:
    return "STUDIOML_" + name.upper()


def _files(file: str | None, folder: Path) -> list[Path]:
    found = []
    if file is not None:
        path = Path(file).expanduser()
        if not path.is_file():
            raise ConfigError(f"no config file {file}", hint="studio config shows the files that are read")
        found.append(path)
    top = folder.absolute()
    found += [p / PROJECT_FILE for p in (top, *top.parents) if (p / PROJECT_FILE).is_file()][:1]
    user = home() / "config.yaml"
    return found + ([user] if user.is_file() else [])


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as exc:
        reason = " ".join(str(exc).split())
        raise ConfigError(f"cannot read {path}: {reason}", hint="it has to be YAML: one 'name: value' a line") from exc
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a mapping", hint="it has to be YAML: one 'name: value' a line")
    out = {}
    for name, value in data.items():
        name = ALIASES.get(name, name)
        if name not in KNOWN and name not in CLASSIC:
            hint = nearest(str(name), [*KNOWN, *CLASSIC]) or "known: " + ", ".join(KNOWN)
            raise ConfigError(f"{path}: unknown setting {name!r}", hint=hint)
        out[name] = _expand(value)
    return out


def _expand(value: Any) -> Any:
    if isinstance(value, str):
        return os.path.expandvars(value)
    if isinstance(value, dict):
        return {k: _expand(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v) for v in value]
    return value
