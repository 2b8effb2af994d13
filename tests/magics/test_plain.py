"""The magic's parts that need no kernel: the script that a cell becomes, and what is never unpickled."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from studio.cli import run
from studio.errors import ConfigError
from studio.magics import FLAGS, studio_run
from studio.run.cell import compose
from studio.run.inject import _studio_cell  # type: ignore[attr-defined]
from tests.studio_process import environment


def test_importing_the_magic_outside_a_notebook_does_nothing() -> None:
    script = "from studio import magics; import sys; assert 'IPython' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_cell_carries_only_what_it_names(tmp_path: Path) -> None:
    namespace = {"x": 1, "y": 2, "z": 3, "os": os, "json": pickle}
    script = compose("x\ny = 1\nz += os.getpid()", namespace, [], tmp_path)
    assert sorted(_studio_cell.read_index(str(tmp_path))["values"]) == ["x", "z"]
    assert "import os\n" in script.text and "import pickle" not in script.text
    assert script.left_out == {}


@pytest.mark.parametrize(
    ("cell", "futures", "rest"),
    [
        ('"""doc"""\nfrom __future__ import annotations\nx = 1', ["annotations"], '"""doc"""\npass\nx = 1'),
        ("from __future__ import (\n  annotations,\n  division)\nx", ["annotations, division"], "pass\n\n\nx"),
        ('"ä"; from __future__ import division; x', ["division"], '"ä"; pass; x'),
        ("x = 1", [], "x = 1"),
    ],
)
def test_future_imports_stand_first_and_lines_stay(cell, futures, rest, tmp_path: Path) -> None:
    text = compose(cell, {}, [], tmp_path).text
    lines = text.splitlines()
    assert [line for line in lines if "__future__" in line] == [f"from __future__ import {f}" for f in futures]
    assert lines[1 : 1 + len(futures)] == [f"from __future__ import {f}" for f in futures]
    assert text.endswith(f"# The cell itself.\n{rest}\n")
    compile(text, "cell.py", "exec")


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL_FOLDER"],)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_can_reach_is_not_read(mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "evil"))
    folder = tmp_path / "private"
    folder.mkdir(0o700)
    script = compose("x", {"x": Evil()}, [], folder)
    (tmp_path / "cell.py").write_text(script.text.replace("\nx\n", "\n"))
    folder.chmod(mode)
    env = environment(STUDIOML_CELL=str(folder))
    done = subprocess.run([sys.executable, "cell.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "these came from a notebook and are not here: x" in done.stderr
    assert not (tmp_path / "evil").exists()
    folder.chmod(0o700)
    done = subprocess.run([sys.executable, "cell.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "evil").exists()  # the test would see it


class Notebook:
    """As much of a shell as a cell needs that never runs."""

    user_ns: dict = {}
    user_ns_hidden: dict = {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--detach", "%%studio_run --detach: a cell gives its values back"),
        ("--project p --detach -- x", "%%studio_run --detach: a cell gives its values back"),
        ("train.py", "%%studio_run train.py: the cell is the script"),
        ("--no-autolog train.py -- x", "%%studio_run train.py: the cell is the script"),
        ("--project=p pkg::mod", "%%studio_run pkg::mod: the cell is the script"),
        ("-e k -m pkg.mod", "%%studio_run -m: the cell is the script"),
    ],
)
def test_a_line_that_does_not_run_the_cell_is_refused(line, said, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        studio_run(line, "x = 1", Notebook())
    assert caught.value.message.startswith(said) and caught.value.hint
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("version", "said"), [("3.7.17", ""), ("3.6.9", "cannot run with Python 3.6.9"), ("2.7.18", "2.7.18")]
)
def test_an_older_python_gets_values_that_it_can_read_or_is_refused(
    version: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "old"
    old.write_text(f"#!/bin/sh\ncp -r $STUDIOML_CELL {tmp_path}/sent 2> /dev/null\necho '[\"{version}\", []]'\n")
    old.chmod(0o755)
    notebook = Notebook()
    notebook.user_ns = {"x": [b"x" * 100]}
    notebook.push = lambda found: None  # type: ignore[attr-defined]
    if said:
        with pytest.raises(ConfigError, match=said):
            studio_run(f"--python={old}", "x", notebook)
    else:
        studio_run(f"--python {old}", "x", notebook)
        sent = (tmp_path / "sent" / "1.pickle").read_bytes()
        assert pickle.loads(sent) == notebook.user_ns["x"] and sent[:2] == b"\x80\x04"


def test_the_magic_knows_which_options_take_no_value() -> None:
    flags = {name for param in run.command.params if getattr(param, "is_flag", False) for name in param.opts}
    assert flags == FLAGS | {"--detach"}
