"""Loads files that Keras 2 wrote by Keras 2 itself, the package `tf_keras`: Keras 3 refuses some of them."""

from __future__ import annotations

import importlib.util
import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..errors import ModelLoadError
from ..extras import need
from .base import said

MOST_BYTES = 64 * 1024 * 1024


def is_keras2(path: Path) -> bool:
    """Whether the file says that Keras 1 or 2 wrote it. `check_file` has passed it."""
    return _version(path).startswith(("1.", "2."))


def installed() -> bool:
    """Whether `tf_keras` can be imported."""
    return importlib.util.find_spec("tf_keras") is not None


def hint_of_keras2(*, trust: bool) -> str:
    """What to do where Keras 3 cannot load such a file."""
    if not installed():
        return "Keras 2 wrote this file: pip install tf_keras"
    return "" if trust else "Keras 2 wrote this file; tf_keras could load it, and run its code: --trust"


def load_keras2(path: Path, known: Path) -> tuple[Any, Any]:
    """The model, and what stands for the module `keras` where it is run.

    Unlike Keras 3, `tf_keras` lets a file name any operation of TensorFlow's, those that read and write files among
    them: so only files that may run code come here. Lambdas are refused, as everywhere.

    Args:
        path: The file, for its name.
        known: The same file under a name that Keras goes by.

    Raises:
        ModelLoadError: it has a lambda, keeps a state between calls, or cannot be loaded.
    """
    if _has_lambda(_config(path)):
        raise ModelLoadError(
            f"{path.name} has a Lambda layer or another lambda: code that studio does not run",
            hint="build the model in a wrapper (--wrapper FILE)",
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    keras, tf = need("tf_keras", extra="keras"), need("tensorflow", extra="keras")
    try:
        model = keras.models.load_model(known, compile=False)
    except Exception as exc:
        raise ModelLoadError(f"Keras 2 (tf_keras) cannot load {path.name}: {said(exc)}") from exc
    if any(getattr(layer, "stateful", False) and hasattr(layer, "reset_states") for layer in _layers(model)):
        raise ModelLoadError(
            f"{path.name} keeps a state between calls, which requests would share",
            hint="build it with stateful=False, or write a wrapper: --wrapper FILE",
        )
    tree = SimpleNamespace(flatten=tf.nest.flatten, pack_sequence_as=tf.nest.pack_sequence_as)
    ops = SimpleNamespace(convert_to_numpy=lambda y: y)
    return model, SimpleNamespace(backend=SimpleNamespace(backend=lambda: "tensorflow"), tree=tree, ops=ops)


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=True))


def _version(path: Path) -> str:
    if path.suffix.lower() == ".keras":
        told = _member(path, "metadata.json")
        version = told.get("keras_version") if isinstance(told, dict) else None
    else:
        h5py = need("h5py", extra="keras")
        with h5py.File(path, "r") as file:
            version = file.attrs.get("keras_version")
    return version.decode("latin-1") if isinstance(version, bytes) else str(version or "")


def _config(path: Path) -> object:
    if path.suffix.lower() == ".keras":
        return _member(path, "config.json")
    h5py = need("h5py", extra="keras")
    with h5py.File(path, "r") as file:
        text = file.attrs.get("model_config")
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ModelLoadError(f"{path.name} does not tell its layers: {type(exc).__name__}") from exc


def _member(path: Path, name: str) -> object:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            return json.loads(file.read(MOST_BYTES))
    except (KeyError, ValueError, RecursionError, OSError, zipfile.BadZipFile):
        return None


def _has_lambda(config: object) -> bool:
    """Whether a layer is a Lambda, or a function is kept as bytecode."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("class_name") in ("Lambda", "__lambda__") or part.get("function_type") == "lambda":
                return True
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return False
