"""Which model of a folder is served, what lies there and is never opened, and when the identity is an answer."""

from __future__ import annotations

import json
import os
import pickle
import socket
import stat
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from studio.errors import ConfigError, ModelLoadError, ModelNotFound
from studio.experiment import Command, Experiment, Times
from studio.models import DictModel, LoadedModel, TensorModel, load_model
from studio.models.find import model_names
from studio.models.folder import look_into, look_through
from studio.models.note import read_note
from studio.models.standin import outlook
from studio.run.report import closing_line
from studio.serve.message import caveat_header


def slope(path: Path, value: float, mtime: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, value])
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(model))
    else:
        joblib.dump(model, path)
    os.utime(path, (mtime, mtime))


def served(model: LoadedModel) -> float:
    assert isinstance(model, TensorModel)
    return float(model.run([np.array([[1.0]])])[0][0])


def note(folder: Path, *, at: float = 5000.0, **told: object) -> None:
    path = folder / ".studio.json"
    path.write_text(json.dumps({"schema": 1, **told}))
    os.utime(path, (at, at))


def kept(name: str, *, chosen: bool = False, role: str = "predictor", trained: float = 0.0) -> dict[str, object]:
    return {"name": name, "file": f"{name}.joblib", "role": role, "chosen": chosen, "trained": trained}


@pytest.fixture
def three(tmp_path: Path) -> Path:
    for at, name in enumerate(["forest", "ridge", "lasso"]):
        slope(tmp_path / f"{name}.joblib", at + 1.0, 1000.0 + at)
    return tmp_path


# -- the note of a run ---------------------------------------------------------------------------------


def test_the_chosen_model_is_served_although_another_is_newer(three: Path) -> None:
    note(three, models=[kept("forest", chosen=True), kept("ridge"), kept("lasso")])
    model = load_model(three)
    assert (model.file, served(model), model.warnings, model.caveat) == ("forest.joblib", pytest.approx(1.0), (), "")


def test_without_a_choice_the_newest_predictor_is_served_before_helpers(three: Path) -> None:
    note(
        three, models=[kept("forest", trained=30), kept("ridge", trained=20), kept("lasso", role="helper", trained=99)]
    )
    assert load_model(three).file == "forest.joblib"
    (three / "forest.joblib").unlink()
    assert load_model(three).file == "ridge.joblib"
    (three / "ridge.joblib").unlink()
    assert load_model(three).file == "lasso.joblib"


def test_what_the_script_wrote_after_the_note_is_served_first(three: Path) -> None:
    note(three, at=1001.5, models=[kept("forest", chosen=True)])  # ridge was there, lasso came later
    assert load_model(three).file == "lasso.joblib"


@pytest.mark.parametrize(
    ("name", "file"), [("ridge", "ridge.joblib"), ("second", "lasso.joblib"), ("ridge.joblib", "ridge.joblib"),
                       ("deep", "a/b/deep.joblib"), ("a/b/deep.joblib", "a/b/deep.joblib"), ("Ridge", "ridge.joblib"),
                       ("SECOND", "lasso.joblib"), ("A/B/Deep.joblib", "a/b/deep.joblib")]
)  # fmt: skip
def test_a_model_is_named_by_the_note_its_file_or_the_files_stem(three: Path, name: str, file: str) -> None:
    slope(three / "a" / "b" / "deep.joblib", 9.0, 1.0)
    note(three, models=[kept("forest", chosen=True), {"name": "second", "file": "lasso.joblib"}],
         lost=[{"name": "net", "trained": 9000.0, "why": "no"}])  # fmt: skip
    model = load_model(three, model=name)
    assert (model.file, model.warnings, model.caveat) == (file, (), "")


def test_a_name_that_no_model_has_suggests_one_and_lists_all(three: Path) -> None:
    note(three, models=[kept("forest", chosen=True), {"name": "my\nscaler", "file": "gone.joblib"}])
    with pytest.raises(ModelNotFound, match="no model 'forrest'") as caught:
        load_model(three, model="forrest")
    assert caught.value.hint == "did you mean 'forest'?; known: forest, lasso.joblib, ridge.joblib"
    assert model_names(look_into(three).checkpoints, three, read_note(three)) == [
        "forest",
        "lasso.joblib",
        "ridge.joblib",
    ]
    slope(three / "sub" / "RIDGE.joblib", 1.0, 1.0)
    assert load_model(three, model="RIDGE").file == "sub/RIDGE.joblib"
    with pytest.raises(ConfigError, match=r"means ridge\.joblib and sub/RIDGE\.joblib"):
        load_model(three, model="Ridge")
    (three / "sub" / "RIDGE.joblib").rename(three / "sub" / "ridge.joblib")
    with pytest.raises(ConfigError, match=r"means ridge\.joblib and sub/ridge\.joblib"):
        load_model(three, model="ridge")
    with pytest.raises(ModelLoadError, match="not there"):
        load_model(three, model="my\nscaler")
    with pytest.raises(ModelNotFound, match="no model folder"):
        load_model(None, model="forest")


def test_a_folder_in_a_store_has_the_same_checkpoints(three: Path) -> None:
    files = {"a/b/deep.pkl.gz": b"x", "a/b/c/deeper.pkl": b"x", ".hidden/x.keras": b"x", "net.pt": b"x", "v.txt": b"",
             "boost.json": b'{"learner":{', "other.json": b"{}", "light.txt": b"tree\nversion=v4", "w.weights.h5": b"x",
             "saved/saved_model.pb": b"x", "saved/assets/inner.txt": b"tree\nversion=", "UPPER.KERAS": b"x",
             "a/b/s/saved_model.pb": b"x", "a/b/c/t/saved_model.pb": b"x", "saved_model.pb": b"x"}  # fmt: skip
    for name, data in files.items():
        (three / name).parent.mkdir(parents=True, exist_ok=True)
        (three / name).write_bytes(data)
    here = [path.relative_to(three).as_posix() for path in three.rglob("*") if path.is_file()]
    listed = look_through([(name, 0.0) for name in here], lambda name: (three / name).read_bytes())
    same = {(c.label(three), c.format) for c in look_into(three).checkpoints}
    assert {(c.label(Path()), c.format) for c in listed} == same
    assert {"a/b/s", "saved", "light.txt"} <= {label for label, _ in same}


def test_the_shell_completes_the_names(three: Path) -> None:
    note(three, models=[kept("forest", chosen=True)])
    words = f"studio serve {three}/ --model "
    env = {**os.environ, "_STUDIO_COMPLETE": "bash_complete", "COMP_WORDS": words + "l", "COMP_CWORD": "4"}
    entry = "from studio.cli.main import command; command(prog_name='studio')"
    done = subprocess.run([sys.executable, "-c", entry], env=env, capture_output=True, text=True, timeout=280)
    assert done.stdout == "plain,lasso.joblib\n", done.stderr


def test_a_named_model_that_cannot_be_loaded_has_no_stand_in(three: Path) -> None:
    (three / "ridge.joblib").write_bytes(b"nonsense")
    with pytest.raises(ModelLoadError, match=r"ridge\.joblib"):
        load_model(three, model="ridge")


def test_a_lost_model_that_was_trained_later_is_told_with_each_answer(three: Path) -> None:
    lost = {"name": "Net", "trained": 2000.0, "why": "Keras cannot save it: no get_config\nat all"}
    note(three, models=[kept("forest", chosen=True, trained=1900.0)], lost=[lost])
    model = load_model(three)
    why = "Net was trained later and could not be kept: Keras cannot save it: no get_config at all"
    assert model.warnings == (f"serving forest.joblib, an older checkpoint: {why}",)
    assert model.caveat == f"older; {why}"
    for fresh in ({**lost, "trained": 1800.0}, {**lost, "role": "helper"}):
        note(three, models=[kept("forest", chosen=True, trained=1900.0)], lost=[fresh])
        assert (load_model(three).warnings, load_model(three).caveat) == ((), "")


def test_a_model_whose_fit_an_error_cut_short_is_told_by_itself_and_by_an_older_one(three: Path) -> None:
    cut = {"cut": "its fit was ended by E: no in epoch 1, after 3 batches", "broken": True}
    lasso = {**kept("lasso", chosen=False, trained=2000.0), **cut}
    note(three, models=[kept("forest", chosen=True, trained=1900.0), lasso])
    model = load_model(three)
    assert (model.file, model.caveat) == ("forest.joblib", f"older; lasso was trained later: {cut['cut']}")
    note(three, models=[{**lasso, "broken": False}, kept("forest", chosen=True, trained=1900.0)])
    assert load_model(three).caveat == ""  # of a stop, or at the end of an epoch
    note(three, models=[{**lasso, "chosen": True}])
    assert (load_model(three).warnings, load_model(three).caveat) == ((f"lasso.joblib: {cut['cut']}",), "")


def test_a_chosen_file_that_is_gone_is_told(three: Path) -> None:
    note(three, models=[{"name": "best", "file": "best.joblib", "chosen": True}])
    model = load_model(three)
    assert model.file == "lasso.joblib" and model.caveat.startswith("other; best was kept as best.joblib, which is not")


@pytest.mark.parametrize(
    "told",
    [
        b"", b"null", b"[]", b"{", b"[" * 100_000, b'{"models": 3, "lost": {}, "best": []}', b"\xff\xfe",
        b'{"models": [null, 3, {"name": 1, "file": 2}, {"name": "x", "file": "/etc/passwd", "chosen": true}]}',
        b'{"models": [{"name": "x", "file": "../up.joblib", "chosen": true}], "lost": [{"trained": 1e999}, 3]}',
        b'{"lost": [{"role": "helper", "trained": 1e300}], "models": [{"name": "x", "file": "f", "trained": "z"}]}',
    ],
)  # fmt: skip
def test_a_damaged_note_is_as_none(three: Path, told: bytes) -> None:
    (three / ".studio.json").write_bytes(told)
    assert load_model(three).file == "lasso.joblib"


def test_a_note_that_is_a_pipe_does_not_make_the_server_wait(three: Path) -> None:
    os.mkfifo(three / ".studio.json")
    assert load_model(three).file == "lasso.joblib"


# -- helpers -------------------------------------------------------------------------------------------

CLUSTERS = {"name": "KMeans", "file": "helper-KMeans.joblib", "role": "helper", "trained": 50.0}
TEXT = {"name": "Pipeline", "file": "model.joblib", "role": "predictor", "chosen": True, "trained": 40.0}


def clusters(path: Path, mtime: float = 1000.0) -> None:
    joblib.dump(KMeans(2, n_init=1, random_state=0).fit(np.arange(20.0).reshape(10, 2)), path)
    os.utime(path, (mtime, mtime))


def text(path: Path) -> None:
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good film", "bad film"] * 5, [1, 0] * 5)
    joblib.dump(pipeline, path)
    os.utime(path, (900.0, 900.0))


def test_clusters_never_answer_for_the_chosen_predictor(tmp_path: Path) -> None:
    text(tmp_path / "model.joblib")
    clusters(tmp_path / "helper-KMeans.joblib")
    note(tmp_path, models=[TEXT, CLUSTERS])
    with pytest.raises(ModelLoadError) as caught:
        load_model(tmp_path, of="experiment text")
    assert caught.value.message.startswith(
        "no predictor in experiment text can be served: model.joblib: it takes text, but studio serves rows of numbers "
        "only (AttributeError: "
    )
    assert caught.value.hint.startswith("write a wrapper") and caught.value.hint.endswith("--model KMeans")
    with pytest.raises(ModelLoadError, match="no predictor"):
        note(tmp_path, models=[TEXT, CLUSTERS], best={"file": "model.joblib"})
        load_model(tmp_path, best=True)
    asked = load_model(tmp_path, model="KMeans")
    assert (asked.file, asked.caveat) == ("helper-KMeans.joblib", "")


@pytest.mark.parametrize(
    "why", ["broken", "gone", "lost", "lost before", "weights", "no model", "weights that no run saw"]
)
def test_no_predictor_that_is_missing_is_replaced_by_clusters(tmp_path: Path, why: str) -> None:
    clusters(tmp_path / "helper-KMeans.joblib")
    lost = (
        [{"name": "Net", "trained": 60.0 if why == "lost" else 40.0, "why": "no get_config"}] if "lost" in why else []
    )
    models = [CLUSTERS | {"chosen": True}] if lost else [CLUSTERS] if "saw" in why else [TEXT, CLUSTERS]
    if why == "broken":
        (tmp_path / "model.joblib").write_bytes(b"nonsense")
    elif why == "no model":
        joblib.dump({"model": LinearRegression()}, tmp_path / "model.joblib")
    elif "weights" in why:
        models = [TEXT | {"file": "net.pt"}, CLUSTERS] if models[1:] else models
        (tmp_path / "net.pt").write_bytes(b"PK")
    note(tmp_path, models=models, lost=lost)
    reasons = {
        "broken": "joblib cannot load model.joblib", "gone": "Pipeline was kept as model.joblib, which is not there",
        "no model": "model.joblib holds a dict", "weights": "Pipeline was kept as net.pt, which holds weights only",
        "weights that no run saw": "net.pt holds weights only",
    }  # fmt: skip
    reason = reasons.get(why, "Net was trained and could not be kept: no get_config")
    with pytest.raises(ModelLoadError) as caught:
        load_model(tmp_path)
    assert reason in caught.value.message and "--model KMeans" in caught.value.hint
    assert load_model(tmp_path, model="KMeans").file == "helper-KMeans.joblib"


def test_clusters_that_a_run_did_not_name_are_no_stand_in_either(tmp_path: Path) -> None:
    clusters(tmp_path / "a.joblib")
    assert (load_model(tmp_path).file, load_model(tmp_path).caveat) == ("a.joblib", "")  # alone it is the model
    (tmp_path / "new.joblib").write_bytes(b"nonsense")
    with pytest.raises(ModelLoadError, match=r"no predictor .* new\.joblib"):
        load_model(tmp_path)
    slope(tmp_path / "old.joblib", 2.0, 500.0)
    assert (load_model(tmp_path).file, load_model(tmp_path).caveat.partition(";")[0]) == ("old.joblib", "older")


def test_clusters_are_served_where_they_are_the_runs_choice(tmp_path: Path) -> None:
    clusters(tmp_path / "helper-KMeans.joblib")
    joblib.dump(StandardScaler().fit([[0.0], [1.0]]), tmp_path / "helper-StandardScaler.joblib")
    scaler = {"name": "StandardScaler", "file": "helper-StandardScaler.joblib", "role": "helper", "trained": 60.0}
    for chosen in (CLUSTERS, scaler):
        note(tmp_path, models=[{**m, "chosen": m is chosen} for m in (CLUSTERS, scaler)])
        assert (load_model(tmp_path).file, load_model(tmp_path).caveat) == ("helper-KMeans.joblib", "")


def test_a_stand_in_that_was_trained_later_is_not_called_older(tmp_path: Path) -> None:
    text(tmp_path / "model.joblib")
    slope(tmp_path / "new.joblib", 2.0, 1000)
    note(tmp_path, models=[TEXT, {"name": "Ridge", "file": "new.joblib", "trained": 70.0}])
    model = load_model(tmp_path)
    assert model.file == "new.joblib"
    assert model.caveat.startswith("other; model.joblib: it takes text, but studio serves rows of numbers only (Attr")
    assert ". Write a wrapper that calls predict() with texts (docs/howto/wrappers.md): --w" in model.warnings[0]
    assert model.warnings[1] == "serving new.joblib instead of model.joblib"


def test_why_a_model_is_lost_is_told_with_what_to_do(tmp_path: Path) -> None:
    why = "word " * 90 + "so save it"
    for told, end in ((why, "so save it"), ("word " * 300, "word …"), ("x" * 900, "x …")):
        note(tmp_path, lost=[{"name": "Net", "trained": 9e9, "why": told}])
        with pytest.raises(ModelLoadError) as caught:
            load_model(tmp_path)
        assert caught.value.message.endswith(end) and len(caught.value.message) < 800
        slope(tmp_path / "model.joblib", 2.0, 1000)
        (value,) = [value for _, value in caveat_header(load_model(tmp_path).caveat)]
        assert value.startswith(b"older; Net") and value.endswith(end.replace("…", "\\u2026").encode())
        (tmp_path / "model.joblib").unlink()


def test_a_best_file_that_is_gone_is_told(tmp_path: Path) -> None:
    slope(tmp_path / "m-val_loss=0.3.joblib", 2.0, 1000)
    note(tmp_path, best={"file": "gone.joblib"})
    model = load_model(tmp_path, best=True)
    assert model.file == "m-val_loss=0.3.joblib"
    assert "the best one was kept as gone.joblib, which is not there" in model.caveat
    assert any("gone.joblib" in line for line in model.warnings)
    assert model.warnings[-1].startswith("--best: m-val_loss=0.3.joblib has the best val_loss 0.3 of 1 checkpoints, sm")
    by = {"file": "m-val_loss=0.3.joblib", "metric": "val_auc", "value": 0.25, "mode": "max"}
    note(tmp_path, best=by)
    said = "--best: m-val_loss=0.3.joblib has the best val_auc 0.25 of its epochs that were kept, larger is better"
    assert load_model(tmp_path, best=True).warnings == (said,)
    note(tmp_path, best={"file": "gone.joblib"})
    assert (load_model(tmp_path).warnings, load_model(tmp_path).caveat) == ((), "")


def test_best_means_a_checkpoint_with_a_metric(three: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    for folder, told in ((three, "no checkpoint of experiment iris has a"), (empty, "there is no checkpoint in exp")):
        with pytest.raises(ConfigError, match=f"--best: {told}"):
            load_model(folder, best=True, of="experiment iris")
    (three / "ridge-loss=0.1.joblib").write_bytes(b"nonsense")
    note(three, models=[kept("forest", chosen=True)])
    model = load_model(three, best=True)  # what comes next is what would be served without --best
    assert model.file == "forest.joblib" and model.caveat.startswith("older; joblib cannot load ridge-loss=0.1.joblib")


def signature(dtype: str, shape: list[int], *columns: dict[str, object]) -> dict[str, object]:
    return {"inputs": [{"name": "x", "dtype": dtype, "shape": shape, "columns": list(columns) or None}]}


def test_a_run_proposes_to_serve_what_may_be_served_only(tmp_path: Path) -> None:
    clusters(tmp_path / "helper-KMeans.joblib")
    note(tmp_path, models=[CLUSTERS | {"chosen": True}])
    assert outlook(tmp_path) == ""
    note(tmp_path, models=[CLUSTERS | {"chosen": True}], lost=[{"name": "Net", "why": "no"}])
    assert outlook(tmp_path) is None
    note(tmp_path, models=[CLUSTERS, TEXT | {"file": "net.pt"}])
    assert outlook(tmp_path) is None
    text(tmp_path / "model.joblib")
    note(tmp_path, models=[CLUSTERS, TEXT])
    assert outlook(tmp_path) == ""
    note(tmp_path, models=[CLUSTERS, TEXT | {"signature": signature("str", [-1])}])
    assert outlook(tmp_path) == "model.joblib was fitted on texts"
    note(tmp_path, models=[CLUSTERS, TEXT | {"signature": signature("str", [-1]), "chosen": False}])
    assert outlook(tmp_path) == "model.joblib was fitted on texts"
    slope(tmp_path / "model.joblib", 2.0, 1000)  # even if it happens to answer numbers
    with pytest.raises(ModelLoadError, match=r"was fitted on texts, and .* numbers only") as caught:
        load_model(tmp_path, model="Pipeline")
    assert "predict() with texts (docs" in caught.value.hint
    slope(tmp_path / "ridge.joblib", 2.0, 1000)
    assert outlook(tmp_path) == "", "of two that nobody has chosen, the one that can be served"


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"name": "c", "dtype": "str"}, "the column 'c' of text"),
        ({"name": "d", "dtype": "datetime64[us]"}, "the column 'd' of dates"),
        ({"name": "t", "dtype": "timedelta64[ns]"}, "the column 't' of dates"),
        ({"name": "c", "dtype": "category", "categories": ["a", "b"]}, "the column 'c' of text"),
        ({"name": "c", "dtype": "category", "categories": [1, 2]}, ""),
        ({"name": "c", "dtype": "int64", "categories": [1, 2]}, ""),
        ({"name": "c", "dtype": "bool", "categories": [True, False]}, ""),
        ("damaged", ""),
    ],
)
def test_a_run_proposes_a_wrapper_for_what_takes_no_numbers(tmp_path: Path, column: object, said: str) -> None:
    (tmp_path / "model.joblib").write_bytes(b"x")
    slope(tmp_path / "older.joblib", 2.0, 100)
    told = signature("object", [-1, 2], {"name": "n", "dtype": "float64", "categories": None}, column)  # type: ignore[arg-type]
    note(tmp_path, models=[TEXT | {"signature": told}, kept("older")])
    assert outlook(tmp_path) == (f"model.joblib was fitted on {said}" if said else "")
    ended = Experiment("k", Command("script", "t.py"), status="finished", times=Times(1.0, 1.0, 2.0))
    why = f"; model.joblib was fitted on {said}, so write a wrapper (docs/howto/wrappers.md), such as wrapper.py"
    for status in ("finished", "stopped"):
        told = ended.with_changes(status=status)
        before, _, line = closing_line(told, tmp_path, " --store s").rpartition("; next: ")
        assert line == f"studio serve k {'--wrapper wrapper.py ' if said else ''}--store s"
        assert before.endswith(why if said else "after 1.0s")
    assert closing_line(ended.with_changes(status="failed"), tmp_path).endswith("; next: studio runs show k")


def test_what_loads_and_cannot_be_served_is_not_said_to_be_unreadable(tmp_path: Path) -> None:
    text(tmp_path / "model.joblib")
    with pytest.raises(ModelLoadError) as caught:
        load_model(tmp_path, of="experiment k")
    assert caught.value.message.startswith("the only checkpoint in experiment k cannot be served: model.joblib")
    text(tmp_path / "other.joblib")
    with pytest.raises(ModelLoadError, match="none of 2 checkpoints in experiment k can be served: "):
        load_model(tmp_path, of="experiment k")


# -- pickles -------------------------------------------------------------------------------------------


def test_a_pickle_is_served_and_what_is_no_model_is_passed_over(tmp_path: Path) -> None:
    slope(tmp_path / "model.pkl", 2.0, 1000)
    (tmp_path / "history.pickle").write_bytes(pickle.dumps({"loss": [1.0]}))
    joblib.dump(StandardScaler().fit([[0.0], [1.0]]), tmp_path / "scaler.joblib.gz")
    model = load_model(tmp_path)
    assert (model.file, served(model), model.caveat) == ("model.pkl", pytest.approx(2.0), "")
    assert {w.partition(":")[0] for w in model.warnings} == {
        "skipped history.pickle holds a dict, which has no predict()",
        "skipped scaler.joblib.gz holds a StandardScaler, which has no predict()",
    }
    (tmp_path / "model.pkl").unlink()
    with pytest.raises(ModelLoadError, match="none of 2 checkpoints"):
        load_model(tmp_path)


class Raises(LinearRegression):  # type: ignore[misc]
    def __setstate__(self, state: object) -> None:
        raise SystemExit(0)


def test_a_pickle_that_would_end_the_server_is_passed_over(tmp_path: Path) -> None:
    slope(tmp_path / "good.joblib", 2.0, 1000)
    (tmp_path / "new.pkl").write_bytes(pickle.dumps(Raises().fit([[0.0], [1.0]], [0.0, 1.0])))
    model = load_model(tmp_path)
    assert (model.file, model.caveat) == ("good.joblib", "older; new.pkl cannot be loaded: SystemExit: 0")
    assert model.warnings[-1] == "serving good.joblib, an older checkpoint, instead of new.pkl"


# -- what lies in a model folder -----------------------------------------------------------------------


def _link(folder: Path) -> None:
    (folder / "latest.keras").symlink_to("deleted.keras")


def _loop(folder: Path) -> None:
    (folder / "a.keras").symlink_to("b.keras")
    (folder / "b.keras").symlink_to("a.keras")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "new.keras")


def _link_to_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "feed")
    (folder / "new.onnx").symlink_to("feed")


def _booster_pipe(folder: Path) -> None:
    os.mkfifo(folder / "model.ubj")


def _device(folder: Path) -> None:
    (folder / "new.h5").symlink_to("/dev/zero")


def _socket(folder: Path) -> None:
    here = os.getcwd()
    os.chdir(folder)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("new.joblib")
    finally:
        os.chdir(here)


def _sparse(folder: Path) -> None:
    with (folder / "new.joblib").open("wb") as file:
        file.truncate(1 << 40)


def _newline(folder: Path) -> None:
    (folder / "new\n.joblib").write_bytes((folder / "good.joblib").read_bytes())


def _newline_in_a_folder(folder: Path) -> None:
    (folder / "a\nWARNING: forged").mkdir()
    (folder / "a\nWARNING: forged" / "new.joblib").write_bytes((folder / "good.joblib").read_bytes())


def _order_in_a_folder(folder: Path) -> None:
    (folder / "sub" / "a\u202eb").mkdir(parents=True)
    (folder / "sub" / "a\u202eb" / "new.joblib").write_bytes((folder / "good.joblib").read_bytes())


def _no_text(folder: Path) -> None:
    (folder / os.fsdecode(b"new\xff.joblib")).write_bytes((folder / "good.joblib").read_bytes())


def _saved_model_with_a_pipe(folder: Path) -> None:
    (folder / "export" / "variables").mkdir(parents=True)
    (folder / "export" / "saved_model.pb").write_bytes(b"x")
    os.mkfifo(folder / "export" / "variables" / "variables.index")


def _saved_model_that_is_a_pipe(folder: Path) -> None:
    (folder / "export").mkdir()
    os.mkfifo(folder / "export" / "saved_model.pb")


SKIPPED = [
    (_link, "latest.keras: a link that leads nowhere"),
    (_loop, "a.keras: a link that leads nowhere"),
    (_pipe, "new.keras: a named pipe"),
    (_link_to_a_pipe, "new.onnx: a named pipe"),
    (_booster_pipe, "model.ubj: a named pipe"),
    (_device, "new.h5: a device"),
    (_socket, "new.joblib: a socket"),
    (_sparse, "new.joblib: a sparse file"),
    (_newline, r"'new\n.joblib': its name"),
    (_newline_in_a_folder, r"'a\nWARNING: forged'/: its name"),
    (_order_in_a_folder, r"'sub/a\u202eb'/: its name"),
    (_no_text, r"'new\udcff.joblib': its name"),
    (_saved_model_with_a_pipe, "export: variables/variables.index in it: a named pipe"),
    (_saved_model_that_is_a_pipe, "export: saved_model.pb in it: a named pipe"),
]


@pytest.mark.parametrize(("put", "said"), SKIPPED, ids=[f.__name__ for f, _ in SKIPPED])
def test_what_is_no_readable_file_is_named_and_the_next_best_served(tmp_path: Path, put: object, said: str) -> None:
    assert callable(put)
    slope(tmp_path / "good.joblib", 2.0, 1000)
    put(tmp_path)
    model = load_model(tmp_path)
    assert model.file == "good.joblib" and served(model) == pytest.approx(2.0)
    assert any(w.startswith(f"skipped {said}") for w in model.warnings), model.warnings
    assert all("\n" not in w for w in model.warnings)
    (tmp_path / "good.joblib").unlink()
    with pytest.raises(ModelLoadError) as caught:  # alone it is refused, never the identity
        load_model(tmp_path)
    assert said in caught.value.message and "--identity" in caught.value.hint


def test_links_to_files_are_followed_and_deep_or_closed_folders_are_not(tmp_path: Path) -> None:
    slope(tmp_path / "elsewhere" / "m.joblib", 2.0, 1000)
    models = tmp_path / "models"
    deep = models / "/".join(["d"] * 300)
    deep.mkdir(parents=True)
    (models / "again").symlink_to(models)
    (models / "latest.joblib").symlink_to("../elsewhere/m.joblib")
    closed = models / "closed"
    closed.mkdir(mode=0)
    model = load_model(models)
    assert model.file == "latest.joblib" and served(model) == pytest.approx(2.0)
    if os.getuid() != 0:
        assert model.warnings == ("skipped closed/: cannot be read: Permission denied",)
    closed.chmod(0o700)


@pytest.mark.parametrize("kind", ["pipe", "socket", "link", "loop", "device", "weights"])
def test_a_path_that_is_no_checkpoint_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    made = {"pipe": _pipe, "socket": _socket, "link": _link, "loop": _loop, "device": _device}
    names = {"pipe": "new.keras", "socket": "new.joblib", "link": "latest.keras", "loop": "a.keras", "device": "new.h5"}
    if kind in made:
        made[kind](tmp_path)
    path = tmp_path / names.get(kind, "w.weights.h5")
    if kind == "weights":
        path.write_bytes(b"x")
    with pytest.raises(ModelLoadError) as caught:
        load_model(path)
    assert path.name in caught.value.message and "\n" not in caught.value.message


# -- the identity --------------------------------------------------------------------------------------

LOOK_LIKE_MODELS = [
    "net.pt", "net.pth", "last.ckpt", "model.safetensors", "checkpoint", "w.weights.h5", "pytorch_model.bin", "m.pt2",
    "m.tflite", "m.skops", "m.cbm", "ckpt-1.index", "sub/deep/net.pt", "empty.keras", "empty.pkl", "empty.onnx",
]  # fmt: skip


@pytest.mark.parametrize("name", LOOK_LIKE_MODELS)
def test_a_file_that_looks_like_a_model_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelLoadError) as caught:
        load_model(tmp_path)
    assert name in caught.value.message and caught.value.hint
    model = load_model(tmp_path, as_identity=True)
    assert isinstance(model, DictModel) and model.caveat == "identity" and "--identity" in model.warnings[0]


def test_a_training_that_left_nothing_is_refused_with_the_reason(tmp_path: Path) -> None:
    note(tmp_path, lost=[{"name": "Net", "class": "Net", "library": "keras", "trained": 1.0, "why": "no get_config"}])
    with pytest.raises(ModelLoadError, match="Net was trained and could not be kept: no get_config") as caught:
        load_model(tmp_path)
    assert "--identity" in caught.value.hint and caught.value.exit_code == 8
    assert load_model(tmp_path, as_identity=True).style == "identity"


def test_a_folder_of_other_files_is_the_identity(tmp_path: Path) -> None:
    for name in ("notes.txt", "config.json", ".hidden.keras", "plot.png", "data.csv", "feed"):
        (tmp_path / name).write_bytes(b"x")
    note(tmp_path, models=[], lost=[])
    os.mkfifo(tmp_path / "queue")
    model = load_model(tmp_path)
    assert (model.style, model.caveat) == ("identity", "identity")


def test_weights_that_are_much_newer_than_the_model_are_told(tmp_path: Path) -> None:
    slope(tmp_path / "good.joblib", 2.0, 1000)
    for at, told in ((1030, False), (2000, True)):
        (tmp_path / "net.pt").write_bytes(b"x")
        os.utime(tmp_path / "net.pt", (at, at))
        assert any("net.pt is newer" in w for w in load_model(tmp_path).warnings) is told


# -- files that others may write -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl"])
@pytest.mark.parametrize("mode", [0o666, 0o602, 0o622])
def test_a_pickle_that_others_may_write_needs_trust(tmp_path: Path, name: str, mode: int) -> None:
    slope(tmp_path / name, 2.0, 1000)
    (tmp_path / name).chmod(mode)
    with pytest.raises(ModelLoadError, match=rf"can be changed by others \(mode {mode:04o}\)") as caught:
        load_model(tmp_path)
    assert "--trust" in caught.value.hint
    assert load_model(tmp_path, trust=True).file == name
    assert load_model(tmp_path, private=True).file == name  # in studio's own home, which nobody else can enter


def test_so_does_one_in_a_folder_that_others_may_write_but_not_below_tmp(tmp_path: Path) -> None:
    slope(tmp_path / "models" / "sub" / "model.joblib", 2.0, 1000)
    (tmp_path / "models").chmod(0o777)
    (tmp_path / "link.joblib").symlink_to("models/sub/model.joblib")
    for path in (tmp_path / "models" / "sub", tmp_path / "models" / "sub" / "model.joblib", tmp_path / "link.joblib"):
        with pytest.raises(ModelLoadError, match="models, which others can change"):
            load_model(path)
    (tmp_path / "models").chmod(0o777 | stat.S_ISVTX)  # as of /tmp: others may add, but not replace
    assert load_model(tmp_path / "models" / "sub").file == "model.joblib"
