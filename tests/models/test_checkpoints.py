"""Which checkpoint is served, what is skipped and said, what is refused."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from studio.errors import ConfigError, ModelLoadError
from studio.models import TensorModel, load_model
from studio.models.find import best_first, find_checkpoints, judged_by
from studio.models.h5_guard import check_file
from studio.models.note import Note, read_note


def touch(path: Path, mtime: float, data: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (mtime, mtime))
    return path


def estimator(path: Path, slope: float, mtime: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, slope]), path)
    os.utime(path, (mtime, mtime))


def test_all_forms_are_found_newest_first_and_weights_are_not_models(tmp_path: Path) -> None:
    for at, name in enumerate(["a.keras", "b.h5", "c.hdf5", "d.hdf", "e.onnx", "f.joblib", "deep/er/g.keras"]):
        touch(tmp_path / name, 1000 + at)
    touch(tmp_path / "export" / "saved_model.pb", 2000)
    touch(tmp_path / "export" / "assets" / "h.keras", 3000)  # part of the SavedModel, no checkpoint of its own
    for name in ("w.weights.h5", ".hidden.keras", "notes.txt", ".git/x.keras", "1/2/3/4/too_deep.keras"):
        touch(tmp_path / name, 5000)
    found = [c.label(tmp_path) for c in find_checkpoints(tmp_path)]
    assert found == ["export", "deep/er/g.keras", "f.joblib", "e.onnx", "d.hdf", "c.hdf5", "b.h5", "a.keras"]


def test_best_by_the_hooks_note_by_names_or_not_at_all(tmp_path: Path) -> None:
    for at, name in enumerate(["m-01-val_loss=0.5.keras", "m-02-val_loss=0.2.keras", "m-03-val_loss=0.3.keras"]):
        touch(tmp_path / name, 1000 + at)
    newest = find_checkpoints(tmp_path)
    assert best_first(newest, tmp_path, read_note(tmp_path))[0].path.name == "m-02-val_loss=0.2.keras"
    (tmp_path / ".studio.json").write_text(json.dumps({"best": {"file": "m-01-val_loss=0.5.keras"}}))
    assert [c.path.name[:4] for c in best_first(newest, tmp_path, read_note(tmp_path))] == ["m-01", "m-03", "m-02"]
    other = tmp_path / "other"
    touch(other / "x-val_accuracy-0.7.keras", 2)
    touch(other / "x-val_accuracy-0.9.keras", 1)
    assert best_first(find_checkpoints(other), other, Note())[0].path.name == "x-val_accuracy-0.9.keras"
    plain = tmp_path / "plain"
    touch(plain / "model.keras", 1)
    with pytest.raises(ConfigError, match="--best"):
        best_first(find_checkpoints(plain), plain, Note())
    touch(plain / "best.keras", 0)
    assert best_first(find_checkpoints(plain), plain, Note())[0].path.name == "best.keras"


@pytest.mark.parametrize(
    ("names", "best", "by"),
    [
        ("m-1-loss=0.50-val_loss=0.30 m-2-loss=0.10-val_loss=0.90", "m-1", "val_loss 0.30 of 2 checkpoints, smaller"),
        ("m-1-loss=0.10-val_loss=0.90 m-2-loss=0.50", "m-1", "loss 0.10 of 2 checkpoints, smaller"),
        ("m-1-loss=0.50-val_acc=0.3 m-2-loss=0.90-val_acc=0.4 best", "m-2", "val_acc 0.4 of 2 checkpoints, larger"),
        ("m-1-val_loss=nan m-2-val_loss=1e-3 m-3-val_loss=0.2", "m-2", "val_loss 1e-3 of 3 checkpoints, smaller"),
        ("m-1-xloss=0.1 m-2-val-loss=0.2.extra m-3_val_loss_0.3", "m-2", "val_loss 0.2 of 2 checkpoints, smaller"),
        ("m-1-val_loss=0.1 m-2-val_acc=0.2 best-3", "best-3", ""),
        ("m-1-val_loss=0.1 m-2-val_acc=0.2", None, "have no metric in common"),
    ],
)
def test_best_compares_one_metric_that_all_names_have(tmp_path: Path, names: str, best: str | None, by: str) -> None:
    for at, name in enumerate(names.split()):
        touch(tmp_path / f"{name}.keras", 1000 + at)
    found = find_checkpoints(tmp_path)
    if best is None:
        with pytest.raises(ConfigError, match=by):
            best_first(found, tmp_path, Note())
        return
    first = best_first(found, tmp_path, Note())[0]
    assert first.path.name.startswith(best)
    said = judged_by(first, found, tmp_path, Note())
    assert said == f"{by} is better" if by else said == ""


def test_no_folder_and_no_checkpoint_are_the_identity_with_a_warning(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        model = load_model(folder)
        assert model.style == "identity" and "identity" in model.warnings[0]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="does not exist"):
        load_model(tmp_path / "none")
    with pytest.raises(ModelLoadError, match="not a checkpoint"):
        load_model(touch(tmp_path / "notes.txt", 1))


def test_an_estimator_predicts(tmp_path: Path) -> None:
    estimator(tmp_path / "model.joblib", 2.0, 1000)
    model = load_model(tmp_path)
    assert isinstance(model, TensorModel) and model.style == "checkpoint" and model.file == "model.joblib"
    assert model.inputs is not None and model.inputs[0].shape == (-1, 1)
    np.testing.assert_allclose(model.run([np.array([[1.0], [3.0]])])[0], [2.0, 6.0])
    assert load_model(tmp_path / "model.joblib").file == "model.joblib"


def test_a_half_written_newest_falls_back_and_says_so(tmp_path: Path) -> None:
    estimator(tmp_path / "model-1.joblib", 2.0, 1000)
    whole = (tmp_path / "model-1.joblib").read_bytes()
    touch(tmp_path / "model-2.joblib", 2000, whole[: len(whole) // 2])
    model = load_model(tmp_path)
    assert model.file == "model-1.joblib"
    assert model.warnings[0] == "skipped model-2.joblib: joblib cannot load it: EOFError"
    assert "older checkpoint" in model.warnings[1]


def test_checkpoints_of_which_none_loads_are_an_error_with_each_reason(tmp_path: Path) -> None:
    touch(tmp_path / "a.joblib", 1000, b"nonsense")
    touch(tmp_path / "b.keras", 2000, b"PK\x03\x04 nonsense")
    touch(tmp_path / "c.h5", 3000, b"nonsense")
    with pytest.raises(ModelLoadError, match="none of 3 checkpoints") as caught:
        load_model(tmp_path)
    for name in ("a.joblib", "b.keras", "c.h5"):
        assert name in caught.value.message
    first = caught.value.__cause__  # --debug shows the library's own traceback
    assert isinstance(first, ModelLoadError) and "c.h5" in first.message and first.__cause__ is not None


def test_weights_alone_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "x.weights.h5", 1)
    with pytest.raises(ModelLoadError, match="weights only") as caught:
        load_model(tmp_path)
    assert "--wrapper" in caught.value.hint


def test_an_unknown_runtime_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no runtime"):
        load_model(tmp_path, runtime="abacus")


def test_anothers_pickle_needs_trust(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    estimator(tmp_path / "model.joblib", 2.0, 1000)
    os.chown(tmp_path / "model.joblib", 12345, 12345)
    with pytest.raises(ModelLoadError, match="somebody else's") as caught:
        load_model(tmp_path)
    assert "--trust" in caught.value.hint
    assert load_model(tmp_path, trust=True).style == "checkpoint"


def test_a_pickle_from_anothers_experiment_needs_trust(tmp_path: Path) -> None:
    estimator(tmp_path / "model.joblib", 2.0, 1000)
    with pytest.raises(ModelLoadError, match="somebody else's"):
        load_model(tmp_path, own=False)
    assert load_model(tmp_path, own=False, trust=True).style == "checkpoint"


# -- HDF5 that reaches outside its file ----------------------------------------------------------------


def external(file: Any, secret: Path) -> None:
    file.create_dataset("d", (4,), "u1", external=[(str(secret), 0, 4)])


def virtual(file: Any, secret: Path) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
    file.create_virtual_dataset("d", layout)


def external_link(file: Any, secret: Path) -> None:
    file["deep/link"] = h5py.ExternalLink(str(secret), "/x")


def soft_link(file: Any, secret: Path) -> None:
    file["link"] = h5py.SoftLink("/elsewhere")


@pytest.mark.parametrize("attack", [external, virtual, external_link, soft_link])
def test_hdf5_that_reaches_elsewhere_is_refused_before_keras_sees_it(tmp_path: Path, attack: Any) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_group("deep")
        attack(file, tmp_path / "secret")
    archive = tmp_path / "m.keras"
    with zipfile.ZipFile(archive, "w") as made:
        made.write(path, "model.weights.h5")
    for refused in (path, archive):
        with pytest.raises(ModelLoadError, match="refused"):
            check_file(refused)


def test_archives_that_are_bombs_or_climb_are_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("config.json", b" " * 50_000_000)
    climbing = tmp_path / "climb.keras"
    with zipfile.ZipFile(climbing, "w") as made:
        made.writestr("../../evil", b"x")
    for refused in (bomb, climbing):
        with pytest.raises(ModelLoadError, match="refused"):
            check_file(refused)


def test_ordinary_hdf5_with_a_ring_of_hard_links_passes(tmp_path: Path) -> None:
    path = tmp_path / "ring.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        group["again"] = file["a"]
        group.create_dataset("d", data=np.arange(4))
    check_file(path)
