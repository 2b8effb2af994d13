"""Runs fitted estimators that joblib wrote; such a file is code, so `load_model` asks whose it is first."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelLoadError, NotAModel
from ..extras import need
from .base import LoadedModel, Run, said
from .categories import HINT, fitted_on, lacks_margin, wrapper_hint
from .estimator_inputs import columns_of, features_of, likely_features, names_of, takes_strings, takes_text
from .note import entry_of, one_line
from .probe import signature_of
from .rows import proven_rows
from .tables import prepared

if TYPE_CHECKING:
    from .items import Item

log = logging.getLogger(__name__)


def load(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """The estimator's `predict` as a model: rows of float64 features in, one prediction for each out.

    Raises:
        ModelLoadError: the file is broken or holds no estimator, it was never fitted, or it takes no numbers.
        MissingExtra: joblib or the estimator's library is not installed.
    """
    joblib = need("joblib", extra="sklearn")
    _check_python(path)
    _alias_cloudpickle()
    try:
        estimator: Any = joblib.load(path)
    except Exception as exc:
        raise ModelLoadError(f"joblib cannot load {path.name}: {said(exc)}") from exc
    if not callable(getattr(estimator, "predict", None)):
        raise NotAModel(f"{path.name} holds a {type(estimator).__name__}, which has no predict()")
    if held := fitted_on(path):  # numbers that it happens to answer prove nothing
        raise ModelLoadError(
            f"{path.name} was fitted on {held}, and a checkpoint is served with rows of numbers only",
            hint=wrapper_hint("a DataFrame" if "column" in held else "texts" if held == "texts" else "such objects"),
        )
    ready = prepared(path, estimator)
    features, flat = _features(path, estimator)
    model = proven_rows(
        path, type(estimator).__module__.partition(".")[0], ready.predict,
        len(ready.categories.names) if features < 0 and ready.categories.names else features,
        columns=ready.categories.domains() or columns_of(estimator), likely=likely_features(estimator),
        hopeless=partial(_hopeless, path.name, estimator), fresh=partial(_fresh, path, joblib.load),
        warnings=(*lacks_margin(path), *ready.categories.warnings), sample=ready.categories.sample(),
        names=names_of(estimator), flat=flat,
    )  # fmt: skip
    _refuse_other_than_numbers(path, estimator)
    return replace(model, handles_missing=handles_missing(estimator), helper=_has_no_target(estimator))


def _features(path: Path, estimator: Any) -> tuple[int, bool]:
    """The number of features, -1 if any, and whether a row is one number of one axis: by itself, by its fit."""
    features, inputs = features_of(estimator), signature_of(path)
    shape = inputs[0].get("shape") if len(inputs) == 1 else None
    if features >= 0 or not isinstance(shape, list):
        return features, features < 0 and type(estimator).__name__ == "IsotonicRegression"
    wide = len(shape) == 2 and isinstance(shape[1], int)
    return (shape[1] if wide else -1), shape == [-1]


def _refuse_other_than_numbers(path: Path, estimator: Any) -> None:
    """Refuses what answers rows of numbers, but learned from others: an encoder may take them for the unknown.

    Raises:
        ModelLoadError: its encoders know texts.
    """
    if kind := takes_strings(estimator):
        raise ModelLoadError(
            f"{path.name} takes {one_line(kind)}, and a checkpoint is served with rows of numbers only", hint=HINT
        )


def _check_python(path: Path) -> None:
    """Refuses a file with code of the script's in it, as bytecode, if another Python wrote it.

    Loaded there, bytecode of another version crashes the process, or computes something else.
    """
    wanted, here = str(entry_of(path).get("python") or ""), "{}.{}".format(*sys.version_info[:2])
    if wanted and wanted != here:
        raise ModelLoadError(
            f"{path.name} holds code of the script's, compiled by Python {wanted[:20]}; this is Python {here}",
            hint=f"serve it with a studio that is installed for Python {wanted[:20]}",
        )


def _alias_cloudpickle() -> None:
    """Makes both names of cloudpickle importable: joblib had a copy of its own before 1.6, and files name either."""
    own, package = "joblib.externals.cloudpickle", "cloudpickle"
    for wanted, instead in ((own, package), (package, own)):
        for inner in ("", ".cloudpickle"):
            try:
                importlib.import_module(wanted + inner)
            except ImportError:
                with contextlib.suppress(ImportError):
                    sys.modules[wanted + inner] = importlib.import_module(instead + inner)


def handles_missing(estimator: Any) -> bool:
    """Whether an estimator says that it takes not-a-number for a missing value: its tags, of any scikit-learn."""
    try:
        if hasattr(estimator, "__sklearn_tags__"):
            return bool(estimator.__sklearn_tags__().input_tags.allow_nan)
        return bool(estimator._get_tags()["allow_nan"])
    except Exception:  # tags are the estimator's own code; without them nothing is known
        log.debug("%s tells nothing about missing values", type(estimator).__name__, exc_info=True)
        return False


def _has_no_target(estimator: Any) -> bool:
    """Whether it finds clusters, densities or outliers, by any scikit-learn; a pipeline or a search does as its last
    step or its estimator."""
    kinds = ("clusterer", "outlier_detector", "density_estimator", "DensityEstimator")
    with contextlib.suppress(Exception):  # tags are the estimator's own code
        if getattr(estimator, "_estimator_type", None) in kinds:
            return True
        return hasattr(estimator, "__sklearn_tags__") and estimator.__sklearn_tags__().estimator_type in kinds
    return False


def _hopeless(name: str, estimator: Any, exc: BaseException) -> None:
    """Raises where no rows of numbers could be answered: it was never fitted, or takes text or columns by name."""
    if type(exc).__name__ == "NotFittedError":
        raise ModelLoadError(
            f"{name} holds a {type(estimator).__name__} that was never fitted: {said(exc)}", hint="call fit() first"
        ) from exc
    kind = takes_text(estimator)
    if kind:
        raise ModelLoadError(
            f"{name}: it takes {kind}, but studio serves rows of numbers only ({said(exc)})",
            hint=wrapper_hint("texts") if kind == "text" else HINT,
        ) from exc


def _fresh(path: Path, load: Callable[[Path], Any], run: Run, items: Sequence[Item], same: bool) -> Run:
    """The model as it is; one that `predict` changes, and whose answers change with it, is refused.

    Raises:
        ModelLoadError: it remembers its questions, and nothing tells how to make it forget.
    """
    if same:
        return run
    estimator = load(path)  # as it was before it was asked anything
    predict, before = prepared(path, estimator).predict, _digest(estimator)
    for item in items:
        predict(item[0])
        if before != _digest(estimator):
            raise ModelLoadError(
                f"{path.name} keeps state: predict() changes the {type(estimator).__name__}, and gives another answer "
                "to the same question",
                hint="write a wrapper that makes a new one for each request: --wrapper FILE",
            )
    return run


def _digest(estimator: Any) -> bytes:
    """A digest of all that it holds; the same for all that cannot be pickled."""
    for pickler in (pickle, importlib.import_module("joblib.externals.cloudpickle")):  # by name, or classes too
        with contextlib.suppress(Exception):  # whatever its parts raise
            return hashlib.sha256(pickler.dumps(estimator)).digest()
    return b""
