"""Names → implementations: built-in tables and third parties' entry points, imported when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from .errors import ConfigError, nearest

BUILT_IN: dict[str, dict[str, str]] = {
    "studio.stores": {
        "file": "studio.stores.local:LocalStore",
        "memory": "studio.stores.memory:MemoryStore",
    },
    "studio.loaders": {
        "keras": "studio.models.keras_model:load",
        "saved_model": "studio.models.saved_model:load",
        "onnx": "studio.models.onnx_model:load",
        "joblib": "studio.models.estimator:load",
        "xgboost": "studio.models.booster:load_xgboost",
        "lightgbm": "studio.models.booster:load_lightgbm",
    },
}


def known(group: str) -> list[str]:
    """Every name of a group, built-in and third-party, sorted."""
    return sorted({*BUILT_IN.get(group, {}), *(e.name for e in _entry_points(group))})


def load(group: str, name: str) -> Any:
    """The object that `name` stands for in `group`.

    Raises:
        ConfigError: nothing has this name; the hint names the nearest.
    """
    target = BUILT_IN.get(group, {}).get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module), attribute)
    for entry in _entry_points(group):
        if entry.name == name:
            return entry.load()
    what = group.rpartition(".")[2].removesuffix("s")
    raise ConfigError(
        f"no {what} is called {name!r}",
        hint=nearest(name, known(group)) or "known: " + ", ".join(known(group)),
    )


def _entry_points(group: str) -> Iterable[Any]:
    from importlib.metadata import entry_points

    return entry_points(group=group)
