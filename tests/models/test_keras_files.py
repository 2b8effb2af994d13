"""Keras files under every promised name, and models that take text."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from studio.errors import ModelLoadError
from studio.models import TensorModel, load_model
from studio.models.h5_guard import check_file


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that doubles its input, as HDF5."""
    path = tmp_path_factory.mktemp("saved") / "model.h5"
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
    made.set_weights([np.eye(2) * 2])
    made.save(path)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a.hdf", "a.hdf5", "a.HDF5", "a.H5", "a.hdf4"])
def test_every_name_of_hdf5_loads_and_leaves_nothing_behind(
    saved: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aliases = tmp_path / "aliases"
    aliases.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(aliases))
    models = tmp_path / "models"
    models.mkdir()
    (models / name).write_bytes(saved.read_bytes())
    older = models / "older.h5"
    older.write_bytes(saved.read_bytes())
    os.utime(older, (1, 1))
    model = load_model(models)
    assert isinstance(model, TensorModel)
    assert model.file == name and model.warnings == ()
    assert model.run([np.array([[1.0, 3.0]], np.float32)])[0].tolist() == [[2.0, 6.0]]
    assert list(aliases.glob("studio-*")) == []


def test_the_guard_stands_before_every_name_and_a_zip_at_the_end_does_not_open_it(tmp_path: Path) -> None:
    for name in ("evil.hdf", "evil.H5", "evil.h5"):
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            file["weights"] = h5py.ExternalLink("other.h5", "/x")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("config.json", "{}")
        with pytest.raises(ModelLoadError, match="links to another file"):
            check_file(path)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_takes_text_is_named_as_such(tmp_path: Path) -> None:
    layer = keras.layers.TextVectorization(output_sequence_length=3, vocabulary=["a", "b"])
    keras.Sequential([keras.Input((1,), dtype="string", name="words"), layer]).save(tmp_path / "text.keras")
    with pytest.raises(ModelLoadError, match=r"text\.keras: it takes text \(words has dtype string\)") as caught:
        load_model(tmp_path)
    assert "with texts (docs/howto/wrappers.md): --wrapper" in caught.value.hint


@pytest.mark.filterwarnings("ignore")
def test_a_newest_model_with_code_of_its_own_is_skipped_with_what_it_lacks_and_what_to_do(
    saved: Path, tmp_path: Path
) -> None:
    class Doubled(keras.layers.Layer):
        def call(self, inputs: object) -> object:
            return 2 * inputs  # type: ignore[operator]

    def bent(inputs: object) -> object:
        return inputs

    older = tmp_path / "older.h5"
    older.write_bytes(saved.read_bytes())
    os.utime(older, (1, 1))
    keras.Sequential([keras.Input((2,)), Doubled()]).save(tmp_path / "second.keras")
    model = load_model(tmp_path)
    assert model.file == "older.h5"
    assert model.warnings[0] == (
        "skipped second.keras needs the class Doubled, which Keras does not know. "
        "Serve it by a wrapper that imports it (--wrapper FILE), or model.export('model.onnx', format='onnx')"
    )
    assert model.warnings[1] == "serving older.h5, an older checkpoint, instead of second.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation=bent)]).save(tmp_path / "third.keras")
    with pytest.raises(ModelLoadError, match=r"third\.keras needs the function bent, which Keras") as caught:
        load_model(tmp_path / "third.keras")
    assert "--wrapper FILE" in caught.value.hint
    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)]).save(tmp_path / "fourth.keras")
    with pytest.raises(ModelLoadError, match=r"fourth\.keras has a Lambda layer"):
        load_model(tmp_path / "fourth.keras")
