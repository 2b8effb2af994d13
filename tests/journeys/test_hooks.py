"""Unmodified scripts, one for each library that is watched: what is captured, and what `studio serve` then answers."""

from __future__ import annotations

import importlib.util
import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.experiment import Experiment
from tests.studio_process import end_started, opened, record, start, studio

HOOKS = Path(__file__).resolve().parents[2] / "examples" / "hooks"


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_started()


def ran(name: str, folder: Path, *words: str, needs: tuple[str, ...]) -> tuple[Experiment, str]:
    """The record and the last line of output of `studio run` of an example."""
    for module in needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    for file in HOOKS.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    done = studio("run", "-e", "k", f"{name}.py", *words, cwd=folder, env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stderr.decode()
    return record("k"), (done.stdout.decode().splitlines() or [""])[-1]


def answer(folder: Path, *words: str) -> float:
    """What the served experiment answers for a row of three ones."""
    server = start("serve", "k", "--port", "0", *words, cwd=folder, env={"CUDA_VISIBLE_DEVICES": ""})
    assert server.stdout is not None and server.stderr is not None
    line = server.stdout.readline().decode()
    assert " at http" in line, server.stderr.read().decode()
    body = json.dumps({"x": [[1.0, 1.0, 1.0]]}).encode()
    request = urllib.request.Request(line.split()[-1], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        value = json.load(reply)["x"][0]
    return float(value[0] if isinstance(value, list) else value)


@pytest.mark.timeout(240)
def test_keras_with_a_layer_of_its_own(tmp_path: Path) -> None:
    found, printed = ran("keras_custom_layer", tmp_path, needs=("keras", "tensorflow"))
    wanted = {
        "keras.epochs": 3, "keras.optimizer.name": "adam", "keras.optimizer.learning_rate": 0.01, "keras.loss": "mse",
        "keras.model.parameters": 41, "seed.random": 7,
    }  # fmt: skip
    assert wanted.items() <= found.params.items()
    assert found.summary["loss"].count == found.summary["val_loss"].count == 3
    assert opened().media("k").names() == ["keras/summary"]
    assert answer(tmp_path) == pytest.approx(float(printed), rel=1e-4)  # without the class Twice


def test_a_pipeline_of_scikit_learn(tmp_path: Path) -> None:
    found, printed = ran("sklearn_pipeline", tmp_path, needs=("sklearn",))
    assert found.params["sklearn.logisticregression.C"] == 0.5
    assert answer(tmp_path) == float(printed)


def test_a_model_that_the_script_saves_elsewhere(tmp_path: Path) -> None:
    found, printed = ran("joblib_elsewhere", tmp_path, needs=("sklearn",))
    assert found.extra["saved"] == [{"path": str(tmp_path / "out" / "ridge.joblib"), "how": "joblib.dump"}]
    assert answer(tmp_path) == pytest.approx(float(printed))


@pytest.mark.parametrize(
    ("library", "param", "value", "curve"),
    [("xgboost", "max_depth", 3, "train/logloss"), ("lightgbm", "learning_rate", 0.2, "train/binary_logloss")],
)
def test_boosters(tmp_path: Path, library: str, param: str, value: float, curve: str) -> None:
    found, printed = ran(f"{library}_train", tmp_path, needs=(library,))
    assert found.params[f"{library}.{param}"] == value and found.summary[curve].count == 5
    assert answer(tmp_path) == pytest.approx(float(printed))


@pytest.mark.timeout(240)
def test_a_loop_of_pytorch(tmp_path: Path) -> None:
    found, _ = ran("torch_loop", tmp_path, needs=("torch", "tensorboard"))
    assert (found.params["torch.optimizer.name"], found.params["torch.optimizer.lr"]) == ("adam", 0.01)
    assert found.summary["loss"].count == 20 and found.params["seed.torch"] == 0
    assert found.extra["saved"] == [{"path": str(tmp_path / "net.pt"), "how": "torch.save"}]
    answer(tmp_path, "--wrapper", "torch_wrapper.py")
    alone = studio("serve", "k", "--port", "0", cwd=tmp_path)
    assert alone.returncode == 8 and b"net.pt holds weights only" in alone.stderr


def test_tensorboardx_figures_and_arguments(tmp_path: Path) -> None:
    found, _ = ran("tensorboardx_figure", tmp_path, "--steps", "6", needs=("tensorboardX", "matplotlib"))
    assert (found.params["steps"], found.params["seed.random"]) == (6, 3)
    assert found.summary["loss"].count == 6
    assert opened().media("k").names() == ["loss"]
