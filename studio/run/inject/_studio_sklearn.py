"""scikit-learn: the outermost `fit` of what predicts; its parameters, and the estimator itself in `modeldir`."""

from __future__ import annotations

import functools
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from . import _studio_hooks, _studio_keep, _studio_track
else:
    import _studio_hooks
    import _studio_keep
    import _studio_track

NAMED = 20  # estimators whose parameters are recorded; a search over thousands is not a list of parameters
_local = threading.local()
_hooked: list[Any] = []


def forget() -> None:
    """Another run begins."""
    global _named
    _named = 0
    _groups.clear()


def fitting() -> bool:
    """Whether an estimator is being fitted in this thread."""
    return getattr(_local, "fitting", False)


def hook(module: ModuleType) -> None:
    """Every class that is derived from `BaseEstimator` from now on has its `fit` wrapped."""
    base = module.BaseEstimator
    if base in _hooked:
        return
    _hooked.append(base)
    former = base.__dict__.get("__init_subclass__")

    def __init_subclass__(cls: Any, /, **kwargs: Any) -> None:
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
    fit = cls.__dict__.get("fit")
    if callable(fit) and not getattr(fit, "_studio", False):
        cls.fit = _wrapped(fit) if cls.__module__ != "__main__" else Picklable(_wrapped(fit), fit)


def _wrapped(original: Any) -> Any:
    @functools.wraps(original)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        if fitting() or not _studio_hooks.working():
            return original(self, *args, **kwargs)
        _local.fitting = True
        began = time.monotonic()
        try:
            result = original(self, *args, **kwargs)
        finally:
            _local.fitting = False
        _studio_hooks.guarded("sklearn", _fitted, self, time.monotonic() - began)
        return result

    fit._studio = True  # type: ignore[attr-defined]
    return fit


class Picklable:
    """The wrapped `fit` of a class of the script's own.

    Such classes are pickled by value (cloudpickle); what arrives where studio is not is the script's own function.
    """

    def __init__(self, wrapped: Any, original: Any) -> None:
        functools.update_wrapper(self, original)
        self._wrapped, self._original = wrapped, original

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else self._wrapped.__get__(instance, owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._wrapped(*args, **kwargs)

    def __reduce__(self) -> Any:
        from operator import itemgetter

        return itemgetter(0), ((self._original,),)


def _fitted(estimator: Any, took_s: float) -> None:
    global _named
    if not hasattr(estimator, "predict"):
        return  # a scaler is no model
    if _named < NAMED:
        _named += 1
        found = _parameters(estimator)
        number = _groups.setdefault((found["estimator"], *sorted(found)), len(_groups) + 1)
        group = "sklearn" + (str(number) if number > 1 else "")
        _studio_track.params({group: {**found, **_chosen(estimator)}})
        score = getattr(estimator, "best_score_", None)
        if isinstance(score, (int, float)):
            _studio_track.log({group + "/best_score": score})

    def write(path: str) -> None:
        import joblib  # type: ignore[import-untyped,unused-ignore]

        joblib.dump(estimator, path)

    _keeper.trained(type(estimator).__name__, write, took_s)


_named = 0
_groups: dict[tuple[str, ...], int] = {}  # class and names of parameters -> 1 for `sklearn.*`, 2 for `sklearn2.*`
_keeper = _studio_keep.Keeper("model.joblib", "sklearn.fit")


def _chosen(estimator: Any) -> dict[str, Any]:
    """What a search has found to be best."""
    best = getattr(estimator, "best_params_", None)
    if not isinstance(best, dict):
        return {}
    plain = (bool, int, float, str)
    shown = {
        name: value if isinstance(value, plain) or value is None else str(value)[:200] for name, value in best.items()
    }
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
        elif not isinstance(value, (list, tuple)) or not any(hasattr(item, "__len__") for item in value):
            found[name.replace("__", ".")] = str(value)[:200]
    return found
