"""Loads Keras files (`.keras`, `.h5`, `.hdf*`) and runs them by a traced function, never by `predict`."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import config
from ..errors import ModelLoadError
from ..extras import need, silent
from .answers import as_array
from .base import LoadedModel, Run, TensorModel, TensorSpec, said
from .bounded import tensorflow_is_bounded
from .h5_guard import check_file
from .keras2 import hint_of_keras2, installed, is_keras2, load_keras2
from .keras_inputs import domains
from .measure import Trial, proven, refuse_text
from .stacking import any_rows

if TYPE_CHECKING:
    from .base import Array
    from .items import Item

_WIDER = {"bfloat16": "float32", "float8_e4m3fn": "float32", "float8_e5m2": "float32"}
"""Floats that numpy does not have, and what stands for them in the contract and in answers."""

LONGEST_STATE = 1 << 20
"""Variables of more numbers than this are weights that were frozen, not what a model remembers."""

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
    old = is_keras2(path)
    if old and trust and installed():
        with _known_name(path) as known:
            model, keras = load_keras2(path, known)
        loaded = _wrap(keras, model, path)
        return replace(loaded, runtime={**loaded.runtime, "name": "tf_keras"})
    keras = _import_keras()
    try:
        with _known_name(path) as known:
            model = keras.saving.load_model(known, compile=False, safe_mode=True)
    except Exception as exc:
        error = _cannot_load(path.name, exc)
        if old and "lambda" not in error.message:
            error.hint = "; ".join(filter(None, (hint_of_keras2(trust=trust), error.hint)))
        raise error from exc
    return _wrap(keras, model, path)


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
    return ModelLoadError(f"Keras cannot load {name}: {said(exc)}")


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
    os.environ.update(silent(config.home()))
    return need("keras", extra="keras")


def _wrap(keras: Any, model: Any, path: Path) -> TensorModel:
    try:
        inputs, outputs, pack = _contract(keras, model)
    except Exception as exc:
        raise ModelLoadError(
            f"{path.name} does not tell its inputs: {said(exc)}",
            hint="build the model with an Input layer, or write a wrapper: --wrapper FILE",
        ) from exc
    refuse_text(path.name, inputs)
    layers = list(model._flatten_layers(include_self=True))
    rough = any(str(getattr(layer, "compute_dtype", "")).endswith("float16") for layer in layers)
    stateful = [layer for layer in layers if getattr(layer, "stateful", False) and hasattr(layer, "reset_state")]
    trial = Trial(
        path, f"keras-{keras.backend.backend()}", _on_batch(keras, model, pack), inputs, outputs,
        told=domains(model), rough=rough, fresh=partial(_fresh, _as_loaded(layers), stateful),
    )  # fmt: skip
    fixed = all(spec.shape[:1] != (-1,) and spec.shape for spec in inputs)
    if fixed and not stateful:  # it may have been built from one batch, and its length means nothing
        opened = replace(trial, inputs=any_rows(inputs), outputs=any_rows(outputs))
        with contextlib.suppress(ModelLoadError):
            found = proven(_compiled(keras, model, opened, pack))
            if found.stacks:
                return found
    return proven(_compiled(keras, model, trial, pack))


def _compiled(keras: Any, model: Any, trial: Trial, pack: Callable[[Any], Any]) -> Trial:
    """The trial of the traced model; a model that cannot be traced for axes of any length runs layer by layer."""
    if keras.backend.backend() != "tensorflow":
        return trial
    try:
        run, bounded = _traced(keras, model, trial.inputs, pack)
        return replace(trial, run=run, bounded=bounded)
    except Exception as exc:  # noqa: BLE001 - whatever a layer raises
        slow = f"it runs uncompiled, which is slower: TensorFlow cannot trace it for any length ({said(exc)})"
        eager = _eager(keras, model, trial.inputs, pack)
        hopeless = partial(_cannot_run, trial.path.name)
        return replace(trial, run=eager, warnings=(*trial.warnings, slow), hopeless=hopeless)


def _cannot_run(name: str, exc: BaseException) -> None:
    """For a model that can neither be traced nor answers a single drawn input."""
    raise ModelLoadError(
        f"{name} was loaded, but cannot run: {said(exc)}",
        hint="if it needs inputs of a special kind, call it in a wrapper: --wrapper FILE",
    ) from exc


def _name_of(variable: Any) -> str:
    return str(getattr(variable, "path", variable.name))  # Keras 2 has TensorFlow's variables


def _as_loaded(layers: Sequence[Any]) -> list[tuple[Any, Array]]:
    """The variables that no training changes, those of random generators left out, and what is in them now."""
    import numpy as np

    found = {id(v): v for layer in layers for v in layer.non_trainable_variables if "seed" not in _name_of(v)}
    return [(v, np.array(v)) for v in found.values() if math.prod(v.shape) <= LONGEST_STATE]


def _fresh(
    loaded: Sequence[tuple[Any, Array]], stateful: Sequence[Any], run: Run, items: Sequence[Item], same: bool
) -> Run:
    """The model without memory: before each call, recurrent layers start at zero, other variables as in the file."""
    import numpy as np

    changed = [(v, value) for v, value in loaded if not np.array_equal(np.asarray(v), value)]
    if not changed and not stateful:
        return run

    def anew(xs: Sequence[Array]) -> Sequence[Array]:
        for layer in stateful:
            layer.reset_state()
        for variable, value in changed:
            variable.assign(value)
        return run(xs)

    return anew


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
    dtype = str(getattr(tensor.dtype, "name", tensor.dtype))  # Keras 2 has TensorFlow's types
    return TensorSpec(name, _WIDER.get(dtype, dtype), tuple(-1 if n is None else int(n) for n in tensor.shape))


def _traced(keras: Any, model: Any, inputs: Sequence[TensorSpec], pack: Callable[[Any], Any]) -> tuple[Run, bool]:
    """The model as one graph, and whether the time that the graph takes depends on sizes only."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None if n < 0 else n for n in s.shape], s.dtype) for s in inputs]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator, unused-ignore]
    def call(*xs: Any) -> Any:
        return keras.tree.flatten(model(pack(list(xs)), training=False))

    traced = call.get_concrete_function()
    constant = tf.constant
    wide = [y.dtype.name in _WIDER for y in traced.outputs]

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        return [y.numpy() for y in traced(*[constant(x) for x in arrays])]

    def widened(arrays: Sequence[Array]) -> Sequence[Array]:
        return [as_array(y) for y in run(arrays)]

    return widened if any(wide) else run, tensorflow_is_bounded(traced.graph)


def _eager(keras: Any, model: Any, inputs: Sequence[TensorSpec], pack: Callable[[Any], Any]) -> Run:
    import tensorflow as tf

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        return [as_array(y) for y in keras.tree.flatten(model(pack([tf.constant(x) for x in arrays]), training=False))]

    return run


def _on_batch(keras: Any, model: Any, pack: Callable[[Any], Any]) -> Run:
    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        return [
            as_array(keras.ops.convert_to_numpy(y))
            for y in keras.tree.flatten(model.predict_on_batch(pack(list(arrays))))
        ]

    return run
