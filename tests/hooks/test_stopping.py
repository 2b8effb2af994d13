"""A run that is stopped: its models and curves are kept as they were at that moment; the script notices nothing."""

from __future__ import annotations

import importlib.util
import io
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest

from tests.studio_process import end_started, opened, record, start, studio

pytest.importorskip("sklearn", reason="scikit-learn is not installed")


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_started()


def running(folder: Path, source: str, *words: str) -> subprocess.Popen[bytes]:
    """`studio run` of a script that has come to the line `ready`."""
    (folder / "a.py").write_text(source)
    process = start(
        "run", "-e", "k", *words, "a.py", cwd=folder, env={"CUDA_VISIBLE_DEVICES": "", "STUDIOML_STOP_GRACE": "200s"}
    )
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    assert line == b"ready\n", line + process.stderr.read()
    return process


def kept(name: str) -> bytes:
    manifest = record("k").artifacts["modeldir"].manifest
    assert manifest is not None
    return opened().tracking.artifacts.read(manifest, name)


def note() -> dict:
    return json.loads(kept(".studio.json"))


ESTIMATORS = """
import joblib, os, time, threading, warnings
import numpy as np
from sklearn.linear_model import LinearRegression, Ridge, SGDRegressor
X, y = np.eye(3), np.ones(3)
model, other = Ridge(1).fit(X, y), SGDRegressor().fit(X, y)
held = joblib.dump(LinearRegression().fit(X, y), "elsewhere.joblib")
time.sleep(1.2)  # all are on the disk
model.coef_ = np.array([7.0, 8.0, 9.0])
other.intercept_ = np.array([5.0])
warnings.simplefilter("error")
if os.fork() == 0:  # Python 3.12 warns of it while there are further threads
    os._exit(0)
os.wait()
assert threading.active_count() == 1
"""


SOAK = pytest.mark.soak


@pytest.mark.parametrize(
    "how", ["SIGTERM", "own handler", pytest.param("stop", marks=SOAK), pytest.param("max-duration", marks=SOAK)]
)
def test_what_changed_after_its_fit_is_kept_when_the_run_is_stopped(tmp_path, how):
    source = ESTIMATORS
    if how == "own handler":
        source += (
            "import signal, sys\n"
            "def bye(*_):\n model.coef_ = np.array([1.0, 2.0, 3.0]); joblib.dump(other, 'other.joblib'); sys.exit(3)\n"
            "assert signal.signal(signal.SIGTERM, bye) == signal.SIG_DFL\n"
        )
    source += "print('ready', flush=True)\ntime.sleep(60)\n"
    process = running(tmp_path, source, *(["--max-duration", "60s"] if how == "max-duration" else []))
    if how == "stop":
        assert studio("runs", "stop", "k", cwd=tmp_path).returncode == 0
    elif how != "max-duration":
        process.send_signal(signal.SIGTERM)
    own = how == "own handler"
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (3 if own else 128 + signal.SIGTERM, b""), err
    models = {model["name"]: model for model in note()["models"]}
    copies = {"elsewhere", "other"} if own else {"elsewhere"}
    assert set(models) == {"Ridge", "SGDRegressor", "LinearRegression", *copies}  # each once
    ridge, sgd = (joblib.load(io.BytesIO(kept(models[name]["file"]))) for name in ("Ridge", "SGDRegressor"))
    assert list(ridge.coef_) == ([1, 2, 3] if own else [7, 8, 9]) and sgd.intercept_ == 5
    assert models["other" if own else "elsewhere"]["chosen"]


def test_a_script_that_waits_for_signals_gets_them_all(bench):
    """A thread that does not block SIGTERM would be ended by it, and the script with it."""
    ran = bench.run(
        """
        import os, signal
        from sklearn.linear_model import Ridge
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
        for number in (signal.SIGTERM, signal.SIGUSR1) * 5:
            os.kill(os.getpid(), number)
            assert signal.sigwait({number}) == number
        print(os.path.exists(os.path.join(os.environ["STUDIOML_SPOOL"], "stopping")))
        """,
        OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert (ran.code, ran.out, ran.err) == (0, "True\n", "")


def test_a_script_that_closes_all_descriptors_keeps_its_own_files(bench):
    ran = bench.run(
        """
        import os
        from sklearn.linear_model import Ridge
        Ridge().fit([[1.0], [2.0]], [1.0, 2.0])
        os.closerange(3, 256)
        for number in range(20):
            open(f"own{number}", "w", buffering=1)
        held = [open(f"mine{number}", "w") for number in range(20)]
        if os.fork() == 0:
            for file in held:
                file.write("child")
                file.flush()
            os._exit(0)
        print(os.wait()[1])
        print({open(f"mine{number}").read() for number in range(20)})
        """,
        OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert (ran.code, ran.out) == (0, "0\n{'child'}\n"), ran.err


def test_a_save_that_hangs_delays_the_stop_by_the_grace_time_at_most(tmp_path):
    source = (
        "import time\nfrom sklearn.linear_model import Ridge\n"
        "class Slow(Ridge):\n    def __getstate__(self):\n        while late: time.sleep(0.01)\n"
        "        return super().__getstate__()\n"
        "late = False\nmodel = Slow().fit([[1.0], [2.0]], [1.0, 2.0])\ntime.sleep(0.5)\n"
        "late = model.alpha = 3\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    process = running(tmp_path, source)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 128 + signal.SIGTERM
    assert joblib.load(io.BytesIO(kept("model.joblib"))).alpha == 1.0


@pytest.mark.parametrize("step", ["model.fit(X, y)", "model.partial_fit(X, y)"])
def test_a_stop_between_quick_fits_keeps_the_newest(tmp_path, step):
    source = (
        "import numpy as np\nfrom sklearn.linear_model import Ridge, SGDRegressor\n"
        "from sklearn.pipeline import make_pipeline\n"
        "X, y = np.eye(3), np.ones(3)\nfirst = Ridge().fit(X, y)\nmodel = SGDRegressor(warm_start=True)\n"
        "inner = make_pipeline(Ridge())\nnumber = 0\n"
        f"while True:\n    {step}\n    inner.fit(X, y)\n    number += 1\n"
        "    if number == 50: print('ready', flush=True)\n"
    )
    process = running(tmp_path, source)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM and b"not kept" not in err and b"cannot be kept" not in err, err
    models = {model["name"]: model for model in note()["models"]}
    assert set(models) == {"Ridge", "SGDRegressor", "Pipeline"} and not note()["lost"]
    assert not models["Ridge"]["chosen"]
    assert joblib.load(io.BytesIO(kept(models["SGDRegressor"]["file"]))).t_ > (3 * 40 if "partial" in step else 1)


@pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="xgboost is not installed")
def test_a_booster_is_never_read_while_it_grows(tmp_path):
    """XGBoost has no lock for that: the process would end by a signal."""
    source = (
        "import signal, threading, time\nimport numpy as np, xgboost as xgb\n"
        "stop = threading.Event()\nsignal.signal(signal.SIGTERM, lambda *_: stop.set())\n"
        "other = threading.Thread(target=stop.wait)\nother.start()\n"
        "save = xgb.Booster.save_model\n"
        "def slowly(self, path):\n    before = self.num_boosted_rounds()\n    time.sleep(0.3)\n"
        "    if self.num_boosted_rounds() != before: open('grew', 'w').close()\n    save(self, path)\n"
        "xgb.Booster.save_model = slowly\n"
        "X = np.random.default_rng(0).random((300, 5)); d = xgb.DMatrix(X, X[:, 0] * X[:, 1])\n"
        "bst = xgb.Booster({'max_depth': 6, 'nthread': 1}, [d])\ni = 0\n"
        "while not stop.is_set():\n    bst.update(d, i)\n    i += 1\n"
        "    if i == 200: print('ready', flush=True)\n"
        "for thread in threading.enumerate():\n    if thread is not threading.main_thread(): thread.join()\n"
        "assert bst.num_boosted_rounds() == i\n"
    )
    process = running(tmp_path, source)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=280)
    assert process.returncode == 0 and not (tmp_path / "grew").exists(), err
    assert rounds_kept() >= 200


ROUNDS = """
import threading, time
import numpy as np, xgboost as xgb
from sklearn.base import BaseEstimator
class Slow(BaseEstimator):
    def fit(self, X, y=None):
        time.sleep(60)
def slowly(p, d):
    time.sleep(SECONDS)
    return p - y, np.ones_like(y)
X = np.random.default_rng(0).normal(size=(50, 5)); y = X[:, 0]; d = xgb.DMatrix(X, y)
bst = BEGIN
if BESIDE: threading.Thread(target=Slow().fit, args=(X,), daemon=True).start()
for i in range(bst.num_boosted_rounds() + 1, 100_000):
    bst.update(d, i, slowly)
    with open("done", "w") as file: file.write(str(i))
    if i == 8: print("ready", flush=True)
"""


@pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="xgboost is not installed")
@pytest.mark.parametrize(
    ("begin", "seconds", "beside"),
    [("xgb.Booster({}, [d])", 0.3, False), ("xgb.train({}, d, 5)", 0.3, False), ("xgb.train({}, d, 5)", 0.005, True)],
    ids=["rounds alone", "after train", "beside a long fit"],
)
def test_rounds_that_the_script_calls_are_kept_to_the_last(tmp_path, begin, seconds, beside):
    words = {"BEGIN": begin, "SECONDS": str(seconds), "BESIDE": str(beside)}
    source = ROUNDS
    for word, value in words.items():
        source = source.replace(word, value)
    process = running(tmp_path, source)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=280)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert [entry["class"] for entry in note()["lost"]] == ["Slow"] * beside  # a helper
    assert rounds_kept() - int((tmp_path / "done").read_text()) in (0, 1)


def rounds_kept(name: str = "model.json") -> int:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(kept(name)))
    return int(booster.num_boosted_rounds())


CUT_SHORT = """
import threading, time
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
class Slow(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        print("ready", flush=True)
        time.sleep(60)
    def predict(self, X): ...
X = np.random.default_rng(0).normal(size=(50, 5)); y = X[:, 0]
baseline = Ridge().fit(X, y)
"""


def test_a_fit_that_a_stop_cuts_short_is_named_as_lost(tmp_path):
    process = running(tmp_path, CUT_SHORT + "model = Slow().fit(X, y)\n")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=280)
    assert [model["name"] for model in note()["models"]] == ["Ridge"]
    assert [(entry["name"], entry["why"]) for entry in note()["lost"]] == [
        ("Slow", "the run was stopped before its fit was over")
    ]
    assert b"the model that was trained last, Slow, could not be kept: the run was stopped before" in err, err
    shown = studio("runs", "show", "k", cwd=tmp_path).stdout
    assert b"trained last, not kept: the run was stopped before its fit was over" in shown, shown


@pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="xgboost is not installed")
def test_a_booster_that_a_stop_cuts_short_is_the_model_with_the_rounds_that_it_has(tmp_path):
    process = running(
        tmp_path,
        CUT_SHORT + "import os, xgboost as xgb\n"
        "class Told(xgb.callback.TrainingCallback):\n"
        "    def after_iteration(self, model, epoch, log):\n"
        "        with open('new', 'w') as file: file.write(str(epoch + 1))\n"
        "        os.replace('new', 'done')\n"
        "        if epoch == 8: print('ready', flush=True)\n"
        "        time.sleep(0.05)\n"
        "booster = xgb.train({}, xgb.DMatrix(X, y), 100_000, callbacks=[Told()])\n",
    )
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=280)
    chosen = next(model for model in note()["models"] if model["chosen"])
    assert chosen["class"] == "Booster" and chosen["cut"].startswith("its fit was stopped after "), chosen
    assert chosen["reason"] == f"the one that was being trained when the run was stopped; {chosen['cut']}"
    assert not note()["lost"], err
    assert int((tmp_path / "done").read_text()) - rounds_kept(chosen["file"]) in (0, 1)


CROSS_VALIDATED = """
import numpy as np, xgboost as xgb
X = np.random.default_rng(0).normal(size=(50, 5)); d = xgb.DMatrix(X, X[:, 0])
xgb.cv({}, d, 3, nfold=2)
base = xgb.train({}, d, 2)
"""


@pytest.mark.skipif(importlib.util.find_spec("xgboost") is None, reason="xgboost is not installed")
def test_rounds_within_the_library_make_no_models(tmp_path):
    (tmp_path / "a.py").write_text(CROSS_VALIDATED)
    assert studio("run", "-e", "k", "a.py", cwd=tmp_path).returncode == 0
    assert [model["name"] for model in note()["models"]] == ["Booster"]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_file_that_is_saved_again_and_again_is_copied_whole(tmp_path):
    source = (
        "import torch\nweights = {'w': torch.zeros(3_000_000)}\ni = 0\n"
        "while True:\n    i += 1\n    weights['w'][:] = i\n    torch.save(weights, 'ck.pt')\n"
        "    if i == 3: print('ready', flush=True)\n"
    )
    process = running(tmp_path, source)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=280)
    assert process.returncode == 128 + signal.SIGTERM, err
    import torch

    found = torch.load(io.BytesIO(kept("ck.pt")))["w"]
    assert found[0] >= 3 and bool((found == found[0]).all())


KERAS = """
import os, time
import keras, numpy as np
x = np.random.rand(64, 3).astype("float32")
y = x.sum(axis=1)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
"""
KERAS_AT = ("batch", "validation")
WEIGHTS = "[np.full((3, 1), 7.0), np.full((1,), 8.0)]"


def keras_model(tmp_path: Path) -> tuple[dict, list[list[float]]]:
    """What the note says of the model that is kept, and its weights."""
    import keras

    (entry,) = note()["models"]
    (tmp_path / "m.keras").write_bytes(kept(entry["file"]))
    return note(), [weight.ravel().tolist() for weight in keras.models.load_model(tmp_path / "m.keras").get_weights()]


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
@pytest.mark.parametrize("where", ["callback", *(pytest.param(where, marks=SOAK) for where in KERAS_AT)])
@pytest.mark.parametrize(
    "how", ["SIGTERM", pytest.param("Ctrl-C", marks=SOAK), pytest.param("max-duration", marks=SOAK)]
)
def test_a_stop_within_keras_fit_keeps_the_last_epoch_and_the_model(tmp_path, how, where):
    """Also while the training thread is in a callback that takes long, or validates: no batch ends there."""
    source = KERAS + (
        "def ready():\n"
        f"    model.set_weights({WEIGHTS})\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "class Say(keras.callbacks.Callback):\n"
        "    epoch = 0\n"
        "    def on_epoch_end(self, epoch, logs=None):\n"
        "        self.epoch = epoch + 1\n"
        f"        if self.epoch == 3 and {where == 'callback'}: ready()\n"
        "    def on_test_begin(self, logs=None):\n"
        f"        if self.epoch == 3 and {where == 'validation'}: ready()\n"
        "    def on_train_batch_end(self, batch, logs=None):\n"
        f"        if self.epoch == 3 and {where == 'batch'} and batch == 9: ready()\n"
        "model.optimizer.learning_rate = 0.0\n"
        "model.fit(x, y, batch_size=4, epochs=3000, verbose=0, validation_data=(x, y), callbacks=[Say()])\n"
    )
    process = running(tmp_path, source, *(["--max-duration", "60s"] if how == "max-duration" else []))
    if how != "max-duration":
        process.send_signal(signal.SIGTERM if how == "SIGTERM" else signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (130 if how == "Ctrl-C" else 128 + signal.SIGTERM), err
    assert b"could not be kept" not in err and record("k").summary["loss"].count == 3
    about, weights = keras_model(tmp_path)
    newest = {"callback": {"epoch": 2}, "batch": {"epoch": 3, "batches": 10}, "validation": {"epoch": 3, "batches": 16}}
    assert about["newest"] == {"file": f"model-{newest[where]['epoch'] + 1:03d}.keras", **newest[where]}
    assert about["best"]["epoch"] in (0, 2) and weights == [[7.0] * 3, [8.0]]


@pytest.mark.soak
@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
def test_weights_that_were_set_after_the_fit_are_kept_when_the_run_is_stopped(tmp_path):
    source = KERAS + (
        f"model.fit(x, y, epochs=1, verbose=0)\nmodel.set_weights({WEIGHTS})\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    process = running(tmp_path, source)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 128 + signal.SIGTERM
    assert keras_model(tmp_path)[1] == [[7.0] * 3, [8.0]]
