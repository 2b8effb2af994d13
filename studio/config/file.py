"""Settings files: which ones there are, and their values as they are written."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, nearest
from .values import ALIASES, CLASSIC, KNOWN

PROJECT_FILE = "studio.yaml"
_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})")
_FORM = "it has to be YAML: one 'name: value' a line"


def settings_files(file: str | None, folder: Path, home: Path) -> list[Path]:
    """The files that are read: `--config`, the `studio.yaml` in `folder` or the nearest above it, the user's.

    Raises:
        ConfigError: one of them is no file.
    """
    found = []
    if file is not None:
        path = Path(file).expanduser()
        if not os.path.lexists(path):
            raise ConfigError(f"no config file {file}", hint="studio config shows the files that are read")
        found.append(path)
    top = folder.absolute()
    found += [p / PROJECT_FILE for p in (top, *top.parents) if os.path.lexists(p / PROJECT_FILE)][:1]
    user = home / "config.yaml"
    found += [user] if os.path.lexists(user) else []
    for path in found:
        if not path.is_file():
            what = "a folder" if path.is_dir() else "a pipe or a device" if path.exists() else "a link to nothing"
            raise ConfigError(f"{path} is {what}, not a file of settings", hint="rename or remove it")
    return found


def read_file(path: Path) -> dict[str, Any]:
    """Name → value of a file: texts as they are written there (`1.10`, `yes`), lists, mappings, None for no value.

    Raises:
        ConfigError: it cannot be read, or has a key that is unknown or set twice.
    """
    import yaml

    try:
        data = _in_texts(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as exc:
        raise ConfigError(f"cannot read {path}: {' '.join(str(exc).split())}", hint=_FORM) from exc
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a mapping", hint=_FORM)
    out: dict[str, Any] = {}
    for key, value in data.items():
        name = ALIASES.get(key, key)
        if name not in KNOWN and name not in CLASSIC:
            hint = nearest(str(name), [*KNOWN, *CLASSIC]) or "known: " + ", ".join(KNOWN)
            raise ConfigError(f"{path}: unknown setting {name!r}", hint=hint)
        if name in out:
            raise ConfigError(f"{path}: {name} is set twice, once with another spelling", hint=f"write {name} once")
        try:
            out[name] = value if name in CLASSIC else _expanded(value)
        except ConfigError as exc:
            raise ConfigError(f"{path}: {name}: {exc.message}", hint=exc.hint) from exc
    return out


def _in_texts(document: str) -> object:
    """The document with scalars as they are written: YAML would make 1.1 of `1.10`, 8 of `010`, true of `yes`.

    Raises:
        YAMLError: it is not YAML, or a mapping has a key twice.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: dict[str, int] = {}
            for key, _ in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in seen:
                    raise yaml.YAMLError(f"{name} is set twice: line {seen[name]} and line {line}")
                seen[name] = line
            return super().construct_mapping(node, deep)

    def as_written(loader: Loader, node: Any) -> str:
        return str(loader.construct_scalar(node))

    for kind in ("int", "float", "bool", "timestamp"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", as_written)
    loader = Loader(document)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _expanded(value: object) -> object:
    """`$NAME` and `${NAME}` replaced from the environment, in texts and one level down; `$$` is a dollar."""
    if isinstance(value, str):
        return _VARIABLE.sub(_variable, value)
    if isinstance(value, Mapping):
        return {k: _expanded(v) if isinstance(v, str) else v for k, v in value.items()}
    if isinstance(value, list):
        return [_expanded(v) if isinstance(v, str) else v for v in value]
    return value


def _variable(found: re.Match[str]) -> str:
    dollar, *names = found.groups()
    if dollar:
        return "$"
    name = names[0] or names[1]
    if name not in os.environ:
        raise ConfigError(f"${name} is not set in the environment", hint=f"export {name}=…, or write $$ for a dollar")
    return os.environ[name]
