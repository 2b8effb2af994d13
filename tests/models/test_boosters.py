"""Boosters are served from the files of their own libraries: the answers are those of `Booster.predict`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from studio.errors import MissingExtra, ModelLoadError
from studio.models import TensorModel, load_model
from studio.models.find import find_checkpoints

DATA = np.random.default_rng(5).normal(size=(120, 4))
LABELS = (DATA.sum(1) > 0).astype(int)
LIGHTGBM = "tree\nversion=v4\n"


@pytest.mark.parametrize("name", ["model.json", "model.ubj"])
def test_xgboost(tmp_path: Path, name: str) -> None:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(DATA, LABELS), 4)
    booster.save_model(tmp_path / name)
    model = load_model(tmp_path)
    assert isinstance(model, TensorModel)
    assert (model.file, model.runtime, model.inputs[0].shape) == (name, {"name": "xgboost"}, (-1, 4))
    rows = DATA.copy()
    rows[3, 2] = np.nan
    assert np.array_equal(model.run([rows])[0], booster.predict(xgboost.DMatrix(rows)))


def test_lightgbm(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    booster = lightgbm.train({"objective": "binary", "verbosity": -1}, lightgbm.Dataset(DATA, LABELS), 4)
    booster.save_model(tmp_path / "model.txt")
    model = load_model(tmp_path)
    assert isinstance(model, TensorModel)
    assert (model.file, model.inputs[0].shape, model.outputs[0].dtype) == ("model.txt", (-1, 4), "float64")
    assert np.array_equal(model.run([DATA])[0], booster.predict(DATA))


def test_other_files_of_those_names_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "notes.txt").write_text("tree of life")
    (tmp_path / "empty.json").write_text("")
    assert find_checkpoints(tmp_path) == []
    (tmp_path / "model.txt").write_text(LIGHTGBM)
    assert [(c.path.name, c.format) for c in find_checkpoints(tmp_path)] == [("model.txt", "lightgbm")]


def test_a_broken_booster_says_so(tmp_path: Path) -> None:
    pytest.importorskip("xgboost", reason="xgboost is not installed")
    (tmp_path / "model.json").write_text('{"learner":{"attributes"')
    with pytest.raises(ModelLoadError, match=r"xgboost cannot load model\.json"):
        load_model(tmp_path)


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    if importlib.util.find_spec("lightgbm") is not None:
        pytest.skip("lightgbm is installed")
    from studio.models.booster import load_lightgbm

    with pytest.raises(MissingExtra, match="lightgbm is not installed") as caught:
        load_lightgbm(tmp_path / "model.txt", "auto", False)
    assert caught.value.hint == "pip install lightgbm"


def test_pytorchs_weights_are_named_instead_of_the_identity_served(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"PK")
    with pytest.raises(ModelLoadError, match=r"net\.pt holds weights only") as caught:
        load_model(tmp_path)
    assert "--wrapper" in caught.value.hint
