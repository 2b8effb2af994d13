"""The Keras hook knows nothing of TensorFlow: the same on PyTorch and JAX, where they are installed."""

from __future__ import annotations

import json
import os

import pytest

SCRIPT = """
    import hashlib, json, sys
    import keras, numpy as np
    keras.utils.set_random_seed(7)
    x = np.random.default_rng(1).normal(size=(128, 4)).astype("float32")
    y = (x.sum(1) > 0).astype("int64")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3),
                              keras.layers.Dense(2)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    history = model.fit(x, y, epochs=3, verbose=0, validation_split=0.25)
    weights = hashlib.sha256(b"".join(np.asarray(w).tobytes() for w in model.get_weights())).hexdigest()
    drawn = float(keras.ops.convert_to_numpy(keras.random.uniform(())))
    print(json.dumps([history.history, weights, drawn, "tensorflow" in sys.modules]))  # Keras imports what it finds
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_fit_is_seen_and_not_changed(bench, backend):
    bench.needs("keras", backend)
    ran = bench.run(SCRIPT, KERAS_BACKEND=backend)
    bare = bench.run(SCRIPT, KERAS_BACKEND=backend, PYTHONPATH=None)
    assert ran.code == 0 and "studio" not in ran.err and "Traceback" not in ran.err  # the rest is TensorFlow's
    assert ran.out == bare.out
    history = json.loads(ran.out)[0]
    assert ran.curves.curve("val_loss")[2].tolist() == history["val_loss"]
    assert ran.params["keras.backend"] == backend and ran.params["keras.optimizer.learning_rate"] == 0.001
    assert ran.of_type("warning") == [] and "model-003.keras" in os.listdir(ran.modeldir)
