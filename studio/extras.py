"""Imports a library that belongs to an optional extra, or says how to install it."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import MissingExtra


def need(module: str, *, extra: str) -> ModuleType:
    """The imported `module`.

    Raises:
        MissingExtra: it is not installed; the hint is the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtra(f"{module} is not installed", hint=f"pip install 'studio[{extra}]'") from exc
