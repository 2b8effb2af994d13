"""Keras models of all kinds: clients that ask at once get what `Model.predict` says of their own rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.errors import ModelLoadError

from .asking import ask, check_as_library, check_same, loaded

keras = pytest.importorskip("keras", reason="Keras is not installed")
layers, ops = keras.layers, keras.ops
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(11)


@keras.saving.register_keras_serializable("studio-tests")
class Noise(layers.Layer):  # type: ignore[misc, unused-ignore]
    """Random numbers, also when it is asked."""

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self.random = keras.random.SeedGenerator(3)

    def call(self, x: Any) -> Any:
        return x + keras.random.normal(ops.shape(x), seed=self.random)


@keras.saving.register_keras_serializable("studio-tests")
class Counting(layers.Layer):  # type: ignore[misc, unused-ignore]
    """Adds how often it was asked."""

    def build(self, shape: Any) -> None:
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, x: Any) -> Any:
        self.count.assign_add(1.0)
        return x + self.count


@keras.saving.register_keras_serializable("studio-tests")
class Centred(layers.Layer):  # type: ignore[misc, unused-ignore]
    """Rows that depend on those beside them."""

    def call(self, x: Any) -> Any:
        return x - ops.mean(x, axis=0, keepdims=True)


def line(*parts: Any) -> Any:
    return keras.Sequential(list(parts))


def tokens(count: int = 50) -> Any:
    return RNG.integers(0, count, (5, 6)).astype("int32")


def numbers(*shape: int, dtype: str = "float32") -> Any:
    return RNG.normal(size=(5, *shape)).astype(dtype)


def two_in() -> Any:
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    both = layers.Concatenate()([a, b])
    return keras.Model([a, b], {"sum": layers.Dense(1, name="s")(both), "both": both})


def normalised() -> Any:
    layer = layers.Normalization(input_shape=(3,))
    layer.adapt(RNG.normal(5, 3, (50, 3)))
    return line(layer, layers.Dense(2))


def batch_normalised() -> Any:
    made = line(keras.Input((3,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(2))
    made.compile("sgd", "mse")
    made.fit(RNG.normal(size=(64, 3)), RNG.normal(size=(64, 2)), verbose=0)
    return made


def built_from_one_batch() -> Any:
    made = line(layers.Dense(3), layers.Dense(2))
    made(np.ones((32, 3), "float32"))
    return made


def of_policy(name: str) -> Callable[[], Any]:
    def make() -> Any:
        return line(keras.Input((4,)), layers.Dense(8, "relu", dtype=name), layers.Dense(3, dtype=name))

    return make


MERGED: dict[str, tuple[Callable[[], Any], Callable[[], Sequence[Any]], float]] = {
    "dense": (lambda: line(keras.Input((3,)), layers.Dense(2)), lambda: [numbers(3)], 1e-5),
    "two in, two out": (two_in, lambda: [numbers(3), numbers(2)], 1e-5),
    "dropout": (lambda: line(keras.Input((3,)), layers.Dropout(0.5), layers.GaussianNoise(1.0), layers.Dense(2)),
                lambda: [numbers(3)], 1e-5),
    "normalisation": (normalised, lambda: [numbers(3)], 1e-5),
    "batch normalisation": (batch_normalised, lambda: [numbers(3)], 1e-4),
    "images": (lambda: line(keras.Input((28, 28, 1)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3), layers.Flatten(),
                            layers.Dense(2)), lambda: [numbers(28, 28, 1)], 1e-4),
    "bytes": (lambda: line(keras.Input((8, 8, 3), dtype="uint8"), layers.Rescaling(1 / 255), layers.Flatten(),
                           layers.Dense(2)), lambda: [RNG.integers(0, 255, (5, 8, 8, 3)).astype("uint8")], 1e-4),
    "large images": (lambda: line(keras.Input((None, None, 3)), *[layers.Conv2D(2, 5, 2) for _ in range(4)],
                                  layers.GlobalAveragePooling2D()), lambda: [numbers(96, 80, 3)], 1e-3),
    "signal": (lambda: line(keras.Input((None, 2)), layers.Conv1D(3, 5), layers.GlobalMaxPooling1D()),
               lambda: [numbers(17, 2)], 1e-4),
    "tokens": (lambda: line(keras.Input((6,), dtype="int32"), layers.Embedding(50, 4, mask_zero=True), layers.LSTM(3)),
               lambda: [tokens()], 1e-4),
    "few tokens": (lambda: line(keras.Input((None,)), layers.Embedding(2, 4), layers.GlobalAveragePooling1D()),
                   lambda: [tokens(2).astype("float32")], 1e-4),
    "lookup": (lambda: line(keras.Input((1,), dtype="int64"), layers.IntegerLookup(vocabulary=[111, 222, 333],
                            num_oov_indices=0, output_mode="one_hot"), layers.Dense(2)),
               lambda: [np.array([[111], [222], [333], [111], [222]])], 1e-5),
    "categories": (lambda: line(keras.Input((1,), dtype="int32"), layers.CategoryEncoding(3, output_mode="one_hot"),
                                layers.Dense(2)), lambda: [np.array([[0], [1], [2], [0], [1]], "int32")], 1e-5),
    "recurrent": (lambda: line(keras.Input((None, 3)), layers.Bidirectional(layers.GRU(4)), layers.Dense(1)),
                  lambda: [numbers(9, 3)], 1e-4),
    "places": (lambda: (lambda x: keras.Model(x, ops.argmax(layers.Dense(4)(x), axis=-1)))(keras.Input((3,))),
               lambda: [numbers(3)], 0),
    "one batch": (built_from_one_batch, lambda: [numbers(3)], 1e-5),
    "one number a row": (lambda: (lambda x: keras.Model(x, ops.sum(x, axis=-1)))(keras.Input((3,))),
                         lambda: [numbers(3)], 1e-5),
    "mixed bfloat16": (of_policy("mixed_bfloat16"), lambda: [numbers(4)], 3e-2),
    "mixed float16": (of_policy("mixed_float16"), lambda: [numbers(4)], 1e-2),
    "bfloat16": (of_policy("bfloat16"), lambda: [numbers(4)], 3e-2),
    "float64": (of_policy("float64"), lambda: [numbers(4, dtype="float64")], 1e-5),
    "lengths in sevens": (lambda: line(keras.Input((None,)), layers.Reshape((-1, 7))), lambda: [numbers(14)], 1e-5),
}  # fmt: skip


def library(model: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """`Model.predict`, its outputs in the order of their names' contract, as float32 where numpy has no such float."""

    def predict(arrays: Sequence[Any]) -> Sequence[Any]:
        answer = model.predict(list(arrays) if len(arrays) > 1 else arrays[0], verbose=0, batch_size=64)
        flat = keras.tree.flatten(answer)
        return [y.astype("float32") if y.dtype.kind == "V" else y for y in flat]

    return predict


def saved(model: Any, folder: Path) -> Path:
    model.save(folder / "model.keras")
    return folder / "model.keras"


@pytest.mark.parametrize("kind", MERGED)
def test_a_model_answers_as_its_predict(tmp_path: Path, kind: str) -> None:
    make, rows, within = MERGED[kind]
    model = make()
    found = loaded(saved(model, tmp_path))
    assert found.stacks, found.unmerged
    assert found.inputs is not None and found.inputs[0].shape[0] == -1
    check_as_library(found, library(model), rows(), within=within)


def test_rows_that_depend_on_each_other_are_never_merged(tmp_path: Path) -> None:
    made = line(keras.Input((3,)), Centred(), layers.Dense(2))
    found = loaded(saved(made, tmp_path))
    assert "depends on the other items" in found.unmerged
    check_as_library(found, library(made), [numbers(3)], within=1e-5)
    fixed = line(keras.Input(batch_shape=(4, 3)), Centred())
    found = loaded(saved(fixed, tmp_path))
    assert found.inputs is not None and found.inputs[0].shape == (4, 3) and not found.stacks


def test_one_number_for_the_batch_is_answered_whole(tmp_path: Path) -> None:
    x = keras.Input((3,))
    hidden = layers.Dense(2, name="h")(x)
    made = keras.Model(x, {"code": hidden, "energy": ops.mean(hidden)})
    found = loaded(saved(made, tmp_path))
    assert "'energy' is a single value" in found.unmerged and found.by_row == (True, False)
    row = numbers(3)[0]
    [code, energy] = ask(found, [[row]], "loop")[0]
    want = made(row[None])
    check_same(np.asarray(code), np.asarray(want["code"])[0], 1e-5, "code")
    check_same(np.asarray(energy), np.asarray(want["energy"]), 1e-5, "energy")


@pytest.mark.parametrize("rows", [1, 3])
def test_recurrent_state_starts_anew_for_each_request(tmp_path: Path, rows: int) -> None:
    steps = keras.Input(batch_shape=(rows, 4, 3))
    made = keras.Model(steps, layers.Dense(1)(layers.LSTM(5, stateful=True)(steps)))
    made(np.full((rows, 4, 3), 9.0))  # what training leaves behind is no beginning either
    found = loaded(saved(made, tmp_path))
    lstm = made.layers[1]

    def fresh(arrays: Sequence[Any]) -> Sequence[Any]:
        answers = []
        for row in arrays[0]:
            lstm.reset_state()
            answers.append(np.asarray(made(np.repeat(row[None], rows, 0)))[:1])
        return [np.concatenate(answers)]

    assert found.inputs is not None and found.inputs[0].shape == (-1, 4, 3)
    check_as_library(found, fresh, [numbers(4, 3)], within=1e-4)


def test_a_count_that_a_layer_keeps_is_what_it_was_in_the_file(tmp_path: Path) -> None:
    found = loaded(saved(line(keras.Input((3,)), Counting()), tmp_path))
    row = numbers(3)[0]
    answers = [answer[0].tolist() for answer in ask(found, [[row], [row * 2]], "thread")]
    assert answers[0] == answers[2] == answers[4] and answers[1] == answers[3]
    np.testing.assert_allclose(answers[0], row + 1, rtol=1e-6)


def test_random_layers_stay_random_and_are_not_merged(tmp_path: Path) -> None:
    found = loaded(saved(line(keras.Input((3,)), Noise()), tmp_path))
    assert "draws random numbers" in found.unmerged
    answers = ask(found, [[np.zeros(3, "float32")]], "thread")
    assert len({answer[0].tobytes() for answer in answers}) == 3


def test_what_can_neither_be_traced_nor_run_is_refused_with_the_librarys_words(tmp_path: Path) -> None:
    x = keras.Input((None,))
    keras.Model(x, ops.reshape(x, (ops.shape(x)[0], -1, 7))).save(tmp_path / "model.keras")
    with pytest.raises(ModelLoadError, match=r"model\.keras was loaded, but cannot run: .*Reshape.call.*NoneType"):
        loaded(tmp_path / "model.keras")
