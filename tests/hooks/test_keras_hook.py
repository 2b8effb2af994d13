"""Keras `fit` is watched with no line of code, and nothing about the training changes. One process does it all."""

from __future__ import annotations

import json
import math

import pytest

SCRIPT = """
    import hashlib, json, os, sys, time
    import keras, numpy as np, tensorflow as tf

    def show(name, model, history):
        weights = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
        modeldir = os.environ["MODELDIR"]
        files = sorted(os.listdir(modeldir)) if os.path.isdir(modeldir) else []
        print("CASE", json.dumps([name, history.history, history.epoch, weights]))
        print("FILES", json.dumps([name, files]))

    keras.utils.set_random_seed(7)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(256, 8)).astype("float32")
    y = (x.sum(1) > 0).astype("int64")

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.3),
                              keras.layers.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    seen = []
    class Mine(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(sorted(logs))
    callbacks = [Mine(), keras.callbacks.ReduceLROnPlateau(patience=1, monitor="loss"),
                 keras.callbacks.EarlyStopping(monitor="val_loss", patience=50, restore_best_weights=True)]
    show("sequential", model, model.fit(x, y, 32, 3, 0, callbacks, validation_split=0.25))
    print("CASE", json.dumps(["callbacks", len(callbacks), seen]))

    inputs = keras.Input((8,))
    functional = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    functional.compile(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)), "mse")
    data = tf.data.Dataset.from_tensor_slices((x, y.astype("float32"))).shuffle(64, seed=1).batch(32)
    show("dataset", functional, functional.fit(data, epochs=2, verbose=0, callbacks=Mine()))

    @keras.saving.register_keras_serializable()
    class Sub(keras.Model):
        def __init__(self, **kw):
            super().__init__(**kw)
            self.dense = keras.layers.Dense(1)
        def call(self, inputs):
            return self.dense(inputs)
        def fit(self, *args, **kwargs):
            inner = functional.fit(x[:32], y[:32], epochs=1, verbose=0)  # an outer fit that calls others
            return super().fit(*args, **kwargs)
    sub = Sub()
    sub.compile("adam", "mse")
    def batches():
        while True:
            yield x[:64], y[:64].astype("float32")
    show("subclass", sub, sub.fit(batches(), epochs=2, steps_per_epoch=2, verbose=0))
    sub.fit(x, y.astype("float32"), epochs=4, initial_epoch=2, verbose=0,
            callbacks=keras.callbacks.CallbackList([Mine()], add_history=True, model=sub))

    class Broken(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if self.model.optimizer.iterations.numpy() >= 12:
                raise RuntimeError("the user's own")
    last = keras.models.clone_model(model)
    last.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    try:
        last.fit(x, y, epochs=3, verbose=0, callbacks=[Broken()])
    except RuntimeError as error:
        print("CASE", json.dumps(["broken", str(error)]))
    files = os.path.isdir(os.environ["MODELDIR"]) and sorted(os.listdir(os.environ["MODELDIR"]))
    print("FILES", json.dumps(["broken", files]))
    drawn = [float(keras.random.uniform(())), float(tf.random.uniform(())), float(np.random.rand())]
    print("CASE", json.dumps(["next random", drawn]))
    try:
        model.fit(x, y, epoch=3)
    except TypeError as error:
        print("CASE", json.dumps(["wrong call", str(error)]))
    model.train_on_batch(x[:8], y[:8])
    raise SystemExit(4)
"""


def lines(out: str, word: str) -> list:
    return [json.loads(line.partition(" ")[2]) for line in out.splitlines() if line.startswith(word)]


@pytest.mark.timeout(240)
def test_fit_is_seen_and_not_changed(bench):
    bench.needs("keras", "tensorflow")
    modeldir = {"MODELDIR": str(bench.modeldir)}
    ran = bench.run(SCRIPT, **modeldir)
    without = bench.run(SCRIPT, PYTHONPATH=None, **modeldir | {"MODELDIR": "/nowhere"})
    assert (ran.code, without.code) == (4, 4), ran.err
    assert lines(ran.out, "CASE") == lines(without.out, "CASE")
    assert len(lines(ran.out, "CASE")) == 7 and ran.of_type("warning") == []
    _check_params(ran)
    _check_curves(ran, {case[0]: case[1] for case in lines(ran.out, "CASE") if isinstance(case[1], dict)})
    _check_files(ran, dict(lines(ran.out, "FILES")))


def _check_params(ran) -> None:
    first, second = (fit_params(ran, name) for name in ("keras", "keras2"))
    assert (ran.params["seed.random"], ran.params["seed.numpy"]) == (7, 1)  # the last of each
    wanted = {
        "epochs": 3, "batch_size": 32, "validation_split": 0.25, "backend": "tensorflow",
        "optimizer.name": "adam", "optimizer.learning_rate": 0.01, "model.class": "Sequential",
        "model.parameters": 178, "loss": "sparse_categorical_crossentropy",
    }  # fmt: skip
    assert wanted.items() <= first.items()
    assert second["optimizer.learning_rate"] == "ExponentialDecay"
    assert second["optimizer.schedule.initial_learning_rate"] == 0.05
    assert "batch_size" not in second and second["epochs"] == 2
    # A fit within the script's own fit() is none within Keras's: it goes on with the second model.
    epochs = [fit_params(ran, f"keras{number}").get("epochs") for number in range(2, 8)]
    assert epochs == [2, 2, 3, None, None, None]


def fit_params(ran, group: str) -> dict:
    """The parameters of one fit, without `keras.` before their names."""
    return {n.partition(".")[2]: value for n, value in ran.params.items() if n.partition(".")[0] == group}


def _check_curves(ran, histories) -> None:
    curves = ran.curves
    for name, history in (("loss", "sequential"), ("keras2/loss", "dataset")):
        steps, _, losses = curves.curve(name)
        expected = histories[history]["loss"]
        assert losses[: len(expected)].tolist() == pytest.approx(expected, abs=0)
        assert steps.tolist() == list(range(len(steps)))
    losses = {name for name in curves.names() if name.rpartition("/")[2] == "loss" and "batch" not in name}
    assert losses == {"loss", *(f"keras{number}/loss" for number in range(2, 5))}
    assert curves.curve("val_accuracy")[2].tolist() == histories["sequential"]["val_accuracy"]
    assert math.isfinite(curves.summary()["batch/loss"].last) and "learning_rate" in curves.names()


def _check_files(ran, files) -> None:
    assert "model-003.keras" in files["sequential"] and set(files["sequential"]) <= {
        ".studio.json", "model-001.keras", "model-002.keras", "model-003.keras",
    }  # fmt: skip
    assert "model-Functional-002.keras" in files["dataset"] and "model-Sub-002.keras" in files["subclass"]
    assert "model-Sequential-2-001.keras" in files["broken"]  # of the one epoch that was done
    assert [model["name"] for model in ran.note["models"]] == ["Sequential", "Functional", "Sub", "Sequential-2"]
    assert ran.chosen["name"] == "Sequential-2" and ran.chosen["reason"].startswith("the newest one that a variable")
    hows = [event["how"] for event in ran.of_type("model")]  # an export comes when there is time for it
    assert [how for how in hows if how != "keras.export"][-1] == "keras.fit"
    assert [name for name in ran.spool.iterdir() if "saving" in name.name] == []


KILLED = """
    import os, signal
    import keras, numpy as np
    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="late")
            self.out = keras.layers.Dense(1)
        def call(self, inputs):
            return self.out(inputs)
    first = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="wide"), keras.layers.Dense(1)])
    second = Net()
    x = np.ones((16, 3), "float32")
    for model in (first, first, second):
        model.compile("sgd", "mse")
        model.fit(x, x[:, :1], epochs=1, verbose=0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.timeout(240)
def test_what_a_fit_has_measured_survives_a_kill_at_once_and_each_models_summary_is_kept(bench):
    bench.needs("keras", "tensorflow")
    ran = bench.run(KILLED)
    assert ran.code == -9 and ran.of_type("warning") == []
    counts = {name: curve.count for name, curve in ran.curves.summary().items() if "batch" not in name}
    assert counts == {"loss": 2, "keras2/loss": 1}  # the first model went on
    assert ran.params["keras2.model.parameters"] == 4  # known after the first batch only
    assert "keras3.epochs" not in ran.params
    texts = [path.read_text() for path in sorted(ran.spool.glob("media/keras-summary*/*.txt"))]
    assert len(texts) == 2 and "wide (Dense)" in texts[0] and 'Model: "late"' in texts[1]


FITS = """
    import keras, numpy as np
    def made():
        keras.utils.set_random_seed(1)
        keras.backend.clear_session()
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model
    x = np.ones((16, 3), "float32")
    model = made()
    model.fit(x, x[:, :1], epochs=6, initial_epoch=4, verbose=0)
    model.fit(x, x[:, :1], verbose=0)
    for _ in range(3):
        made().fit(x, x[:, :1], verbose=0)
    model.fit(x, x[:, :1], epochs=6, initial_epoch=4, verbose=0)
    for epochs in range(2, 30):
        model.fit(x, x[:, :1], epochs=epochs, initial_epoch=epochs - 1, verbose=0)
"""


@pytest.mark.timeout(240)
def test_each_model_has_parameters_and_curves_of_its_own_and_one_that_goes_on_has_the_same(bench):
    bench.needs("keras", "tensorflow")
    ran = bench.run(FITS)
    assert ran.code == 0 and ran.of_type("warning") == [], ran.err
    first, second = fit_params(ran, "keras"), fit_params(ran, "keras2")
    assert (first["epochs"], first["initial_epoch"], first["model.parameters"]) == (6, 4, 4)
    assert second == {name: value for name, value in first.items() if name != "initial_epoch"} | {"epochs": 1}
    assert not any(name.startswith("fit") for name in first)  # the same model goes on, and only counts its epochs
    groups = {name.partition(".")[0] for name in ran.params if name.startswith("keras")}
    assert groups == {"keras", "keras2", "keras3", "keras4"}
    assert [fit_params(ran, f"keras{number}") for number in (3, 4)] == [{"same_as": "keras2"}] * 2
    counts = {name: curve.count for name, curve in ran.curves.summary().items() if "batch" not in name}
    assert counts == {"loss": 2 + 1 + 2 + 28, "keras2/loss": 1, "keras3/loss": 1, "keras4/loss": 1}


CUSTOM = """
    import keras, numpy as np
    class Twice(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs
    model = keras.Sequential([keras.Input((3,)), Twice(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((16, 3), "float32")
    model.fit(x, x[:, :1], epochs=2, verbose=0)
    np.save("expected.npy", model.predict(x[:4], verbose=0))
"""


@pytest.mark.timeout(240)
def test_a_model_with_classes_of_the_scripts_own_is_exported_without_them(bench):
    bench.needs("keras", "tensorflow")
    ran = bench.run(CUSTOM)
    assert (ran.code, ran.out) == (0, ""), ran.err
    assert ran.of_type("warning") == []
    (exported,) = [event["path"] for event in ran.of_type("model") if event["how"] == "keras.export"]
    assert exported == str(ran.modeldir / "model-002-inference")
    served = bench.run(
        f"""
        import numpy as np, tensorflow as tf
        model = tf.saved_model.load({exported!r})
        assert np.allclose(model.serve(np.ones((4, 3), "float32")), np.load("expected.npy"), atol=1e-6)
        """,
        PYTHONPATH=None,
    )
    assert served.code == 0, served.err
