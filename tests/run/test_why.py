"""Why a run failed, who stopped it, and which packages a command ran with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from studio.experiment import Exit, Experiment, Failure, Times
from tests.studio_process import opened, record, start, studio, until

PYTHON = Path(sys.executable).parent


def ended(folder: Path, source: str, *args: str, env: dict[str, str] | None = None) -> Exit:
    """How a script ends; also that it says and returns the same as without studio."""
    (folder / "train.py").write_text(textwrap.dedent(source))
    bare = subprocess.run(
        [sys.executable, "train.py", *args], cwd=folder, capture_output=True, env={**os.environ, **(env or {})}
    )
    done = studio("run", "--no-workspace", "train.py", *args, cwd=folder, env=env)
    lines = [line for line in done.stderr.splitlines(True) if not line.startswith(b"studio")]
    assert (done.stdout, b"".join(lines)) == (bare.stdout, bare.stderr)
    assert done.returncode == (bare.returncode if bare.returncode >= 0 else 128 - bare.returncode)
    end = record().exit
    assert end is not None
    return end


@pytest.mark.parametrize(
    ("source", "failure"),
    [
        ("def main():\n    raise ValueError('bad')\nmain()", Failure("ValueError", "bad", "train.py:2 in main")),
        ("class Odd(Exception): pass\nraise Odd", Failure("Odd", "", "train.py:2 in <module>")),
        ("import nosuch", Failure("ModuleNotFoundError", "No module named 'nosuch'", "train.py:1 in <module>")),
        ("x = 1\ndef f(:", Failure("SyntaxError", "invalid syntax (train.py, line 2)", "train.py:2")),
        ("try:\n    {}['k']\nexcept KeyError as e:\n    raise OSError(2, 'gone') from e",
         Failure("FileNotFoundError", "[Errno 2] gone", "train.py:4 in <module>")),
        ("raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])",
         Failure("ExceptionGroup", "two (2 sub-exceptions): ValueError: a; KeyError: 'b'", "train.py:1 in <module>")),
        ("import json\njson.loads('{')",  # the last place in the script, not in the library
         Failure("json.decoder.JSONDecodeError",
                 "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
                 "train.py:2 in <module>")),
        ("import sys\nsys.exit('no data')", Failure("SystemExit", "no data", "train.py:2 in <module>")),
        ("import sys\nsys.excepthook = lambda *a: print('mine')\nraise ValueError('x')",
         Failure("ValueError", "x", "train.py:3 in <module>")),
        ("class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E",
         Failure("E", "no message: its __str__ raised RuntimeError", "train.py:3 in <module>")),
        ("raise ValueError('half \\ud83d')", Failure("ValueError", "half ?", "train.py:1 in <module>")),
    ],
)  # fmt: skip
def test_the_exception_that_ends_a_script_is_in_its_record(tmp_path: Path, source: str, failure: Failure) -> None:
    end = ended(tmp_path, source)
    assert (end.code, end.reason, end.error) == (1, "failed", failure)


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.exit(3)",
        "import threading as t\na = t.Thread(target=lambda: 1 / 0)\nt.excepthook = lambda *_: None\na.start()\na.join()"
        "\nimport sys; sys.exit(2)",
        "import os; os._exit(4)",
        "import sys\ntry:\n    sys.exit('caught')\nexcept SystemExit:\n    pass\nsys.exit(5)",
        "import sys\ntry:\n    raise ValueError\nexcept ValueError:\n    sys.exit(6)",
    ],
)
def test_what_did_not_end_the_script_is_no_reason(tmp_path: Path, source: str) -> None:
    end = ended(tmp_path, source)
    assert end.code and end.error is None


def test_a_caught_exit_shows_the_scripts_own_lines_only(tmp_path: Path) -> None:
    source = "import sys, traceback\ntry:\n    sys.exit('a')\nexcept SystemExit:\n    traceback.print_exc()\n"
    assert ended(tmp_path, source + "sys.exit('b')").error == Failure("SystemExit", "b", "train.py:6 in <module>")
    assert ended(tmp_path, source + "import pickle; assert pickle.loads(pickle.dumps(sys.exit)) is sys.exit").code == 0
    wrong = "import sys\ntry:\n    sys.exit(1, 2)\nexcept TypeError as e:\n    print(e)"
    assert ended(tmp_path, wrong).reason == "finished"


def test_messages_are_cut_and_masked(tmp_path: Path) -> None:
    end = ended(tmp_path, "raise ValueError('x' * 100_000)")
    assert end.error is not None and len(end.error.message) == 2001 and end.error.message.endswith("x…")
    source = "import sys; raise ValueError(f'{sys.argv[2]} is no token for https://ada:pw12345678@example.org')"
    secret = ended(tmp_path, source, "--token", "xyz-987-uvw-abc").error
    assert secret is not None and "xyz-987" not in secret.message and "pw12345678" not in secret.message
    env = {"DEMO_API_KEY": "abc-123-def-ghi"}
    secret = ended(tmp_path, "import os; raise KeyError(os.environ['DEMO_API_KEY'])", env=env).error
    assert secret is not None and secret.message == "'***'"


def test_show_and_list_tell_why(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f():\n    raise ValueError('first\\nsecond')\nf()\n")
    (tmp_path / "b.py").write_text("import os; os.abort()\n")
    (tmp_path / "c.py").write_text("print()\n")
    for name in "cab":
        studio("run", "-e", name, "--no-workspace", f"{name}.py", cwd=tmp_path)
        listed = studio("runs", "list", cwd=tmp_path).stdout.decode()
        assert ("error" in listed.splitlines()[0]) == (name != "c")  # no column for nothing
    assert "ValueError: first second" in listed and "SIGABRT" in listed
    shown = studio("runs", "show", "a", cwd=tmp_path).stdout.decode()
    assert "error    ValueError: first\n         second\nat       a.py:2 in f\n" in shown
    assert "signal 6, SIGABRT" in studio("runs", "show", "b", cwd=tmp_path).stdout.decode()
    asked = studio("runs", "list", "--columns", "key,error", cwd=tmp_path).stdout.decode().splitlines()
    assert [line.split(None, 1) for line in asked[1:]] == [["b", "SIGABRT"], ["a", "ValueError: first second"], ["c"]]


def test_memory_that_ran_out_is_told_of_subclasses_too(tmp_path: Path) -> None:
    end = ended(tmp_path, "class Full(MemoryError): pass\nraise Full('no room')")
    assert (end.reason, end.error) == ("out-of-memory", Failure("Full", "no room", "train.py:2 in <module>"))


def test_in_process_runs_tell_why(tmp_path: Path) -> None:
    source = """
        import studio
        try:
            with studio.start() as run:
                raise ValueError("inside")
        except ValueError:
            pass
        """
    (tmp_path / "a.py").write_text(textwrap.dedent(source))
    subprocess.run([sys.executable, "a.py"], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    end = record().exit
    assert end is not None and end.error == Failure("ValueError", "inside", "a.py:5 in <module>")
    (tmp_path / "b.py").write_text("import studio\nstudio.start()\n1 / 0\n")
    subprocess.run(
        [sys.executable, "b.py"], cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    end = record().exit
    assert end is not None and end.error == Failure("ZeroDivisionError", "division by zero", "b.py:3 in <module>")


def test_a_resumed_run_forgets_why_it_failed_before(tmp_path: Path) -> None:
    source = "import os, sys\nif not os.path.exists('again'): raise ValueError('once')\nos._exit(3)"
    assert ended(tmp_path, source).error == Failure("ValueError", "once", "train.py:2 in <module>")
    (tmp_path / "again").touch()
    key = record().key
    opened().tracking.records.update(key, _ten_hours_earlier)
    studio("run", "--no-workspace", "--resume", key, cwd=tmp_path)
    end = record().exit
    assert end is not None and (end.code, end.error) == (3, None)
    times = record().times
    took = times.took()
    assert took is not None and took < 5000 and times.paused + took > 35000
    assert [e.key for e in opened().experiments("duration < 5000")] == [key]
    shown = studio("runs", "show", key, cwd=tmp_path).stdout.decode().split("\n")
    assert any(line.startswith("paused  ") and line.endswith(" before --resume") for line in shown), shown


def _ten_hours_earlier(experiment: Experiment) -> Experiment:
    added, started, finished = experiment.times.added, experiment.times.started, experiment.times.finished
    assert started is not None and finished is not None
    return experiment.with_changes(times=Times(added - 36000, started - 36000, finished - 36000))


SLEEPER = "import time; print('up', flush=True); time.sleep(100)"


@pytest.mark.parametrize(
    ("sent", "reason", "by"),
    [(signal.SIGINT, "interrupted", "Ctrl-C"), (signal.SIGTERM, "stopped", "SIGTERM"),
     (signal.SIGHUP, "stopped", "SIGHUP")],
)  # fmt: skip
def test_a_stopped_run_says_which_signal_stopped_it(tmp_path: Path, sent: int, reason: str, by: str) -> None:
    (tmp_path / "train.py").write_text(SLEEPER)
    hangs_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and studio then does, too
    try:
        process = start("run", "--no-workspace", "-e", "k", "train.py", cwd=tmp_path)
    finally:
        signal.signal(signal.SIGHUP, hangs_up)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    process.send_signal(sent)
    process.wait(280)
    end = record("k").exit
    assert end is not None and (end.reason, end.by, end.error) == (reason, by, None)


def test_a_stopped_run_says_who_stopped_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SLEEPER)
    studio("run", "--no-workspace", "--detach", "-e", "k", "train.py", cwd=tmp_path)
    (tmp_path / "studio.yaml").write_text("owner: grace\n")
    studio("runs", "stop", "k", cwd=tmp_path)
    until(lambda: record("k").ended, "the end")
    end, host = record("k").exit, os.uname().nodename
    assert end is not None and (end.reason, end.by) == ("stopped", f"grace@{host}")
    assert f"stopped by  grace@{host}\n" in studio("runs", "show", "k", cwd=tmp_path).stdout.decode()
    studio("run", "--no-workspace", "-e", "late", "--max-duration", "1s", "train.py", cwd=tmp_path)
    end = record("late").exit
    assert end is not None and (end.reason, end.by) == ("max-duration", "--max-duration")


def test_a_request_without_a_name_stops_as_well(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SLEEPER)
    studio("run", "--no-workspace", "--detach", "-e", "k", "train.py", cwd=tmp_path)
    opened().tracking.store.write("runs/k/stop", b"")  # as an older studio asks
    until(lambda: record("k").ended, "the end")
    end = record("k").exit
    assert end is not None and (end.reason, end.by) == ("stopped", None)


@pytest.mark.parametrize(
    "words",
    [("python", "train.py"), ("python", "-m", "train"), ("bash", "go.sh"), ("./tool",), ("bash", "-c", "./tool")],
)
def test_packages_of_commands_that_come_to_a_python(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "train.py").write_text("import os; print('STUDIOML_DESCRIBE' in os.environ)")
    (tmp_path / "go.sh").write_text("python -c 'print(1)' > /dev/null\npython train.py\n")
    (tmp_path / "tool").write_text(f"#!{sys.executable}\nimport os; print('STUDIOML_DESCRIBE' in os.environ)")
    (tmp_path / "tool").chmod(0o755)
    env = {"PATH": f"{PYTHON}:{os.environ['PATH']}"}
    studio("run", "--no-workspace", "-e", "plain", "train.py", cwd=tmp_path, env=env)
    for key, more in (("k", ()), ("off", ("--no-autolog",))):
        done = studio("run", "--no-workspace", "-e", key, *more, "--", *words, cwd=tmp_path, env=env)
        assert done.stdout == b"False\n"
    plain = record("plain")
    for found in record("k"), record("off"):
        if found.key == "off" and words[0] == "bash":  # without hooks nobody asks what a shell starts
            assert found.packages == () and found.command.python is None
        else:
            assert found.packages == plain.packages and found.packages
            assert found.command.python == plain.command.python
            assert (found.command.kind, found.command.target) == ("exec", words[0])


def test_a_command_tells_what_ended_its_last_python(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("raise ValueError('a')")
    (tmp_path / "go.sh").write_text("python a.py 2>/dev/null || python -c 'print(1)'\nexit 3\n")
    env = {"PATH": f"{PYTHON}:{os.environ['PATH']}"}
    studio("run", "--no-workspace", "-e", "k", "--", "bash", "go.sh", cwd=tmp_path, env=env)
    end = record("k").exit
    assert end is not None and (end.code, end.error) == (3, None)
    studio("run", "--no-workspace", "-e", "l", "--", "bash", "-c", "python a.py; exit 3", cwd=tmp_path, env=env)
    end = record("l").exit
    assert end is not None and end.error == Failure("ValueError", "a", "a.py:1 in <module>")
