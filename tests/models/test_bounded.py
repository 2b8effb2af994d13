"""Which models may run on the event loop: those alone whose time the sizes of their inputs tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.models.bounded import onnx_is_bounded

from .asking import loaded
from .test_answers_of_onnx import BOOL, FLOAT, INT64, constant, field, model, node, rows, value

ONE = constant("one", np.int64([1]))
SIZES = {
    "matmul": (constant("w", np.ones((3, 2), np.float32)), node("MatMul", ["x", "w"], ["y"])),
    "size-of-the-input": (
        node("Shape", ["x"], ["s"]),
        constant("zero", np.float32([0])),
        node("Expand", ["zero", "s"], ["z"]),
        node("Add", ["x", "z"], ["y"]),
    ),
    "constant-size": (constant("to", np.int64([-1, 3])), node("Reshape", ["x", "to"], ["y"])),
}
VALUES = {
    "range": (
        node("ReduceMax", ["x"], ["m"], keepdims=0), node("Cast", ["m"], ["n"], to=INT64),
        constant("zero", np.int64(0)), constant("step", np.int64(1)), node("Range", ["zero", "n", "step"], ["r"]),
        node("Cast", ["r"], ["y"], to=FLOAT),
    ),
    "tile": (
        node("ReduceMax", ["x"], ["m"], keepdims=1), node("Cast", ["m"], ["n"], to=INT64),
        constant("two", np.int64([2])), node("Reshape", ["n", "two"], ["t"]), node("Tile", ["x", "t"], ["y"]),
    ),
    "rows-that-count": (node("NonZero", ["x"], ["n"]), node("Cast", ["n"], ["y"], to=FLOAT)),
    "unknown-operator": (node("Something", ["x"], ["y"]),),
    "anothers-operator": (field(1, field(1, "x") + field(2, "y") + field(4, "Neg") + field(7, "com.example")),),
}  # fmt: skip


def write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(model([rows("x")], [value("y", FLOAT, None)], *parts))
    return path


@pytest.mark.parametrize("kind", SIZES)
def test_a_graph_whose_sizes_tell_its_time(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "m.onnx", *SIZES[kind])
    assert onnx_is_bounded(path)
    assert loaded(path).bounded


@pytest.mark.parametrize("kind", VALUES)
def test_a_graph_whose_values_may_tell_it(tmp_path: Path, kind: str) -> None:
    assert not onnx_is_bounded(write(tmp_path / "m.onnx", *VALUES[kind]))


def looping() -> bytes:
    """A model that counts as far as its input says."""
    body = node("Identity", ["c"], ["c2"]) + node("Add", ["a", "f"], ["a2"]) + field(2, "body")
    body += b"".join([field(11, value("i", INT64, [])), field(11, value("c", BOOL, []))])
    body += (
        field(11, value("a", FLOAT, ["N"])) + field(12, value("c2", BOOL, [])) + field(12, value("a2", FLOAT, ["N"]))
    )
    loop = b"".join(field(1, name) for name in ("t", "true", "f")) + field(2, "y") + field(4, "Loop")
    loop += field(5, field(1, "body") + field(6, body) + field(20, 5))
    parts = (
        node("ReduceMax", ["n"], ["t"], keepdims=0), node("Cast", ["n"], ["f"], to=FLOAT), field(1, loop),
        constant("true", np.array(True)),
    )  # fmt: skip
    return model([value("n", INT64, ["N"])], [value("y", FLOAT, ["N"])], *parts)


def test_a_loop_is_served_and_is_not_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(looping())
    made = loaded(tmp_path / "m.onnx")
    assert not made.bounded
    assert made.run([np.int64([3])])[0].tolist() == [12.0]


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x3a\xff\xff\xff\xff\x7f", b"\x3a\x02\x0a\x7f", b"\xff" * 40])
def test_a_damaged_file_is_not_one_of_them(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    assert not onnx_is_bounded(tmp_path / "m.onnx")


def dense(keras: Any) -> Any:
    layers = [keras.layers.Dense(4, "relu"), keras.layers.BatchNormalization(), keras.layers.Dense(2, "softmax")]
    return keras.Sequential([keras.Input((3,)), *layers])


def recurrent(keras: Any) -> Any:
    return keras.Sequential([keras.Input((None, 3)), keras.layers.SimpleRNN(2)])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("build", "bounded"), [(dense, True), (recurrent, False)])
def test_keras_models(tmp_path: Path, build: Callable[[Any], Any], bounded: bool) -> None:
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow tells its graph")
    build(keras).save(tmp_path / "m.keras")
    assert loaded(tmp_path / "m.keras").bounded is bounded


def test_estimators_run_python_and_are_none_of_them(tmp_path: Path) -> None:
    joblib, linear = pytest.importorskip("joblib"), pytest.importorskip("sklearn.linear_model")
    x = np.random.default_rng(0).random((20, 3))
    joblib.dump(linear.LinearRegression().fit(x, x.sum(1)), tmp_path / "m.joblib")
    assert not loaded(tmp_path / "m.joblib").bounded
