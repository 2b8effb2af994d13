"""What a tree of processes uses: by /proc and by psutil the same, and nothing twice when children end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.run.processes import ProcReader, PsutilReader, Tree, Used, open_reader
from studio.run.usage import Usage
from studio.tracking.metrics import Curves
from tests.studio_process import until

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there is no /proc here")

FAMILY = """
import os, subprocess, sys
data = os.urandom(1 << 20) * 30
with open(sys.argv[1], "wb") as file:
    file.write(data)
    os.fsync(file.fileno())
while sum(os.times()[:2]) < 0.3:
    pass
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
child.communicate(b"\\n")
print("waited", flush=True)
input()
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", FAMILY, str(tmp_path / "data")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.communicate("\n\n")


@needs_proc
def test_both_readers_read_the_same(family: subprocess.Popen[str]) -> None:
    assert family.stdout is not None
    child = int(family.stdout.readline())
    readers = ProcReader(os.getpid()), PsutilReader(os.getpid())
    assert isinstance(open_reader(os.getpid()), ProcReader)
    for reader in readers:
        reader.look()
    mine, theirs = (reader.read() for reader in readers)
    assert {family.pid, child, os.getpid()} <= set(mine) & set(theirs)
    ours, other = mine[family.pid], theirs[family.pid]
    assert ours.cpu == pytest.approx(other.cpu, abs=0.1) and ours.cpu >= 0.3
    assert ours.memory == pytest.approx(other.memory, rel=0.1) and ours.memory > 30 << 20
    assert (ours.read, ours.written) == (other.read, other.written)
    for reader, reading in zip(readers, (mine, theirs), strict=True):
        age = reader.clock() - reading[family.pid].born
        assert 0 <= age < 300 and reader.read()[family.pid].born == reading[family.pid].born


@pytest.mark.parametrize("kind", [pytest.param(ProcReader, marks=needs_proc), PsutilReader])
def test_a_child_that_ended_is_gone_and_its_parent_inherits(family: subprocess.Popen[str], kind: type) -> None:
    assert family.stdin is not None and family.stdout is not None
    child = int(family.stdout.readline())
    reader = kind(family.pid)
    reader.look()
    before = reader.read()
    family.stdin.write("\n")
    family.stdin.flush()
    assert family.stdout.readline() == "waited\n"
    after = reader.read()
    assert child in before and child not in after
    if reader.heirs:
        assert after[family.pid].cpu >= before[family.pid].cpu + before[child].cpu - 0.021  # in hundredths, rounded


class Script:
    """A reader of what it is told."""

    heirs = True

    def __init__(self, *moments: tuple[float, dict[int, Used]]) -> None:
        self.moments = list(moments)
        self.now = 0.0

    def look(self) -> None:
        pass

    def clock(self) -> float:
        self.now = self.moments[0][0]
        return self.now

    def read(self) -> dict[int, Used]:
        return self.moments.pop(0)[1]


def spent(born: float, cpu: float, moved: float = 0.0) -> Used:
    return Used(born, cpu, 100.0, moved, 2 * moved)


def test_the_first_look_only_knows_the_memory() -> None:
    tree = Tree(1, reader=Script((10.0, {1: spent(0, 9), 2: spent(1, 5), 3: spent(2, 5)})))
    assert tree.measure() == {"cpu": 0.0, "memory": 200.0, "disk_read": 0.0, "disk_written": 0.0}
    assert tree.pids == {2, 3}


def test_the_root_itself_counts_where_it_is_the_run() -> None:
    script = Script((10.0, {1: spent(0, 9), 2: spent(1, 5)}), (12.0, {1: spent(0, 12), 2: spent(1, 6)}))
    tree = Tree(1, itself=True, reader=script)
    assert tree.measure()["memory"] == 200.0
    assert tree.measure()["cpu"] == pytest.approx(2.0) and tree.pids == {1, 2}


def test_one_that_ends_does_not_hide_what_the_others_do() -> None:
    """Twenty busy seconds of a process that ended move to its parent: neither lost for the others, nor used again."""
    tree = Tree(
        1,
        reader=Script(
            (10.0, {1: spent(0, 0), 2: spent(1, 5, 50), 3: spent(1, 20, 70)}),
            (12.0, {1: spent(0, 0), 2: spent(1, 5 + 20.5 + 2, 50 + 75)}),
        ),
    )
    tree.measure()
    assert tree.measure() == pytest.approx({"cpu": 1.25, "memory": 100.0, "disk_read": 2.5, "disk_written": 5.0})


def test_one_that_is_found_late_counts_with_the_time_since_the_look_before() -> None:
    tree = Tree(
        1,
        reader=Script(
            (10.0, {1: spent(0, 0)}),
            (12.0, {1: spent(0, 0), 2: spent(4.0, 8.0), 3: spent(11.0, 0.5)}),
            (13.0, {1: spent(0, 0), 2: spent(12.5, 0.25)}),  # the same number, another process
        ),
    )
    tree.measure()
    assert tree.measure()["cpu"] == pytest.approx((8.0 * 2 / 8 + 0.5) / 2)
    assert tree.measure()["cpu"] == 0.0  # 8.5 s that nobody has inherited are not below zero


@pytest.mark.parametrize("processes", [1, 30])
def test_samples_are_written(tmp_path: Path, processes: int) -> None:
    children = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(processes)]
    usage = Usage(os.getpid(), tmp_path / "system")
    usage.sample()
    until(lambda: usage.sample() or usage.latest, "a second sample")
    usage.flush()
    for child in children:
        child.communicate(b"\n")
    found = Curves.from_folder(tmp_path).summary()
    assert {"system/cpu", "system/memory", "system/disk_read", "system/disk_written"} <= set(found)
    assert found["system/memory"].last > processes << 20
