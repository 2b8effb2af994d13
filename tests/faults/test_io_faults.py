"""The n-th write, fsync, rename … fails: the script is not disturbed, the user is told once, nothing is torn."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.matrix import CODE, Found, Hit, Place, recovered, said_by
from tests.studio_process import start, studio, until

SHORT = ("8", "0.02")
RUN = ("-m", "studio", "run", "-e", "k", "train.py", *SHORT)
OPS = "open,write,sync,rename,link,unlink,mkdir,truncate"
ALL = [pytest.mark.soak, pytest.mark.timeout(7200)]
REFUSED = 5
"""The exit code of a command that the store or the disk refused."""


@dataclass
class Ran:
    """What a run with a fault said, and what the next command found."""

    code: int
    call: str
    said: list[str]
    ran: bool
    found: Found


def each(place: Place, who: str, do: str, samples: int, *, once: bool, under: str = ".") -> Iterator[Ran]:
    """Lets some of the calls of a run's process fail, each in a run of its own."""
    folder = str((place.home / under).resolve())
    place.fresh()
    place.python(*RUN, hit=Hit(who, 0, do, OPS, folder))
    count = len(place.calls())
    assert count, "it made no call"
    step = max(1, count // samples)
    struck = 0
    for at in range(min(count, 1 + step // 2), count + 1, step):
        place.fresh()
        done = place.python(*RUN, hit=Hit(who, at, do, OPS, folder, last=once))
        call = place.struck().strip()
        place.alone()
        if not call:
            continue
        struck += 1
        try:
            assert "Traceback" not in done.stderr, done.stderr
            said = done.stderr.splitlines()
            assert len(said) == len(set(said)), "it is said twice"
            ran = bool(said_by(place))
            found = recovered(place)
            yield Ran(done.returncode, call, said, ran, found)
        except AssertionError as exc:
            raise AssertionError(f"{do} for {who} at {call}: {exc}\n{done.stderr}") from exc
    assert struck, "no call was hit"


def undisturbed(one: Ran) -> None:
    """The script ran to its end, its exit code is passed through, and the record says so; or nothing was begun."""
    if one.ran:
        assert one.code == CODE
        assert len(one.found.said) == 8
        assert one.found.record is not None and one.found.record.exit is not None
        assert one.found.record.exit.code == CODE
    else:
        assert one.code == REFUSED
        assert len([line for line in one.said if not line.startswith("  hint:")]) == 1
        assert one.found.record is None or one.found.record.status == "lost"


ONE = [(name, str(getattr(errno, name))) for name in ("ENOSPC", "EIO", "EROFS", "EDQUOT", "EINTR")]


@pytest.mark.parametrize(
    ("name", "do", "samples"),
    [
        ("ENOSPC", str(errno.ENOSPC), 6), ("EIO", str(errno.EIO), 4), ("short write", "short", 3),
        *(pytest.param(name, do, 10_000, marks=ALL) for name, do in (*ONE, ("short write", "short"))),
    ],
)  # fmt: skip
def test_one_call_of_the_supervisor_fails(place: Place, name: str, do: str, samples: int) -> None:
    for one in each(place, "studio", do, samples, once=True):
        undisturbed(one)
        if one.ran:  # one failure costs nothing
            assert one.found.record is not None and one.found.record.status == "failed"
            assert one.found.lines == set(range(8)) and one.found.points == 8
            assert len(one.said) <= 7, one.said


@pytest.mark.parametrize(
    ("under", "do", "samples"),
    [
        (".", str(errno.EROFS), 3), ("store", str(errno.ENOSPC), 3), ("experiments", str(errno.EIO), 2),
        *(pytest.param(under, do, 10_000, marks=ALL) for under in (".", "store", "experiments") for _, do in ONE[:3]),
    ],
)  # fmt: skip
def test_every_call_of_the_supervisor_fails_from_some_moment_on(
    place: Place, under: str, do: str, samples: int
) -> None:
    for one in each(place, "studio", do, samples, once=False, under=under):
        undisturbed(one)
        assert len(one.said) <= 7, one.said
        if one.ran and under == "store":  # all of it is in the home
            assert one.found.record is not None and one.found.record.status == "failed"
            assert one.found.lines == set(range(8)) and one.found.points == 8


@pytest.mark.parametrize(
    ("who", "do", "once", "samples"),
    [
        ("guard", str(errno.ENOSPC), False, 2), ("guard", "short", True, 1),
        ("script", str(errno.ENOSPC), False, 3), ("script", str(errno.EIO), True, 3),
        *(pytest.param(who, do, once, 10_000, marks=ALL) for who in ("guard", "script")
          for _, do in (*ONE, ("", "short")) for once in (True, False) if once or do != str(errno.EINTR)),
    ],
)  # fmt: skip
def test_calls_of_guard_and_hooks_fail(place: Place, who: str, do: str, once: bool, samples: int) -> None:
    for one in each(
        place, who, do, samples, once=once or do in ("short", str(errno.EINTR)), under="experiments/k/.studio"
    ):
        undisturbed(one)
        assert one.ran and one.found.record is not None and one.found.record.status == "failed"
        assert one.found.lines == set(range(8))
        if who == "guard" or once:
            assert one.found.points == 8


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_store_that_becomes_read_only_gets_everything_once_it_can_be_written(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, sys, time, studio\n"
        "print('before', flush=True)\n"
        "studio.log({'x': 1.0}, step=0)\n"
        "while not os.path.exists('go'): time.sleep(0.05)\n"
        "print('after', flush=True)\n"
        "studio.log({'x': 2.0}, step=1)\n"
        "sys.exit(3)\n"
    )
    words = ["--store", f"file://{disk}/store"]
    running = start("run", "-e", "k", *words, "a.py", cwd=tmp_path)
    output = disk / "store/runs/k/output"
    until(lambda: output.exists() and output.read_bytes() == b"before\n", "the first line in the store")
    until(lambda: not remount(disk, "ro"), "a moment in which no file of the store is open")
    (tmp_path / "go").touch()
    out, err = running.communicate(timeout=120)
    assert (running.returncode, out) == (3, b"before\nafter\n"), err
    told = [line for line in err.splitlines() if b"the file system is read-only" in line]
    assert told and len(told) == len(set(told)) and b"Traceback" not in err, err
    listed = studio("runs", "list", *words, cwd=tmp_path)
    assert listed.returncode == 0 and b"waits to be delivered" in listed.stderr and b"Traceback" not in listed.stderr
    assert remount(disk, "rw") == 0
    assert b"experiment k is delivered" in studio("runs", "list", *words, cwd=tmp_path).stderr
    assert studio("runs", "logs", "k", *words, cwd=tmp_path).stdout == b"before\nafter\n"
    shown = studio("runs", "show", "k", *words, cwd=tmp_path).stdout.decode()
    assert "failed" in shown


def remount(folder: Path, how: str) -> int:
    return subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], capture_output=True).returncode


def test_a_disk_that_is_full_in_all_places_costs_the_script_nothing(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, sys, studio\n"
        "filler = open(os.environ['DISK'] + '/filler', 'wb', buffering=0)\n"
        "try:\n"
        "    while True: filler.write(bytes(4096))\n"
        "except OSError: pass\n"
        "for n in range(1000): print(f'line {n}', flush=True); studio.log({'x': n}, step=n)\n"
        "sys.exit(3)\n"
    )
    env = {"STUDIOML_HOME": str(disk / "home"), "DISK": str(disk)}
    done = studio("run", "-e", "k", "a.py", cwd=tmp_path, env=env)
    assert done.returncode == 3 and done.stdout.count(b"\n") == 1000
    said = done.stderr.decode().splitlines()
    assert "Traceback" not in done.stderr.decode() and len(said) == len(set(said)) <= 9, said
    os.unlink(disk / "filler")
    listed = studio("runs", "list", cwd=tmp_path, env=env)
    assert listed.returncode == 0 and b"Traceback" not in listed.stderr, listed.stderr
    assert b"finished" not in listed.stdout and b"running" not in listed.stdout, listed.stdout
