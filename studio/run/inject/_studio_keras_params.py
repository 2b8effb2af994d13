"""Keras: what a fit was told, by its arguments, its model and its optimizer."""

from __future__ import annotations

import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import _studio_track
else:
    import _studio_track


def parameters(model: Any, arguments: dict[str, Any]) -> dict[str, Any]:
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
        found["class_weight"] = _studio_track.load("_studio_text").kept(arguments["class_weight"])
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
        name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", None))
        found["loss"] = _studio_track.load("_studio_text").kept(loss) if name is None else name
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
