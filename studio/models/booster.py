"""Runs gradient-boosted trees in the files of XGBoost and LightGBM themselves: data, not code."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra, ModelLoadError
from .base import LoadedModel, TensorModel, TensorSpec
from .measure import warm_up

if TYPE_CHECKING:
    from .base import Array


def load_xgboost(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """What `Booster.predict` answers: rows of features in (NaN = missing), float32 out.

    Raises:
        ModelLoadError: the file is broken.
        MissingExtra: xgboost is not installed.
    """
    xgboost = _need("xgboost")
    try:
        booster: Any = xgboost.Booster(model_file=str(path))
    except Exception as exc:
        raise ModelLoadError(f"XGBoost cannot load {path.name}: {str(exc)[:200]}") from exc
    return _wrap(booster.inplace_predict, int(booster.num_features()), "xgboost", path.name)


def load_lightgbm(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """What `Booster.predict` answers: rows of features in (NaN = missing), float64 out.

    Raises:
        ModelLoadError: the file is broken.
        MissingExtra: lightgbm is not installed.
    """
    lightgbm = _need("lightgbm")
    try:
        booster: Any = lightgbm.Booster(model_file=str(path))
    except Exception as exc:
        raise ModelLoadError(f"LightGBM cannot load {path.name}: {str(exc)[:200]}") from exc
    return _wrap(booster.predict, int(booster.num_feature()), "lightgbm", path.name)


def _need(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as exc:
        raise MissingExtra(f"{library} is not installed", hint=f"pip install {library}") from exc


def _wrap(predict: Any, features: int, library: str, name: str) -> TensorModel:
    import numpy as np

    inputs = (TensorSpec("x", "float64", (-1, features)),)

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        return [np.asarray(predict(arrays[0]))]

    try:
        call_s = warm_up(run, inputs)
        answer = run([np.zeros((1, features))])[0]
    except Exception as exc:
        raise ModelLoadError(f"{name} was loaded, but fails on zeros: {type(exc).__name__}") from exc
    outputs = (TensorSpec("y", str(answer.dtype), (-1, *answer.shape[1:])),)
    return TensorModel(
        style="checkpoint", file=name, runtime={"name": library}, arrays=True, inputs=inputs, outputs=outputs,
        run=run, call_s=call_s,
    )  # fmt: skip
