"""Imports a library that belongs to an optional extra, or says how to install it."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

from .errors import MissingExtra

_SILENT = {"onnxruntime": {"ORT_DISABLE_TELEMETRY": "1"}}
"""What keeps a library from reporting its use to its maker; it counts only before the library is loaded."""

_FOLDERS = {"KERAS_HOME": ["~/.keras"], "MPLCONFIGDIR": ["~/.config/matplotlib", "~/.cache/matplotlib"]}


def silent(home: Path) -> dict[str, str]:
    """Variables with which no library that studio loads reports its use, or leaves files of its own in the user's home.

    For processes that are studio's own, such as a server; never for one that runs the user's script. What the user has
    set stays as it is. Importing Keras writes `~/.keras/keras.json`, and a list of fonts for Matplotlib: where
    there are no such folders they go below studio's own.

    Args:
        home: Studio's own folder.
    """
    wanted = {name: value for variables in _SILENT.values() for name, value in variables.items()}
    for name, folders in _FOLDERS.items():
        if not any(os.path.lexists(os.path.expanduser(folder)) for folder in folders):
            wanted[name] = str(home / "cache" / folders[0].rpartition("/")[2].lstrip("."))
    return {name: value for name, value in wanted.items() if name not in os.environ}


def need(module: str, *, extra: str) -> ModuleType:
    """The imported `module`.

    Raises:
        MissingExtra: it is not installed; the hint is the command that installs it.
    """
    for name, value in _SILENT.get(module, {}).items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtra(f"{module} is not installed", hint=f"pip install 'studio[{extra}]'") from exc
