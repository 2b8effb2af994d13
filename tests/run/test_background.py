"""Runs in the background, runs that go on, and runs without the runner."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from studio.cli.main import command
from studio.errors import ConfigError
from tests.studio_process import alive, environment, opened, record, studio, until


def test_a_detached_run_returns_its_key_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\nprint('begun')\nwhile not os.path.exists('go'): pass\nprint('done')\n")
    done = studio("run", "--detach", "a.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    key = done.stdout.decode().strip()
    assert record(key).status == "running"
    (tmp_path / "go").touch()
    until(lambda: record(key).ended, "the run's end")
    assert record(key).status == "finished"
    assert b"".join(opened().output(key)) == b"begun\ndone\n"


def test_a_detached_run_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import time; time.sleep(600)")
    key = studio("run", "--detach", "a.py", cwd=tmp_path).stdout.decode().strip()
    assert studio("runs", "stop", key, cwd=tmp_path).returncode == 0
    assert record(key).status == "stopped"


def outcome(said: bytes) -> list[str]:
    """The lines without studio's name, the number of the key, and how long it took."""
    plain = [re.sub(r"^studio( run)?: |2(?=\b)|after [\d.]+s", "", line) for line in said.decode().splitlines()]
    return [re.sub(r"^studio run: ", "", line) for line in plain if "submitted" not in line]


@pytest.mark.parametrize("case", ["taken", "expired", "store", "home", "program"])
def test_a_detached_run_fails_like_one_in_the_foreground(tmp_path: Path, home: Path, case: str) -> None:
    (tmp_path / "a.py").write_text("")
    words, env = ["-e", "k", "a.py"], {}
    if case == "taken":
        assert studio("run", *words, cwd=tmp_path).returncode == 0
    elif case == "expired":
        words = ["--lifetime", "0.000001", *words]
    elif case == "store":
        (tmp_path / "file").write_text("")
        words = ["--store", f"file://{tmp_path}/file/x", *words]
    elif case == "home":
        env = {"STUDIOML_HOME": "/dev/null/home"}
    else:
        (tmp_path / "program").write_bytes(b"\x7fELF that is none")
        (tmp_path / "program").chmod(0o700)
        words = ["-e", "k", "--", "./program"]
    there = studio("run", "--detach", *words, cwd=tmp_path, env=env)
    here = studio("run", *[word if word != "k" or case == "taken" else "k2" for word in words], cwd=tmp_path, env=env)
    if case == "store":  # the run goes on without it, and says so
        assert (there.returncode, there.stdout) == (0, b"k\n"), (there.stderr, here.stderr)
        assert b"studio: the store cannot be written" in there.stderr and b"the store cannot be written" in here.stderr
        return
    assert there.returncode == here.returncode == {"taken": 5, "expired": 1, "home": 5, "program": 127}[case], (
        there.stderr
    )
    assert there.stdout == here.stdout == b""
    assert outcome(there.stderr) == outcome(here.stderr)


def test_resume_merges_tags_notes_and_parameters(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import sys; sys.exit(1)")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x").write_text("1")
    old = ("--tag", "a", "--note", "first", "--param", "lr=0.1", "--param", "n=1", "--max-duration", "1h")
    assert studio("run", "-e", "k", *old, "a.py", "x", cwd=tmp_path).returncode == 1
    new = ("--tag", "b", "--tag", "a", "--note", "second", "--param", "lr=0.2", "--param", "m=2", "--metric", "acc:max")
    (tmp_path / "a.py").write_text("")
    done = studio("run", "--resume", "k", *new, "--capture", "more:more", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = record("k")
    assert (found.tags, found.notes) == (("a", "b"), "first\nsecond")
    assert (found.params, found.given) == ({"lr": 0.2, "n": 1, "m": 2}, ("lr", "n", "m"))
    assert found.metric is not None and (found.metric.name, found.max_duration) == ("acc", None)
    assert found.artifacts["more"].files == 1 and found.artifacts["more"].mutable
    assert studio("run", "--resume", "k", *new, "a.py", "other", cwd=tmp_path).returncode == 0
    again = record("k")
    assert (again.tags, again.notes, again.params) == (found.tags, found.notes, found.params), (
        "the same changes nothing"
    )
    assert (again.command.args, again.command.python) == (("other",), found.command.python)


def test_resume_refuses_what_says_how_a_run_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("")
    assert studio("run", "-e", "k", "a.py", cwd=tmp_path).returncode == 0
    monkeypatch.chdir(tmp_path)
    for words, said in (
        ("--capture-once a.py:x", "--capture-once cannot be given with --resume: k has begun"),
        ("--reuse k/modeldir:x", "--reuse cannot be given with --resume: k has begun"),
        ("--lifetime 1h", "--lifetime cannot be given with --resume: k has begun"),
        ("--capture a.py:workspace", "--capture a.py:workspace: k has captured this one once, at its start"),
    ):
        done = CliRunner().invoke(command, ["run", *words.split(), "--resume", "k"], standalone_mode=False)
        assert isinstance(done.exception, ConfigError) and done.exception.message == said, done.exception


RESUMABLE = (
    "import os, sys\nfrom studio import fs_tracker\npath = fs_tracker.get_model_directory() + '/epoch'\n"
    "epoch = int(open(path).read()) if os.path.exists(path) else 0\nprint('from', epoch)\n"
    "open(path, 'w').write(str(epoch + 1))\n"
    "import studio; studio.log({'loss': 5.0 - epoch}, step=epoch); studio.note('a note')\nsys.exit(epoch == 0)\n"
)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_resume_goes_on_in_the_same_record_with_its_checkpoints(tmp_path: Path, home: Path, elsewhere: bool) -> None:
    (tmp_path / "a.py").write_text(RESUMABLE)
    assert studio("run", "-e", "k", "--tag", "t", "a.py", "x", cwd=tmp_path).returncode == 1
    if elsewhere:  # as on another machine: nothing of the run is left here but the store
        for folder in ("experiments", "index", "cache"):
            subprocess.run(["rm", "-rf", str(home / ".studioml" / folder)], check=True)
    done = studio("run", "--resume", "k", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"from 1\n"), done.stderr
    found = record("k")
    assert (found.status, found.tags, found.command.args) == ("finished", ("t",), ("x",))
    assert b"".join(opened().output("k")) == b"from 0\nfrom 1\n"
    assert (found.summary["loss"].first, found.summary["loss"].last, found.notes) == (5.0, 4.0, "a note")
    assert len(opened().experiments()) == 1


def test_resume_under_another_name_is_refused(tmp_path: Path) -> None:
    assert studio("run", "-e", "k", "--", "true", cwd=tmp_path).returncode == 0
    done = studio("run", "--resume", "k", "-e", "other", cwd=tmp_path)
    assert done.returncode == 3 and b"-e other names another experiment" in done.stderr, done.stderr
    assert [e.key for e in opened().experiments()] == ["k"]
    assert studio("run", "--resume", "k", "-e", "k", cwd=tmp_path).returncode == 0


def test_resume_of_a_running_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import time; time.sleep(600)")
    key = studio("run", "--detach", "a.py", cwd=tmp_path).stdout.decode().strip()
    done = studio("run", "--resume", key, cwd=tmp_path)
    assert done.returncode == 5
    assert b"running" in done.stderr
    assert studio("runs", "delete", "-y", key, cwd=tmp_path).returncode == 5
    assert studio("runs", "stop", key, cwd=tmp_path).returncode == 0


def python(body: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", body], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120
    )


def test_start_tracks_the_block_without_the_runner(tmp_path: Path) -> None:
    done = python(
        "import studio\n"
        "with studio.start(project='p', tags=['t']) as run:\n"
        "    run.params(lr=0.5)\n    studio.log({'loss': 2.0}, step=3)\n"
        "    (run.artifact('modeldir') / 'm.txt').write_text('model')\n"
        "print(run.key)\nstudio.log({'loss': 9})\nassert repr(run) == f'<studio run {run.key}>', run\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = record(done.stdout.strip())
    assert (found.status, found.project, found.tags, found.params) == ("finished", "p", ("t",), {"lr": 0.5})
    assert (found.summary["loss"].last, found.summary["loss"].count) == (2.0, 1)
    assert found.artifacts["modeldir"].files == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("ValueError", ("failed", "failed")),
        ("KeyboardInterrupt", ("stopped", "interrupted")),
        ("SystemExit(0)", ("finished", "finished")),
    ],
)
def test_start_records_how_the_block_ended(tmp_path: Path, error: str, expected: tuple[str, str]) -> None:
    python(f"import studio\nwith studio.start(key='k'):\n    raise {error}\n", tmp_path)
    found = record("k")
    assert found.exit is not None
    assert (found.status, found.exit.reason) == expected


def test_a_start_that_nobody_ends_ends_with_the_process(tmp_path: Path) -> None:
    done = python("import studio\nrun = studio.start(key='k')\nstudio.log({'x': 1})\n", tmp_path)
    assert done.returncode == 0, done.stderr
    assert record("k").status == "finished"
    assert record("k").summary["x"].last == 1


KILLED = """
import studio, time
studio.start(key="k")
studio.log({"x": 1})
time.sleep(0.7)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_killed_process_that_tracks_itself_is_recovered(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(120)
    assert not alive(process.pid)
    assert b"k was lost" in studio("runs", "list", cwd=tmp_path).stderr
    assert (record("k").status, record("k").summary["x"].last) == ("lost", 1)


def test_calls_outside_a_run_are_harmless(tmp_path: Path) -> None:
    done = python(
        "import studio\nstudio.log({'a': 1})\nstudio.params(x=1)\nstudio.tags('t')\nstudio.note('n')\n", tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert opened().experiments() == []


def test_params_tags_and_notes_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import studio\nstudio.params({'opt': {'lr': 0.1}}, api_key='x')\n"
        "studio.tags('a', 'b')\nstudio.tags('no name', 'c')\nstudio.note('looks good')\nprint('went on')\n"
    )
    done = studio(
        "run", "-e", "k", "--tag", "cli", "--note", "from the command line", "--param", "n=3", "a.py", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = record("k")
    assert found.params == {"n": 3, "opt.lr": 0.1, "api_key": "***"}
    assert found.tags == ("cli", "a", "b", "c")
    assert b"studio.tags: 'no name' is left out: a name is a letter or digit" in done.stderr, "as of `runs tag`"
    assert done.stdout == b"went on\n"
    assert found.notes == "from the command line\nlooks good"


def test_no_autolog_leaves_no_trace_in_the_scripts_interpreter(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, sys; print(sorted(m for m in sys.modules if 'studio' in m), 'inject' in str(sys.path))"
    )
    done = studio("run", "--no-autolog", "a.py", cwd=tmp_path)
    assert done.stdout == b"[] False\n"
