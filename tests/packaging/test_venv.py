"""`make setup` finds a Python that runs, makes an environment once, mends a broken one, and says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH of one folder: what the script calls, a shim that fails, and a real Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "cksum", "tr", "rm", "dirname", "touch", "date", "id", "git", "curl"):
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    shim = folder / "python3.13"
    shim.write_text("#!/bin/sh\necho 'version manager: python3.13: not installed here' >&2\nexit 127\n")
    shim.chmod(0o755)
    (folder / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python3").chmod(0o755)
    return folder


def make(tmp_path: Path, tools: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "empty.txt").touch()
    command = [
        "sh",
        str(ROOT / "scripts" / "venv.sh"),
        str(tmp_path / "env"),
        "--no-index",
        "-r",
        str(tmp_path / "empty.txt"),
    ]
    known = {"PATH": str(tools), "HOME": os.environ["HOME"]}
    return subprocess.run(command, env=known | environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_the_environment_is_made_once_and_mended_when_it_must_be(tmp_path: Path, tools: Path) -> None:
    environment = tmp_path / "env"
    python = environment / "bin" / "python"

    failed = make(tmp_path, tools, PIP_REQUIREMENT="/does/not/exist.txt")
    assert failed.returncode != 0 and not list(environment.glob(".studio-*"))

    first = make(tmp_path, tools)
    assert first.returncode == 0, first.stderr
    assert python.exists() and len(list(environment.glob(".studio-*"))) == 1
    assert "version manager" not in failed.stderr + first.stderr, "the shim that fails is skipped without a word"

    made = environment.stat().st_mtime_ns
    second = make(tmp_path, tools)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert environment.stat().st_mtime_ns == made

    python.unlink()
    mended = make(tmp_path, tools)
    assert mended.returncode == 0, mended.stderr
    assert python.exists()


def test_without_a_python_it_says_what_is_missing(tmp_path: Path, tools: Path) -> None:
    (tools / "python3").unlink()
    done = make(tmp_path, tools)
    assert done.returncode != 0
    assert done.stderr == (
        "setup: no Python 3.10 or newer found; install one, or name it: make PYTHON=/path/to/python3 setup\n"
    )
