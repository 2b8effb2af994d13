"""`studio runs compare`, `rerun` and `export`."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import pytest

from tests.studio_process import opened, record, studio

TRAIN = """
import sys, studio
lr = float(sys.argv[1])
studio.params(lr=lr)
for step in range(10):
    studio.log({"loss": 1 / (step + 1) if step < 4 else lr}, step=step)
"""


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Experiments `a` and `b` of one script with other arguments, another file and other data."""
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "d").write_text("1")
    assert studio("run", "-e", "a", "-co", "d:data", "train.py", "0.5", cwd=tmp_path).returncode == 0
    (tmp_path / "more.py").write_text("")
    (tmp_path / "d").write_text("2")
    assert studio("run", "-e", "b", "-co", "d:data", "train.py", "0.25", cwd=tmp_path).returncode == 0
    return tmp_path


def test_compare_says_what_differs_and_where_curves_part(two: Path) -> None:
    done = studio("runs", "compare", "a", "b", "--json", cwd=two)
    assert done.returncode == 0, done.stderr
    found = {(d["section"], d["name"]): d["values"] for d in json.loads(done.stdout)["differences"]}
    assert found["command", "arguments"] == ["0.5", "0.25"]
    assert found["parameters", "lr"] == ["0.5", "0.25"]
    assert found["metrics", "loss"] == ["0.5", "0.25"]
    assert found["curves part at", "loss"] == ["-", "step 4"]
    assert found["files", "more.py"][0] == "-"
    assert ("files", "train.py") not in found and ("data", "data") in found
    assert not [s for s, _ in found if s in ("environment", "machine", "code")]
    text = studio("runs", "compare", "a", "b", cwd=two).stdout.decode()
    assert "step 4" in text
    assert b"do not differ" in studio("runs", "compare", "a", "a", cwd=two).stderr
    assert studio("runs", "compare", "a", cwd=two).returncode == 2


def test_rerun_runs_the_old_code_and_compares_the_metrics(two: Path) -> None:
    (two / "train.py").write_text("raise SystemExit('the new code ran')")
    done = studio("runs", "rerun", "a", "-e", "again", cwd=two)
    assert done.returncode == 0, done.stderr
    assert b"all metrics agree with those of a" in done.stderr
    assert record("again").parent == "a"


def test_rerun_in_a_restored_environment(tmp_path: Path) -> None:
    """An experiment whose packages are none: the environment is made, used and used again."""
    (tmp_path / "a.py").write_text("import sys; print(sys.prefix)")
    assert studio("run", "-e", "a", "a.py", cwd=tmp_path).returncode == 0
    opened().tracking.records.update("a", lambda e: e.with_changes(packages=()))
    done = studio("runs", "rerun", "--env", "restore", "a", "-e", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"/environments/" in done.stdout
    assert b"making an environment" in done.stderr
    again = studio("runs", "rerun", "--env", "restore", "a", "-e", "c", cwd=tmp_path)
    assert again.stdout == done.stdout and b"making" not in again.stderr
    opened().tracking.records.update("a", lambda e: e.with_changes(packages=("no-such-package-of-anybody==0.0.1",)))
    done = studio("runs", "rerun", "--env", "restore", "a", cwd=tmp_path, env={"PIP_NO_INDEX": "1"})
    assert done.returncode == 1
    assert b"environment could not be made" in done.stderr and b"no-such-package" in done.stderr


def test_export_writes_rows_and_curves(two: Path) -> None:
    assert studio("runs", "export", "out.csv", cwd=two).returncode == 0
    with open(two / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["key"] for r in rows] == ["b", "a"]
    assert (rows[1]["params.lr"], rows[1]["metrics.loss"], rows[1]["metrics.loss.max"]) == ("0.5", "0.5", "1.0")
    assert studio("runs", "export", "out.json", "params.lr", ">", "0.3", cwd=two).returncode == 0
    assert [e["key"] for e in json.loads((two / "out.json").read_text())] == ["a"]
    assert studio("runs", "export", "--curves", "curves.csv", "key", "=", '"a"', cwd=two).returncode == 0
    assert len((two / "curves.csv").read_text().splitlines()) == 11
    done = studio("runs", "export", "out.xls", cwd=two)
    assert done.returncode == 3 and b".csv" in done.stderr
    assert studio("runs", "export", "none/out.csv", cwd=two).returncode == 3
    done = studio("runs", "export", "out.parquet", cwd=two)
    if importlib.util.find_spec("pyarrow") is None:
        assert done.returncode == 3 and b"studio[parquet]" in done.stderr
        assert not (two / "out.parquet").exists()
    else:
        assert done.returncode == 0, done.stderr
