"""What studio says among a script's own lines can be told from them."""

from __future__ import annotations

from pathlib import Path

from tests.studio_process import studio


def test_every_line_that_studio_says_while_a_script_runs_begins_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import subprocess, sys, studio\n"
        "print('mine', file=sys.stderr, flush=True)\n"
        "studio.log_image('x', 'is-not-there.png')\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
    )
    done = studio("run", "--capture", "other:nowhere", "--max-duration", "90s", "a.py", cwd=tmp_path)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 0, lines
    assert [line for line in lines if not line.startswith("studio")] == ["mine"]
    said = "\n".join(lines)
    assert "studio: image 'x' could not be kept: No such file or directory" in lines
    assert "studio: ended 1 process that the script left running" in lines
    assert "studio: artifact " in said and "studio run: submitted" in said
