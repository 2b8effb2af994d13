"""Every way to say what to run, and that the script gets its words byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from studio.cli.main import command
from studio.errors import ConfigError
from tests.studio_process import STUDIO, environment, opened, record, studio

ECHO = "import os, sys\nsys.stdout.buffer.write(b'\\0'.join(os.fsencode(a) for a in sys.argv[1:]))\n"
HARD = ["a b", "", "'", '"', "$HOME", "*", "--experiment", "aaa", "-m", "--", "é\n", "\\", "--store=x", "a=b"]


def test_arguments_after_the_script_are_the_scripts_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    words = [*(os.fsencode(w) for w in HARD), b"\xff\xfe"]
    done = subprocess.run(
        [*STUDIO, "run", "echo.py", *words], cwd=tmp_path, env=environment(), capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(b"\0") == words
    assert record().command.args == tuple(os.fsdecode(w) for w in words)
    assert record().key != "aaa"


def test_a_scripts_own_option_named_like_ours_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    done = studio("run", "--experiment", "mine", "--tag", "t", "echo.py", "--experiment", "aaa", cwd=tmp_path)
    assert done.stdout == b"--experiment\0aaa"
    assert b"studio run: submitted experiment mine" in done.stderr
    assert record("mine").tags == ("t",)


@pytest.mark.parametrize("words", [["-m", "pkg.mod", "x"], ["pkg::mod", "x"], [".pkg::mod", "x"]])
def test_modules(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "mod.py").write_text("import sys; print(__name__, sys.argv[1:], __package__)")
    done = studio("run", *words, cwd=tmp_path)
    assert done.stdout == b"__main__ ['x'] pkg\n", done.stderr
    assert (record().command.kind, record().command.target) == ("module", "pkg.mod")


def test_any_command_after_two_dashes(tmp_path: Path) -> None:
    done = studio("run", "-e", "sh", "--", "sh", "-c", 'echo "$0 $1" "$STUDIOML_EXPERIMENT"', "a", "b c", cwd=tmp_path)
    assert done.stdout == b"a b c sh\n"
    assert (record("sh").command.kind, record("sh").command.target) == ("exec", "sh")


def test_a_script_without_ending_and_one_in_another_folder(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train").write_text("import os; print(os.getcwd())")
    done = studio("run", "scripts/train", cwd=tmp_path)
    assert done.stdout.decode().strip() == str(tmp_path), done.stderr


def test_it_starts_as_python_itself_would_start_it(tmp_path: Path) -> None:
    script = "import sys, json; print(json.dumps([sys.argv, sys.path[0], __name__, __file__, sys.flags.optimize]))"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.py").write_text(script)
    bare = subprocess.run([sys.executable, "sub/a.py", "x"], cwd=tmp_path, capture_output=True, timeout=120)
    assert json.loads(studio("run", "sub/a.py", "x", cwd=tmp_path).stdout) == json.loads(bare.stdout)


def test_another_interpreter(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import sys; print(sys.executable)")
    mine = tmp_path / "mypython"
    mine.symlink_to(sys.executable)
    done = studio("run", "--python", str(mine), "a.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert record().command.interpreter == str(mine)
    assert record().command.python == sys.version.split()[0]
    has_numpy = subprocess.run([str(mine), "-c", "import numpy"], capture_output=True, timeout=120).returncode == 0
    assert any(p.startswith("numpy==") for p in record().packages) == has_numpy


def test_the_active_environments_interpreter_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "a.py").write_text("")
    assert studio("run", "a.py", cwd=tmp_path, env={"VIRTUAL_ENV": str(tmp_path / "venv")}).returncode == 0
    assert record().command.interpreter == str(tmp_path / "venv" / "bin" / "python")


def test_rerun_by_key_runs_the_code_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import sys; print('first', sys.argv[1:], open('data.txt').read())")
    (tmp_path / "data.txt").write_text("old")
    assert studio("run", "-e", "one", "--param", "lr=0.5", "a.py", "x y", cwd=tmp_path).returncode == 0
    (tmp_path / "a.py").write_text("print('second')")
    (tmp_path / "data.txt").write_text("new")
    done = studio("run", "-e", "two", "one", cwd=tmp_path)
    assert done.stdout == b"first ['x y'] old\n", done.stderr
    assert (record("two").parent, record("two").params) == ("one", {"lr": 0.5})
    assert record("two").artifacts["workspace"].manifest == record("one").artifacts["workspace"].manifest
    assert (tmp_path / "a.py").read_text() == "print('second')"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["trian.py"], "script trian.py is not there", "did you mean 'train.py'?"),
        (["./trian.py"], "script ./trian.py is not there", "did you mean './train.py'?"),
        (["."], "a folder, not a script", "studio run SCRIPT.py"),
        (["-m", "a-b"], "not a module's name", "-m pkg.mod"),
        (["--", "no-such-program"], "no program 'no-such-program'", "as you would type it"),
        (["--python", "nopython", "train.py"], "no Python interpreter 'nopython'", "--python"),
        (["-c", "x", "train.py"], "does not say what to capture", "PATH:NAME"),
        (["-c", "x:a b", "train.py"], "not a valid name", "a name is"),
        (["-co", "nowhere:x", "train.py"], "nothing to capture at nowhere", "exists"),
        (["-c", "http://localhost/x:x", "train.py"], "cannot be captured again", "--capture-once"),
        (["-c", "a:x", "-c", "b:x", "train.py"], "two artifacts are called 'x'", "its own name"),
        (["-r", "x", "train.py"], "does not say what to reuse", "KEY/ARTIFACT:NAME"),
        (["-r", "nokey/modeldir:x", "train.py"], "no experiment 'nokey'", "studio runs list"),
        (["--metric", ":max", "train.py"], "names no metric", "--metric"),
        (["--metric", "acc:maximum", "train.py"], "'maximum' is neither min nor max", "--metric acc:max"),
        (["--max-duration", "1x", "train.py"], "'1x' is not a duration", "48h2m10s"),
        (["--param", "lr", "train.py"], "not NAME=VALUE", "--param lr=0.01"),
        (["--tag", "a b", "train.py"], "tag 'a b' is not a valid name", "a name is"),
        (["-e", "../x", "train.py"], "experiment key '../x' is not a valid name", "a name is"),
        (["--resume", "nokey"], "no experiment 'nokey'", "studio runs list"),
        (["--config", "none.yaml", "train.py"], "no config file none.yaml", "studio config"),
        (["nokey"], "no experiment 'nokey'", "studio runs list"),
    ],
)
def test_bad_words_get_one_line_and_a_hint_and_leave_nothing(
    tmp_path: Path, home: Path, words: list[str], message: str, hint: str
) -> None:
    (tmp_path / "train.py").write_text("print('must not run')")
    done = studio("run", *words, cwd=tmp_path)
    said = done.stderr.decode().splitlines()
    assert done.returncode in (3, 4), said
    assert done.stdout == b""
    assert len(said) == 2, said
    assert said[0].startswith("studio: ") and message in said[0]
    assert said[1].startswith("  hint: ") and hint in said[1]
    assert opened().experiments() == []
    assert not list((home / ".studioml").glob("experiments/*")), "a run folder is left"
    assert not list((home / ".studioml").glob("open/*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run -e= a.py", "experiment key '=' is not"),
        ("run --experiment= a.py", "experiment key '' is not a valid name"),
        ("run --metric= a.py", "'' names no metric"),
        ("run --project= a.py", "--project: project '' is not a valid name"),
        ("run --store= a.py", "--store: it is empty"),
        ("run --verbose=loud a.py", "--verbose: 'loud' is not a level"),
        ("run --max-duration= a.py", "--max-duration: '' is not a duration"),
        ("run --max-duration=-5s a.py", "--max-duration: '-5s' is negative"),
        ("run --max-duration 366d a.py", "--max-duration: '366d' is too long"),
        ("run --lifetime=-10m a.py", "--lifetime: '-10m' is negative"),
        ("run --lifetime soon a.py", "--lifetime: 'soon' is not a duration"),
        ("run --env A\tB=c a.py", "'A\\tB' is not the name of an environment variable"),
        ("run --env STUDIOML_HOME=c a.py", "STUDIOML_HOME is set by studio"),
        ("run --env =c a.py", "is not NAME=VALUE"),
        ("run --env A=1 --env B=1 --env A=2 a.py", "--env A is given twice"),
        ("run --param a=1 --param a=1 a.py", "--param a is given twice"),
        ("runs compare a b --tolerance=-1", "a tolerance of -1.0 is not possible"),
        ("runs compare a b --tolerance nan --diff", "a tolerance of nan is not possible"),
        ("runs rerun a --tolerance inf", "a tolerance of inf is not possible"),
        ("runs stop k --timeout=-1", "--timeout: '-1' is negative"),
        ("runs stop k --timeout nan", "--timeout: 'nan' is not a duration"),
        ("sql SELECT --timeout=-3s", "--timeout: '-3s' is negative"),
        ("sql SELECT --memory 0", "--memory: it must be more than 0"),
        ("predict http://localhost -i a --timeout=-1", "--timeout: '-1' is negative"),
        ("predict http://localhost -i a --timeout 0", "--timeout: it must be more than 0"),
        ("predict http://localhost -i a --max-answer=-1", "--max-answer: '-1' is not a size"),
        ("serve . --killafter=-1", "--killafter: '-1' is negative"),
        ("serve . --killafter 400d", "--killafter: '400d' is too long"),
        ("serve . --timeout=-1", "--timeout: '-1' is negative"),
    ],
)
def test_options_out_of_range_are_errors_at_once(tmp_path: Path, monkeypatch, words: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("")
    done = CliRunner().invoke(command, words.split(" "), standalone_mode=False)
    assert isinstance(done.exception, ConfigError) and message in done.exception.message, done.exception
    assert done.exception.hint or "empty" in message
    assert opened().experiments() == []


def test_unknown_options_and_missing_words_are_usage_errors(tmp_path: Path) -> None:
    done = studio("run", "--metrik", "x", "a.py", cwd=tmp_path)
    assert done.returncode == 2
    assert b"--metric" in done.stderr
    for words in (["run"], ["run", "--"], ["run", "-m"], ["runn", "a.py"]):
        assert studio(*words, cwd=tmp_path).returncode == 2, words


def test_a_key_that_is_taken_is_a_conflict_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print(1)")
    assert studio("run", "-e", "one", "a.py", cwd=tmp_path).returncode == 0
    before = record("one")
    done = studio("run", "-e", "one", "a.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (5, b"")
    assert b"experiment one exists already" in done.stderr
    assert record("one") == before
    assert b"".join(opened().output("one")) == b"1\n"


def test_an_unknown_store_is_not_laid_to_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('must not run')")
    done = studio("run", "--store", "s3x://bucket", "train.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"no store is called 's3x'" in done.stderr and b"--no-workspace" not in done.stderr


def test_a_metric_that_was_never_logged_is_said(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import studio\nstudio.log({'val_loss': 0.5}, step=0)\n")
    done = studio("run", "--metric", "val_los:min", "train.py", cwd=tmp_path)
    assert done.returncode == 0
    assert b"--metric: val_los was never logged. The script logged val_loss" in done.stderr
    assert b"never logged" not in studio("run", "--metric", "val_loss:min", "train.py", cwd=tmp_path).stderr
    done = studio("run", "--metric", "acc", "--", "true", cwd=tmp_path)
    assert b"--metric: acc was never logged. The script logged no metrics\n" in done.stderr
