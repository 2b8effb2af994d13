"""Every command under every odd condition of a machine ends in one clear line and a documented exit code."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from studio.cli.main import command
from tests.studio_process import STUDIO, environment, studio

WORDS = {
    "run": "run --no-workspace train.py",
    "runs list": "runs list all",
    "runs show": "runs show one",
    "runs logs": "runs logs one",
    "runs stop": "runs stop one",
    "runs delete": "runs delete gone --yes",
    "runs kill": "runs kill gone --yes",
    "runs tag": "runs tag one good",
    "runs note": "runs note one é",
    "runs compare": "runs compare one two",
    "runs rerun": "runs rerun nothing",
    "runs export": "runs export all.csv",
    "runs media": "runs media one",
    "runs get": "runs get one modeldir got",
    "sql": "sql 'SELECT key FROM experiments'",
    "serve": "serve ./nothing",
    "predict": "predict http://127.0.0.1:9/",
    "store init": "store init",
    "store check": "store check",
    "index rebuild": "index rebuild",
    "config": "config --json",
    "doctor": "doctor",
    "completion": "completion bash",
}
"""Each command with sensible words. `demo` is made of run, serve and predict."""
ODD_STORES = (
    "file://",
    "ftp://x/y",
    "s3://",
    "/dev/null",
    "/dev/null/x",
    "file://~nobodyatall/x",
    "x" * 5000,
    "http://[",
    "//",
    "é\x1b",
)
ODD_CONFIGS = (
    "[", "store: [1]", "- a", "\t", "a: !!python/object:os.system x", "lost_after: .nan", "heartbeat: -1",
    "verbose: {}", "secret_names: 3", "store: 2026-01-01", "? [a]: b", "project: 9" + "9" * 6000, "[" * 3000, "\x00",
    "env: 7",
)  # fmt: skip
SHELLS = {
    "a deleted current folder": 'mkdir gone && cd gone && rmdir ../gone && exec "$@"',
    "a full stdout": 'exec "$@" > /dev/full',
    "a closed stdout": 'exec "$@" >&-',
    "a closed stderr": 'exec "$@" 2>&-',
    "a closed stdin": 'exec "$@" <&-',
    "all streams closed": 'exec "$@" <&- >&- 2>&-',
    "a reader that leaves": '"$@" | true; exit "${PIPESTATUS[0]}"',
    "no HOME": 'unset HOME STUDIOML_HOME; exec "$@"',
    "a HOME that does not exist": 'unset STUDIOML_HOME; HOME=/nowhere/at/all exec "$@"',
    "a HOME that is a file": 'unset STUDIOML_HOME; HOME=/etc/passwd exec "$@"',
    "a home where nothing can be made": 'STUDIOML_HOME=/proc/studio exec "$@"',
    "an odd terminal": 'TERM=odd COLUMNS=100000000 LINES=-1 exec "$@"',
    "no columns": 'TERM= COLUMNS=0 exec "$@"',
    "ASCII": 'LC_ALL=C LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 PYTHONIOENCODING=ascii exec "$@"',
    "few open files": 'ulimit -n 10; exec "$@"',
    "no file of any size": 'ulimit -f 0; exec "$@"',
    "no temporary folder": 'TMPDIR=/nowhere exec "$@"',
    **{f"the store {url[:12]!r}": f'STUDIOML_STORE={shlex.quote(url)} exec "$@"' for url in ODD_STORES},
}
LOSES = {"a full stdout", "a closed stdout"}
CODES = {0, 2, 3, 4, 5, 6, 8}


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command of the command line."""
    for name in group.list_commands(click.Context(group)):
        below = group.get_command(click.Context(group), name)
        if isinstance(below, click.Group):
            yield from leaves(below, (*path, name))
        else:
            yield " ".join((*path, name))


def test_every_command_is_tried() -> None:
    assert set(WORDS) | {"demo"} == set(leaves(command))  # type: ignore[arg-type]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text("print('é trained')\n")
    for key in ("one", "two"):
        assert studio("run", "-e", key, "--note", "é日", "train.py", cwd=tmp_path).returncode == 0
    return tmp_path


def tried(shell: str, name: str, work: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """The command in that shell; it said no more than a user can read, and its exit code is a documented one."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash to make the conditions with")
    words = [bash, "-c", shell, "bash", *STUDIO, *shlex.split(WORDS[name])]
    done = subprocess.run(
        words, cwd=work, env=environment(**(env or {})), capture_output=True, stdin=subprocess.DEVNULL, timeout=280
    )
    said = (
        f"studio {WORDS[name]}, {shell}: exit {done.returncode}\n{done.stdout[-500:]!r}\n{done.stderr.decode()[-3000:]}"
    )
    for word in (b"Traceback", b"internal error", b"Exception ignored", b"Fatal Python"):
        assert word not in done.stderr + done.stdout, said
    assert done.returncode in CODES, said
    if done.returncode and "2>&-" not in shell:
        assert done.stderr, said
    return done


def of_this_round(names: list[str], at: int, every: int) -> list[str]:
    return [name for number, name in enumerate(names) if (number + at) % every == 0]


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
def test_no_command_ends_in_a_traceback(work: Path, every: int) -> None:
    for at, (what, shell) in enumerate(SHELLS.items()):
        if "/dev/full" in shell and not os.path.exists("/dev/full"):
            continue
        for name in of_this_round(list(WORDS), at, every):
            if (what, name) in (("a reader that leaves", "run"), ("ASCII", "run")):
                continue  # the script is to notice, as without studio: a traceback would be its own
            done = tried(shell, name, work)
            if what in LOSES and name in ("runs list", "runs show", "config", "completion", "sql"):
                assert done.returncode == 5 and b"cannot write the results to stdout" in done.stderr, done.stderr


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
def test_a_broken_settings_file_is_one_line(work: Path, every: int) -> None:
    for at, text in enumerate(ODD_CONFIGS):
        (work / "studio.yaml").write_text(text)
        for name in of_this_round(list(WORDS), at, every):
            done = tried('exec "$@"', name, work)
            if done.returncode == 3:
                assert len(done.stderr.splitlines()) <= 2, done.stderr


@pytest.mark.parametrize("name", ["runs list", "config", "completion"])
def test_results_that_do_not_arrive_are_an_error(work: Path, name: str) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    done = tried('exec "$@" > /dev/full', name, work)
    assert done.returncode == 5
    assert done.stderr.splitlines()[0] == b"studio: cannot write the results to stdout: No space left on device"
    done = tried('exec "$@" >&-', name, work)
    assert done.returncode == 5 and b"cannot write the results to stdout" in done.stderr
    done = tried('set -o pipefail; "$@" | true', name, work)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_run_says_that_its_output_goes_nowhere_else(work: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    done = tried('exec "$@" > /dev/full', "run", work)
    assert done.returncode == 0  # the script's own
    assert (
        b"studio: cannot write to stdout: No space left on device; the output is kept: studio runs logs" in done.stderr
    )
    assert "é trained\n".encode() == studio("runs", "logs", "last", cwd=work).stdout


def test_a_fault_of_ours_is_one_line_and_a_traceback_with_debug(work: Path) -> None:
    code = (
        "import sys; import studio.api; studio.api.open_studio = lambda **_: 1 / 0\n"
        "from studio.cli.main import main; main(sys.argv[1:])"
    )
    for more, lines in ((), 2), (("--debug",), 3):
        done = subprocess.run(
            [sys.executable, "-c", code, "runs", "list", *more],
            cwd=work,
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert ("Traceback" in done.stderr) == bool(more) and (len(done.stderr.splitlines()) > 2) == (lines > 2)
    assert "ZeroDivisionError: division by zero" in done.stderr
