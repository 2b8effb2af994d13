"""`studio runs compare`, `rerun` and `export`."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from studio.cli.verdict import verdict as _verdict
from studio.tracking.agree import measures_time
from tests.studio_process import environment, opened, record, studio

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
    assert b"metrics agree with those of a (1 metric)\n" in done.stderr
    assert record("again").parent == "a"


def test_compare_many_that_have_little_in_common(tmp_path: Path) -> None:
    """Failures, commands, other metrics, NaN, long texts of many lines, curves of other lengths, no git, lost files."""
    (tmp_path / "t.py").write_text(
        "import sys, math, studio\n"
        "lr = float(sys.argv[1])\n"
        "studio.params(text='one\\ntwo' + 'x' * 60 + sys.argv[1], ü='ß')\n"
        "for i in range(int(sys.argv[2])):\n"
        "    studio.log({'near': 1 + 1e-9 * lr, 'nan': math.nan, 'inf': math.inf if lr > 1 else 5.0}, step=i)\n"
        "studio.log({sys.argv[3]: lr}, step=0)\n"
        "sys.exit(int(lr))\n"
    )
    for key, *words in (("a", "0.5", "5", "ä"), ("b", "0.5", "7", "ä"), ("c", "3", "5", "only")):
        studio("run", "-e", key, "t.py", *words, cwd=tmp_path)
    assert studio("run", "-e", "d", "--no-workspace", "--", "true", cwd=tmp_path).returncode == 0

    def found(*words: str) -> dict[tuple[str, str], list[str]]:
        done = studio("runs", "compare", *words, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return {(d["section"], d["name"]): d["values"] for d in json.loads(done.stdout)["differences"]}

    all_ = found("a", "b", "c", "d")
    assert all_["outcome", "status"] == ["finished", "finished", "failed, code 3", "finished"]
    assert all_["metrics", "ä"] == ["0.5", "0.5", "-", "-"] and all_["metrics", "only"] == ["-", "-", "3", "-"]
    assert all_["metrics", "near"] == ["1.0000000005", "1.0000000005", "1.000000003", "-"]
    assert all_["metrics", "inf"] == ["5", "5", "inf", "-"]
    assert all_["curves part at", "inf"] == ["-", "step 5, which one lacks", "step 0", "-"]
    assert all_["files", "all"][3] == "not captured"
    assert len([s for s, _ in all_ if s == "environment"]) == 3, "a run without packages is one row, not one for each"
    near = found("a", "c")
    assert ("metrics", "near") not in near and ("metrics", "nan") not in near and ("curves part at", "nan") not in near
    exact = found("a", "c", "--tolerance", "0")
    assert (
        exact["metrics", "near"] == ["1.0000000005", "1.000000003"] and exact["curves part at", "near"][1] == "step 0"
    )
    assert ("metrics", "inf") in found("a", "c", "--tolerance", "10")
    lines = studio("runs", "compare", "a", "b", "c", cwd=tmp_path).stdout.decode().splitlines()
    assert len({line.index("a") for line in lines[:1]}) == 1 and not [line for line in lines if line.startswith("two")]
    assert any("…" in line and "xx0.5" in line and "xx3" in line for line in lines), (
        "what differs of a long text is seen"
    )
    store = opened().tracking.store
    for entry in list(store.list("blobs/")):
        store.remove(entry.name)
    (tmp_path / "t.py").write_text("")
    assert studio("run", "-e", "e", "t.py", cwd=tmp_path).returncode == 0
    assert found("a", "e")["files", "all"] == ["unreadable", "captured: 1"]


def test_compare_shows_the_lines_that_differ(two: Path) -> None:
    (two / "train.py").write_text(TRAIN + "# more\n")
    (two / "raw.bin").write_bytes(b"\xff\xfe")
    assert studio("run", "-e", "c", "train.py", "0.5", cwd=two).returncode == 0
    done = studio("runs", "compare", "a", "c", "--diff", cwd=two)
    lines = done.stdout.decode().splitlines()
    assert "/dev/null and c/raw.bin differ" in lines and "--- a/train.py" in lines and "+# more" in lines
    assert [line for line in lines if line.startswith("-") and not line.startswith("---")] == ["-1"], "of the file d"
    assert studio("runs", "compare", "a", "a", "--diff", cwd=two).stdout == b""
    assert studio("runs", "compare", "a", "c", "--diff", "--json", cwd=two).returncode == 2
    assert studio("run", "-e", "bare", "--no-workspace", "train.py", "0.5", cwd=two).returncode == 0
    done = studio("runs", "compare", "a", "bare", "--diff", cwd=two)
    assert done.returncode == 4 and b"the code of bare was not captured" in done.stderr


def test_rerun_says_which_metrics_do_not_agree(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(
        "import random, studio\n"
        "for i in range(3): studio.log({'loss': random.random() if i else 1.0, 'same': 1.0}, step=i)\n"
    )
    assert studio("run", "-e", "a", "t.py", cwd=tmp_path).returncode == 0
    done = studio("runs", "rerun", "a", "-e", "b", "--check", cwd=tmp_path)
    assert done.returncode == 9 and b"studio runs compare a b tells more" in done.stderr
    assert done.stdout.count(b"loss") == 2 and b"step 1" in done.stdout and b"same" not in done.stdout
    done = studio("runs", "rerun", "a", "--tolerance", "1e9", "--check", cwd=tmp_path)
    assert done.returncode == 0 and b"metrics agree with those of a (2 metrics)" in done.stderr


def test_rerun_runs_the_code_that_was_kept_or_says_that_it_was_not(tmp_path: Path) -> None:
    code, elsewhere = tmp_path / "code", tmp_path / "elsewhere"
    (code / "sub").mkdir(parents=True)
    elsewhere.mkdir()
    for script in (code / "a.py", tmp_path / "up.py"):
        script.write_text("print('old')")
    for key, word in (("whole", str(code / "a.py")), ("dots", "sub/../a.py"), ("up", "../up.py")):
        assert studio("run", "-e", key, word, cwd=code).stdout == b"old\n"
    (code / "tool.sh").write_text("#!/bin/sh\necho old\n")
    (code / "tool.sh").chmod(0o755)
    assert studio("run", "-e", "tool", "--", str(code / "tool.sh"), cwd=code).stdout == b"old\n"
    assert studio("run", "-e", "outside", str(tmp_path / "up.py"), cwd=code).stdout == b"old\n"
    for key, old in (("up", "older-up"), ("outside", "older-outside")):  # as before such scripts were kept
        kept = opened().tracking.records.get(key)
        workspace = {"workspace": kept.artifacts["workspace"]}
        opened().tracking.records.create(dataclasses.replace(kept, key=old, artifacts=workspace))
    assert studio("run", "-e", "unkept", "--no-workspace", "a.py", cwd=code).stdout == b"old\n"
    for script in (code / "a.py", tmp_path / "up.py"):
        script.write_text("print('new')")
    (code / "tool.sh").write_text("#!/bin/sh\necho new\n")
    for key in ("dots", "tool"):
        done = studio("runs", "rerun", key, cwd=code)
        assert done.stdout == b"old\n", (key, done.stderr)
    done = studio("runs", "rerun", "older-up", cwd=code)
    assert done.returncode == 3 and b"../up.py lay outside" in done.stderr
    done = studio("runs", "rerun", "older-outside", cwd=code)
    assert (
        done.stdout == b"new\n" and b"lay outside of the folder that was captured: it runs as it is now" in done.stderr
    )
    done = studio("runs", "rerun", "unkept", cwd=code)
    assert done.stdout == b"new\n" and b"the code of unkept was not captured" in done.stderr
    done = studio("runs", "rerun", "unkept", "-e", "never", cwd=elsewhere)
    assert done.returncode == 3 and b"script a.py is not there" in done.stderr
    shutil.rmtree(code)
    assert studio("runs", "rerun", "whole", cwd=elsewhere).stdout == b"old\n"
    for entry in list(opened().tracking.store.list("blobs/")):
        opened().tracking.store.remove(entry.name)
    shutil.rmtree(opened().home / "cache", ignore_errors=True)
    done = studio("runs", "rerun", "whole", "-e", "gone", cwd=elsewhere)
    assert done.returncode == 4 and b"Traceback" not in done.stderr
    assert not opened().experiments('key = "gone"') and not opened().experiments('key = "never"')


def test_a_server_and_a_command_cannot_be_run_again_as_scripts(tmp_path: Path) -> None:
    assert studio("run", "-e", "a", "--", "true", cwd=tmp_path).returncode == 0
    assert studio("runs", "rerun", "a", "-e", "b", cwd=tmp_path).returncode == 0
    done = studio("runs", "rerun", "a", "--env", "restore", cwd=tmp_path)
    assert done.returncode == 3 and b"a ran a command" in done.stderr
    opened().tracking.records.update("b", lambda e: e.with_changes(kind="serving"))
    done = studio("runs", "rerun", "b", cwd=tmp_path)
    assert done.returncode == 3 and b"b was a server" in done.stderr


def test_rerun_in_a_restored_environment(tmp_path: Path) -> None:
    """An experiment whose packages are none: the environment is made, used and used again."""
    env = {"PIP_NO_INDEX": "1", "PYTHONPATH": ""}  # studio is there because it is linked, not because of the tests
    (tmp_path / "a.py").write_text("import sys, studio; studio.log({'x': 1.0}); print(sys.prefix)")
    assert studio("run", "-e", "a", "a.py", cwd=tmp_path, env=env).returncode == 0
    opened().tracking.records.update("a", lambda e: e.with_changes(packages=("studio==0.0.7",)))
    done = studio("runs", "rerun", "--env", "restore", "a", "-e", "b", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert b"/environments/" in done.stdout
    assert b"making an environment" in done.stderr
    again = studio("runs", "rerun", "--env", "restore", "a", "-e", "c", cwd=tmp_path, env=env)
    assert again.stdout == done.stdout and b"making" not in again.stderr
    assert b"metrics agree" in again.stderr, "studio itself is importable there"
    (Path(done.stdout.decode().strip()) / "ready").unlink()
    assert b"making" in studio("runs", "rerun", "--env", "restore", "a", cwd=tmp_path, env=env).stderr, "one half made"
    opened().tracking.records.update("a", lambda e: e.with_changes(packages=("no-such-package-of-anybody==0.0.1",)))
    done = studio("runs", "rerun", "--env", "restore", "a", cwd=tmp_path, env=env)
    assert done.returncode == 1
    assert b"environment could not be made" in done.stderr and b"--without no-such-package" in done.stderr
    done = studio(
        "runs", "rerun", "a", "--env", "restore", "--without", "No_Such-package.of-anybody", "--without", "x",
        cwd=tmp_path, env=env,
    )  # fmt: skip
    assert done.returncode == 3 and b"had no package 'x'" in done.stderr
    done = studio(
        "runs", "rerun", "a", "--env", "restore", "--without", "No_Such-package.of-anybody",
        cwd=tmp_path, env=env,
    )  # fmt: skip
    assert b"No module named 'studio'" in done.stderr + done.stdout, "it is not there if it was not then"
    assert studio("runs", "rerun", "a", "--without", "x", cwd=tmp_path, env=env).returncode == 2


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
    assert done.returncode == 0 and (two / "out.parquet").read_bytes()[:4] == b"PAR1"
    done = studio("runs", "export", "other.csv", "--project", "other", cwd=two)
    assert b"0 rows in other.csv" in done.stderr and (two / "other.csv").read_text().startswith("key,status,")


def test_a_rerun_is_judged_by_what_is_deterministic(tmp_path: Path) -> None:
    """The second run is slower: what it samples by the clock and what measures time differ, all else agrees."""
    (tmp_path / "train.py").write_text(
        "import os, sys, time, studio\n"
        "from studio.run.inject import _studio_track\n"
        "again = os.environ['STUDIOML_EXPERIMENT'] != 'a'\n"
        "for step in range(12 if again else 10):\n"
        "    studio.log({'loss': 1 / (step + 1), 'nan': float('nan')}, step=step)\n"
        "    studio.log({'epoch_time': 1.0 + again, 'samples_per_second': 5.0 - again}, step=step)\n"
        "    if step % (2 + again) == 0:\n"
        "        _studio_track.log_sampled({'batch/loss': step + 0.5 * again}, step)\n"
        "time.sleep(1.5 * again)\n"
    )
    assert studio("run", "-e", "a", "train.py", cwd=tmp_path).returncode == 0
    done = studio("runs", "rerun", "a", "-e", "b", cwd=tmp_path)
    said = done.stderr.decode()
    assert "metrics agree with those of a (2 metrics)\n" in said
    assert "at the steps that both have: loss has 12 points, had 10, nan has 12 points, had 10\n" in said
    assert "not compared: 1 curve sampled by the clock\n" in said and done.stdout == b""
    assert "not counted, as the name says time or speed: epoch_time, samples_per_second\n" in said
    assert record("b").summary["batch/loss"].extra == {"sampled": "clock"}
    compared = studio("runs", "compare", "a", "b", cwd=tmp_path).stdout.decode()
    assert "batch/loss" not in compared and "epoch_time" in compared


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ("step: step + (step == 7 and again)", "step 7"),
        ("step: step if not again else step + 1e-3", "step 0"),
        ("step: step if step < 9 else step + again", "step 9"),
    ],
)
def test_a_rerun_that_differs_says_where(tmp_path: Path, change: str, row: str) -> None:
    (tmp_path / "train.py").write_text(
        "import os, studio\n"
        "again = os.environ['STUDIOML_EXPERIMENT'] != 'a'\n"
        f"value = lambda {change}\n"
        "for step in range(10):\n"
        "    studio.log({'loss': value(step)}, step=step)\n"
    )
    assert studio("run", "-e", "a", "train.py", cwd=tmp_path).returncode == 0
    done = studio("runs", "rerun", "a", "-e", "b", cwd=tmp_path)
    assert b"metrics differ; studio runs compare a b tells more" in done.stderr and b"agree" not in done.stderr
    assert row in done.stdout.decode()


def test_a_metric_that_only_one_run_has_differs_and_clocks_alone_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import os, studio\n"
        "again = os.environ['STUDIOML_EXPERIMENT'] != 'a'\n"
        "studio.log({'loss': 1.0, 'more' if again else 'less': 2.0, 'time' if again else 'x': 1.0})\n"
    )
    (tmp_path / "clock.py").write_text(
        "import time, studio\n"
        "from studio.run.inject import _studio_track\n"
        "_studio_track.log_sampled({'batch/loss': time.time()}, 0)\n"
    )
    assert studio("run", "-e", "a", "train.py", cwd=tmp_path).returncode == 0
    done = studio("runs", "rerun", "a", "-e", "b", cwd=tmp_path)
    assert b"metrics differ" in done.stderr
    assert [line.split()[1] for line in done.stdout.decode().splitlines()[1:]] == ["less", "more", "time", "x"]
    assert studio("run", "-e", "c", "clock.py", cwd=tmp_path).returncode == 0
    said = studio("runs", "rerun", "c", "-e", "d", cwd=tmp_path).stderr.decode()
    assert (
        "d has no metrics that count, so there is nothing to compare\n" in said
        and "1 curve sampled by the clock" in said
    )


def test_a_rerun_of_a_child_is_compared_with_the_child_that_repeats_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import os, studio\n"
        "first = os.environ['STUDIOML_EXPERIMENT'] == 'm'\n"
        "for i in (1, 2):\n"
        "    with studio.start(key=f'child{i}' if first else f'new{i}') as run:\n"
        "        run.log({'r2': i / 10}, step=0)\n"
    )
    assert studio("run", "-e", "m", "train.py", cwd=tmp_path).returncode == 0
    done = studio("runs", "rerun", "child2", "-e", "n", cwd=tmp_path)
    assert done.stderr.decode().splitlines()[-1] == (
        "metrics agree with those of child2 (1 metric): the whole script ran, and child2, child 2 of m, is compared "
        "with new2, child 2 of n"
    )


FAMILIES = """
import studio

def family(key, *children):
    with studio.start(key=key):
        for name, lr, loss in children:
            with studio.start(key=name) as run:
                run.params(lr=lr)
                run.log({"loss": loss}, step=0)

family("m", ("m1", 1, 0.1), ("m2", 2, 0.2))
family("order", ("o2", 2, 0.2), ("o1", 1, 0.1))
family("apart", ("a1", 1, 0.1), ("a2", 2, 0.3))
family("fewer", ("f1", 1, 0.1))
"""


def test_children_are_compared_in_pairs(tmp_path: Path) -> None:
    """A rerun is judged by its children too; where their number differs, that is the verdict."""
    subprocess.run([sys.executable, "-c", FAMILIES], cwd=tmp_path, env=environment(), check=True, timeout=120)
    store = opened()

    def verdict(before: str, again: str) -> list[str]:
        told = store.repetition(before, again)
        found = [store.agreement(one, other) for one, other in told.pairs]
        return list(_verdict(told, found, store.experiment(before), store.experiment(again)))

    assert verdict("m", "order") == ["metrics agree with those of m and its 2 children (2 metrics)"]
    assert verdict("m", "apart") == ["metrics differ in 1 of 3 runs; studio runs compare m2 a2 tells more"]
    assert verdict("m2", "order")[0].endswith("m2, child 2 of m, is compared with o2, child 1 of order")
    assert verdict("m2", "apart")[0].startswith("metrics differ: the whole script ran, and m2, child 2 of m, is ")
    gone = "children not compared: m has 2, fewer has 1"
    assert verdict("m", "fewer") == ["fewer has no metrics, so there is nothing to compare", gone]
    assert verdict("m2", "fewer") == ["the whole script ran, and nothing in fewer can be compared with m2", gone]
    store.delete("m")  # what it was a child of is not known any more, but one child has its parameters
    assert verdict("m1", "order") == [
        "metrics agree with those of m1 (1 metric): the whole script ran, and m1 is compared with o1, a child of order"
    ]


@pytest.mark.parametrize(
    ("name", "measures"),
    [("epoch_time", True), ("time", True), ("trainTime", True), ("sec/it", True), ("it/s", True), ("tokens/sec", True),
     ("samples_per_second", True), ("train_runtime", True), ("perf/throughput", True), ("loss", False),
     ("time_error", False), ("times_mae", False), ("time_steps", False), ("sentiment", False), ("timeline", False),
     ("per_class_f1", False), ("accuracy", False), ("estimate", False)],
)  # fmt: skip
def test_names_of_metrics_that_measure_time(name: str, measures: bool) -> None:
    assert measures_time(name) == measures


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(
        "import studio\n"
        "studio.params(a='=1+1', b='+cmd', c='@SUM(A1)', d=-0.5, e='-1+cmd|x!A0', f='-x', g=1e300, h='-3',"
        " i=chr(39) + '=1+1', j=chr(39))\n"
        "studio.log({'loss': -1.5, 'low': float('-inf')})\n"
    )
    assert studio("run", "-e", "a", "t.py", cwd=tmp_path).returncode == 0
    for words in (("runs", "export", "out.csv"), ("sql", "SELECT name, value FROM params", "--output", "sql.csv")):
        assert studio(*words, cwd=tmp_path).returncode == 0
    row = next(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    found = {name.removeprefix("params."): value for name, value in row.items() if name.startswith("params.")}
    want = {"a": "'=1+1", "b": "'+cmd", "c": "'@SUM(A1)", "d": "-0.5", "e": "'-1+cmd|x!A0", "f": "-x", "g": "1e+300"}
    assert found == {**want, "h": "-3", "i": "''=1+1", "j": "'"}
    assert (row["metrics.loss"], row["metrics.low"]) == ("-1.5", "-inf")
    rows = dict(list(csv.reader((tmp_path / "sql.csv").read_text().splitlines()))[1:])
    assert rows["a"] == "'=1+1" and rows["d"] == "-0.5"
