"""What a Keras model tells of itself: its size, its state, and whether its file needs the script's code."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parameters(model: Any) -> int:
    """How many weights it has; 0 where that is not known."""
    try:
        return int(model.count_params())
    except Exception:  # noqa: BLE001  (one that is not built has no count; that keeps no model from being kept)
        return 0


def state_of(model: Any) -> str:
    """A digest of weights and layers."""
    if not hasattr(model, "get_weights"):
        return ""
    import hashlib

    found = hashlib.blake2b()
    try:
        found.update(model.to_json().encode())
    except Exception:  # noqa: BLE001, S110  a class without get_config
        pass
    for weight in model.get_weights():
        found.update(str((weight.shape, weight.dtype)).encode())
        found.update(weight.tobytes())
    return found.hexdigest()


def needs_its_code(model: Any) -> bool:
    """Whether loading the `.keras` file takes classes or functions that Keras does not have."""
    flatten = getattr(model, "_flatten_layers", list)  # not public; without it every model is taken for a plain one
    for layer in flatten():
        if type(layer).__module__.partition(".")[0] != "keras" or type(layer).__name__ == "Lambda":
            return True
        function = getattr(layer, "activation", None)
        if not (getattr(function, "__module__", None) or type(function).__module__).startswith(("keras", "builtins")):
            return True
    return False
