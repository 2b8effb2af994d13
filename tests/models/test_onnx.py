"""An ONNX file, written by hand field by field (onnx.proto3), is loaded, keeps its contract and answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studio.errors import ModelLoadError
from studio.models import load_model
from studio.models.base import TensorModel, TensorSpec

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
FLOAT, STRING = 1, 8


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protocol buffer; lengths and numbers below 128."""
    if isinstance(value, int):
        return bytes((number << 3, value))
    return bytes((number << 3 | 2, len(value))) + value


def named(name: str, kind: int, *, rows: bytes = field(2, b"N")) -> bytes:
    shape = field(1, rows) + field(1, field(1, 2))
    return field(1, name.encode()) + field(2, field(1, field(1, kind) + field(2, shape)))


def model(operator: str, kind: int = FLOAT, *, rows: bytes = field(2, b"N")) -> bytes:
    node = field(1, b"x") + field(2, b"y") + field(4, operator.encode())
    graph = field(1, node) + field(2, b"g")
    graph += field(11, named("x", kind, rows=rows)) + field(12, named("y", kind, rows=rows))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


def test_a_file_is_a_model_with_its_contract(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model("Neg"))
    loaded = load_model(tmp_path)
    assert isinstance(loaded, TensorModel)
    assert (loaded.file, loaded.runtime) == ("m.onnx", {"name": "onnxruntime"})
    assert loaded.inputs == (TensorSpec("x", "float32", (-1, 2), axes=("N", "")),)
    assert loaded.outputs == (TensorSpec("y", "float32", (-1, 2), axes=("N", "")),)
    assert loaded.stacks and loaded.call_s is not None
    [answer] = loaded.run([np.float32([[1, 2], [3, 4]])])
    assert answer.tolist() == [[-1, -2], [-3, -4]]


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"nonsense", "ONNX Runtime cannot load"), (model("Identity", STRING), "only tensors of numbers are served")],
)
def test_what_cannot_be_served_is_one_error(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelLoadError, match=said):
        load_model(tmp_path)
