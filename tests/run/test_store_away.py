"""A store that is moved away, or another one that stands in its place, while a run goes on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.studio_process import opened, record, start, studio, until

SCRIPT = """\
import os, sys, time, studio
from studio import fs_tracker
print("begun", flush=True)
open("begun", "w").close()
while not os.path.exists("go"):
    time.sleep(0.02)
studio.log({"loss": 0.5})
studio.params(lr=1)
print("said meanwhile")
open(fs_tracker.get_model_directory() + "/m", "w").write("model")
"""


@pytest.fixture
def store(home: Path) -> Path:
    """Where the store lies."""
    return home / ".studioml" / "store"


def begin(folder: Path) -> tuple[Path, subprocess.Popen[bytes]]:
    """A run of key `k` that waits for the file `go`, its record in the store."""
    (folder / "a.py").write_text(SCRIPT)
    process = start("run", "-e", "k", "a.py", cwd=folder)
    until((folder / "begun").exists, "the script's begin")
    return folder / "go", process


def is_whole() -> None:
    found = record("k")
    assert (found.status, found.summary["loss"].last, found.params) == ("finished", 0.5, {"lr": 1})
    assert found.artifacts["modeldir"].files == 1
    assert b"".join(opened().output("k")) == b"begun\nsaid meanwhile\n"


def test_a_store_that_is_moved_away_is_waited_for_and_not_made_anew(tmp_path: Path, store: Path) -> None:
    go, process = begin(tmp_path)
    off = store.rename(store.with_name("store.off"))
    go.touch()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert b"the store cannot be written" in said and b"deleted" not in said, said
    assert not store.exists(), "a fresh store would hide the run's own"
    done = studio("runs", "list", cwd=tmp_path)
    assert b"experiment k waits to be delivered: there is no store any more" in done.stderr, done.stderr
    assert not store.exists()
    off.rename(store)
    assert b"experiment k is delivered" in studio("runs", "list", cwd=tmp_path).stderr
    is_whole()


def test_another_store_in_its_place_gets_nothing(tmp_path: Path, store: Path) -> None:
    go, process = begin(tmp_path)
    off = store.rename(store.with_name("store.off"))
    (tmp_path / "b.py").write_text("print(1)")
    assert studio("run", "-e", "other", "b.py", cwd=tmp_path).returncode == 0
    go.touch()
    _, said = process.communicate(timeout=120)
    assert b"the store cannot be written" in said and b"deleted" not in said, said  # told before the other one came
    assert not [p for p in store.rglob("*") if p.name in ("k", "k.json")]
    waits = b"experiment k waits to be delivered: another store stands at"
    assert waits in (said := studio("runs", "list", cwd=tmp_path).stderr), said
    shutil.rmtree(store)
    off.rename(store)
    assert b"experiment k is delivered" in studio("runs", "list", cwd=tmp_path).stderr
    is_whole()


def test_a_store_that_comes_back_in_time_has_everything_at_the_end(tmp_path: Path, store: Path) -> None:
    go, process = begin(tmp_path)
    off = store.rename(store.with_name("store.off"))
    assert process.stderr is not None
    line = process.stderr.readline
    while b"the store cannot be written" not in (said := line()):
        assert said, "the run ended"
    off.rename(store)
    while b"the store can be written again" not in (said := line()):
        assert said, "the run ended"
    go.touch()
    process.communicate(timeout=120)
    assert not (opened().home / "open" / "k").exists()
    is_whole()


def test_a_run_whose_store_is_gone_for_good_can_be_given_up(tmp_path: Path, store: Path, home: Path) -> None:
    go, process = begin(tmp_path)
    shutil.rmtree(store)
    go.touch()
    process.communicate(timeout=120)
    done = studio("runs", "list", cwd=tmp_path)
    folder = home / ".studioml" / "experiments" / "k"
    assert f"rm -r {folder}".encode() in done.stderr, done.stderr
    shutil.rmtree(folder)
    assert b"waits" not in studio("runs", "list", cwd=tmp_path).stderr
    assert not (home / ".studioml" / "open" / "k").exists()


def test_a_record_that_alone_is_gone_was_deleted(tmp_path: Path, store: Path) -> None:
    go, process = begin(tmp_path)
    (store / "records" / "k.json").unlink()
    go.touch()
    _, said = process.communicate(timeout=120)
    assert b"experiment k was deleted" in said and b"cannot be written" not in said, said
    assert b"waits" not in studio("runs", "list", cwd=tmp_path).stderr
