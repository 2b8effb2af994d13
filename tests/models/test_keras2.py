"""Files that Keras 2 wrote: served by `tf_keras` with its own answers, or refused with its name."""

from __future__ import annotations

import importlib.util
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from studio.errors import ModelLoadError
from studio.models import TensorModel, load_model

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
TF_KERAS = importlib.util.find_spec("tf_keras") is not None
needed = pytest.mark.skipif(not TF_KERAS, reason="tf_keras is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

LSTM: dict[str, object] = {
    "class_name": "LSTM",
    "config": {"name": "lstm", "units": 4, "time_major": False, "batch_input_shape": [None, 5, 3]},
}


def of_keras2(folder: Path, layer: dict[str, object]) -> Path:
    """A file as Keras 2 writes it, without weights: enough for Keras 3 to refuse its configuration."""
    path = folder / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
        config = {"name": "sequential", "layers": [layer]}
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
        file.create_group("model_weights").attrs["layer_names"] = []
    return path


@pytest.mark.skipif(TF_KERAS, reason="tf_keras is installed")
def test_without_tf_keras_the_hint_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="time_major") as caught:
        load_model(of_keras2(tmp_path, LSTM))
    assert "pip install tf_keras" in caught.value.hint


@needed
def test_a_file_that_is_not_ones_own_is_not_given_to_tf_keras(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="Keras cannot load") as caught:
        load_model(of_keras2(tmp_path, LSTM), own=False)
    assert "--trust" in caught.value.hint
    with pytest.raises(ModelLoadError, match="tf_keras"):
        load_model(of_keras2(tmp_path, LSTM), own=False, trust=True)  # it has no weights


@pytest.mark.parametrize("own", [True, False])
def test_a_lambda_is_refused_with_and_without_it(tmp_path: Path, own: bool) -> None:
    layer = {"class_name": "Lambda", "config": {"function": ["AAAA", None, None], "function_type": "lambda"}}
    with pytest.raises(ModelLoadError) as caught:
        load_model(of_keras2(tmp_path, {"config": {"layers": [layer]}, **layer}), own=own)
    assert "lambda" in caught.value.message.lower()


def models(tf_keras: Any) -> dict[str, Any]:
    layers = tf_keras.layers
    x, y = tf_keras.Input((4,), name="x"), tf_keras.Input((2,), name="y")
    both = layers.Concatenate()([x, y])
    return {
        "dense": tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(3, "relu"), layers.Dense(2)]),
        "lstm": tf_keras.Sequential([tf_keras.Input((5, 3)), layers.LSTM(4), layers.Dense(1)]),
        "normed": tf_keras.Sequential([tf_keras.Input((6,)), layers.BatchNormalization(), layers.Dropout(0.5)]),
        "two": tf_keras.Model([x, y], [layers.Dense(1)(both) + 2.0, both]),
    }


@needed
@pytest.mark.parametrize("suffix", [".h5", ".keras", ".HDF5"])
@pytest.mark.parametrize("name", ["dense", "lstm", "normed", "two"])
def test_the_answers_are_its_own(tmp_path: Path, name: str, suffix: str) -> None:
    import tf_keras

    model = models(tf_keras)[name]
    model.save(tmp_path / f"m{suffix.lower().replace('hdf5', 'h5')}")
    (made,) = tmp_path.iterdir()
    path = made.rename(made.with_suffix(suffix))
    loaded = load_model(path)
    assert isinstance(loaded, TensorModel) and loaded.runtime["name"] == "tf_keras"
    drawn = np.random.default_rng(0)
    assert loaded.inputs is not None
    rows = [drawn.normal(size=(7, *spec.shape[1:])).astype("float32") for spec in loaded.inputs]
    want = model.predict(rows if len(rows) > 1 else rows[0], verbose=0)
    for got, wanted in zip(loaded.run(rows), want if isinstance(want, list) else [want], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@needed
def test_a_state_between_calls_is_refused(tmp_path: Path) -> None:
    import tf_keras

    layers = [tf_keras.layers.LSTM(4, stateful=True, batch_input_shape=(2, 5, 3))]
    tf_keras.Sequential(layers).save(tmp_path / "m.keras")
    with pytest.raises(ModelLoadError, match="keeps a state between calls"):
        load_model(tmp_path / "m.keras")


def test_a_keras_file_without_a_version_is_of_keras_3(tmp_path: Path) -> None:
    for told in (b"[]", b"{", b'{"keras_version": 3}'):
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            archive.writestr("metadata.json", told)
        with pytest.raises(ModelLoadError, match="Keras cannot load"):
            load_model(tmp_path / "m.keras")
