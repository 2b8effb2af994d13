"""TensorBoard's event files: both encodings, live, truncated, damaged, restarted, and as the real writers make them."""

from __future__ import annotations

import math
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.tracking.metrics import Curves
from studio.tracking.tensorboard import TensorBoardTail, masked_crc32c


def varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def message(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def event(step: int, *values: bytes, when: float = 1000.0) -> bytes:
    summary = b"".join(message(1, value) for value in values)
    return record(b"\x09" + struct.pack("<d", when) + b"\x10" + varint(step) + message(5, summary))


def simple(tag: str, value: float) -> bytes:
    return message(1, tag.encode()) + b"\x15" + struct.pack("<f", value)


def plugin(name: str) -> bytes:
    return message(9, message(1, message(1, name.encode())))


def tensor(tag: str, content: bytes, meta: bytes = b"") -> bytes:
    return message(1, tag.encode()) + message(8, content) + meta


VERSION = record(b"\x09" + struct.pack("<d", 1000.0) + message(3, b"brain.Event:2"))
FLOAT = b"\x08\x01" + message(5, struct.pack("<f", 0.5))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.out.tfevents.1000.host.1.0"


def rows(folder: Path) -> list[tuple[str, int, float]]:
    return [(p.name, p.step, p.value) for p in TensorBoardTail(folder).new_points()]


def test_checksum():
    assert masked_crc32c(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_both_encodings_and_all_kinds_of_numbers(tmp_path, file):
    tensors = [
        tensor("float", FLOAT, plugin("scalars")),
        tensor("content", b"\x08\x01" + message(4, struct.pack("<f", 0.25)), plugin("scalars")),
        tensor("double", b"\x08\x02" + message(6, struct.pack("<d", 0.1))),
        tensor("int", b"\x08\x03" + message(7, varint(-7))),
        tensor("long", b"\x08\x09" + message(4, struct.pack("<q", -(1 << 40)))),
        tensor("half", b"\x08\x13" + message(13, varint(0x3C00))),
        tensor("bool", b"\x08\x0a\x58\x01"),
        tensor("vector", b"\x08\x01" + message(5, struct.pack("<2f", 1, 2)), plugin("scalars")),
        tensor("text", b"\x08\x07" + message(8, b"hello"), plugin("text")),
        tensor("histogram", FLOAT, plugin("histograms")),
    ]
    later = event(4, tensor("histogram", FLOAT), tensor("float", FLOAT))
    file.write_bytes(VERSION + event(3, simple("loss", 1.5), simple("nan", math.nan)) + event(3, *tensors) + later)
    found = rows(tmp_path)
    assert [row for row in found if row[0] != "nan"] == [
        ("loss", 3, 1.5), ("float", 3, 0.5), ("content", 3, 0.25), ("double", 3, 0.1), ("int", 3, -7.0),
        ("long", 3, -float(1 << 40)), ("half", 3, 1.0), ("bool", 3, 1.0), ("float", 4, 0.5),
    ]  # fmt: skip
    assert math.isnan(found[1][2])


def test_folders_are_part_of_the_name(tmp_path):
    for folder in ("", "train", "validation", "run1/train", "run1/validation", "sub"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "events.out.tfevents.1").write_bytes(event(0, simple("loss", 1.0)))
    (tmp_path / "other.txt").write_bytes(b"x" * 100)
    assert {name for name, _, _ in rows(tmp_path)} == {"loss", "val_loss", "run1/loss", "run1/val_loss", "sub/loss"}
    assert rows(tmp_path / "none") == []


def test_followed_while_it_grows_restarted_and_rewritten(tmp_path, file):
    whole = VERSION + b"".join(event(step, simple("loss", step)) for step in range(50))
    tail, found, rng, at = TensorBoardTail(tmp_path), [], random.Random(1), 0
    while at < len(whole):
        more = rng.randrange(1, 70)
        with open(file, "ab") as out:
            out.write(whole[at : at + more])
        at += more
        found += [point.step for point in tail.new_points()]
    assert found == list(range(50))
    assert tail.new_points() == []
    (tmp_path / "events.out.tfevents.2000.host.2.0").write_bytes(event(30, simple("loss", 9.0)))  # restarted
    assert [(p.step, p.value) for p in tail.new_points()] == [(30, 9.0)]
    file.write_bytes(event(1, simple("loss", 4.0)))  # rewritten
    assert [(p.step, p.value) for p in tail.new_points()] == [(1, 4.0)]


def test_cut_anywhere_the_whole_records_are_read(tmp_path, file):
    records = [VERSION, *(event(step, simple("loss", step)) for step in range(3))]
    whole = b"".join(records)
    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        done = sum(len(b"".join(records[: i + 1])) <= cut for i in range(4))
        assert len(rows(tmp_path)) == max(0, done - 1)


@given(st.data())
def test_a_damaged_byte_gives_no_wrong_value(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("tb")
    whole = b"".join(event(step, simple("loss", step)) for step in range(3))
    damaged = bytearray(whole)
    damaged[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "events.out.tfevents.1").write_bytes(damaged)
    assert set(rows(folder)) <= {("loss", step, float(step)) for step in range(3)}


@given(st.binary(max_size=200))
def test_any_record_is_read_without_an_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("tb")
    last = event(1, simple("loss", 2.0))
    (folder / "events.out.tfevents.1").write_bytes(record(data) + record(message(5, data)) + event(0, data) + last)
    assert rows(folder)[-1] == ("loss", 1, 2.0)


def test_large_events_are_passed_over(tmp_path, file):
    file.write_bytes(record(bytes(5 << 20)) + event(1, simple("loss", 2.0)))
    assert rows(tmp_path) == [("loss", 1, 2.0)]


def test_points_become_a_metric_stream(tmp_path, file):
    file.write_bytes(b"".join(event(step, simple("é", step * 2.0), when=5.0 + step) for step in range(4)))
    (tmp_path / "metrics").mkdir()
    tail = TensorBoardTail(tmp_path)
    assert (tail.append_to(tmp_path / "metrics" / "tb"), tail.append_to(tmp_path / "metrics" / "tb")) == (4, 0)
    steps, times, values = Curves.from_folder(tmp_path / "metrics").curve("é")
    assert (steps.tolist(), times.tolist(), values.tolist()) == ([0, 1, 2, 3], [5, 6, 7, 8], [0, 2, 4, 6])


def test_only_what_this_run_wrote_and_only_here(tmp_path, file):
    import os

    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "events.out.tfevents.5").write_bytes(event(1, simple("loss", 1.0)))
    file.write_bytes(event(1, simple("loss", 2.0)))
    os.utime(file, (1000, 1000))
    (tmp_path / "events.out.tfevents.6").write_bytes(event(1, simple("loss", 3.0)))
    found = TensorBoardTail(tmp_path, prefix="val_", since=2000).new_points()
    assert [(point.name, point.value) for point in found] == [("val_loss", 3.0)]


WRITERS = {
    "tensorboardX": "from tensorboardX import SummaryWriter",
    "torch.utils.tensorboard": "from torch.utils.tensorboard import SummaryWriter",
}


@pytest.mark.parametrize("module", WRITERS)
def test_real_writers(bench, module):
    bench.needs(module.partition(".")[0], *(["tensorboard"] if "torch" in module else []))
    ran = bench.run(
        f"""
        import numpy as np
        {WRITERS[module]}
        with SummaryWriter("tb/train") as writer:
            for step in range(5):
                writer.add_scalar("loss", 1 / (step + 1), step)
                writer.add_histogram("weights", np.arange(10.0), step)
                writer.add_text("note", "hello", step)
        """,
        PYTHONWARNINGS="ignore",
    )
    assert ran.code == 0, ran.err
    assert rows(bench.folder / "tb") == [("loss", step, pytest.approx(1 / (step + 1))) for step in range(5)]
    (told,) = ran.of_type("tensorboard")
    assert (told["folder"], told["prefix"]) == (str(bench.folder / "tb" / "train"), "")
    tail = TensorBoardTail(Path(told["folder"]), prefix=told["prefix"], since=told["since"])
    assert len(tail.new_points()) == 5


FOLDERS = {
    "one": {"logs": ""},
    "keras": {"logs/train": "", "logs/validation": "val_"},
    "keras-twice": {"a/train": "", "a/validation": "val_", "b/train": "b/", "b/validation": "b/val_"},
    "train-test": {"logs/train": "", "logs/test": "test/"},
    "test-train": {"logs/test": "", "logs/train": "train/"},
    "runs": {"runs/1": "", "runs/2": "2/", "runs/3/deep": "3/deep/"},
    "far": {"logs/1": "", "elsewhere/1": "1/"},
}


@pytest.mark.parametrize("folders", FOLDERS.values(), ids=FOLDERS)
def test_writers_of_several_folders_do_not_write_one_curve(bench, folders):
    bench.needs("tensorboardX")
    ran = bench.run(
        f"""
        from tensorboardX import SummaryWriter
        for folder in {list(folders)}:
            for again in range(2):
                SummaryWriter(folder).close()
        """
    )
    assert ran.code == 0, ran.err
    told = {str(Path(said["folder"]).relative_to(bench.folder)): said["prefix"] for said in ran.of_type("tensorboard")}
    assert told == folders


def test_scalars_of_one_tag_and_hyperparameters_keep_apart(bench):
    bench.needs("tensorboardX")
    ran = bench.run(
        """
        from tensorboardX import SummaryWriter
        with SummaryWriter("logs") as writer:
            writer.add_scalars("loss", {"train": 1, "test": 2}, 1)
            writer.add_hparams({"lr": 0.1}, {"accuracy": 0.5})
        """
    )
    assert ran.code == 0, ran.err
    found = set()
    for told in ran.of_type("tensorboard"):
        tail = TensorBoardTail(Path(told["folder"]), prefix=told["prefix"], since=told["since"])
        found |= {(point.name, point.value) for point in tail.new_points()}
    assert found == {("loss/loss", 1.0), ("loss/test/loss", 2.0), ("accuracy", 0.5)}


@pytest.mark.timeout(240)
def test_tensorflow_and_the_keras_callback(bench):
    bench.needs("tensorflow", "tensorboard")
    ran = bench.run(
        """
        import json, keras, numpy as np, tensorflow as tf
        with tf.summary.create_file_writer("tb/own").as_default():
            tf.summary.scalar("loss", 0.75, step=3)
            tf.summary.scalar("count", np.int64(5), step=4)
            tf.summary.text("t", "hello", step=1)
            tf.summary.histogram("h", np.arange(5.0), step=1)
        with tf.compat.v1.Graph().as_default(), tf.compat.v1.summary.FileWriter("tb/v1") as writer:
            value = tf.compat.v1.Summary.Value(tag="old", simple_value=0.5)
            writer.add_summary(tf.compat.v1.Summary(value=[value]), 7)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        x = np.ones((8, 2), "float32")
        history = model.fit(x, x[:, :1], epochs=2, verbose=0, validation_split=0.5,
                            callbacks=[keras.callbacks.TensorBoard("tb", histogram_freq=1)])
        print(json.dumps(history.history))
        """
    )
    assert ran.code == 0, ran.err
    import json

    told = {Path(said["folder"]).name: said["prefix"] for said in ran.of_type("tensorboard")}
    assert told == {"own": "", "v1": "v1/", "train": "train/", "validation": "val_"}
    found = rows(bench.folder / "tb")
    assert ("own/loss", 3, 0.75) in found and ("own/count", 4, 5.0) in found and ("v1/old", 7, 0.5) in found
    history = json.loads(ran.out.splitlines()[-1])
    for tag, name in (("epoch_loss", "loss"), ("val_epoch_loss", "val_loss")):
        values = [value for found_tag, _, value in found if found_tag == tag]
        assert values == pytest.approx(history[name])
    assert not any("kernel" in name or name.endswith("/h") for name, _, _ in found)
