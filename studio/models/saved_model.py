"""Runs TensorFlow SavedModel folders by their serving signature."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelLoadError, nearest
from ..extras import need
from .base import LoadedModel, TensorSpec
from .measure import proven, refuse_text

if TYPE_CHECKING:
    from .base import Array

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
        raise ModelLoadError(f"TensorFlow cannot load {path.name}: {type(exc).__name__}") from exc
    name = next((s for s in SIGNATURES if s in module.signatures), None)
    if name is None:
        known = list(module.signatures)
        raise ModelLoadError(f"{path.name} has no signature {SIGNATURES[0]!r}", hint=nearest(SIGNATURES[0], known))
    function = module.signatures[name]
    inputs = tuple(_spec(k, t) for k, t in sorted(function.structured_input_signature[1].items()))
    outputs = tuple(_spec(k, t) for k, t in sorted(function.structured_outputs.items()))
    refuse_text(path.name, inputs)

    def run(arrays: Sequence[Array], module: Any = module) -> Sequence[Array]:
        answer = function(**{s.name: tf.constant(x) for s, x in zip(inputs, arrays, strict=True)})
        return [answer[s.name].numpy() for s in outputs]

    return proven(path.name, "tensorflow", run, inputs, outputs)


def _spec(name: str, tensor: Any) -> TensorSpec:
    shape = () if tensor.shape.rank is None else tuple(-1 if n is None else int(n) for n in tensor.shape)
    return TensorSpec(name, tensor.dtype.name, shape)
