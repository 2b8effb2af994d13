"""Runs TensorFlow SavedModel folders by their serving signature."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelLoadError, nearest
from ..extras import need
from .answers import as_array
from .base import LoadedModel, Run, TensorSpec, said
from .measure import Trial, proven, refuse_text

if TYPE_CHECKING:
    from .base import Array
    from .items import Item

LONGEST_STATE = 1 << 20
"""Variables of more numbers than this are weights that were frozen, not what a model remembers."""

SIGNATURES = ("serving_default", "serve")


def load(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """The folder's serving signature as a model.

    Raises:
        ModelLoadError: TensorFlow cannot read it, or it has no serving signature.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tf = need("tensorflow", extra="keras")
    try:
        module = tf.saved_model.load(str(path))
    except Exception as exc:
        raise ModelLoadError(f"TensorFlow cannot load {path.name}: {said(exc)}") from exc
    name = next((s for s in SIGNATURES if s in module.signatures), None)
    if name is None:
        known = list(module.signatures)
        raise ModelLoadError(f"{path.name} has no signature {SIGNATURES[0]!r}", hint=nearest(SIGNATURES[0], known))
    function = module.signatures[name]
    narrow = {k: t.dtype for k, t in function.structured_input_signature[1].items() if t.dtype.name == "bfloat16"}
    inputs = tuple([_spec(path.name, k, t) for k, t in sorted(function.structured_input_signature[1].items())])
    outputs = tuple([_spec(path.name, k, t) for k, t in sorted(function.structured_outputs.items())])
    refuse_text(path.name, inputs)

    def run(arrays: Sequence[Array], module: Any = module) -> Sequence[Array]:
        fed = {s.name: tf.constant(x, narrow.get(s.name)) for s, x in zip(inputs, arrays, strict=True)}
        answer = function(**fed)
        return [as_array(answer[s.name].numpy()) for s in outputs]

    rough = any(t.dtype.name in ("bfloat16", "float16") for t in function.structured_outputs.values())
    fresh = partial(_fresh, _as_loaded(function.variables))
    return proven(Trial(path, "tensorflow", run, inputs, outputs, rough=rough, fresh=fresh))


def _as_loaded(variables: Sequence[Any]) -> list[tuple[Any, Array]]:
    """The variables that no training changes and what is in them now.

    Those of random generators are left out: numbers that are drawn shall differ.
    """
    watched = [v for v in variables if not v.trainable and "StateVar" not in v.name and "seed" not in v.name]
    return [(v, v.numpy()) for v in watched if (v.shape.num_elements() or 0) <= LONGEST_STATE]


def _fresh(loaded: Sequence[tuple[Any, Array]], run: Run, items: Sequence[Item], same: bool) -> Run:
    """The model without memory: variables that a call changes are, before each call, what they were in the file."""
    import numpy as np

    changed = [(v, value) for v, value in loaded if not np.array_equal(v.numpy(), value)]
    if not changed:
        return run

    def anew(xs: Sequence[Array]) -> Sequence[Array]:
        for variable, value in changed:
            variable.assign(value)
        return run(xs)

    return anew


def _spec(model: str, name: str, tensor: Any) -> TensorSpec:
    if (
        not hasattr(tensor, "name")
        or not hasattr(tensor, "experimental_as_proto")
        or "Tensor" not in type(tensor).__name__
    ):
        raise ModelLoadError(f"{model}: {name!r} is a {type(tensor).__name__}")
    dtype = "float32" if tensor.dtype.name == "bfloat16" else tensor.dtype.name
    if tensor.shape.rank is None:
        return TensorSpec(name, dtype, (), free=True)
    return TensorSpec(name, dtype, tuple([-1 if n is None else int(n) for n in tensor.shape]))
