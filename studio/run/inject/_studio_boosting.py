"""XGBoost and LightGBM: parameters, evaluation curves and the booster of the outermost `train`."""

from __future__ import annotations

import inspect
import sys
import threading
import time

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
    import _studio_signature
    import _studio_track
    import _studio_trainings

_local = threading.local()
STEPS = ("update", "boost", "rollback_one_iter")
"""Methods of both libraries' boosters that change the trees."""

_SUFFIXES = {"xgboost": ".json", "lightgbm": ".txt"}


def hook(module: ModuleType) -> None:
    """Wraps `train`; the packages take it from this module after it was executed."""
    if getattr(module.train, "_studio", False):
        return
    library = module.__name__.partition(".")[0]
    original = module.train
    signature = inspect.signature(original)

    def train(original: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(_local, "training", False) or not _studio_hooks.working():
            return original(*args, **kwargs)
        watch = _studio_hooks.guarded(library, _watch, library, signature, args, kwargs)
        data = kwargs.get("dtrain", kwargs.get("train_set", args[1] if len(args) > 1 else None))
        about = _studio_hooks.guarded("signature", _signature, data)
        margin = "" if kwargs.get("init_model") else _studio_hooks.guarded("signature", _margin, data) or ""
        about = _studio_signature.with_margin(about, margin)
        fit = None if _is_of_an_estimator() else _studio_fits.begins(None, "Booster", library)
        if fit is not None:
            fit.keep = lambda booster: _keep(booster, library, "train", time.monotonic() - fit.began, about)
        began, well = time.monotonic(), False
        try:
            _local.training = True
            booster = original(*args, **kwargs) if watch is None else original(*watch.args, **watch.kwargs)
            _local.training, well = False, True
            _studio_hooks.guarded(library, _trained, library, watch, booster, time.monotonic() - began, about)
        except BaseException:
            _studio_hooks.guarded(library, _studio_track.flush)
            raise
        finally:
            _local.training = False
            _studio_fits.ends(fit, well=well)
        return booster

    _studio_hooks.replace(module, "train", _studio_frames.around(original, train))
    kind = vars(module).get("Booster")
    for name in STEPS:
        if hasattr(kind, name):
            setattr(kind, name, _studio_frames.around(getattr(kind, name), _step))


def _step(original: Any, booster: Any, *args: Any, **kwargs: Any) -> Any:
    """A round, by whomever it is called: a booster that is read meanwhile is torn, or ends the process.

    One that the script itself calls is a fit.
    """
    if not _studio_hooks.working():
        return original(booster, *args, **kwargs)
    own, library, well = _by_the_script(), str(original.__module__).partition(".")[0], False
    _studio_keep.begins(booster, is_round=True)
    began = time.monotonic()
    fit = _studio_fits.begins(booster, "Booster", library) if own else None
    training = _studio_fits.here()
    if training is not None and training.thing is None:
        training.thing = booster
    try:
        try:
            result = original(booster, *args, **kwargs)
            well = True
        finally:
            _studio_keep.ends(booster, well=True)
        if training is not None:
            training.rounds += 1
        if own:
            data = (
                args[0] if args else kwargs.get("dtrain", kwargs.get("train_set", getattr(booster, "train_set", None)))
            )
            about = _studio_signature.with_margin(None, _studio_hooks.guarded("signature", _margin, data) or "")
            _studio_hooks.guarded(library, _keep, booster, library, "update", time.monotonic() - began, about)
    finally:
        _studio_fits.ends(fit, well=well)
    return result


def _by_the_script() -> bool:
    """Whether no function of the library, and no estimator around it, asks for this round."""
    frame = _studio_frames.outside(sys._getframe(2))
    caller = str(frame.f_globals.get("__name__", "")) if frame is not None else ""
    return caller.partition(".")[0] not in _SUFFIXES and not _is_of_an_estimator()


def _is_of_an_estimator() -> bool:
    sklearn: Any = sys.modules.get("_studio_sklearn")
    return sklearn is not None and bool(sklearn.fitting())


class Watch:
    """One call of `train`: the arguments with one more callback, and what the callback records."""

    def __init__(self, fit: _studio_trainings.Fit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.fit, self.args, self.kwargs = fit, args, kwargs

    def xgboost_round(self, epoch: int, evals_log: Any) -> None:
        """Records the newest value of each curve."""
        found = {}
        for data, metrics in evals_log.items():
            for metric, values in metrics.items():
                last = values[-1]
                found[f"{data}/{metric}"] = last[0] if isinstance(last, tuple) else last
        self.fit.log(found, epoch)

    def lightgbm_round(self, env: Any) -> None:
        """Likewise."""
        found = {f"{entry[0]}/{entry[1]}": entry[2] for entry in env.evaluation_result_list or ()}
        self.fit.log(found, env.iteration)


def _watch(library: str, signature: inspect.Signature, args: Any, kwargs: Any) -> Watch | None:
    """None if nothing of it is recorded, or if the call is wrong: the library says what of it."""
    places = list(signature.parameters)
    if len(args) > len(places) or any(name not in places for name in kwargs):
        return None
    told = {**{places[i]: value for i, value in enumerate(args)}, **kwargs}  # also what it wants by name, by position
    if _is_of_a_search() and not told.get("evals", told.get("valid_sets")):
        return None  # one of many, without a curve; the estimator around them has its parameters
    fit = _studio_trainings.of(library).begin(told.get("xgb_model", told.get("init_model")))
    watch = Watch(fit, args, dict(kwargs))
    callback = _xgboost_callback(watch) if library == "xgboost" else _lightgbm_callback(watch)
    callbacks = [callback, *(told.get("callbacks") or ())]  # before the script's own, which may raise, or stop it
    at = places.index("callbacks")
    if at < len(args):
        watch.args = (*args[:at], callbacks, *args[at + 1 :])
    else:
        watch.kwargs["callbacks"] = callbacks
    fit.parameters(_parameters(signature, told))
    return watch


def _is_of_a_search() -> bool:
    sklearn: Any = sys.modules.get("_studio_sklearn")
    return sklearn is not None and bool(sklearn.within())


def _parameters(signature: inspect.Signature, told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in dict(told.get("params") or {}).items():  # XGBoost takes pairs too
        if callable(value):
            found[str(name)] = getattr(value, "__name__", type(value).__name__)
        elif isinstance(value, (bool, int, float, str, list, tuple)) or getattr(value, "ndim", None) == 0:
            found[str(name)] = value
    for name in ("num_boost_round", "early_stopping_rounds", "maximize"):
        if name in told or name == "num_boost_round":
            value = told.get(name, signature.parameters[name].default)
            if value is not None:
                found[name] = value
    return found


def _xgboost_callback(watch: Watch) -> Any:
    base: Any = sys.modules["xgboost.callback"].TrainingCallback

    class Rounds(base):  # type: ignore[misc]
        """Hears of each round; never asks to stop."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            _studio_hooks.guarded("xgboost", watch.xgboost_round, epoch, evals_log)
            return False

    return Rounds()


def _lightgbm_callback(watch: Watch) -> Any:
    def rounds(env: Any) -> None:
        _studio_hooks.guarded("lightgbm", watch.lightgbm_round, env)

    rounds.order = -sys.maxsize  # type: ignore[attr-defined]  # before what ends the training by an exception
    rounds.before_iteration = False  # type: ignore[attr-defined]
    return rounds


def _trained(library: str, watch: Watch | None, booster: Any, took_s: float, signature: dict[str, Any] | None) -> None:
    _studio_track.flush()
    if watch is not None:
        watch.fit.training.holds(booster)
    if not _is_of_an_estimator():  # which is kept whole
        _keep(booster, library, "train", took_s, signature)


def _keep(booster: Any, library: str, how: str, took_s: float, signature: dict[str, Any] | None) -> None:
    model = _studio_models.fitted(booster, library, "predictor", signature)
    _studio_keep.trained(model, booster, _SUFFIXES[library], _write, how=f"{library}.{how}", took_s=took_s)


def _write(booster: Any, path: str) -> str:
    booster.save_model(path)
    return ""


def _margin(data: Any) -> str:
    """What the rows of this data set add to the trees' answers, besides the columns; "" = nothing.

    LightGBM puts there what an earlier model says, too: that model's trees become part of the new one.
    """
    if hasattr(data, "get_base_margin"):
        return "base_margin" if len(data.get_base_margin()) else ""
    own = getattr(data, "init_score", None) is not None and getattr(data, "_predictor", None) is None
    return "init_score" if own else ""


def _signature(data: Any) -> dict[str, Any] | None:
    """What the training data tells without being copied: LightGBM's raw data, XGBoost's names and types."""
    raw = getattr(data, "data", None)
    if raw is not None and not isinstance(raw, (str, bytes)):
        return _studio_signature.of(raw)
    if not hasattr(data, "num_col"):
        return None
    width, names, kinds = int(data.num_col()), data.feature_names, data.feature_types
    columns = [
        {"name": name, "dtype": "float32", "low": None, "high": None, "categories": None, "missing": False,
         "kind": kinds[at] if kinds else None}
        for at, name in enumerate(names or [f"x{at}" for at in range(width)])
    ]  # fmt: skip
    known = columns if width <= _studio_signature.COLUMNS else None
    about = {"name": "x", "dtype": "float32", "shape": [-1, width], "low": None, "high": None, "columns": known}
    return {"inputs": [about]}
