"""Reading metric streams: torn and damaged ones, several writers, and the summary that follows them."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.run.inject import _studio_track  # makes the injected modules importable
from studio.stores.memory import MemoryStore
from studio.tracking.metrics import Curves, Summariser, read_blocks, whole_blocks

import _studio_points  # isort: skip

assert _studio_track


def block(name: str, points: list[tuple[int, float, float]]) -> bytes:
    import struct

    return _studio_points.encode_block(name, b"".join(struct.pack("<qdd", *point) for point in points))


BLOCKS = [
    block(name, [(i, i / 10, i * 1.5) for i in range(n)]) for name, n in (("a", 3), ("bé/ü", 1), ("a", 40), ("c", 2))
]
STREAM = b"".join(BLOCKS)
ENDS = [sum(map(len, BLOCKS[: i + 1])) for i in range(len(BLOCKS))]


def shape(data: bytes) -> list[tuple[str, int]]:
    return [(found.name, len(found.values)) for found in read_blocks(data)]


def test_a_stream_is_read_as_it_was_written():
    assert shape(STREAM) == [("a", 3), ("bé/ü", 1), ("a", 40), ("c", 2)]
    first = next(read_blocks(STREAM))
    assert first.steps.tolist() == [0, 1, 2] and first.times.tolist() == [0, 0.1, 0.2]
    assert first.values.tolist() == [0, 1.5, 3.0] and first.values.dtype == np.float64
    assert all(len(part) % 8 == 0 for part in BLOCKS)


def test_cut_anywhere_only_the_torn_block_is_missing():
    for cut in range(len(STREAM)):
        whole = sum(end <= cut for end in ENDS)
        assert shape(STREAM[:cut]) == shape(STREAM)[:whole], cut
        assert whole_blocks(STREAM[:cut]) == ([0, *ENDS])[whole]


def test_torn_and_then_appended_to_only_the_torn_block_is_missing():
    for cut in range(1, ENDS[0]):
        assert shape(STREAM[:cut] + STREAM) == shape(STREAM)
        assert shape(STREAM[: ENDS[1] + cut] + STREAM) == shape(STREAM)[:2] + shape(STREAM)


@given(st.data())
def test_a_damaged_byte_costs_one_block_at_most(data):
    at = data.draw(st.integers(0, len(STREAM) - 1))
    damaged = bytearray(STREAM)
    damaged[at] ^= data.draw(st.integers(1, 255))
    hit = next(i for i, end in enumerate(ENDS) if at < end)
    found = shape(bytes(damaged))
    assert found == shape(STREAM)[:hit] + shape(STREAM)[hit + 1 :]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(data):
    assert shape(data) == []
    assert shape(data + STREAM)[-4:] == shape(STREAM)


def test_writers_are_merged_and_of_equal_steps_the_last_written_counts(tmp_path):
    one = block("x", [(5, 10.0, 1.0), (1, 11.0, 2.0), (5, 12.0, 3.0)])
    two = block("x", [(5, 11.5, 9.0), (2, 11.0, math.nan)]) + block("only", [(0, 1.0, math.inf)])
    (tmp_path / "1-a").write_bytes(one)
    (tmp_path / "2-b").write_bytes(two)
    store = MemoryStore("memory://merge")
    store.append("runs/key/metrics/1-a", 0, one)
    store.append("runs/key/metrics/2-b", 0, two)
    for curves in (Curves.from_folder(tmp_path), Curves.from_store(store, "key")):
        assert curves.names() == ["only", "x"]
        steps, times, values = curves.curve("x")
        assert (steps.tolist(), times.tolist()) == ([1, 2, 5], [11, 11, 12])
        assert values[0] == 2 and math.isnan(values[1]) and values[2] == 3
        short = curves.summary()["x"]
        assert (short.last, short.min, short.max, short.step, short.count, short.first) == (3, 2, 3, 5, 3, 2)
        assert len(curves.curve("none")[0]) == 0
    assert Curves.from_folder(tmp_path / "none").names() == []


def test_the_running_summary_follows_the_streams_and_equals_the_final_one(tmp_path):
    folder = tmp_path / "metrics"
    summariser = Summariser(folder)
    assert summariser.read() == {}
    folder.mkdir()
    rng = random.Random(3)
    streams = [bytearray(), bytearray()]
    for step in range(300):
        value = rng.choice([rng.random(), rng.random(), math.nan, math.inf, -5.0])
        streams[step % 2] += block("m", [(step, float(step), value)])
        if step % 7 == 0:
            streams[0] += block("other", [(s, float(s), rng.random()) for s in range(step, step + 3)])
    written = [0, 0]
    while any(written[i] < len(streams[i]) for i in range(2)):
        i = rng.randrange(2)
        more = rng.randrange(1, 500)  # most reads see half a block at the end
        with open(folder / f"{i}", "ab") as file:
            file.write(streams[i][written[i] : written[i] + more])
        written[i] += more
        summariser.read()
    found, final = summariser.read(), Curves.from_folder(folder).summary()
    assert repr(found["m"]) == repr(final["m"])  # nan and all
    assert found["other"] == final["other"]  # its steps were written twice, and again


def test_the_running_summary_needs_no_numpy(tmp_path):
    (tmp_path / "1").write_bytes(block("a", [(1, 0.0, 1.0), (5, 0.0, 2.0)]) + block("a", [(6, 0.0, 3.0)]))
    code = (
        "import sys, pathlib; from studio.tracking.metrics import Summariser; "
        f"print(sorted(Summariser(pathlib.Path({str(tmp_path)!r})).read()), 'numpy' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert shown.stdout == "['a'] False\n"


@pytest.mark.parametrize("values", [[math.nan], [math.nan, math.nan], [1.0, math.nan], [math.nan, 2.0, -1.0]])
def test_nan_hides_no_extreme(tmp_path, values):
    (tmp_path / "1").write_bytes(block("x", [(i, 0.0, value) for i, value in enumerate(values)]))
    running, exact = Summariser(tmp_path).read()["x"], Curves.from_folder(tmp_path).summary()["x"]
    real = [value for value in values if not math.isnan(value)]
    for found in (running, exact):
        assert found.count == len(values)
        assert (found.min, found.max) == (min(real), max(real)) if real else math.isnan(found.min + found.max)


def test_beyond_a_size_rewritten_steps_count_again(tmp_path):
    (tmp_path / "1").write_bytes(block("x", [(1, 0.0, 9.0), (2, 0.0, 2.0), (1, 1.0, 1.0)]))
    found = Summariser(tmp_path).read()["x"]
    assert (found.count, found.max, found.first) == (2, 2.0, 1.0)
    found = Summariser(tmp_path, exact_bytes=50).read()["x"]
    assert (found.count, found.max, found.first, found.last) == (3, 9.0, 1.0, 2.0)
