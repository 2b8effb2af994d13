"""A model that refers to modules of its training project answers as it was trained, wherever it is served from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serve.test_studio_serve import Serving, studio

FEATURES = """\
from inner import scale

def logs(x):
    import late
    return late.number() * scale(x)
"""
TRAIN = """\
import joblib, sys
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from studio import fs_tracker
import features

model = make_pipeline(FunctionTransformer(features.logs, validate=True), LinearRegression(fit_intercept=False))
model.fit([[1.0], [2.0]], [6.0, 12.0])
joblib.dump(model, fs_tracker.get_model_directory() + "/model.joblib")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src" / "inner").mkdir(parents=True)
    (folder / "src" / "train.py").write_text(TRAIN)
    (folder / "src" / "features.py").write_text(FEATURES)
    (folder / "src" / "inner" / "__init__.py").write_text("from .deep import scale\n")
    (folder / "src" / "inner" / "deep.py").write_text("def scale(x):\n    return x * 2\n")
    (folder / "src" / "late.py").write_text("def number():\n    return 3\n")
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def start(folder: Path, *words: str) -> Serving:
        started.append(Serving(folder, *words, "--port", "0"))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        assert one.process.stdout is not None
        one.process.stdout.close()


def test_a_model_finds_the_modules_of_its_run_elsewhere_and_as_they_were(
    project: Path, tmp_path: Path, serve: Callable[..., Serving]
) -> None:
    done = studio(project, "run", "-e", "trained", "src/train.py")
    assert done.returncode == 0, done.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "features.py").write_text("def logs(x):\n    return x * 0\n")  # another project's, of the same name
    server = serve(elsewhere, "serve", "trained")
    assert server.ask({"a": [5.0]}) == {"a": pytest.approx(30.0)}
    assert server.metadata()["warnings"] == []
    assert "code" not in json.dumps(server.metadata()["source"])
    (project / "src" / "late.py").write_text("def number():\n    return 0\n")  # changed since
    assert serve(project / "src", "serve", "trained").ask({"a": [5.0]}) == {"a": pytest.approx(30.0)}


def test_a_module_that_was_not_kept_comes_from_the_current_folder_with_a_warning(
    project: Path, serve: Callable[..., Serving]
) -> None:
    src = project / "src"
    (src / ".studioml_ignore").write_text("late.py\n")
    assert studio(src, "run", "-e", "trained", "train.py").returncode == 0
    server = serve(src, "serve", "trained")
    assert server.ask({"a": [5.0]}) == {"a": pytest.approx(30.0)}
    assert server.metadata()["warnings"] == [f"the run's kept code has no module late: it is taken from {src}"]


def test_what_is_nowhere_is_told_with_what_to_do(project: Path, tmp_path: Path) -> None:
    assert studio(project / "src", "run", "-e", "trained", "--no-workspace", "train.py").returncode == 0
    done = studio(tmp_path, "serve", "trained", "--port", "0")
    assert done.returncode == 8 and "No module named 'features'" in done.stderr
    assert "install what has the module features" in done.stderr and "Traceback" not in done.stderr
