"""SavedModel folders of all kinds: clients that ask at once get what the signature itself says of their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.errors import ModelLoadError

from .asking import ask, check_as_library, loaded

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(17)
ROWS = RNG.normal(size=(5, 3)).astype("float32")


class Module(tf.Module):  # type: ignore[misc, unused-ignore]
    """A function with a weight, a count and a generator."""

    def __init__(self, function: Callable[..., Any], *specs: Any) -> None:
        super().__init__()
        self.weight = tf.Variable(2.0)
        self.count = tf.Variable(1.0, trainable=False)
        self.random = tf.random.Generator.from_seed(1)
        self.answer = tf.function(lambda *xs: function(self, *xs), input_signature=list(specs), autograph=False)


def saved(folder: Path, function: Callable[..., Any], *specs: Any) -> Path:
    made = Module(function, *specs)
    tf.saved_model.save(made, str(folder / "model"), signatures={"serving_default": made.answer})
    return folder / "model"


def signature(path: Path) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """The signature itself, loaded by TensorFlow."""
    module = tf.saved_model.load(str(path))
    function = module.signatures["serving_default"]
    names = sorted(function.structured_input_signature[1])

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        answer = function(**{name: tf.constant(x) for name, x in zip(names, arrays, strict=True)})
        return [_plain(answer[name].numpy()) for name in sorted(answer)]

    run.module = module  # type: ignore[attr-defined]
    return run


def _plain(array: Any) -> Any:
    return array.astype("float32") if array.dtype.kind == "V" else array


X = tf.TensorSpec([None, 3], tf.float32, name="x")
MERGED: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "one": (lambda m, x: {"y": x * m.weight}, (X,)),
    "two": (lambda m, x, z: {"sum": x + z, "place": tf.argmax(x, axis=-1)},
            (X, tf.TensorSpec([None, 3], tf.float32, name="z"))),
    "bfloat16": (lambda m, x: {"y": tf.cast(x, tf.bfloat16) * 2}, (X,)),
    "takes bfloat16": (lambda m, x: {"y": tf.cast(x, tf.float32) * 2},
                       (tf.TensorSpec([None, 3], tf.bfloat16, name="x"),)),
}  # fmt: skip


@pytest.mark.parametrize("kind", MERGED)
def test_a_folder_answers_as_its_signature(tmp_path: Path, kind: str) -> None:
    function, specs = MERGED[kind]
    path = saved(tmp_path, function, *specs)
    found = loaded(path)
    assert found.stacks, found.unmerged
    library = signature(path)
    if kind == "takes bfloat16":
        whole = np.round(ROWS * 4)
        check_as_library(found, lambda xs: [xs[0] * 2], [whole], within=1e-6)
        return
    rows = [ROWS, ROWS[::-1].copy()][: len(specs)]
    check_as_library(found, library, rows, within=1e-5)


def test_four_rows_are_filled_up(tmp_path: Path) -> None:
    path = saved(tmp_path, lambda m, x: {"y": x * m.weight}, tf.TensorSpec([4, 3], tf.float32, name="x"))
    found = loaded(path)
    assert found.stacks and found.runtime["rows"] == 4
    check_as_library(found, lambda xs: [xs[0] * 2], [ROWS], within=1e-6)


def test_a_count_is_reset_and_random_numbers_are_not(tmp_path: Path) -> None:
    def counting(module: Any, x: Any) -> Any:
        module.count.assign_add(1.0)
        return {"y": x + module.count}

    found = loaded(saved(tmp_path, counting, X))
    answers = ask(found, [[ROWS[0]], [ROWS[1]]], "thread")
    for answer, row in zip(answers, [ROWS[0], ROWS[1]] * 3, strict=True):
        np.testing.assert_allclose(answer[0], row + 2.0, rtol=1e-6)
    found = loaded(saved(tmp_path / "random", lambda m, x: {"y": x + m.random.normal(tf.shape(x))}, X))
    assert "draws random numbers" in found.unmerged
    assert len({answer[0].tobytes() for answer in ask(found, [[ROWS[0]]], "thread")}) == 3


def test_rows_that_are_not_apart(tmp_path: Path) -> None:
    path = saved(tmp_path, lambda m, x: {"hits": tf.cast(tf.where(x > 0), tf.int32), "total": tf.reduce_sum(x)}, X)
    found = loaded(path)
    assert found.unmerged and found.by_row == (False, False)
    check_as_library(found, signature(path), [ROWS], within=1e-5)


@pytest.mark.parametrize("shape", [None, []])
def test_inputs_of_any_rank_and_of_none(tmp_path: Path, shape: Any) -> None:
    path = saved(tmp_path, lambda m, x: {"y": x * 3.0}, tf.TensorSpec(shape, tf.float32, name="x"))
    found = loaded(path)
    assert not found.stacks
    assert [a[0].tolist() for a in ask(found, [[np.float32(2)]], "loop")] == [6.0] * 3
    if shape is None:
        assert [a[0].tolist() for a in ask(found, [[np.float32([1, 2])]], "loop")] == [[3.0, 6.0]] * 3


def test_a_broken_folder_and_ragged_answers_say_why(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"nonsense")
    with pytest.raises(ModelLoadError, match=r"TensorFlow cannot load broken: \w+: .*pars"):
        loaded(tmp_path / "broken")
