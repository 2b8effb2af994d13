"""Runs ONNX files by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelLoadError
from ..extras import need
from .answers import as_array, of_mappings
from .base import LoadedModel, TensorSpec, said
from .bounded import onnx_is_bounded
from .measure import Trial, proven

if TYPE_CHECKING:
    from .base import Array

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
}
_PLAIN = frozenset({*_DTYPES, *(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64))})
_MAPS = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")


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
        raise ModelLoadError(f"ONNX Runtime cannot load {path.name}: {said(exc)}") from exc
    inputs = tuple([_spec(node, path.name) for node in session.get_inputs()])
    outputs = tuple([_spec(node, path.name, text=True) for node in session.get_outputs()])
    names, wanted = [s.name for s in inputs], [s.name for s in outputs]
    plain = all(node.type in _PLAIN for node in session.get_outputs())

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        answers: Sequence[Array] = session.run(wanted, dict(zip(names, arrays, strict=True)))
        return answers if plain else [_array(answer) for answer in answers]

    return proven(Trial(path, "onnxruntime", run, inputs, outputs, bounded=onnx_is_bounded(path)))


def _array(answer: Any) -> Array:
    """One output as an array; a sequence of maps, such as a classifier's probabilities, has a row for each map."""
    return of_mappings(answer) if isinstance(answer, list) else as_array(answer)


def _spec(node: Any, name: str, *, text: bool = False) -> TensorSpec:
    """The contract of one input or output. ONNX Runtime tells the same of a number and of a tensor without a shape."""
    kind = str(node.type)
    if text and kind in _MAPS:
        return TensorSpec(node.name, "float32", (), free=True)
    dtype = _DTYPES.get(kind) or kind.removeprefix("tensor(").removesuffix(")")
    if not kind.startswith("tensor(") or (dtype == "string" and not text):
        raise ModelLoadError(f"{name}: {node.name!r} is a {kind}; only tensors of numbers are served")
    axes = tuple(["" if isinstance(n, int) or n is None else str(n) for n in node.shape])
    shape = tuple([n if isinstance(n, int) else -1 for n in node.shape])
    return TensorSpec(node.name, dtype, shape, axes, free=not shape)
