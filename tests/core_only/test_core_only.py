"""With the core alone, everything that needs no framework works, and nothing heavy is imported for nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HEAVY = {
    "boto3", "botocore", "flask", "google.cloud", "h5py", "keras", "numpy", "onnxruntime", "PIL", "requests", "sklearn",
    "sqlite3", "tensorflow", "torch", "uvicorn", "yaml",
}  # fmt: skip


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload, no-any-return]


def imported(python: str, *arguments: str) -> set[str]:
    """Top-level names (and google.cloud) of the modules that were imported, as the interpreter itself reports them."""
    done = run(python, "-X", "importtime", *arguments)
    assert done.returncode == 0, done.stderr
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    return {name.partition(".")[0] for name in names} | {name for name in names if name == "google.cloud"}


def test_the_environment_holds_no_framework(core_python: str) -> None:
    for name in ("keras", "tensorflow", "sklearn", "torch", "onnxruntime", "pytest"):
        assert run(core_python, "-c", f"import {name}").returncode != 0, f"{name} is in the core environment"


def test_importing_studio_loads_nothing_heavy(core_python: str) -> None:
    names = imported(core_python, "-c", "import studio")
    assert "studio" in names
    assert not names & HEAVY


def test_help_loads_nothing_heavy(core_python: str) -> None:
    names = imported(core_python, "-m", "studio", "--help")
    assert "click" in names
    assert not names & HEAVY


def test_help_lists_the_commands(core_python: str) -> None:
    done = run(core_python, "-m", "studio", "--help")
    assert done.returncode == 0
    for verb in ("run", "runs", "serve", "predict", "config", "doctor", "demo", "store"):
        assert f"\n  {verb} " in done.stdout, f"{verb} is missing in:\n{done.stdout}"


def test_a_script_that_imports_nothing_is_tracked(core_python: str, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("print('hello')\n")
    done = run(core_python, "-m", "studio", "run", "-e", "first", "hello.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert "studio run: submitted experiment first" in done.stderr

    shown = run(core_python, "-m", "studio", "runs", "list", "--json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    (record,) = json.loads(shown.stdout)["experiments"]
    assert (record["key"], record["status"], record["exit"]["code"]) == ("first", "finished", 0)


def test_stdout_and_stderr_may_be_one_stream(core_python: str, tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text("import sys\nprint('out', flush=True)\nprint('err', file=sys.stderr)\n")
    command = [core_python, "-m", "studio", "run", "both.py"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    first, *script, last = done.stdout.splitlines()
    assert (done.returncode, script) == (0, ["out", "err"]), done.stdout
    assert first.startswith("studio run: submitted experiment") and " finished after " in last


@contextmanager
def serving(*command: str, cwd: Path) -> Iterator[str]:
    """The address that a server says it answers at; it is stopped on leaving, and must then end with 0."""
    server = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said: list[str] = []
    assert server.stdout is not None and server.stderr is not None
    reader = threading.Thread(target=said.extend, args=(server.stderr,))
    reader.start()
    try:
        line = server.stdout.readline()  # the test's own timeout is the deadline
        assert " at http" in line, line + "".join(said)
        yield line.rpartition(" at ")[2].strip()
        server.send_signal(signal.SIGTERM)
        assert server.wait(120) == 0, "".join(said)
    finally:
        server.kill()
        server.wait()
        reader.join()
        server.stdout.close()
        server.stderr.close()


def answer(url: str, body: object) -> object:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.loads(reply.read())


def test_a_pure_python_wrapper_is_served(core_python: str, tmp_path: Path) -> None:
    wrapper = Path(__file__).resolve().parents[2] / "examples" / "serving" / "model_increment.py"
    command = (core_python, "-m", "studio", "serve", "--wrapper", str(wrapper), "--port", "0")
    with serving(*command, cwd=tmp_path) as url:
        assert answer(url, {"a": 1, "b": 41}) == {"a": 2, "b": 42}


def test_what_needs_a_framework_names_the_command_that_installs_it(core_python: str, tmp_path: Path) -> None:
    done = run(core_python, "-m", "studio", "demo", cwd=tmp_path)
    assert done.returncode == 3
    assert "pip install" in done.stderr and "Traceback" not in done.stderr
