"""Runs fitted estimators that joblib wrote; such a file is code, so `load_model` asks whose it is first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ModelLoadError, NotAModel
from ..extras import need
from .base import LoadedModel
from .measure import proven_rows


def load(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """The estimator's `predict` as a model: rows of float64 features in, one prediction for each out.

    Raises:
        ModelLoadError: the file is broken or holds no estimator.
        MissingExtra: joblib or the estimator's library is not installed.
    """
    joblib = need("joblib", extra="sklearn")
    try:
        estimator: Any = joblib.load(path)
    except Exception as exc:
        raise ModelLoadError(f"joblib cannot load {path.name}: {type(exc).__name__}: {str(exc)[:200]}") from exc
    if not callable(getattr(estimator, "predict", None)):
        raise NotAModel(f"{path.name} holds a {type(estimator).__name__}, which has no predict()")
    features = int(getattr(estimator, "n_features_in_", -1))
    return proven_rows(path.name, type(estimator).__module__.partition(".")[0], estimator.predict, features)
