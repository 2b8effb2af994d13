"""scikit-learn: what the script itself fits; parameters of what predicts, and the estimators in `modeldir`."""

from __future__ import annotations

import functools
import sys
import threading
import time
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from . import (
        _studio_fits,
        _studio_frames,
        _studio_hooks,
        _studio_keep,
        _studio_last,
        _studio_models,
        _studio_pickles,
        _studio_signature,
        _studio_track,
        _studio_trainings,
    )
else:
    import _studio_fits
    import _studio_frames
    import _studio_hooks
    import _studio_keep
    import _studio_last  # noqa: F401  the end of the run finds it
    import _studio_models
    import _studio_pickles
    import _studio_signature
    import _studio_track
    import _studio_trainings

SEARCHERS = frozenset({"sklearn", "imblearn", "mlxtend", "skopt", "dask_ml", "feature_engine", "boruta", "eli5"})
PASSED = frozenset({"joblib", "threading", "concurrent", "multiprocessing"})  # who runs somebody else's function
BOOSTERS = ("xgboost", "lightgbm", "catboost")
UNSUPERVISED = ("clusterer", "density_estimator", "DensityEstimator", "outlier_detector")
DATA = ("X", "raw_documents", "y")
_local = threading.local()
_hooked: list[Any] = []


def fitting() -> bool:
    """Whether an estimator is being fitted in this thread."""
    return getattr(_local, "fitting", False)


def within() -> bool:
    """Whether that fit is a part of another one, or of a model selection: the script has not called it itself."""
    return fitting() and getattr(_local, "own", None) is None


def hook(module: ModuleType) -> None:
    """Every class that is derived from `BaseEstimator` from now on has its `fit` wrapped; so have CatBoost's."""
    if module.__name__ == "catboost.core":
        for known in {module.CatBoost, *_derived(module.CatBoost)}:
            _wrap(known)
        return
    base = module.BaseEstimator
    if base in _hooked:
        return
    _hooked.append(base)
    former = base.__dict__.get("__init_subclass__")

    def __init_subclass__(*args: Any, **kwargs: Any) -> None:  # `cls, /` is not for Python 3.7
        (cls,) = args
        if former is not None:
            former.__get__(None, cls)(**kwargs)
        else:
            super(base, cls).__init_subclass__(**kwargs)
        _wrap(cls)

    base.__init_subclass__ = classmethod(__init_subclass__)

    for known in _derived(base):  # scikit-learn was imported before the hooks came
        _wrap(known)


def _derived(base: Any) -> set[Any]:
    found: set[Any] = set()
    waiting = [base]
    while waiting:
        more = [kind for kind in waiting.pop().__subclasses__() if kind not in found]
        found.update(more)
        waiting += more
    return found


def _wrap(cls: Any) -> None:
    for name in ("fit", "partial_fit", "fit_transform", "fit_predict"):
        method = cls.__dict__.get(name)
        inner = getattr(method, "fn", None)  # of scikit-learn's descriptor for methods that not all have
        if isinstance(method, types.FunctionType) and not getattr(method, "_studio", False):
            setattr(cls, name, _wrapped(method))
        elif isinstance(inner, types.FunctionType) and not getattr(inner, "_studio", False):
            method.fn = _wrapped(inner)


def _wrapped(original: Any) -> Any:
    @functools.wraps(original)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        import sys  # a class of the script's is pickled with this function, and loaded where studio is not

        hook = sys.modules.get("_studio_sklearn")
        if hook is None:
            return original(self, *args, **kwargs)
        try:
            return hook.watch(original, self, args, kwargs)
        except BaseException as exc:
            exc.__traceback__ = hook._studio_frames.visible(exc.__traceback__)
            raise

    fit._studio = True  # type: ignore[attr-defined]
    return _studio_frames.hidden(fit)


@_studio_frames.hidden
def watch(original: Any, estimator: Any, args: Any, kwargs: Any) -> Any:
    """Calls a method that fits; what the script itself fits by it is noted."""
    if not _studio_hooks.working():
        return original(estimator, *args, **kwargs)
    outermost = not fitting()
    own = outermost and _by_the_script(estimator)
    around = getattr(_local, "own", None)
    well = False
    began = time.monotonic()
    _studio_keep.begins(estimator)
    fit = _studio_fits.begins(estimator, type(estimator).__name__, _named(estimator)) if own else None
    try:
        try:
            _local.fitting = True
            _local.own = estimator if own or around is estimator else None  # a `fit` may call that of its base class
            result = original(estimator, *args, **kwargs)
            well = True
        finally:
            _local.own = around
            if outermost:
                _local.fitting = False
            _studio_keep.ends(estimator, well=well)
        if own:
            data = args[0] if args else next((kwargs[name] for name in DATA if name in kwargs), None)
            margin = _studio_signature.margin_in(kwargs)
            _studio_hooks.guarded("sklearn", _fitted, estimator, time.monotonic() - began, data, margin)
    finally:
        _studio_fits.ends(fit, well=well)
    return result


def _by_the_script(estimator: Any) -> bool:
    """Whether the caller is not scikit-learn itself, such as a cross-validation that fits clones, in any thread."""
    frame: Any = sys._getframe(2)  # who called `watch`
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package in SEARCHERS and frame.f_locals.get("self") is not estimator:
            return False
        if package not in PASSED and package not in SEARCHERS and not _studio_frames.is_ours(frame.f_code):
            return True
        frame = frame.f_back
    return True


def _fitted(estimator: Any, took_s: float, data: Any, margin: str) -> None:
    if hasattr(estimator, "predict"):
        _studio_hooks.guarded("sklearn parameters", _record, estimator)
    role = "helper" if is_helper(estimator) else "predictor"
    signature = _studio_hooks.guarded("signature", _signatures.of, data, took_s)
    signature = _studio_signature.with_margin(signature, margin)
    model = _studio_models.fitted(estimator, _named(estimator), role, signature)
    _studio_keep.trained(model, estimator, ".joblib", _studio_pickles.dump, how="sklearn.fit", took_s=took_s)


def _named(estimator: Any) -> str:
    """The library, as the note has it."""
    library = type(estimator).__module__.partition(".")[0]
    return library if library in BOOSTERS else "sklearn"


def _record(estimator: Any) -> None:
    group = _studio_trainings.of("sklearn").shared({**_parameters(estimator), **_chosen(estimator)})
    score = getattr(estimator, "best_score_", None)
    if isinstance(score, (int, float)):
        _studio_track.log({group + "/best_score": score})


def is_helper(estimator: Any) -> bool:
    """Whether it serves another one: transformers, and what has no target (clusters, densities, outliers)."""
    if not hasattr(estimator, "predict"):
        return True
    base: Any = sys.modules.get("sklearn.base")
    if getattr(estimator, "_estimator_type", None) in UNSUPERVISED:
        return True
    is_clusterer, is_outlier = getattr(base, "is_clusterer", None), getattr(base, "is_outlier_detector", None)
    return any(ask is not None and ask(estimator) for ask in (is_clusterer, is_outlier))


class _Signatures:
    """The signature of each fit's data; that of the same object, or of like data in a hurry, is not made twice."""

    def __init__(self) -> None:
        self._ended = self._trained = self._spent = 0.0
        self._of: dict[tuple[Any, ...], dict[str, Any] | None] = {}

    def of(self, data: Any, took_s: float) -> dict[str, Any] | None:
        columns = getattr(data, "columns", None)
        shape = tuple(getattr(data, "shape", ()))[1:]
        names = None if columns is None else _studio_track.load("_studio_text").spelled(list(columns)[:50])
        key = (type(data), shape, str(getattr(data, "dtype", "")), names)
        self._trained += took_s
        now = time.monotonic()
        if key in self._of and self._spent > 0.01 * self._trained and now - self._ended < 1:
            return self._of[key]
        found = _studio_signature.of(data, took_s)
        self._ended = time.monotonic()
        self._spent += self._ended - now
        if len(self._of) > 20:
            self._of.clear()
        self._of[key] = found
        return found


_signatures = _Signatures()


def _text(value: Any) -> str:
    return str(_studio_track.load("_studio_text").kept(value, 200))


def _chosen(estimator: Any) -> dict[str, Any]:
    """What a search has found to be best."""
    best = getattr(estimator, "best_params_", None)
    if not isinstance(best, dict):
        return {}
    plain = (bool, int, float, str)
    shown = {name: value if isinstance(value, plain) or value is None else _text(value) for name, value in best.items()}
    return {"best": {name.replace("__", "."): value for name, value in shown.items()}}


def _parameters(estimator: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"estimator": type(estimator).__name__}
    for name, value in estimator.get_params(deep=True).items():
        if hasattr(value, "get_params"):
            found[name.replace("__", ".") + ".estimator"] = type(value).__name__
        elif value is None or isinstance(value, (bool, int, float, str)):
            found[name.replace("__", ".")] = value
        elif hasattr(value, "__name__"):
            found[name.replace("__", ".")] = value.__name__
        elif type(value) in (list, tuple) and all(isinstance(item, (bool, int, float, str)) for item in value):
            found[name.replace("__", ".")] = value
        elif not isinstance(value, (list, tuple)) or not any(isinstance(item, tuple) for item in value):
            found[name.replace("__", ".")] = _text(value)
    return found
