"""Keras: the parameters of fits, each whole: `keras.*` of the first, `keras2.*` of the next that has others."""

from __future__ import annotations

import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import _studio_track
else:
    import _studio_track

NAMED = 20  # fits whose parameters differ and are recorded; a search over thousands is not a list of parameters
_groups: list[dict[str, Any]] = []


def forget() -> None:
    """Another run begins."""
    _groups.clear()


def record(model: Any, arguments: dict[str, Any]) -> int:
    """Records a fit's parameters, all of them, unless another fit had the same.

    Args:
        model: A model that is compiled, and mostly built.
        arguments: Of its `fit`; `arrays` is whether it was given arrays.

    Returns:
        The number of its group from 0 on, -1 where there are too many.
    """
    found = _parameters(model, arguments)
    for number, known in enumerate(_groups):
        if _is_same(known, found):
            return number
    if len(_groups) >= NAMED:
        return -1
    _groups.append(found)
    _studio_track.params({_name(len(_groups) - 1): found})
    return len(_groups) - 1


def _is_same(known: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether two fits have the same parameters; a model that is not built yet may have any number of weights."""
    mine, others = known.get("model", {}), found.get("model", {})
    if "parameters" in mine and "parameters" in others:
        return known == found
    return {**known, "model": {**mine, "parameters": 0}} == {**found, "model": {**others, "parameters": 0}}


def count(model: Any, group: int) -> None:
    """Records how many weights a model has that was not built when its fit began."""
    if group >= 0 and "parameters" not in _groups[group].setdefault("model", {}):
        _groups[group]["model"]["parameters"] = int(model.count_params())
        _studio_track.params({_name(group): {"model": {"parameters": int(model.count_params())}}})


def _name(group: int) -> str:
    return "keras" + (str(group + 1) if group else "")


def _parameters(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Everything that is known before the first batch; what cannot be had is left out."""
    found: dict[str, Any] = {}
    for part in (_of_fit, _of_model, _of_compile):
        try:
            found.update(part(model, arguments))
        except Exception as exc:  # noqa: BLE001  (models may raise anything)
            _studio_track.warning("keras.params", f"some keras parameters are not known: {type(exc).__name__}: {exc}")
    return found


def _of_fit(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    batch_size = arguments.get("batch_size")
    found: dict[str, Any] = {"epochs": arguments.get("epochs", 1)}
    if batch_size is not None or arguments.get("arrays"):
        found["batch_size"] = batch_size or 32
    for name in ("validation_split", "steps_per_epoch", "initial_epoch", "shuffle"):
        if isinstance(arguments.get(name), (int, float)):
            found[name] = arguments[name]
    if arguments.get("class_weight") is not None:
        found["class_weight"] = str(arguments["class_weight"])
    found["backend"] = sys.modules["keras"].config.backend()
    return found


def _of_model(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": {
            "name": model.name,
            "class": type(model).__name__,
            "layers": len(model.layers),
            **({"parameters": int(model.count_params())} if model.built else {}),
        }
    }


def _of_compile(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        config = optimizer.get_config()
        found["optimizer"] = {name: _shortest(value) for name, value in config.items() if _is_plain(value)}
        found["optimizer"]["name"] = type(optimizer).__name__.lower()
        rate = config.get("learning_rate")
        if isinstance(rate, dict):  # a schedule
            found["optimizer"]["learning_rate"] = rate.get("class_name")
            found["optimizer"]["schedule"] = {
                name: _shortest(value) for name, value in rate.get("config", {}).items() if _is_plain(value)
            }
    loss = getattr(model, "loss", None)
    if loss is not None:
        found["loss"] = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", str(loss)))
    return found


def _shortest(value: Any) -> Any:
    """0.001 for the 0.0010000000474974513 that a float32 variable gives back."""
    if not isinstance(value, float) or value - value != 0:
        return value
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.unpack("f", struct.pack("f", short))[0] == value:
                return short
        except OverflowError:
            break
    return value


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))
