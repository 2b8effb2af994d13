"""ONNX files of all kinds, made field by field: clients that ask at once get what ONNX Runtime says of their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .asking import GROUPS, ask, check_as_library, loaded

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
FLOAT, INT64, STRING, BOOL, FLOAT16, DOUBLE = 1, 7, 8, 9, 10, 11
KINDS = {"float32": FLOAT, "int64": INT64, "bool": BOOL, "float16": FLOAT16, "float64": DOUBLE}
Shape = Sequence[int | str] | None


def varint(number: int) -> bytes:
    made = b""
    while number > 127:
        made += bytes((number & 127 | 128,))
        number >>= 7
    return made + bytes((number,))


def field(number: int, value: bytes | str | int) -> bytes:
    """One field of a protocol buffer (onnx.proto3)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **ints: int | list[int]) -> bytes:
    made = b"".join([field(1, x) for x in inputs] + [field(2, y) for y in outputs]) + field(4, operator)
    for name, value in ints.items():
        own = b"".join([field(8, v) for v in value]) + field(20, 7) if isinstance(value, list) else (
            field(3, value) + field(20, 2))  # fmt: skip
        made += field(5, field(1, name) + own)
    return field(1, made)


def value(name: str, dtype: int, shape: Shape) -> bytes:
    tensor = field(1, dtype)
    if shape is not None:
        tensor += field(2, b"".join([field(1, field(1 if isinstance(n, int) else 2, n) if n else b"") for n in shape]))
    return field(1, name) + field(2, field(1, tensor))


def constant(name: str, array: Any) -> bytes:
    made = b"".join([field(1, n) for n in array.shape]) + field(2, KINDS[array.dtype.name])
    return field(5, made + field(8, name) + field(9, array.tobytes()))


def model(inputs: Sequence[bytes], outputs: Sequence[bytes], *parts: bytes) -> bytes:
    graph = b"".join(parts) + field(2, "g")
    graph += b"".join([field(11, x) for x in inputs] + [field(12, y) for y in outputs])
    return field(1, 9) + field(7, graph) + field(8, field(2, 17))


def rows(name: str, dtype: int = FLOAT, *, n: int | str = "N", width: int | str = 3) -> bytes:
    return value(name, dtype, (n, width))


RELU = node("Relu", ["x"], ["y"])
LINEAR = (node("MatMul", ["x", "w"], ["y"]), constant("w", np.float32([[1, 2], [3, -4], [0.5, 6]])))
HITS = (
    node("Greater", ["x", "least"], ["hit"]), node("NonZero", ["hit"], ["at"]),
    node("Transpose", ["at"], ["y"], perm=[1, 0]), constant("least", np.float32(0.5)),
)  # fmt: skip
CENTRED = (node("ReduceMean", ["x"], ["m"], axes=[0]), node("Sub", ["x", "m"], ["y"]))
TOTAL = (node("ReduceSum", ["x"], ["y"], keepdims=0),)
LOUD = (node("RandomNormalLike", ["x"], ["r"]), node("Add", ["x", "r"], ["y"]))
MERGED: dict[str, bytes] = {
    "linear": model([rows("x")], [rows("y", width=2)], *LINEAR),
    "output without a shape": model([rows("x")], [value("y", FLOAT, None)], *LINEAR),
    "rows without names": model([rows("x", n=0)], [rows("y", n=0, width=2)], *LINEAR),
    "rows named by tf2onnx": model([rows("x", n="unk__1")], [rows("y", n="unk__2", width=2)], *LINEAR),
    "any width": model([rows("x", width="W")], [rows("y", width="W")], RELU),
    "float64": model([rows("x", DOUBLE)], [rows("y", DOUBLE)], node("Neg", ["x"], ["y"])),
    "float16": model([rows("x", FLOAT16)], [rows("y", FLOAT16)], node("Neg", ["x"], ["y"])),
    "int64": model([rows("x", INT64)], [rows("y", INT64)], node("Abs", ["x"], ["y"])),
    "truth values": model([rows("x", BOOL)], [rows("y", BOOL)], node("Not", ["x"], ["y"])),
    "places": model([rows("x")], [value("y", INT64, ("N",))], node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)),
    "two inputs": model([rows("x"), rows("z")], [rows("y"), rows("v")],
                        node("Add", ["x", "z"], ["y"]), node("Sub", ["x", "z"], ["v"])),
    "four rows": model([rows("x", n=4)], [rows("y", n=4)], RELU),
    "one row": model([rows("x", n=1)], [rows("y", n=1)], RELU),
    "four rows, two inputs": model([rows("x", n=4), rows("z", n=4)], [rows("y", n=4)], node("Mul", ["x", "z"], ["y"])),
    "words": model([rows("x")], [value("y", STRING, ("N", 3))], node("Cast", ["x"], ["y"], to=STRING)),
}  # fmt: skip
ALONE: dict[str, tuple[bytes, str]] = {
    "hits": (model([rows("x")], [value("y", INT64, ("hits", 2))], *HITS), "for"),
    "hits that are called rows": (model([rows("x")], [value("y", INT64, ("N", 2))], *HITS), "for"),
    "centred": (model([rows("x")], [rows("y")], *CENTRED), "depends on the other items"),
    "other names": (model([rows("x")], [rows("y", n="M", width=2)], *LINEAR), "of 'x' 'N', those of 'y' 'M'"),
    "total": (model([rows("x")], [value("y", FLOAT, ())], *TOTAL), "is a single value"),
}  # fmt: skip


def drawn(model: Any) -> list[Any]:
    rng = np.random.default_rng(3)
    made = []
    for spec in model.inputs:
        shape = [5, *(3 if n < 0 else n for n in spec.shape[1:])]
        array = rng.normal(size=shape) * (1 if spec.dtype.startswith("float") else 9)
        made.append((array > 0) if spec.dtype == "bool" else array.astype(spec.dtype))
    return made


def runtime(path: Path, *, fixed: int = 0) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """ONNX Runtime itself; a model of `fixed` rows is asked row by row, each repeated so often."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        if not fixed:
            return [_text(y) for y in session.run(None, dict(zip(names, arrays, strict=True)))]
        each = [
            session.run(None, {n: np.repeat(x[k : k + 1], fixed, 0) for n, x in zip(names, arrays, strict=True)})
            for k in range(len(arrays[0]))
        ]
        return [np.concatenate([row[0][:1] for row in each])]

    return run


def _text(array: Any) -> Any:
    return array.astype(str) if array.dtype.kind == "O" else array


@pytest.mark.parametrize("kind", MERGED)
def test_a_file_answers_as_the_runtime_does(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(MERGED[kind])
    found = loaded(path)
    assert found.stacks, found.unmerged
    fixed = {"four": 4, "one": 1}.get(kind.split()[0], 0) if "row" in kind and "rows " not in kind else 0
    assert found.inputs is not None and found.inputs[0].shape[0] == -1
    check_as_library(found, runtime(path, fixed=fixed), drawn(found), within=1e-6)


@pytest.mark.parametrize("kind", ALONE)
def test_a_file_whose_rows_are_not_apart_is_never_merged(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.onnx"
    data, why = ALONE[kind]
    path.write_bytes(data)
    found = loaded(path)
    assert why in found.unmerged and f"requests are not merged: {found.unmerged}" in found.warnings
    check_as_library(found, runtime(path), drawn(found), within=1e-6)


def test_random_answers_are_not_merged_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model([rows("x")], [rows("y")], *LOUD))
    assert "draws random numbers" in loaded(tmp_path / "m.onnx").unmerged


def test_four_rows_that_depend_on_each_other_are_asked_as_four_and_not_filled_up(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model([rows("x", n=4)], [rows("y", n=4)], *CENTRED))
    found = loaded(tmp_path / "m.onnx")
    assert found.inputs is not None and found.inputs[0].shape == (4, 3)
    assert "exactly 4 rows, and an item's 'y' depends on the other items" in found.unmerged
    four = drawn(found)[0][:4]
    check_as_library(found, runtime(tmp_path / "m.onnx"), [four], groups=([0, 1, 2, 3], [3, 2, 1, 0]))


def test_a_filled_model_takes_any_number_of_rows_none_included(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(MERGED["four rows"])
    found = loaded(tmp_path / "m.onnx")
    assert found.runtime["rows"] == 4 and found.batch == 4
    x = np.arange(33, dtype=np.float32).reshape(11, 3) - 5
    for [answer], asked in zip(ask(found, [[x], [x[:0]], [x[5]]], "thread"), [x, x[:0], x[5]] * 3, strict=True):
        assert np.array_equal(answer, np.maximum(asked, 0))


def test_a_single_hit_keeps_the_form_of_several(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(ALONE["hits"][0])
    found = loaded(tmp_path / "m.onnx")
    one, two, none = np.float32([0, 1, 0]), np.float32([1, 1, 0]), np.float32([0, 0, 0])
    shapes = [answer[0].shape for answer in ask(found, [[one], [two], [none]], "loop")]
    assert shapes == [(1, 2), (2, 2), (0, 2)] * 3


@pytest.mark.parametrize("shape", [(), None])
def test_numbers_without_axes_and_unknown_shapes(tmp_path: Path, shape: Shape) -> None:
    data = model([value("x", FLOAT, shape)], [value("y", FLOAT, shape)],
                 node("Mul", ["x", "three"], ["y"]), constant("three", np.float32(3)))  # fmt: skip
    (tmp_path / "m.onnx").write_bytes(data)
    found = loaded(tmp_path / "m.onnx")
    assert not found.stacks and found.inputs is not None and found.inputs[0].as_json()["shape"] is None
    assert [y[0].tolist() for y in ask(found, [[np.float32(2)]], "thread")] == [6.0] * 3
    assert [y[0].tolist() for y in ask(found, [[np.float32([[2, 1]])]], "thread")] == [[[6.0, 3.0]]] * 3


def test_an_input_beside_the_rows(tmp_path: Path) -> None:
    data = model([rows("x"), value("by", FLOAT, (1,))], [rows("y")], node("Mul", ["x", "by"], ["y"]))
    (tmp_path / "m.onnx").write_bytes(data)
    found = loaded(tmp_path / "m.onnx")
    assert "not every input" in found.unmerged
    answers = ask(found, [[np.float32([1, 2, 3]), np.float32([2])]], "loop")
    assert [y[0].tolist() for y in answers] == [[2.0, 4.0, 6.0]] * 3


def test_every_group_asks_a_row() -> None:
    assert {row for group in GROUPS for row in group} == set(range(5))
