"""Runs ONNX files by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelLoadError
from ..extras import need
from .base import LoadedModel, TensorSpec
from .measure import proven

if TYPE_CHECKING:
    from .base import Array

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
}


def load(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """The model in an ONNX file.

    Raises:
        ModelLoadError: ONNX Runtime cannot read it, or it has inputs that are not tensors of numbers.
        MissingExtra: ONNX Runtime is not installed.
    """
    onnxruntime = need("onnxruntime", extra="onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=onnxruntime.get_available_providers())
    except Exception as exc:
        raise ModelLoadError(f"ONNX Runtime cannot load {path.name}: {type(exc).__name__}") from exc
    inputs = tuple(_spec(node, path.name) for node in session.get_inputs())
    outputs = tuple(_spec(node, path.name) for node in session.get_outputs())
    names, wanted = [s.name for s in inputs], [s.name for s in outputs]

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        answers: Sequence[Array] = session.run(wanted, dict(zip(names, arrays, strict=True)))
        return answers

    return proven(path.name, "onnxruntime", run, inputs, outputs)


def _spec(node: Any, name: str) -> TensorSpec:
    kind = str(node.type)
    dtype = _DTYPES.get(kind) or kind.removeprefix("tensor(").removesuffix(")")
    if not kind.startswith("tensor(") or dtype == "string":
        raise ModelLoadError(f"{name}: {node.name!r} is a {kind}; only tensors of numbers are served")
    return TensorSpec(node.name, dtype, tuple(n if isinstance(n, int) else -1 for n in node.shape))
