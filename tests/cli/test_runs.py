"""`studio runs`: what is listed, shown and changed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from studio.cli.main import command
from studio.errors import ConfigError, NotFound
from studio.experiment import (
    READ_AS,
    ArtifactRef,
    Command,
    Exit,
    Experiment,
    Metric,
    Summary,
    Times,
    Variable,
    check_new_key,
)
from studio.tracking import fields
from tests.commands import run_all
from tests.studio_process import opened, record, studio


@pytest.fixture
def three() -> None:
    """Three ended experiments in the store."""
    one = opened()
    me = one.config["owner"]
    for number, (key, project, owner, accuracy) in enumerate(
        [("a-1", "digits", me, 0.5), ("a-2", "digits", me, 0.9), ("b-1", "words", "ada", 0.7)]
    ):
        one.tracking.records.create(
            Experiment(
                key,
                Command("script", "train.py", ("--lr", str(number))),
                project=project,
                owner=owner,
                status="finished",
                params={"lr": number},
                tags=("v2",) if number else (),
                metric=Metric("acc", "max"),
                summary={
                    "acc": Summary(accuracy, accuracy - 0.1, accuracy, 5, 6),
                    "loss": Summary(float("nan"), 1, 1, 5, 6),
                },
                times=Times(1e9 + number, 1e9 + number, 1e9 + number + 90),
                exit=Exit(0, None, "finished"),
                artifacts={"modeldir": ArtifactRef(True, "sha256:" + "0" * 64, 1, 2048)},
            )
        )


def keys(*words: str, cwd: Path) -> list[str]:
    done = studio("runs", "list", "--short", *words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().split()


@pytest.mark.usefixtures("three")
def test_scopes_queries_and_order(tmp_path: Path) -> None:
    assert keys(cwd=tmp_path) == ["a-2", "a-1"], "mine, newest first"
    assert keys("all", cwd=tmp_path) == ["b-1", "a-2", "a-1"]
    assert keys("project", "words", cwd=tmp_path) == ["b-1"]
    assert keys("user", "ada", cwd=tmp_path) == ["b-1"]
    assert keys("metrics.acc.max > 0.6 and tags ~ 'v.*'", cwd=tmp_path) == ["b-1", "a-2"]
    assert keys("metrics.acc", ">", "0.6", "--sort", "metrics.acc", cwd=tmp_path) == ["b-1", "a-2"]
    assert keys("all", "--limit", "1", cwd=tmp_path) == ["b-1"]
    assert keys("all", "metrics.acc.max > 0.6", cwd=tmp_path) == ["b-1", "a-2"]
    assert keys("project", "digits", "metrics.acc.max", ">", "0.6", cwd=tmp_path) == ["a-2"]
    assert keys("user", "ada", "params.lr = 7", cwd=tmp_path) == []
    assert keys("--project", "digits", "params.lr = 0", cwd=tmp_path) == ["a-1"]
    assert keys("all", "--metric", "acc:max", cwd=tmp_path) == ["a-2", "b-1", "a-1"]
    assert keys("all", "--sort", "-metrics.acc:max", cwd=tmp_path) == ["a-2", "b-1", "a-1"]
    assert keys("all", "--sort", "metrics.acc:max", cwd=tmp_path) == ["a-1", "b-1", "a-2"]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("option", ["--columns", "--sort"])
def test_a_statistic_that_no_metric_has_is_refused(option: str, tmp_path: Path) -> None:
    done = studio("runs", "list", option, "metrics.acc:mean", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"'metrics.acc:mean': a metric has no 'mean'" in done.stderr and b"min|max" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.usefixtures("three")
def test_queries_columns_orders_and_metrics_take_one_spelling(tmp_path: Path) -> None:
    """Every field of a query is a column and an order; what no experiment has is refused with the nearest name."""
    asked = [
        ["--metric", "acc.max"], ["--metric", "metrics.acc:max"], ["--metric", '"acc".max'],
        ["--sort", "-metrics.acc.max"], ["metrics.acc:max > 0", "--sort", '-metrics."acc":max'],
    ]  # fmt: skip
    one = [n for n, f in fields.STATIC.items() if f.type not in fields.MANY]
    names = [*one, *fields.ALIASES, "artifacts.modeldir.files"]
    wrong = [
        ("--sort", "metrics.ac", "'metrics.acc'"), ("--columns", "metrics.acc.mxa", "'metrics.acc.max'"),
        ("--columns", "params.lrr", "'params.lr'"), ("--metric", "acd:min", "'metrics.acc.min'"),
        ("--sort", "artifacts.modeldri.bytes", "'artifacts.modeldir.bytes'"),
        ("--columns", "metric.acc", "'metrics.acc'"),
        ("--sort", "param.lr", "'params.lr'"), ("--sort", "git.brunch", "'git.branch'"),
    ]  # fmt: skip
    found = run_all(
        [
            *(["runs", "list", "all", "--short", *words] for words in asked),
            ["runs", "list", "all", "--columns", ",".join([*names, "tags", "packages"])],
            *(["runs", "list", "all", "--short", "--sort", ",".join(one[at : at + 9])] for at in range(0, len(one), 9)),
            ["runs", "list", "all", "metrics.acd > 1 or params.lr is none", "--short"],
            ["runs", "list", "all", "notes is none note = ''", "--columns", "key,note,notes"],
            ["runs", "list", "all", "--columns", "key,env.FOO"],
            *(["runs", "list", "all", option, word] for option, word, _ in wrong),
        ],
        cwd=tmp_path,
    )
    assert [ran.out.split() for ran in found[: len(asked)]] == [[b"a-2", b"b-1", b"a-1"]] * len(asked)
    done, refused = found[len(asked) : -len(wrong)], found[-len(wrong) :]
    empty = done.pop()  # nothing is near
    assert (empty.code, empty.err) == (0, "studio: no experiment has 'env.FOO'\n") and b"a-1" in empty.out
    assert [(ran.code, ran.err) for ran in done[:-2]] == [(0, "")] * (len(done) - 2)
    assert done[-2].err == "studio: no experiment has 'metrics.acd': did you mean 'metrics.acc'?\n"
    assert done[-1].out.split() == [b"key", b"note", b"note", b"b-1", b"a-2", b"a-1"]
    for ran, (_, _, near) in zip(refused, wrong, strict=True):
        assert (ran.code, ran.out) == (3, b"") and f"did you mean {near}?" in ran.err, ran


@pytest.mark.usefixtures("three")
def test_who_has_no_runs_is_told_of_those_of_others(tmp_path: Path) -> None:
    done = studio("runs", "show", "last", cwd=tmp_path, env={"STUDIOML_OWNER": "eve"})
    assert done.returncode == 4 and b"no experiment of yours (eve) in this store yet" in done.stderr
    assert b"studio runs list all shows those of others" in done.stderr


def test_values_are_shown_with_all_their_digits_and_lists_as_json(tmp_path: Path) -> None:
    big, records = 2**128 - 1, opened().tracking.records
    params = {"seed": big, "ver": "1.10", "net": ["a", None, True, 2**70], "on": True, "x": -math.inf}
    summary = {"loss": Summary(0.5, 0.25, 1.0, 2**53 + 1, 1234567)}
    env = {"MODE": Variable("fast"), "TOKEN": Variable("***", "d1", "s1")}
    records.create(Experiment("k", Command("script", "t.py"), params=params, summary=summary, env=env))
    records.create(Experiment("l", Command("script", "t.py"), params={"seed": big - 1, "x": 1}))
    names = "params.seed,params.ver,params.net,params.on,metrics.loss.step,metrics.loss.count"
    ask = [
        ["runs", "list", f"params.seed = {big}", "--columns", names], ["runs", "show", "k"],
        ["runs", "show", "k", "--json"],
        ["index", "rebuild"], ["runs", "list", "params.x < 0", "--sort", "params.x", "--columns", names],
        ["runs", "list", f"params.seed < {big}", "--short"],
        ["runs", "list", 'env.MODE = fast and env.TOKEN != x', "--sort", "env.MODE", "--columns", "env.MODE,env.TOKEN"],
    ]  # fmt: skip
    listed, shown, document, _, again, less, variables = run_all(ask, cwd=tmp_path)
    row = [str(big), "1.10", '["a", null, true, 1180591620717411303424]', "true", str(2**53 + 1), "1234567"]
    for ran in (listed, again):
        assert re.split(r"  +", ran.out.decode().splitlines()[1].strip()) == row, ran
    assert all(text in shown.out.decode() for text in row[:4]) and f"step {2**53 + 1}" in shown.out.decode()
    told = json.loads(document.out)
    assert told["params"] == {**params, "x": "-Infinity"} and told["nonfinite"] == [["x"]] and less.out == b"l\n"
    assert variables.out.split() == [b"env.MODE", b"env.TOKEN", b"fast", b"***"]
    assert "some have a secret in env.TOKEN, of which only `is none` is known" in variables.err


def test_a_metric_with_a_colon_in_its_name_is_shown(tmp_path: Path) -> None:
    summary = {"val:loss": Summary(3, 1, 4, 5, 6), "top:5": Summary(7, 7, 7, 5, 6)}
    opened().tracking.records.create(Experiment("k", Command("script", "train.py", ()), summary=summary))
    words = 'key,metrics."val:loss",metrics."val:loss".max,metrics.val:loss:min,metrics.top:5'
    done = studio("runs", "list", "all", "--columns", words, cwd=tmp_path)
    assert done.stdout.decode().splitlines()[1].split() == ["k", "3", "4", "1", "7"]


@pytest.mark.usefixtures("three")
def test_the_table_shows_what_was_asked_for(tmp_path: Path) -> None:
    done = studio(
        "runs", "list", "all", "--columns", "key,duration,metric,params.lr,metrics.acc.min,model,tags", cwd=tmp_path
    )
    lines = [re.split(r"  +", line) for line in done.stdout.decode().splitlines()]
    assert lines[0] == ["key", "duration", "metric", "params.lr", "acc.min", "model", "tags"]
    assert lines[1] == ["b-1", "1m30s", "acc=0.7", "2", "0.6", "2.0 KiB", "v2"]
    done = studio("runs", "list", "all", "--columns", "key,metrics.acc:min,metrics.acc:max", cwd=tmp_path)
    lines = [re.split(r"  +", line) for line in done.stdout.decode().splitlines()]
    assert lines[:2] == [["key", "acc.min", "acc.max"], ["b-1", "0.6", "0.7"]], "as --metric spells it"
    done = studio("runs", "list", "--columns", "key,metrik", cwd=tmp_path)
    assert done.returncode == 3
    assert b"no column 'metrik'" in done.stderr and b"'metric'" in done.stderr


@pytest.mark.usefixtures("three")
def test_json_is_one_document_of_records(tmp_path: Path) -> None:
    found = json.loads(studio("runs", "list", "all", "--limit", "2", "--json", cwd=tmp_path).stdout)
    assert [e["key"] for e in found["experiments"]] == ["b-1", "a-2"]
    assert found["next"] == 2
    shown = json.loads(studio("runs", "show", "a-2", "--json", cwd=tmp_path).stdout)
    assert shown["metric"] == {"name": "acc", "mode": "max"}
    assert shown["summary"]["loss"]["last"] == "NaN"
    assert json.loads(studio("runs", "list", "users", "--json", cwd=tmp_path).stdout)["users"][0]["name"] == "ada"
    projects = studio("runs", "list", "projects", cwd=tmp_path).stdout.decode()
    assert re.search(r"digits +2", projects) and re.search(r"words +1", projects)


def test_a_key_that_commands_would_read_as_something_else_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("print('ran')\n")
    fields_with_dots = {name for name in {**fields.STATIC, **fields.ALIASES} if "." in name}
    fields_with_dots |= {"params.lr", "env.MODE", "metrics.loss", "metrics.loss.max", "artifacts.modeldir.bytes"}
    for key in ("LAST", "All", "train.py", "a.ipynb", *READ_AS, *fields_with_dots):
        done = CliRunner().invoke(command, ["run", "-e", key, "a.py"], standalone_mode=False)
        assert isinstance(done.exception, ConfigError) and f"experiment key '{key}'" in done.exception.message, key
    assert opened().experiments() == []


def test_commands_read_reserved_words_as_something_else_and_all_other_words_as_keys(home: Path) -> None:
    one = opened()
    plain = {*fields.STATIC, *fields.ALIASES, "is", "nan", "true", "now", "inf", "today", "5m", "1e5", "2026-11-01"}
    plain = {word for word in plain if "." not in word and word not in READ_AS} | {"x.loss", "v1.0"}
    for word in (*READ_AS, *plain):
        one.tracking.records.create(Experiment(key=word, command=Command("exec", "true"), owner="ada"))

    def found(query: str) -> list[str]:
        try:
            return [e.key for e in one.experiments(query, limit=None)]
        except ConfigError:
            return []

    for word in plain:
        assert (
            found(f"key = {word}") == found(f"key in ({word})") == [one.experiment(check_new_key(word)).key] == [word]
        )
    for word in READ_AS:
        listed = CliRunner().invoke(command, ["runs", "list", word, "-s"]).output.split()
        assert word == "last" or listed != [word] or found(f"key = {word}") != [word], f"{word} needs not be refused"
        assert one.experiment(f"key={word}").key == word and found(f'key = "{word}"') == [word]


@pytest.mark.usefixtures("three")
def test_last_of_an_older_store_is_deleted_by_its_exact_key_alone(tmp_path: Path) -> None:
    one = opened()
    records = one.tracking.records
    records.create(dataclasses.replace(records.get("a-1"), key="last"))
    for words in (["show", "last"], ["delete", "last", "--yes"]):
        done = studio("runs", *words, cwd=tmp_path)
        assert done.returncode == 3 and b"or key=last for the other" in done.stderr
    assert b"key      last\n" in studio("runs", "show", "key=last", cwd=tmp_path).stdout
    assert b"script train.py is not there" in studio("runs", "rerun", "key=last", cwd=tmp_path).stderr
    assert studio("runs", "delete", "--exact", "b", "--yes", cwd=tmp_path).returncode == 4
    assert studio("runs", "delete", "--exact", "last", "--yes", cwd=tmp_path).stderr == b"deleted last\n"
    assert studio("runs", "list", "all", "-s", cwd=tmp_path).stdout.split() == [b"b-1", b"a-2", b"a-1"]


@pytest.mark.usefixtures("three")
def test_show_and_the_ways_to_name_an_experiment(tmp_path: Path) -> None:
    text = studio("runs", "show", "a-2", cwd=tmp_path).stdout.decode()
    for part in ("train.py --lr 1", "finished", "digits", "0.9 (step 5; 0.8 to 0.9)", "1 file, 2.0 KiB", "took", "v2"):
        assert part in text
    assert "a-2" in studio("runs", "show", "last", cwd=tmp_path).stdout.decode()
    assert "b-1" in studio("runs", "show", "b", cwd=tmp_path).stdout.decode()
    several = studio("runs", "show", "a-", cwd=tmp_path)
    assert several.returncode == 3
    assert b"fits 2 experiments: a-1, a-2" in several.stderr
    missing = studio("runs", "show", "a-22", cwd=tmp_path)
    assert missing.returncode == 4
    assert b"no experiment 'a-22'" in missing.stderr and b"did you mean 'a-2'?" in missing.stderr


def test_names_and_values_of_any_length_leave_the_page_readable(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import studio\n"
        "studio.params({'n' * 5000: 1, 'lr': 0.1, 'big': 'y' * 10**5, 'red': '\\x1b[31mred\\nlr  7'})\n"
        "studio.note('one')\nstudio.note('two')\nstudio.log({'m' * 5000: 1, 'loss': 2})\nstudio.tags('\\x1b[31mred')\n"
    )
    assert studio("run", "-e", "long", "a.py", cwd=tmp_path).returncode == 0
    text = studio("runs", "show", "long", cwd=tmp_path).stdout.decode()
    lines = text.splitlines()
    assert max(map(len, lines)) < 1000 and "\x1b" not in text
    assert (
        "  lr   0.1" in lines
        and "  loss  2 (step 0; 2 to 2)" in lines
        and not any(line.startswith("lr") for line in lines)
    )
    assert lines[lines.index("note     one") + 1] == "         two"
    for words in (
        ["runs", "list"],
        ["runs", "list", "--columns", "key,params.lr,params.red," + "metrics." + "m" * 1024],
    ):
        text = studio(*words, cwd=tmp_path).stdout.decode()
        assert "\x1b" not in text and len(text.splitlines()) == 2 and len(text.splitlines()[1]) < 200


@pytest.mark.usefixtures("three")
def test_bad_queries_and_verbs(tmp_path: Path) -> None:
    done = studio("runs", "list", "metrics.acc >", cwd=tmp_path)
    assert done.returncode == 3 and done.stderr.startswith(b"studio: ")
    assert b"Traceback" not in done.stderr
    done = studio("runs", "lst", cwd=tmp_path)
    assert done.returncode == 2 and b"did you mean 'list'?" in done.stderr


@pytest.mark.usefixtures("three")
def test_tags_and_notes(tmp_path: Path) -> None:
    assert studio("runs", "tag", "a-1", "good", "best", cwd=tmp_path).returncode == 0
    assert studio("runs", "tag", "--remove", "a-1", "good", cwd=tmp_path).returncode == 0
    assert studio("runs", "note", "a-1", "a note", cwd=tmp_path).returncode == 0
    assert (record("a-1").tags, record("a-1").notes) == (("best",), "a note")
    assert studio("runs", "tag", "a-1", "no good", cwd=tmp_path).returncode == 3


def test_what_was_taken_out_of_a_record_is_nowhere_in_the_home(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, studio\nfor name in os.environ.get('MARKS', '').split():\n"
        "    studio.tags(name + 't')\n    studio.note(name + 'n')\n    studio.params(p=name + 'p')\n"
    )
    words = ["--tag", "Mark1", "--note", "Mark2", "--param", "q=Mark3"]
    done = studio("run", "-e", "one", *words, "a.py", cwd=tmp_path, env={"MARKS": "Mark4 Mark5"})
    assert done.returncode == 0 and record("one").tags == ("Mark1", "Mark4t", "Mark5t")
    assert (home / ".studioml/experiments/one/.studio/events").exists()
    assert _holding(home, b"Mark") and not _holding(home, b"Mark4p")  # the script itself gave another value
    opened().tag("one", remove=["Mark1", "Mark4t"])
    assert _holding(home, b"Mark1") == _holding(home, b"Mark4t") == []
    opened().note("one", "a note")
    assert _holding(home, b"Mark2") == _holding(home, b"Mark4n") == _holding(home, b"Mark5n") == []
    assert studio("run", "--resume", "one", "--param", "q=1", "--param", "p=2", cwd=tmp_path).returncode == 0
    assert _holding(home, b"Mark3") == _holding(home, b"Mark5p") == [] and _holding(home, b"Mark5t")
    assert record("one").tags == ("Mark5t",), "what was taken away comes back"
    assert record("one").notes == "a note" and record("one").params == {"q": 1, "p": 2}


def _holding(home: Path, mark: bytes) -> list[Path]:
    """The files of the home with these bytes."""
    return [path for path in (home / ".studioml").rglob("*") if path.is_file() and mark in path.read_bytes()]


def test_delete_asks_removes_everything_and_says_what(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text("print('x')")
    for key in ("one", "two", "three"):
        assert studio("run", "-e", key, "a.py", cwd=tmp_path).returncode == 0
    assert studio("runs", "delete", "one", cwd=tmp_path).returncode == 2, "nobody there to ask"
    assert record("one").key == "one"
    done = studio("runs", "delete", "--yes", "one", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"deleted one\n")
    with pytest.raises(NotFound):
        record("one")
    assert not (home / ".studioml" / "experiments" / "one").exists()
    assert not list((home / ".studioml" / "store").glob("runs/one/*"))
    done = studio("runs", "kill", "-y", "two", cwd=tmp_path)
    assert b"kill deletes" in done.stderr and b"deleted two" in done.stderr
    assert keys(cwd=tmp_path) == ["three"]


def test_get_copies_an_artifact_verified(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    assert studio("run", "-e", "one", "a.py", cwd=tmp_path).returncode == 0
    done = studio("runs", "get", "one", "workspace", "copy", cwd=tmp_path)
    assert done.stdout == b"copy\n", done.stderr
    assert (tmp_path / "copy" / "a.py").exists()
    done = studio("runs", "get", "one", "nothing", cwd=tmp_path)
    assert done.returncode == 4 and b"no artifact 'nothing'" in done.stderr


def test_get_replaces_nobodys_file_unless_told_to(tmp_path: Path) -> None:
    (tmp_path / "code" / "sub").mkdir(parents=True)
    (tmp_path / "code" / "a.py").write_text("")
    (tmp_path / "code" / "sub" / "b.txt").write_text("captured")
    (tmp_path / "code" / "link").symlink_to("a.py")
    assert studio("run", "-e", "one", "a.py", cwd=tmp_path / "code").returncode == 0
    mine = tmp_path / "mine"
    for _ in range(2):  # the second time all of it is there, and the same
        assert studio("runs", "get", "one", "workspace", "mine", cwd=tmp_path).returncode == 0
    (mine / "other.txt").write_text("stays")
    (mine / "sub" / "b.txt").write_text("precious")
    done = studio("runs", "get", "one", "workspace", "mine", cwd=tmp_path)
    assert done.returncode == 5 and b"sub/b.txt" in done.stderr and b"--overwrite" in done.stderr
    assert (mine / "sub" / "b.txt").read_text() == "precious"
    assert studio("runs", "get", "--overwrite", "one", "workspace", "mine", cwd=tmp_path).returncode == 0
    assert (mine / "sub" / "b.txt").read_text() == "captured"
    assert (mine / "other.txt").read_text() == "stays"
    for name, make in (
        ("link", lambda p: p.write_text("no link")),
        ("a.py", lambda p: p.mkdir()),
        ("sub", lambda p: p.symlink_to(tmp_path)),
    ):
        target = tmp_path / f"with-{name}"
        target.mkdir()
        make(target / name)
        done = studio("runs", "get", "one", "workspace", str(target), cwd=tmp_path)
        assert done.returncode == 5, done.stderr
        assert [p.name for p in target.iterdir()] == [name]


def test_an_empty_store_says_how_to_begin(tmp_path: Path, home: Path) -> None:
    done = studio("runs", "list", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"studio run train.py" in done.stderr
    assert studio("runs", "show", "last", cwd=tmp_path).returncode == 4
    assert json.loads(studio("runs", "list", "--json", cwd=tmp_path).stdout) == {"experiments": [], "next": None}


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text("")
    assert studio("run", "-e", "one", "a.py", cwd=tmp_path).returncode == 0
    (home / ".studioml" / "store" / "records" / "two.json").write_text("{bad")
    done = studio("runs", "list", "-s", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"one\n")
    assert done.stderr == (
        b"studio: experiment two: its record is damaged and left out: it is not JSON: Expecting property name enclosed"
        b" in double quotes: line 1 column 2 (char 1); studio runs delete two removes it\n"
    )
    assert b"experiment two: its record is damaged" in studio("index", "rebuild", cwd=tmp_path).stderr
    done = studio("runs", "delete", "two", cwd=tmp_path)
    assert done.returncode == 2 and b"Delete 1 experiment: two?" in done.stderr
    live = home / ".studioml" / "store" / "live"
    live.mkdir(exist_ok=True)
    (live / "two.json").write_text("{}")
    done = studio("runs", "delete", "two", "--yes", cwd=tmp_path)
    assert done.returncode == 5 and b"experiment two is running" in done.stderr, done.stderr
    (live / "two.json").unlink()
    assert studio("runs", "delete", "two", "--yes", cwd=tmp_path).returncode == 0
    assert studio("runs", "list", "-s", cwd=tmp_path).stderr == b""
    (live.parent / "records" / "-odd.json").write_text("{}")
    said = studio("runs", "list", "-s", cwd=tmp_path).stderr
    assert b"records/-odd.json in file://" in said and b"is no experiment's record and left out" in said
    assert studio("runs", "delete", "--yes", "--", "-odd", cwd=tmp_path).returncode == 3
    assert (live.parent / "records" / "-odd.json").exists()


def test_a_field_that_cannot_be_read_costs_no_record(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text("import studio\nstudio.log({'loss': 0.5}, step=0)\n")
    assert studio("run", "-e", "one", "a.py", cwd=tmp_path).returncode == 0
    record = home / ".studioml" / "store" / "records" / "one.json"
    data = json.loads(record.read_text())
    wrong: dict[str, object] = {"notes": 3, "tags": ["a", None], "exit": {**data["exit"], "code": "x"}}
    wrong["summary"] = {**data["summary"], "odd": {"last": []}}
    record.write_text(json.dumps({**data, **wrong, "command": {**data["command"], "args": 7}}))
    said = studio("runs", "list", "-s", cwd=tmp_path)
    assert said.stdout == b"one\n"
    assert said.stderr.decode().splitlines() == [
        "studio: experiment one: fields of its record are ignored: command.args is a number, not a list; exit.code is a"
        " text, not a number; notes is a number, not a text and 2 more fields"
    ]
    shown = json.loads(studio("runs", "show", "one", "--json", cwd=tmp_path).stdout)
    listed = json.loads(studio("runs", "list", "--json", cwd=tmp_path).stdout)["experiments"]
    assert listed == [shown] and (shown["notes"], shown["tags"], shown["summary"]["loss"]["last"]) == ("", ["a"], 0.5)
    done = studio("runs", "rerun", "one", cwd=tmp_path)
    assert done.returncode == 3 and b"one cannot run again as it was: command.args of its record" in done.stderr
    assert studio("runs", "tag", "one", "b", cwd=tmp_path).returncode == 0
    kept = json.loads(record.read_text())
    assert (kept["tags"], kept["notes"], kept["command"]["args"], kept["exit"]["code"]) == (["a", "b"], 3, 7, "x")
    assert kept["summary"]["odd"] == {"last": []}
    said = studio("runs", "list", cwd=tmp_path).stderr
    assert said.endswith(b"notes is a number, not a text and 1 more field\n"), said  # the tags are mended
    assert studio("runs", "delete", "one", "--yes", cwd=tmp_path).returncode == 0
    assert studio("runs", "list", cwd=tmp_path).stderr == b"no experiments yet: studio run train.py makes one\n"


@pytest.mark.usefixtures("three")
def test_a_store_of_others_says_how_to_see_theirs(tmp_path: Path) -> None:
    done = studio("runs", "list", cwd=tmp_path, env={"STUDIOML_OWNER": "nobody-else"})
    assert done.stderr == b"no experiments of yours: studio runs list all\n"


@pytest.mark.usefixtures("three")
def test_an_empty_list_says_which_restriction_nothing_meets(tmp_path: Path) -> None:
    for words, said in (
        (("--project", "nop"), "no experiments: there is no project 'nop'; studio runs list projects shows them"),
        (("project", "digts", "status", "=", "failed"), "no experiments: there is no project 'digts'; did you mean"),
        (("user", "bob"), "no experiments: there is no user 'bob'; studio runs list users shows them"),
        (("status", "=", "lost", "and", "duration", ">", "9000h"), "no experiments fit"),
    ):
        done = studio("runs", "list", *words, cwd=tmp_path)
        assert done.stderr.decode().startswith(said) and done.returncode == 0 and not done.stdout, done.stderr


def test_an_unreadable_store_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = studio("runs", "list", "--store", f"file://{tmp_path}/file", cwd=tmp_path)
    assert done.returncode == 5
    assert done.stderr.startswith(b"studio: ") and b"Traceback" not in done.stderr
    done = studio("runs", "list", "--store", "s4://x", cwd=tmp_path)
    assert done.returncode == 3 and b"no store is called 's4'" in done.stderr


def test_the_index_is_made_anew(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text("")
    assert studio("run", "-e", "one", "a.py", cwd=tmp_path).returncode == 0
    for path in (home / ".studioml" / "index").iterdir():
        os.truncate(path, 10)
    done = studio("index", "rebuild", cwd=tmp_path)
    assert done.returncode == 0 and b"1 experiment indexed" in done.stderr
    assert keys(cwd=tmp_path) == ["one"]
