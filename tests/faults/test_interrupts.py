"""Ctrl-C at each line that a run executes before its script starts: stopped or never there, and nothing left open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.studio_process import environment, opened, studio

DRIVER = Path(__file__).with_name("at_line.py")
FILES = ",".join(
    f"studio/{name}.py"
    for name in (
        "run/launch", "run/supervisor", "run/inputs", "run/spool",
        "tracking/records", "tracking/index", "tracking/handle", "tracking/rows",
        "stores/local", "stores/filelock", "stores/folder",
    )
)  # fmt: skip


TRANSACTION = "studio/tracking/handle.py"


def interrupted(line: int, key: str, cwd: Path, files: str = FILES) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DRIVER), "SIGINT", str(line), "run/supervisor.py:_loop", files, "run", "-e", key, "a.py"],
        cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("files", "samples"),
    [
        pytest.param(FILES, 12, id="some"),
        pytest.param(TRANSACTION, 6, id="some-of-the-index"),
        pytest.param(
            TRANSACTION, 1000, id="every-line-of-the-index", marks=[pytest.mark.soak, pytest.mark.timeout(7200)]
        ),
        pytest.param(FILES, 3000, id="every-line", marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
    ],
)
def test_an_interrupt_at_any_line_of_the_start_is_no_loss(tmp_path: Path, files: str, samples: int) -> None:
    (tmp_path / "a.py").write_text("")
    interrupted(0, "first", tmp_path)  # makes the store, which later ones find
    counted = interrupted(0, "counted", tmp_path, files)
    lines = int(counted.stderr.partition("lines: ")[2].split()[0])
    assert lines > 20, counted.stderr
    (tmp_path / "a.py").write_text("import time; time.sleep(600)")
    step = max(1, lines // samples)
    for line in range(lines % step or 1, lines + 1, step):
        done = interrupted(line, f"k{line}", tmp_path, files)
        assert done.returncode == 130, (line, done.stderr)
        assert "Traceback" not in done.stderr and "lost" not in done.stderr, (line, done.stderr)
    listed = studio("runs", "list", cwd=tmp_path)
    assert b"lost" not in listed.stdout + listed.stderr
    assert {e.status for e in opened().experiments(limit=None)} <= {"stopped", "finished"}
    assert list((Path(os.environ["STUDIOML_HOME"]) / "open").iterdir()) == []
