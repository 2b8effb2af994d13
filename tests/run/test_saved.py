"""What a script saves by itself is named in its record and on its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.experiment import Command, Experiment
from studio.run.events import Heard
from tests.studio_process import record, studio

SCRIPT = """
import joblib, matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
joblib.dump({"a": 1}, "mine.joblib")
plt.plot([1, 2])
plt.savefig("loss.png")
plt.savefig("loss.pdf")
"""


def test_saved_models_and_figures_are_shown(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    (tmp_path / "a.py").write_text(SCRIPT)
    assert studio("run", "-e", "k", "--no-workspace", "a.py", cwd=tmp_path).returncode == 0
    paths = [str(tmp_path / name) for name in ("mine.joblib", "loss.png", "loss.pdf")]
    hows = ["joblib.dump", "savefig", "savefig"]
    saved = [{"path": path, "how": how} for path, how in zip(paths, hows, strict=True)]
    assert record("k").extra["saved"] == saved
    shown = studio("runs", "show", "k", cwd=tmp_path).stdout.decode()
    lines = [line.split() for line in shown.partition("saved by the script:")[2].splitlines()[1:4]]
    assert lines == [[path, how] for path, how in zip(paths, hows, strict=True)]
    assert "media: loss (studio runs media k lists them)" in shown
    listed = studio("runs", "media", "k", cwd=tmp_path).stdout.decode()
    assert "loss" in listed and "image" in listed
    assert studio("run", "--resume", "k", "--", "true", cwd=tmp_path).returncode == 0
    assert record("k").extra["saved"] == saved, "the same again is no second entry"


def test_what_studio_saves_is_not_the_scripts() -> None:
    heard = Heard()
    for event in (
        {"type": "model", "path": "/m/model-001.keras", "how": "keras.fit"},
        {"type": "model", "path": "/m/a.pt", "how": "copy"},
        {"type": "model", "path": "https://me:hush@host/a.pt", "how": "torch.save"},
        {"type": "figure", "how": "savefig"},
    ):
        heard.add(dict(event))
    merged = heard.merge(Experiment("k", Command("script", "a.py"), extra={"other": 1})).extra
    assert merged["other"] == 1 and "hush" not in str(merged)
    assert [entry["how"] for entry in merged["saved"]] == ["torch.save"]


FITS = """
from sklearn.cluster import KMeans
from sklearn.linear_model import Ridge

model = Ridge().fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0])
KMeans(2, n_init=1).fit([[0.0], [1.0], [2.0]])
"""


def test_the_end_of_a_run_says_which_model_it_kept_and_why(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    (tmp_path / "a.py").write_text(FITS)
    done = studio("run", "-e", "k", "--no-workspace", "a.py", cwd=tmp_path)
    assert done.returncode == 0
    said = "studio run: the model is Ridge (model.joblib): the newest one that a variable still holds (model)"
    said += ". Also kept: KMeans (helper-KMeans.joblib)"
    assert said + ". To serve another: studio serve k --model NAME" in done.stderr.decode()
    models = {model["name"]: model for model in record("k").extra["models"]}
    assert (
        models["Ridge"]["chosen"] and models["Ridge"]["reason"] == "the newest one that a variable still holds (model)"
    )
    assert models["KMeans"] == {"name": "KMeans", "file": "helper-KMeans.joblib", "chosen": False, "reason": ""}
    shown = studio("runs", "show", "k", cwd=tmp_path).stdout.decode()
    assert "model.joblib (the model: the newest one that a variable still holds (model))" in shown


def test_models_of_one_class_are_told_apart_by_the_variables_that_hold_them(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    (tmp_path / "a.py").write_text(
        "from sklearn.linear_model import Ridge\n"
        "best = Ridge(1).fit([[0.0], [1.0]], [0.0, 1.0])\n"
        "m = Ridge(2).fit([[0.0], [1.0]], [0.0, 1.0])\n"
    )
    said = studio("run", "-e", "k", "--no-workspace", "a.py", cwd=tmp_path).stderr.decode()
    assert "the model is Ridge-2 (model-Ridge-2.joblib): the newest one that a variable still holds (m). " in said
    assert "Also kept: Ridge (model.joblib, variable best). " in said
    assert [m["reason"] for m in record("k").extra["models"]] == [
        "variable best", "the newest one that a variable still holds (m)"
    ]  # fmt: skip
    assert "model.joblib (variable best)" in studio("runs", "show", "k", cwd=tmp_path).stdout.decode()
