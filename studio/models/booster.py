"""Runs gradient-boosted trees in the files of XGBoost and LightGBM themselves: data, not code."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..errors import MissingExtra, ModelLoadError
from .base import LoadedModel
from .measure import proven_rows


def load_xgboost(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """What `Booster.predict` answers: rows of features in (NaN = missing), float32 out.

    Raises:
        ModelLoadError: the file is broken.
        MissingExtra: xgboost is not installed.
    """
    booster = _booster(path, "xgboost")
    return proven_rows(path.name, "xgboost", booster.inplace_predict, int(booster.num_features()))


def load_lightgbm(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """What `Booster.predict` answers: rows of features in (NaN = missing), float64 out.

    Raises:
        ModelLoadError: the file is broken.
        MissingExtra: lightgbm is not installed.
    """
    booster = _booster(path, "lightgbm")
    return proven_rows(path.name, "lightgbm", booster.predict, int(booster.num_feature()))


def _booster(path: Path, library: str) -> Any:
    try:
        module = importlib.import_module(library)
    except ModuleNotFoundError as exc:
        raise MissingExtra(f"{library} is not installed", hint=f"pip install {library}") from exc
    try:
        return module.Booster(model_file=str(path))
    except Exception as exc:  # each has an error class of its own, over C++'s
        raise ModelLoadError(f"{library} cannot load {path.name}: {str(exc)[:200]}") from exc
