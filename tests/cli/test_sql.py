"""`studio sql`: the forms of an answer, where a query comes from, Ctrl-C, and what is missing."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.studio_process import environment, start, studio, until
from tests.tracking.test_sql import ENDLESS

pytest.importorskip("duckdb", reason="duckdb is not installed")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(
        "import sys, studio\n"
        "for step in range(3): studio.log({'loss': float(sys.argv[1]) / (step + 1)}, step=step)\n"
        "studio.params(name='ün\\nï')\n"
    )
    assert studio("run", "-e", "a", "train.py", "0.5", cwd=tmp_path).returncode == 0
    assert studio("run", "-e", "b", "--project", "other", "train.py", "0.25", cwd=tmp_path).returncode == 0
    return tmp_path


def test_an_answer_is_a_table_json_csv_or_a_file(runs: Path) -> None:
    query = "SELECT key, last, status FROM experiments JOIN metrics USING (key) WHERE name = 'loss' ORDER BY last DESC"
    done = studio("sql", query, cwd=runs)
    assert done.returncode == 0, done.stderr
    head, first, _ = done.stdout.decode().splitlines()
    assert head.split() == ["key", "last", "status"] and first.split()[0] == "a" and first.split()[2] == "finished"
    found = json.loads(studio("sql", query, "--json", cwd=runs).stdout)
    assert found["columns"] == ["key", "last", "status"] and [r["key"] for r in found["rows"]] == ["a", "b"]
    rows = list(csv.DictReader(io.StringIO(studio("sql", query, "--csv", cwd=runs).stdout.decode())))
    assert [(r["key"], float(r["last"])) for r in rows] == [(r["key"], r["last"]) for r in found["rows"]]
    done = studio("sql", "FROM curves", "--output", "out.csv", cwd=runs)
    assert b"6 rows in out.csv" in done.stderr and len((runs / "out.csv").read_text().splitlines()) == 7
    assert studio("sql", query, "-o", "out.json", cwd=runs).returncode == 0
    assert json.loads((runs / "out.json").read_text()) == found["rows"]
    done = studio("sql", "FROM curves", "-o", "out.parquet", cwd=runs)
    assert done.returncode == 0 and (runs / "out.parquet").read_bytes()[:4] == b"PAR1"
    done = studio("sql", "SELECT value FROM params WHERE name = 'name'", cwd=runs)
    assert "ün\\nï" in done.stdout.decode(), "a line break must not break the table"


def test_rows_and_experiments_can_be_narrowed(runs: Path) -> None:
    done = studio("sql", "SELECT range FROM range(5000)", cwd=runs)
    assert len(done.stdout.splitlines()) == 1001 and b"the first 1000; --limit 0 shows all" in done.stderr
    for words, count in ((("--limit", "0"), 5000), (("--limit", "2"), 2), (("--csv",), 5000), (("--json",), None)):
        done = studio("sql", "SELECT range FROM range(5000)", *words, cwd=runs)
        found = len(done.stdout.splitlines()) - 1 if count else len(json.loads(done.stdout)["rows"])
        assert found == (count or 5000)
    for words in (("--project", "other"), ("--only", "metrics.loss < 0.1")):
        assert studio("sql", "SELECT key FROM experiments", *words, "--csv", cwd=runs).stdout == b"key\nb\n"
    done = studio("sql", "SELECT key FROM experiments", "--only", "metrics.loss <", cwd=runs)
    assert done.returncode == 3 and b"query, column" in done.stderr


def test_a_query_comes_from_the_word_or_from_stdin(runs: Path) -> None:
    for words in ((), ("-",)):
        assert studio("sql", *words, "--csv", cwd=runs, stdin=b"SELECT 1 AS one\n").stdout == b"one\n1\n"
    assert b"Project" in studio("sql", "EXPLAIN SELECT 1", cwd=runs).stdout.title().replace(b"PROJECTION", b"Project")


def test_wrong_words_end_in_one_line_and_the_right_code(runs: Path) -> None:
    for words, code, said in (
        (("SELECT FROM",), 3, b"SQL"),
        (("SELECT 1", "--json", "--csv"), 2, b"only one of"),
        (("SELECT 1", "-o", "x.xls"), 3, b".csv"),
        (("SELECT 1", "-o", "none/x.csv"), 3, b"cannot write"),
        (("SELECT 1", "--timeout", "soon"), 3, b"not a duration"),
        (("SELECT 1", "--memory", "much"), 3, b"not a size"),
        ((ENDLESS, "--timeout", "0.3s"), 3, b"more than 0.3s"),
    ):
        done = studio("sql", *words, cwd=runs)
        assert done.returncode == code and said in done.stderr and b"Traceback" not in done.stderr, (words, done.stderr)
    assert sorted(p.name for p in runs.iterdir()) == ["train.py"]


def test_ctrl_c_ends_a_query(runs: Path) -> None:
    scratch = runs / "scratch"
    scratch.mkdir()
    process = start("sql", ENDLESS, cwd=runs, env={"TMPDIR": str(scratch)})
    until(lambda: list(scratch.iterdir()), "the query's folder")
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and b"Traceback" not in said, said
    assert not list(scratch.iterdir())


def test_from_python_the_rows_are_a_table(runs: Path) -> None:
    code = (
        "import studio\n"
        "t = studio.sql('SELECT key, added, last FROM experiments JOIN metrics USING (key) ORDER BY key',"
        " only='metrics.loss > 0')\n"
        "df = t.to_pandas(); print(len(df), df['added'].dtype, t.to_records()[0]['key'], len(studio.sql("
        "'FROM curves', limit=2)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=runs, env=environment(), capture_output=True, timeout=120)
    assert done.stdout.split() == b"2 datetime64[us, UTC] a 2".split(), done.stderr


@pytest.mark.parametrize(
    ("missing", "extra", "words"),
    [
        ("duckdb", "sql", ["sql", "SELECT 1"]),
        ("pyarrow", "sql", ["sql", "SELECT 1"]),
        ("pyarrow", "parquet", ["runs", "export", "x.parquet"]),
        ("pandas", "pandas", None),
    ],
)
def test_what_is_missing_is_named_with_its_extra(tmp_path: Path, missing: str, extra: str, words: list[str]) -> None:
    ask = (
        f"from studio.cli.main import main; main({words!r})"
        if words
        else "import studio; studio.experiments().to_pandas()"
    )
    code = f"import sys; sys.modules[{missing!r}] = None; {ask}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, timeout=120
    )
    said = done.stderr.decode()
    assert f"{missing} is not installed" in said.replace(f"{missing}.parquet", missing), said
    if words:
        assert f"pip install 'studio[{extra}]'" in said and done.returncode == 3 and "Traceback" not in said
    else:
        assert "MissingExtra" in said
    assert not list(tmp_path.iterdir())
