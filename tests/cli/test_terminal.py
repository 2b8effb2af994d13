"""What others wrote reaches a file or a pipe byte for byte, and a terminal as text that it does not obey."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from studio.cli.outlet import Outlet, harmless
from studio.experiment import ArtifactRef, Command, Experiment, Git
from tests.commands import run_all
from tests.studio_process import STUDIO, environment, opened

SPELLED = [
    "\x1b]0;title\x07", "\x1b]52;c;aGk=\x07", "\x1b]8;;http://x\x1b\\", "\x1b[2J", "\x1b[1A", "\x1b[1;1H", "\x1bc",
    "\x1b[?1049h", "\x1b[>0q", "\x1bP+q\x1b\\", "\x9b2J", "\x9d0;x\x9c", "\x1b[8m", "\x1b[1;8m", "\x1b[38;8m",
    "\x1b[08m", "\x1b[6n", "\x1b[31", "\x07", "\x00", "\x0b", "\x7f", "\u202eevil", "\u2028", "\x1b[31;?m", "\x0e",
]  # fmt: skip
KEPT = [
    "\x1b[31mred\x1b[0m", "\x1b[m", "\x1b[1;38;5;8mgrey", "\x1b[48;2;8;8;8m", "\x1b[38:2::8:8:8m", "\x1b[1;97;107m",
    "50%\r100%\n", "a\b \tx", "é日🙂\u0301",
]  # fmt: skip


def test_a_terminal_gets_colours_and_nothing_else_that_it_obeys() -> None:
    for text in SPELLED:
        shown = harmless(f"a{text}z")
        assert shown.isascii() and shown.isprintable() and shown[0] + shown[-1] == "az", shown
    for text in KEPT:
        assert harmless(text) == text


def read_all(terminal: int) -> bytes:
    """What was written to the other end, once that is closed."""
    found = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            found += piece
    os.close(terminal)
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_what_comes_in_pieces_is_shown_as_a_whole(size: int) -> None:
    ours, theirs = pty.openpty()
    text = "é\x1b[1;31mred\x1b[0m日\x1b[2J end"
    with Outlet(theirs, "utf-8") as end:
        raw = text.encode() + b"\xff!"
        for at in range(0, len(raw), size):
            assert end.write(raw[at : at + size]) == len(raw[at : at + size])
    os.close(theirs)
    assert read_all(ours).decode() == "é\x1b[1;31mred\x1b[0m日\\x1b[2J end\\xff!"


def at_terminal(*words: str, cwd: Path) -> str:
    """What `studio` shows on a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*STUDIO, *words], cwd=cwd, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        shown = read_all(ours)
    return shown.decode().replace("\r\n", "\n")


EVIL = "\x1b]0;title\x07\x1b]52;c;aGk=\x07\x1b[2J\x9b1A"
OUTPUT = f"{EVIL}\x1b[31mred\x1b[0m é".encode() + b"\xff\n"
BEFORE = {"odd.txt": f"one\r\n\ttwo\x0cthree {EVIL} hidden\rshown", f"name{EVIL}\n.txt": "x\n", "a.py": "a\n"}
AFTER = {"odd.txt": "one\n\ttwo", "a.py": f"a\n# {EVIL}"}


def kept(key: str, files: dict[str, str], folder: Path) -> None:
    """An experiment with these files, a patch and an output."""
    for name, text in files.items():
        (folder / key).mkdir(parents=True, exist_ok=True)
        (folder / key / name).write_bytes(text.encode())
    tracking = opened().tracking
    workspace = ArtifactRef(False, tracking.artifacts.capture(folder / key).manifest)
    git = Git("", None, "main", True, tracking.artifacts.write_blob(OUTPUT))
    tracking.records.create(
        Experiment(key, Command("script", "a.py"), git=git, artifacts={"workspace": workspace}, status="finished")
    )
    tracking.store.append(f"runs/{key}/output", 0, OUTPUT)


def test_no_command_lets_a_terminal_obey_what_others_wrote(tmp_path: Path) -> None:
    kept("one", BEFORE, tmp_path)
    kept("two", AFTER, tmp_path)
    commands = (
        ["runs", "logs", "two"], ["runs", "compare", "one", "two", "--diff"], ["runs", "show", "two", "--patch"],
        ["sql", "--csv", f"SELECT '{EVIL}'"], [EVIL], ["runs", "get", "one", EVIL, "--debug"],
    )  # fmt: skip
    shown = [at_terminal(*words, cwd=tmp_path) for words in commands]
    for text in shown:
        assert re.fullmatch(r"(?:[^\x00-\x1f\x7f-\x9f]|[\n\t]|\x1b\[[0-9]*m)*", text) and "\\x1b]0;" in text, text
    assert shown[0].endswith("\x1b[31mred\x1b[0m é\\xff\n") and "\\x1b[31mred" in shown[2]
    logs, diff, patch, csv = (ran.out for ran in run_all(commands[:4], cwd=tmp_path))
    assert logs == patch == OUTPUT and EVIL.encode() in csv
    assert b"-one\r\n" in diff and b"+one\n" in diff
    assert subprocess.run(["git", "apply", "-p1"], cwd=tmp_path / "one", input=diff, check=False).returncode == 0
    same = subprocess.run(["diff", "-r", "one", "two"], cwd=tmp_path, capture_output=True, check=False)
    assert (same.returncode, same.stdout) == (0, b"")
