"""What becomes of arrays, pictures, figures, tables, texts, sounds and numbers."""

from __future__ import annotations

import io
import json
import math
import sqlite3
import wave
from collections import UserDict
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import studio
from studio.run.inject import _studio_media  # noqa: F401  (so that the next line finds its sibling)

GRADIENT = np.arange(6 * 5 * 4, dtype="uint8").reshape(6, 5, 4)


def opened(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.load()
    return np.asarray(image)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GRADIENT[:, :, 0], GRADIENT[:, :, 0]),
        (GRADIENT[:, :, :1], GRADIENT[:, :, 0]),
        (GRADIENT[:, :, :3], GRADIENT[:, :, :3]),
        (GRADIENT, GRADIENT),
        (GRADIENT[::-2, ::2, 2::-1], GRADIENT[::-2, ::2, 2::-1]),
        (GRADIENT[:, :, :3].astype("int64"), GRADIENT[:, :, :3]),
        (np.array([[0.0, 0.5, 1.0]]), [[0, 128, 255]]),
        (np.array([[-1.0, 2.0, np.nan, np.inf, -np.inf]], "float32"), [[0, 255, 0, 255, 0]]),
        (np.array([[0.25]], "float16"), [[64]]),
        (np.eye(2, dtype=bool), [[255, 0], [0, 255]]),
        (np.random.default_rng(1).integers(0, 256, (64, 48, 3), "uint8"), None),
    ],
    ids=str,
)
def test_arrays_become_the_same_pixels(array, expected, logged):
    studio.log_image("x", array, step=3, caption="what it shows")
    entry, data = logged.only()
    assert (opened(data) == (array if expected is None else expected)).all()
    assert (entry.kind, entry.step, entry.file, entry.size) == ("image", 3, "x/3.png", len(data))
    assert entry.caption == "what it shows"
    assert (entry.extra["height"], entry.extra["width"]) == np.shape(array)[:2]


@pytest.mark.parametrize(
    "wrong",
    [
        None, 3, b"bytes", [[1, 2]], np.zeros(3), np.zeros((2, 2, 2)), np.zeros((2, 2, 5)), np.zeros((0, 2)),
        np.array([[300]]), np.array([[-1]]), np.zeros((2, 2), complex), np.array([["a"]]), "picture.doc",
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_picture_is_said(wrong, logged):
    with pytest.raises(TypeError, match=r"log_image|picture|array of real"):
        studio.log_image("x", wrong)
    assert logged.media.entries() == []


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F", "HSV", "I;16"])
def test_pil_images(mode, logged):
    image = Image.new("RGB", (4, 3), (200, 100, 50)).convert("L" if mode in ("I;16", "LA") else "RGB")
    image = image.convert(mode)
    studio.log_image("x", image)
    entry, data = logged.only()
    assert opened(data).shape[:2] == (3, 4)
    assert (entry.extra["width"], entry.extra["height"]) == (4, 3)


@pytest.mark.parametrize(("ending", "kept"), [("png", "png"), ("jpeg", "jpg"), ("GIF", "gif"), ("bmp", "bmp")])
def test_pictures_from_files_keep_their_bytes(ending, kept, tmp_path: Path, logged):
    path = tmp_path / f"p.{ending}"
    Image.new("RGB", (7, 5)).save(path)
    studio.log_image("x", path)
    entry, data = logged.only()
    assert data == path.read_bytes()
    assert entry.file == f"x/0.{kept}"
    if kept != "bmp":
        assert (entry.extra["width"], entry.extra["height"]) == (7, 5)


def test_a_file_that_is_not_there_is_a_warning(tmp_path: Path, logged):
    studio.log_image("x", str(tmp_path / "none.png"))
    studio.log_image("x", str(tmp_path / "none.png"))
    assert logged.media.entries() == []
    assert logged.warnings == ["image 'x' could not be kept: No such file or directory"]


def test_figures(logged):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pytest.raises(TypeError, match="no current figure"):
        studio.log_figure("x")
    with pytest.raises(TypeError, match="matplotlib figure, not int"):
        studio.log_figure("x", 3)
    figure, axes = pyplot.subplots(figsize=(2, 1), dpi=50)
    axes.plot([1, 2, 3])
    studio.log_figure("x", svg=True)
    studio.log_figure("y", axes)
    pyplot.close(figure)
    media = logged.media
    x, y = media.entries()
    assert (x.files, y.files) == (("x/0.png", "x/0.svg"), ("y/0.png",))
    assert opened(media.read(x)).shape[:2] == (50, 100) == (x.extra["height"], x.extra["width"])
    assert b"<svg" in media.read(x, "x/0.svg")
    assert x.size == sum(len(media.read(x, file)) for file in x.files)
    assert media.read(y) == media.read(x)


def table(logged) -> dict[str, object]:
    return json.loads(logged.only()[1])


def test_tables_of_mappings(logged):
    rows = [{"a": 1, "b": math.nan}, UserDict({"c": np.float32(0.5), "a": "text"}), {"b": date(2026, 1, 2), "a": True}]
    studio.log_table("x", rows)
    assert table(logged) == {
        "columns": ["a", "b", "c"],
        "rows": [[1, None, None], ["text", None, 0.5], [True, "2026-01-02", None]],
    }
    assert dict(logged.only()[0].extra) == {"columns": 3, "rows": 3}


def test_tables_of_rows(logged):
    studio.log_table("x", np.array([[1.5, np.inf]]), columns=["a", "b"])
    assert table(logged) == {"columns": ["a", "b"], "rows": [[1.5, "Infinity"]]}


def test_tables_of_a_database(logged):
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    studio.log_table("x", connection.execute("select 1 as a, 'text' as b"), columns=["b"])
    connection.close()
    assert table(logged) == {"columns": ["b"], "rows": [["text"]]}


def test_data_frames(logged):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"n": [1, 2], "t": pandas.to_datetime(["2026-01-02", None]), "m": [pandas.NA, "x"]})
    studio.log_table("x", frame)
    assert table(logged) == {"columns": ["n", "t", "m"], "rows": [[1, "2026-01-02 00:00:00", None], [2, None, "x"]]}
    studio.log_table("x", frame.groupby("n").count(), columns=["n", "t"], step=0)
    assert table(logged) == {"columns": ["n", "t"], "rows": [[1, 1], [2, 0]]}


@pytest.mark.parametrize(
    ("rows", "columns"), [("text", None), (3, None), ({"a": [1]}, None), ([[1]], None), ([[1, 2]], ["a"]), ([1], ["a"])]
)
def test_what_is_no_table_is_said(rows, columns, logged):
    with pytest.raises(TypeError, match="log_table"):
        studio.log_table("x", rows, columns=columns)
    assert logged.media.entries() == []


def test_texts(logged):
    studio.log_text("x", "größer\r\n\ud800")
    assert logged.only()[1] == "größer\r\n?".encode()
    with pytest.raises(TypeError, match="str, not bytes"):
        studio.log_text("x", b"bytes")


@pytest.mark.parametrize(
    ("samples", "channels", "expected"),
    [
        (np.array([0.0, 0.5, -1.0, 2.0, np.nan]), 1, [0, 16384, -32767, 32767, 0]),
        (np.array([[0.0, 1.0], [0.5, -0.5]], "float32"), 2, [0, 32767, 16384, -16384]),
        (np.array([1, -2], "int16"), 1, [1, -2]),
        (np.array([1 << 16, -(1 << 31)], "int32"), 1, [1, -32768]),
        (np.array([128, 255, 0], "uint8"), 1, [0, 32512, -32768]),
    ],
)
def test_sounds_become_wav(samples, channels, expected, logged):
    studio.log_audio("x", samples, rate=8000)
    entry, data = logged.only()
    with wave.open(io.BytesIO(data)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (8000, channels, 2)
        assert np.frombuffer(sound.readframes(100), "<i2").tolist() == expected
    assert dict(entry.extra) == {"rate": 8000, "channels": channels, "duration": len(samples) / 8000}


def test_sounds_from_files(tmp_path: Path, logged):
    (tmp_path / "a.mp3").write_bytes(b"anything")
    studio.log_audio("x", tmp_path / "a.mp3")
    entry, data = logged.only()
    assert (entry.file, data) == ("x/0.mp3", b"anything")


@pytest.mark.parametrize(
    ("audio", "rate"),
    [(np.zeros(3), None), (np.zeros(3), 0), (np.zeros(3), "8k"), (np.zeros(3), True), ([0.0], 8000), ("a.txt", 1),
     (np.zeros((2, 100)), 8000), (np.zeros((1, 1, 1)), 8000), (np.zeros(3, "int64"), 8000)],
)  # fmt: skip
def test_what_is_no_sound_is_said(audio, rate, logged):
    with pytest.raises(TypeError, match=r"log_audio|a sound"):
        studio.log_audio("x", audio, rate=rate)
    assert logged.media.entries() == []


def test_histograms(logged):
    values = np.random.default_rng(2).normal(size=(50, 40))
    studio.log_histogram("x", values, bins=16)
    entry, data = logged.only()
    found = json.loads(data)
    counts, edges = np.histogram(values, bins=16)
    assert found["counts"] == counts.tolist()
    assert np.allclose(found["edges"], edges, rtol=0, atol=1e-12)
    assert (found["min"], found["max"], found["values"], found["not_finite"]) == (values.min(), values.max(), 2000, 0)
    assert math.isclose(found["mean"], values.mean())
    assert dict(entry.extra) == {"values": 2000, "bins": 16}


def distribution(values: object, bins: int) -> dict[str, object]:
    import _studio_media_forms

    ((_, data),), _ = _studio_media_forms.MAKE["histogram"](values, bins)
    return json.loads(data)


@given(st.lists(st.floats(), max_size=30), st.integers(1, 512))
def test_any_numbers_have_a_histogram(values: list[float], bins: int):
    of_list, of_array = distribution(values, bins), distribution(np.array(values), bins)
    real = [value for value in values if math.isfinite(value)]
    for found in (of_list, of_array):
        assert sum(found["counts"]) == found["values"] == len(real)
        assert found["not_finite"] == len(values) - len(real)
        assert len(found["counts"]) == bins == len(found["edges"]) - 1
        assert found["edges"] == sorted(found["edges"])
        assert all(map(math.isfinite, found["edges"]))
    assert of_list["counts"] == of_array["counts"]
    assert (of_list["min"], of_list["max"]) == ((min(real), max(real)) if real else (0, 0))


@pytest.mark.parametrize(
    ("values", "bins"),
    [(3, 8), ("12", 8), (["a"], 8), ({"a": 1}, 8), (np.zeros(2, complex), 8), ([1], 0), ([1], 513), ([1], 1.5),
     ([1], True)],
)  # fmt: skip
def test_what_has_no_histogram_is_said(values, bins, logged):
    with pytest.raises(TypeError, match=r"log_histogram|real numbers"):
        studio.log_histogram("x", values, bins=bins)
    assert logged.media.entries() == []
