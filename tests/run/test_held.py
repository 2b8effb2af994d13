"""Files that end with the process that made them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.errors import StoreError
from studio.run.held import held_file, remove_dead
from tests.studio_process import environment, record, start, studio, until

HOLDS = """
import sys
from pathlib import Path
from studio.run.held import held_file
with held_file(Path(sys.argv[1]), "text"):
    print(flush=True)
    input()
"""


def test_only_the_files_of_dead_processes_go(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path / "token-1")],
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    with held_file(tmp_path / "token-2", "other") as mine:
        remove_dead(tmp_path, "token-*")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["token-1", "token-2"]
        assert (mine.read_text(), mine.stat().st_mode & 0o777) == ("other", 0o600)
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
        remove_dead(tmp_path, "token-*")
        assert list(tmp_path.iterdir()) == [mine]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"), held_file(tmp_path / "file" / "token-1", "text"):
        pass


def test_a_recovered_run_keeps_no_token(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, time\nopen(os.environ['STUDIOML_SPOOL'] + '/token-1', 'w').write('x')\ntime.sleep(100)\n"
    )
    process = start("run", "-e", "k", "a.py", cwd=tmp_path)
    token = home / ".studioml" / "experiments" / "k" / ".studio" / "token-1"
    until(token.exists, "the script's begin")
    process.kill()
    process.wait(120)

    def recovered() -> bool:
        return b"k was lost" in studio("runs", "list", cwd=tmp_path).stderr or record("k").status == "lost"

    until(recovered, "recovery")
    assert not token.exists()
