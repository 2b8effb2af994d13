"""Media of real runs: on their way to the store, by the command line, after a kill, after a resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import studio as api
from tests.studio_process import opened, record, start, studio, until

INJECT = Path(__file__).resolve().parents[2] / "studio" / "run" / "inject"
SCRIPT = """
import sys, studio
for word in sys.argv[1:]:
    studio.log_text("words", word, caption="said")
studio.log_table("results", [{"loss": 0.5}], step=3)
"""
LONG = """
import sys, time, studio
studio.log_text("words", "before")
print("ready", flush=True)
time.sleep(100)
"""


def words(key: str = "last") -> list[str]:
    media = opened().media(record(key).key)
    return [media.read(entry).decode() for entry in media.entries("words")]


def test_a_run_and_the_command_that_shows_its_media(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SCRIPT)
    assert studio("run", "-e", "a", "a.py", "one", "two", cwd=tmp_path).returncode == 0
    assert words("a") == ["one", "two"]
    listed = studio("runs", "media", "a", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.decode().splitlines()[1:] == [
        "results  3     table  35     1 row, 1 column",
        "words    0     text   3      3 characters     said",
        "words    1     text   3      3 characters     said",
    ]
    done = studio("runs", "media", "a", "--name", "words", "--step", "1", "--json", cwd=tmp_path)
    (entry,) = json.loads(done.stdout)["media"]
    assert (entry["name"], entry["step"], entry["file"], entry["chars"]) == ("words", 1, "words/1.txt", 3)
    done = studio("runs", "media", "a", "--output", "out", cwd=tmp_path)
    assert done.stdout.split() == [b"out/results/3.json", b"out/words/0.txt", b"out/words/1.txt"]
    assert (tmp_path / "out/words/1.txt").read_text() == "two"
    done = studio("runs", "media", "a", "--name", "word", cwd=tmp_path)
    assert done.returncode == 4 and b"did you mean 'words'?" in done.stderr
    done = studio("runs", "media", "a", "--step", "9", cwd=tmp_path)
    assert done.returncode == 4 and b"no media at step 9" in done.stderr


def test_a_run_without_media_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    assert studio("run", "-e", "a", "a.py", cwd=tmp_path).returncode == 0
    done = studio("runs", "media", "a", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"") and b"a logged no media" in done.stderr


def test_media_are_in_the_store_while_the_script_runs_and_gone_with_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(LONG)
    process = start("run", "-e", "a", "a.py", cwd=tmp_path)
    until(lambda: list(opened().tracking.store.list("runs/a/media/index")), "the index in the store")
    assert words("a") == ["before"]
    process.send_signal(signal.SIGTERM)
    process.wait(120)
    opened().delete("a")
    assert list(opened().tracking.store.list("runs/a")) == []


def test_media_of_a_killed_supervisor_are_recovered(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(LONG.replace("print(", "studio.log_text('words', 'x'); print("))
    process = start("run", "-e", "a", "a.py", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait(120)
    until(lambda: record("a").status == "lost", "recovery")
    assert words("a") == ["before", "x"]


def test_a_run_that_is_resumed_elsewhere_counts_on(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text(SCRIPT)
    assert studio("run", "-e", "a", "a.py", "one", "two", cwd=tmp_path).returncode == 0
    shutil.rmtree(home / ".studioml" / "experiments")
    assert studio("run", "--resume", "a", "a.py", "three", cwd=tmp_path).returncode == 0
    assert words("a") == ["one", "two", "three"]


def test_artifact_gives_the_path_that_is_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text(
        "import studio\n(studio.artifact('modeldir') / 'w').write_text('x')\nstudio.artifact('none')"
    )
    done = studio("run", "-e", "a", "a.py", cwd=tmp_path)
    assert done.returncode == 1
    assert b"ArtifactNotFound: this run has no artifact 'none'" in done.stderr
    assert record("a").artifacts["modeldir"].files == 1
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert api.artifact("modeldir").resolve() == tmp_path / "modeldir"
    assert not (tmp_path / "modeldir").exists()


def test_media_of_a_with_block(tmp_path: Path) -> None:
    with api.start(key="a"):
        api.log_text("words", "one")
    with api.start(key="b"):
        api.log_text("words", "two")
    api.log_text("words", "outside")
    assert (words("a"), words("b")) == (["one"], ["two"])


def test_the_injected_module_alone_needs_neither_studio_nor_numpy(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (tmp_path / "p.png").write_bytes(b"\x89PNG....")
    (tmp_path / "a.py").write_text(
        "import sys\n"
        "sys.modules['numpy'] = sys.modules['studio'] = None\n"
        "import _studio_media as media\n"
        "media.log_image('image', 'p.png')\n"
        "media.log_histogram('histogram', [1, 2, 3])\n"
        "media.log_table('table', [{'a': 1}])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(INJECT), "STUDIOML_SPOOL": str(spool)}
    done = subprocess.run([sys.executable, "a.py"], cwd=tmp_path, env=env, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in (spool / "media").iterdir()) == ["histogram", "image", "index", "table"]
