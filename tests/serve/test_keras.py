"""Keras models behind HTTP: few loads, because each costs seconds."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.client import ModelClient
from studio.errors import ContractViolation

from .conftest import Served, environment

MAKE = """\
import sys
import keras
import numpy as np

one = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, name="y")])
one.save("one/model-1.keras")
np.save("x.npy", np.random.default_rng(0).random((5, 4), dtype="float32"))
np.save("y.npy", one.predict(np.load("x.npy"), verbose=0))
left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
both = keras.layers.Concatenate(name="both")([left, right])
two = keras.Model({"left": left, "right": right}, {"sum": keras.layers.Dense(1)(both), "both": both})
two.save("two/model.h5")
keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda v: v * 2)]).save("bad/lambda.keras")
one.export("saved/export", verbose=False)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with models, made in a process of their own."""
    pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("keras")
    for name in ("one", "two", "bad", "saved"):
        (folder / name).mkdir()
    subprocess.run([sys.executable, "-c", MAKE], cwd=folder, env=environment(folder), check=True, capture_output=True)
    whole = (folder / "one" / "model-1.keras").read_bytes()
    (folder / "one" / "model-2.keras").write_bytes(whole[: len(whole) // 2])
    os.utime(folder / "one" / "model-1.keras", (1000, 1000))
    os.utime(folder / "one" / "model-2.keras", (2000, 2000))
    return folder


def served(made: Path, *words: object) -> Iterator[Served]:
    server = Served([*map(str, words), "--port", "0"], made, environment(made))
    yield server
    server.end()


@pytest.fixture(scope="module")
def one(made: Path) -> Iterator[Served]:
    yield from served(made, "--modeldir", made / "one")


@pytest.fixture(scope="module")
def two(made: Path) -> Iterator[Served]:
    yield from served(made, "--modeldir", made / "two")


def test_answers_are_those_of_keras_predict_in_every_form(made: Path, one: Served) -> None:
    x, y = np.load(made / "x.npy"), np.load(made / "y.npy")
    for form in ("pickle", "json", "npz", "safetensors"):
        with ModelClient(one.url, form=form) as client:
            got = client.predict({"batch": x, "single": x[0]})
            np.testing.assert_allclose(np.asarray(got["batch"]), y, rtol=1e-5)
            np.testing.assert_allclose(np.asarray(got["single"]), y[0], rtol=1e-5)
    old = {"a": pickle.dumps(x, 0).decode("latin-1")}  # a Python 2 client of the original
    answer = pickle.loads(one.post(old).json["a"].encode("latin-1"))
    np.testing.assert_allclose(answer, y, rtol=1e-5)


def test_the_contract_is_told_and_kept(one: Served) -> None:
    told = one.ask("GET", "/metadata").json
    assert told["inputs"] == [{"name": "x", "dtype": "float32", "shape": [-1, 4]}]
    assert told["outputs"] == [{"name": "y", "dtype": "float32", "shape": [-1, 3]}]
    assert told["runtime"]["name"] == "keras-tensorflow"
    answer = one.post({"a": [1, 2, 3], "b": [1, 2, 3, 4]})
    assert list(answer.json) == ["b"]
    assert '"ContractViolation"' in answer.headers["x-studio-errors"] and "(3,)" in answer.headers["x-studio-errors"]
    with ModelClient(one.url) as client, pytest.raises(ContractViolation, match="expected float32"):
        client.predict({"a": np.zeros(3)})


def test_a_half_written_newest_is_skipped_aloud(one: Served) -> None:
    told = one.ask("GET", "/metadata").json
    assert told["file"] == "model-1.keras"
    assert "skipped model-2.keras" in told["warnings"][0]
    assert "WARNING: skipped model-2.keras" in one.errors
    assert b"skipped model-2.keras" in one.ask("GET", "/").body


def test_several_named_inputs_and_outputs(two: Served) -> None:
    told = two.ask("GET", "/metadata").json
    assert [s["name"] for s in told["inputs"]] == ["left", "right"]
    assert [s["name"] for s in told["outputs"]] == ["both", "sum"]
    one = two.post({"right": [4, 5], "left": [1, 2, 3]}).json
    assert one["both"] == [1, 2, 3, 4, 5] and len(one["sum"]) == 1
    many = two.post({"a": {"left": [[1, 2, 3]], "right": [[4, 5]]}}).json
    assert many["a"]["both"] == [[1, 2, 3, 4, 5]]


def test_studio_predict_sends_files(made: Path, one: Served, tmp_path: Path) -> None:
    def predict(*words: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "studio", "predict", one.url, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=120)

    done = predict("--input", f"mine={made / 'x.npy'}", "--output", tmp_path / "answers.npz", "--json")
    assert done.returncode == 0 and done.stdout.startswith('{"mine": [[')
    np.testing.assert_allclose(np.load(tmp_path / "answers.npz")["mine"], np.load(made / "y.npy"), rtol=1e-5)
    assert predict("--input", "-", stdin='{"q": [1, 2, 3, 4]}').stdout.startswith("q: [")
    done = predict("--input", "-", stdin='{"q": [1, 2, 3]}')
    assert done.returncode == 8 and "expected float32" in done.stderr and "Traceback" not in done.stderr
    done = predict("--input", "no_such.npy")
    assert done.returncode == 3 and "no file" in done.stderr


def test_a_lambda_is_refused_and_a_saved_model_served(made: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from studio.errors import ModelLoadError\nfrom studio.models import load_model\n"
        "try:\n    load_model(Path('bad'))\nexcept ModelLoadError as exc:\n    print('refused:', exc.message)\n"
        "model = load_model(Path('saved'))\n"
        "got = model.run([np.load('x.npy')])[0]\nprint(model.file, np.allclose(got, np.load('y.npy'), rtol=1e-5))\n"
    )
    root = Path(__file__).parents[2]
    env = {**environment(made), "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], cwd=made, env=env, capture_output=True, text=True, timeout=120)
    assert "refused: the only checkpoint" in done.stdout and "Lambda" in done.stdout, done.stderr
    assert "export True" in done.stdout
