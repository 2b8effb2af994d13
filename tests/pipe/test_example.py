"""The documented example against a server that is slow and partly broken, and with real Keras models."""

from __future__ import annotations

import threading
from http.client import HTTPException
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from benchmarks.pipe_urls import NumpyModel, fetch, image_server, keras_model, one_by_one, url_pipe
from studio import model_util
from studio.errors import Timeout


def expected(urls: list[str]) -> dict[str, int]:
    return {url: int(url.rpartition("/")[2].removesuffix(".png")) % 10 for url in urls if "/digit/" in url}


def test_urls_become_labels_and_broken_ones_are_left_out() -> None:
    model = NumpyModel()
    with image_server(latency=0.005) as server:
        urls = server.urls(150, broken=0.2)
        assert len(expected(urls)) < 140
        with url_pipe(model, workers=16, batch=32, timeout=3) as pipe:
            outcome = pipe.call({url: url for url in urls})
        assert outcome.values == expected(urls)
        assert outcome.errors.keys() == set(urls) - expected(urls).keys()
        assert all(isinstance(e, (OSError, HTTPException)) for e in outcome.errors.values())
        some = urls[:20]
        assert one_by_one(some, model, model.predict, 3) == expected(some)


def test_a_server_that_never_answers_costs_its_own_urls_only() -> None:
    model = NumpyModel()
    pipe = model_util.ModelPipe()
    pipe.add(fetch, num_workers=12, timeout=5)  # no limit of its own; a busy machine answers well within this one
    pipe.add(lambda data: Image.open(BytesIO(data)))
    pipe.add(model_util.resize_to_model_input(model))
    pipe.add(lambda x: 1 - x)
    pipe.add(model, num_workers=1, batch_size=32, batcher=np.vstack, timeout=0)
    pipe.add(lambda x: np.argmax(x, axis=1))
    with image_server(latency=0) as server:
        urls = [server.url("hangs" if n % 5 == 0 else "digit", n) for n in range(40)]
        outcome = pipe.call({url: url for url in urls})
    assert outcome.values == expected(urls)
    assert {type(error) for error in outcome.errors.values()} == {Timeout}


def test_keras_models_are_stages_of_their_own() -> None:
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    model = keras_model()
    with image_server(latency=0) as server:
        urls = server.urls(40, broken=0.2)
        with url_pipe(model, workers=8, batch=16, timeout=3) as pipe:
            assert pipe({url: url for url in urls}) == expected(urls)
    rows = [np.random.default_rng(n).random((1, 28, 28, 1), np.float32) for n in range(20)]
    answers = model_util.ModelPipe().add(model, batch_size=8, batcher=np.vstack).apply_ordered(rows)
    assert np.allclose(np.stack(answers), model.predict(np.vstack(rows), verbose=0), atol=1e-5)
    original = model_util.ModelPipe().add(model.predict, batch_size=64, batcher=np.vstack).apply_ordered(rows[:2])
    assert np.allclose(np.stack(original), np.stack(answers[:2]), atol=1e-5)

    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    double = keras.layers.Rescaling(2.0, name="double")(left)
    half = keras.layers.Rescaling(0.5, name="half")(right)
    both = keras.Model([left, right], {"double": double, "half": half})
    listed = keras.Model([left, right], [double, half])
    for several in (both, listed):
        pipe = model_util.ModelPipe(on_error="raise")
        pipe.add(several, batch_size=4, batcher=lambda b: [np.stack(side) for side in zip(*b, strict=True)])
        found = pipe.apply_ordered([(np.full(3, n), np.full(2, n)) for n in range(6)])
        assert [sorted(answer) for answer in found] == [["double", "half"]] * 6 or several is listed
        assert [[v.tolist() for v in answer.values()] for answer in found] == [
            [[2.0 * n] * 3, [n / 2] * 2] for n in range(6)
        ]

    class Own(keras.Sequential):
        def predict(self, rows: np.ndarray) -> list[str]:
            return ["mine" for _ in rows]

    own = Own([keras.Input((3,)), keras.layers.Dense(1)])
    assert model_util.ModelPipe().add(own, batch_size=2).apply_ordered([1, 2, 3]) == ["mine"] * 3


def test_keras_pictures_in_both_formats() -> None:
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    picture = Image.new("RGB", (10, 20), (255, 0, 51))
    last = keras.Sequential([keras.Input((6, 4, 3)), keras.layers.Conv2D(1, 1)])
    answer = model_util.resize_to_model_input(last)(picture)
    assert answer.shape == (1, 6, 4, 3)
    assert last.predict(answer, verbose=0).shape == (1, 6, 4, 1)
    first = keras.Sequential([keras.Input((3, 6, 4)), keras.layers.Conv2D(1, 1, data_format="channels_first")])
    assert np.array_equal(model_util.resize_to_model_input(first)(picture), np.moveaxis(answer, -1, 1))
    open_sides = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(1, 1)])
    assert model_util.resize_to_model_input(open_sides)(picture).shape == (1, 20, 10, 1)
    sides = [keras.Input((3,)), keras.Input((8, 8, 1))]
    two = keras.Model(sides, [keras.layers.Identity()(side) for side in sides])  # Keras 3.12 wants an operation in each
    assert model_util.resize_to_model_input(two, 1)(picture).shape == (1, 8, 8, 1)


def test_ten_thousand_values_through_thirty_two_workers() -> None:
    pipe = model_util.ModelPipe().add(lambda x: x * x, num_workers=32, timeout=120)
    data = {x: x for x in range(10_000)}
    assert pipe(data) == {k: v * v for k, v in data.items()}
    assert threading.active_count() < 64
