"""Loads Keras files (`.keras`, `.h5`, `.hdf*`) and runs them by a traced function, never by `predict`."""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelLoadError
from ..extras import need
from .base import LoadedModel, Run, TensorModel, TensorSpec
from .h5_guard import check_file
from .measure import proven, refuse_text

if TYPE_CHECKING:
    from .base import Array

_LACKING = re.compile(r"Could not (?:locate|find) (?P<what>class|function|object) '(?P<name>[^'\n]{1,200})'")


def load(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """The model in a Keras file. `safe_mode` stays on, trusted or not: a wrapper is the way to run own code.

    Raises:
        ModelLoadError: the file is broken, refused, or needs classes that are not there.
        MissingExtra: Keras or its back end is not installed.
    """
    if runtime == "onnx":
        raise ModelLoadError(
            f"{path.name}: Keras models are not converted to ONNX by this version",
            hint="leave out --runtime, or save it yourself: model.export('model.onnx', format='onnx')",
        )
    check_file(path)
    keras = _import_keras()
    try:
        with _known_name(path) as known:
            model = keras.saving.load_model(known, compile=False, safe_mode=True)
    except Exception as exc:
        raise _cannot_load(path.name, exc) from exc
    return _wrap(keras, model, path.name)


def _cannot_load(name: str, exc: Exception) -> ModelLoadError:
    """What is to be done, where Keras lacks code of the user's; it says so at the end of some hundred lines."""
    lacking = _LACKING.search(str(exc))
    if lacking is not None:
        return ModelLoadError(
            f"{name} needs the {lacking['what']} {lacking['name'].rpartition('>')[2]}, which Keras does not know",
            hint="serve it by a wrapper that imports it (--wrapper FILE), or model.export('model.onnx', format='onnx')",
        )
    if "`Lambda` layer" in str(exc) or "Python lambda" in str(exc):
        return ModelLoadError(
            f"{name} has a Lambda layer or another lambda: code that studio does not run",
            hint="build the model in a wrapper (--wrapper FILE), or model.export('model.onnx', format='onnx')",
        )
    return ModelLoadError(f"Keras cannot load {name}: {_first_line(exc)}")


@contextmanager
def _known_name(path: Path) -> Iterator[Path]:
    """The file under a name that Keras goes by: it takes only `.keras` and `.h5`, in small letters."""
    if path.suffix in (".keras", ".h5"):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="studio-") as folder:
        known = Path(folder) / ("model.keras" if path.suffix.lower() == ".keras" else "model.h5")
        known.symlink_to(path.absolute())
        yield known


def _import_keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "KERAS_BACKEND" not in os.environ and importlib.util.find_spec("tensorflow") is None:
        for backend in ("jax", "torch"):
            if importlib.util.find_spec(backend) is not None:
                os.environ["KERAS_BACKEND"] = backend
                break
    return need("keras", extra="keras")


def _wrap(keras: Any, model: Any, name: str) -> TensorModel:
    backend = keras.backend.backend()
    try:
        inputs, outputs, pack = _contract(keras, model)
    except Exception as exc:
        raise ModelLoadError(
            f"{name} does not tell its inputs: {_first_line(exc)}",
            hint="build the model with an Input layer, or write a wrapper: --wrapper FILE",
        ) from exc
    refuse_text(name, inputs)
    run = _traced(keras, model, inputs, pack) if backend == "tensorflow" else _on_batch(keras, model, pack)
    return proven(name, f"keras-{backend}", run, inputs, outputs, told=_first_line)


def _contract(keras: Any, model: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], Callable[[Any], Any]]:
    """Specs of inputs and outputs, and the function that packs a flat list as the model wants it."""
    flat = list(model.inputs)
    struct = getattr(model, "input", flat[0] if len(flat) == 1 else flat)
    in_names = sorted(struct) if isinstance(struct, dict) else [t.name for t in flat]
    made = getattr(model, "output", None)
    out_names = sorted(made) if isinstance(made, dict) else list(getattr(model, "output_names", None) or [])
    out_names = out_names or [model.layers[-1].name]
    inputs = tuple(_spec(n, t) for n, t in zip(in_names, flat, strict=True))
    outs = list(model.outputs)
    if len(out_names) != len(outs) or len(set(out_names)) != len(outs):
        out_names = [f"output_{k}" for k in range(len(outs))]
    outputs = tuple(_spec(n, t) for n, t in zip(out_names, outs, strict=True))
    return inputs, outputs, lambda xs: keras.tree.pack_sequence_as(struct, xs)


def _spec(name: str, tensor: Any) -> TensorSpec:
    return TensorSpec(name, str(tensor.dtype), tuple(-1 if n is None else int(n) for n in tensor.shape))


def _traced(keras: Any, model: Any, inputs: Sequence[TensorSpec], pack: Callable[[Any], Any]) -> Run:
    import tensorflow as tf

    signature = [tf.TensorSpec([None if n < 0 else n for n in s.shape], s.dtype) for s in inputs]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator, unused-ignore]
    def call(*xs: Any) -> Any:
        return keras.tree.flatten(model(pack(list(xs)), training=False))

    traced = call.get_concrete_function()
    constant = tf.constant

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        return [y.numpy() for y in traced(*[constant(x) for x in arrays])]

    return run


def _on_batch(keras: Any, model: Any, pack: Callable[[Any], Any]) -> Run:
    import numpy as np

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        return [np.asarray(y) for y in keras.tree.flatten(model.predict_on_batch(pack(list(arrays))))]

    return run


def _first_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return f"{type(exc).__name__}: {lines[0][:300]}" if lines else type(exc).__name__
