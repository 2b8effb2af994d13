"""XGBoost and LightGBM: parameters, evaluation curves and the booster of the outermost `train`."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from . import _studio_hooks, _studio_keep, _studio_models, _studio_signature, _studio_track
else:
    import _studio_hooks
    import _studio_keep
    import _studio_models
    import _studio_signature
    import _studio_track

_local = threading.local()
_SUFFIXES = {"xgboost": ".json", "lightgbm": ".txt"}


def hook(module: ModuleType) -> None:
    """Wraps `train`; the packages take it from this module after it was executed."""
    if getattr(module.train, "_studio", False):
        return
    library = module.__name__.partition(".")[0]
    original = module.train
    signature = inspect.signature(original)

    @functools.wraps(original)
    def train(*args: Any, **kwargs: Any) -> Any:
        if getattr(_local, "training", False) or not _studio_hooks.working():
            return original(*args, **kwargs)
        call = _studio_hooks.guarded(library, _with_callback, library, signature, args, kwargs)
        data = kwargs.get("dtrain", kwargs.get("train_set", args[1] if len(args) > 1 else None))
        about = _studio_hooks.guarded("signature", _signature, data)
        _local.training = True
        began = time.monotonic()
        try:
            booster = original(*args, **kwargs) if call is None else original(*call.args, **call.kwargs)
        finally:
            _local.training = False
        _studio_hooks.guarded(library, _trained, library, booster, time.monotonic() - began, about)
        return booster

    _studio_hooks.replace(module, "train", train)


def _with_callback(library: str, signature: inspect.Signature, args: Any, kwargs: Any) -> Any:
    try:
        call = signature.bind(*args, **kwargs)
    except TypeError:
        return None  # the library says what is wrong with the call
    given = call.arguments.get("callbacks")
    callback = _xgboost_callback() if library == "xgboost" else _lightgbm_callback
    call.arguments["callbacks"] = [*(given or ()), callback]
    params = dict(call.arguments.get("params") or {})
    found = {name: value for name, value in params.items() if isinstance(value, (bool, int, float, str, list, tuple))}
    default = signature.parameters["num_boost_round"].default
    found["num_boost_round"] = call.arguments.get("num_boost_round", default)
    _studio_track.params({library: found})
    return call


def _xgboost_callback() -> Any:
    base: Any = sys.modules["xgboost.callback"].TrainingCallback

    class Watch(base):  # type: ignore[misc]
        """Hears of each round; never asks to stop."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            _studio_hooks.guarded("xgboost", _log_round, epoch, evals_log)
            return False

    return Watch()


def _log_round(epoch: int, evals_log: Any) -> None:
    found = {}
    for data, metrics in evals_log.items():
        for metric, values in metrics.items():
            last = values[-1]
            found[f"{data}/{metric}"] = last[0] if isinstance(last, tuple) else last
    _studio_track.log(found, step=epoch)


def _lightgbm_callback(env: Any) -> None:
    _studio_hooks.guarded("lightgbm", _log_iteration, env)


_lightgbm_callback.order = 9  # type: ignore[attr-defined]  # before early stopping, which ends by an exception
_lightgbm_callback.before_iteration = False  # type: ignore[attr-defined]


def _log_iteration(env: Any) -> None:
    found = {f"{entry[0]}/{entry[1]}": entry[2] for entry in env.evaluation_result_list or ()}
    if found:
        _studio_track.log(found, step=env.iteration)


def _trained(library: str, booster: Any, took_s: float, signature: dict[str, Any] | None) -> None:
    _studio_track.flush()
    sklearn: Any = sys.modules.get("_studio_sklearn")
    if sklearn is not None and sklearn.fitting():
        return  # the estimator around it is kept whole
    model = _studio_models.fitted(booster, library, "predictor", signature)
    how = f"{library}.train"
    _studio_keep.trained(model, booster, _SUFFIXES[library], _write, how=how, took_s=took_s)


def _write(booster: Any, path: str) -> str:
    booster.save_model(path)
    return ""


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
