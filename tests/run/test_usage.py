"""What a run uses, and what it writes for TensorBoard, become metrics with no line of code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from studio.tracking.metrics import Curves
from tests.studio_process import environment, opened, record, studio

BUSY = """
import os, subprocess, sys, time
data = bytearray(os.urandom(1 << 20) * 150)
child = subprocess.Popen([sys.executable, "-c", "import time; end = time.time() + 5\\nwhile time.time() < end: pass"])
with open("out.bin", "wb") as file:
    file.write(data[: 50 << 20])
    os.fsync(file.fileno())
child.wait()
"""


def test_cpu_memory_and_disk_of_the_whole_tree(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(BUSY)
    assert studio("run", "-e", "k", "--no-workspace", "a.py", cwd=tmp_path).returncode == 0
    found = record("k").summary
    assert found["system/cpu"].max > 0.2, "the child's time counts"
    assert found["system/memory"].max > 150 << 20
    assert found["system/disk_written"].count == found["system/cpu"].count >= 3
    assert {"system/disk_read", "system/net_received", "system/net_sent"} <= set(found)
    steps, times, values = Curves.from_store(opened().tracking.store, "k").curve("system/cpu")
    assert list(steps) == list(range(len(values)))
    assert (times[1:] > times[:-1]).all()
    shown = studio("runs", "show", "k", cwd=tmp_path).stdout.decode()
    assert "resources:" in shown and "cores" in shown


def test_a_process_that_tracks_itself_is_measured(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, sys, time, studio\n"
        "data = os.urandom(100 << 20)\n"
        "with studio.start(key='k'):\n"
        "    end = time.time() + 4\n"
        "    while time.time() < end: pass\n"
        "    print(time.process_time() / 8)\n"  # what a busy machine gave it, as a share of a core, halved
    )
    done = subprocess.run([sys.executable, "a.py"], cwd=tmp_path, env=environment(), capture_output=True, timeout=280)
    found = record("k").summary
    assert found["system/cpu"].max > float(done.stdout) / 2 and found["system/memory"].max > 100 << 20


EVENTS = """
import struct, time
from studio import fs_tracker

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128]); n >>= 7
    return out + bytes([n])

def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data

def event(step, tag, value):
    scalar = field(1, tag) + varint(2 << 3 | 5) + struct.pack("<f", value)
    head = varint(1 << 3 | 1) + struct.pack("<d", time.time()) + varint(2 << 3) + varint(step)
    return head + field(5, field(1, scalar))

def masked(data):
    from studio.tracking.tensorboard import masked_crc32c
    return struct.pack("<I", masked_crc32c(data))

with open(fs_tracker.get_tensorboard_dir() + "/events.out.tfevents.1.host", "wb") as file:
    for step in range(5):
        data = event(step, b"loss", 5 - step)
        head = struct.pack("<Q", len(data))
        file.write(head + masked(head) + data + masked(data))
"""


def test_tensorboards_scalars_become_metrics_once(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(EVENTS)
    done = studio("run", "-e", "k", "a.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = record("k").summary["loss"]
    assert (found.first, found.last, found.step, found.count) == (5.0, 1.0, 4, 5)
    assert studio("run", "--resume", "k", "--", "true", cwd=tmp_path).returncode == 0
    assert record("k").summary["loss"].count == 5
