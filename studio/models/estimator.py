"""Runs fitted estimators that joblib wrote; such a file is code, so `load_model` asks whose it is first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelLoadError
from ..extras import need
from .base import LoadedModel, TensorModel, TensorSpec
from .measure import proven

if TYPE_CHECKING:
    from .base import Array


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
        raise ModelLoadError(f"{path.name} holds a {type(estimator).__name__}, which has no predict()")
    return _wrap(estimator, path.name)


def _wrap(estimator: Any, name: str) -> TensorModel:
    import numpy as np

    features = int(getattr(estimator, "n_features_in_", -1))
    inputs = (TensorSpec("x", "float64", (-1, features)),)

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        return [np.asarray(estimator.predict(arrays[0]))]

    try:
        answer = run([np.zeros((1, features if features > 0 else 32))])[0]
    except Exception as exc:
        raise ModelLoadError(f"{name} was loaded, but fails on zeros: {type(exc).__name__}") from exc
    outputs = (TensorSpec("y", str(answer.dtype), (-1, *answer.shape[1:])),)
    runtime = type(estimator).__module__.partition(".")[0]
    return proven(name, runtime, run, inputs, outputs)
