"""`studio demo` is what a newcomer types first: it must work from anywhere, end by itself and leave nothing running."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest


def test_the_demo_says_how_to_come_to_studio(tmp_path: Path) -> None:
    """The last line is typed in a shell that has no `studio` yet, and has one then."""
    bin_ = Path(sys.executable).parent
    code = "from studio.cli.demo import _activation; print(_activation(), end='')"
    path = f"{tmp_path}:/usr/bin:/bin"
    for folder, PATH in ((tmp_path, path), (bin_.parent.parent, path), (tmp_path, f"{bin_}:{path}")):
        env = {**os.environ, "PATH": PATH}
        line = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=True
        ).stdout
        assert (line == "") is (path != PATH), line
        shell = ["bash", "-c", f"shopt -s expand_aliases\n{line}\nstudio --version"]
        done = subprocess.run(shell, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, (line, done.stderr)


@pytest.mark.timeout(240)
def test_the_demo_trains_serves_asks_and_ends(tmp_path: Path, home: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "studio", "demo"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    key = re.search(r"studio run: submitted experiment (\S+)", done.stderr)
    assert key, done.stderr

    shown = re.findall(r"true (\d), answer (\d)", done.stdout)
    assert len(shown) == 8
    told = re.search(r"^(\d+) of 360 answers are right", done.stdout, re.MULTILINE)
    trained = re.search(r"^([\d.]+)% of 360 held-out images are recognised", done.stdout, re.MULTILINE)
    assert told and trained
    # The served checkpoint answers as the model that the script evaluated, up to an image or two on the edge.
    assert abs(int(told[1]) - 3.6 * float(trained[1])) <= 2
    assert int(told[1]) > 324

    last = done.stdout.splitlines()[-4:]
    assert [line.split()[:2] for line in last] == [["studio", "runs"]] * 3 + [["studio", "serve"]]
    listed = subprocess.run(
        [sys.executable, "-m", "studio", "runs", "show", key[1]], cwd=tmp_path, capture_output=True, text=True
    )
    assert listed.returncode == 0 and "finished" in listed.stdout, listed.stdout + listed.stderr
    assert not [p for p in psutil.process_iter() if _home(p) == str(home)]


def _home(process: psutil.Process) -> str | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.environ().get("HOME")
    except psutil.Error:
        return None
