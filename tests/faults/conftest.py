"""The library that lets system calls fail or kill, compiled once, and a place to run in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.matrix import IN_PROCESS, TRAIN, Place

CODE = Path(__file__).with_name("fault.c")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler, or no Linux: the library that lets system calls fail cannot be built")
    target = tmp_path_factory.mktemp("fault") / "fault.so"
    made = [compiler, "-O1", "-shared", "-fPIC", "-o", str(target), str(CODE), "-ldl"]
    done = subprocess.run(made, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def place(tmp_path: Path, home: Path, library: Path) -> Place:
    """A script, an in-process script, and a store that was used before."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "tracked.py").write_text(IN_PROCESS)
    env = {"STUDIOML_HEARTBEAT": "0.3s", "STUDIOML_SAVE_WORKSPACE_FREQUENCY": "0.4s"}
    made = Place(folder, Path(os.environ["STUDIOML_HOME"]), library, env)
    done = made.command("run", "-e", "before", "--", "true")
    assert done.returncode == 0, done.stderr
    made.keep()
    return made
