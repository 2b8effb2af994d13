"""Children of a run, its reruns and its servings: all name it as their parent, only children go with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from studio.experiment import Experiment
from tests.studio_process import opened, studio

LOOP = """
import sys, studio
for name in sys.argv[1:]:
    with studio.start(key=name):
        studio.log({"loss": 0.5}, step=0)
"""


def experiments() -> dict[str, Experiment]:
    return {e.key: e for e in opened().experiments("", limit=None)}


def tree(folder: Path, *words: str) -> list[str]:
    done = studio("runs", "list", "all", *words, "--sort", "added", "--tree", "--columns", "key", cwd=folder)
    assert done.returncode == 0, done.stderr
    return [line.rstrip() for line in done.stdout.decode().splitlines()[1:]]


def sheet(folder: Path, key: str) -> list[list[str]]:
    return [line.split() for line in studio("runs", "show", key, cwd=folder).stdout.decode().splitlines()]


def run(folder: Path, *words: str) -> None:
    done = studio(*words, cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """`k` with the children `one` and `two`."""
    (tmp_path / "a.py").write_text(LOOP)
    run(tmp_path, "run", "-e", "k", "a.py", "one", "two")
    return tmp_path


def test_a_rerun_is_no_child(family: Path) -> None:
    (family / "c.py").write_text("import studio\nwith studio.start() as run: run.params(lr=1)\n")
    run(family, "run", "-e", "first", "c.py")
    run(family, "runs", "rerun", "first", "-e", "again")
    run(family, "run", "-e", "third", "again")
    found = experiments()
    child = {e.parent: e.key for e in found.values() if e.params == {"lr": 1}}
    assert set(child) == {"first", "again", "third"}
    told = {key: (found[key].parent, found[key].relation) for key in ("k", "one", "first", "again", "third")}
    assert told == {
        "k": (None, None), "one": ("k", "child"),
        "first": (None, None), "again": ("first", "rerun"), "third": ("again", "rerun"),
    }  # fmt: skip
    assert tree(family) == ["k", "  one", "  two", "first", "  " + child["first"],
                            "again", "  " + child["again"], "third", "  " + child["third"]]  # fmt: skip
    assert tree(family, 'key = "again"') == ["again", "  " + child["again"]]
    shown = json.loads(studio("runs", "show", "first", "--json", cwd=family).stdout)
    assert shown["children"] == [child["first"]]
    assert ["rerun", "of", "first"] in sheet(family, "again")
    assert ["parent", "k"] in sheet(family, "one")
    run(family, "runs", "delete", "first", "--children", "--yes")
    left = experiments()
    assert set(found) - set(left) == {"first", child["first"]}
    assert tree(family)[3:] == ["again", "  " + child["again"], "third", "  " + child["third"]]
    run(family, "runs", "show", "again")  # what it repeated is gone
    run(family, "runs", "rerun", "again", "-e", "fourth")


def test_a_child_that_was_run_again_keeps_its_rerun(family: Path) -> None:
    (family / "plain.py").write_text("import studio\nstudio.log({'loss': 0.5}, step=0)\n")
    (family / "outer.py").write_text(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'studio', 'run', '-e', 'inner', 'plain.py'], check=True)\n"
    )
    run(family, "run", "-e", "outer", "outer.py")
    run(family, "runs", "rerun", "inner", "-e", "inner-again")
    found = experiments()
    assert (found["inner"].child_of, found["inner-again"].parent) == ("outer", "inner")
    assert tree(family, 'key = "inner-again"') == ["inner-again"]
    assert tree(family, 'key = "inner"') == ["outer", "  inner"]
    done = studio("runs", "delete", "outer", "--children", "--yes", cwd=family)
    assert done.returncode == 0 and b"stay" not in done.stderr
    assert set(found) - set(experiments()) == {"outer", "inner"}


def test_a_serving_is_no_child(family: Path) -> None:
    run(family, "serve", "k", "--identity", "--port", "0", "--killafter", "1")
    found = experiments()
    served = next(e for e in found.values() if e.kind == "serving")
    assert (served.parent, served.relation) == ("k", "serving")
    assert tree(family) == ["k", "  one", "  two", served.key]
    assert ["serves", "k"] in sheet(family, served.key)
    run(family, "runs", "delete", "k", "--children", "--yes")
    assert set(experiments()) == {served.key}


def test_children_whose_run_was_deleted_stand_for_themselves(family: Path) -> None:
    done = studio("runs", "delete", "k", "--yes", cwd=family)
    assert b"2 children stay: studio runs delete one two deletes them" in done.stderr
    assert tree(family) == ["one", "two"]
    assert studio("runs", "show", "one", cwd=family).returncode == 0
    run(family, "runs", "delete", "one", "--children", "--yes")
    assert set(experiments()) == {"two"}


@pytest.mark.parametrize("kind", ["run", "serving"])
def test_a_record_that_does_not_tell_is_no_child(family: Path, home: Path, kind: str) -> None:
    """As written before there was a `relation`: it may be a rerun, an experiment by itself."""
    records = home / ".studioml" / "store" / "records"
    old = json.loads((records / "one.json").read_text())
    old.pop("relation")
    (records / "old.json").write_text(json.dumps({**old, "key": "old", "kind": kind}))
    assert tree(family) == ["k", "  one", "  two", "old"]
    run(family, "runs", "tag", "old", "x")
    assert json.loads(studio("runs", "show", "k", "--json", cwd=family).stdout)["children"] == ["one", "two"]
    assert ["parent", "k"] in sheet(family, "old")
    run(family, "runs", "delete", "k", "--children", "--yes")
    assert set(experiments()) == {"old"}


def test_queries_tell_them_apart(family: Path) -> None:
    done = studio("runs", "list", "all", 'relation = "child"', "--short", "--sort", "added", cwd=family)
    assert done.stdout == b"one\ntwo\n"
    done = studio("runs", "list", "all", "--columns", "key,parent,relation", "--sort", "added", cwd=family)
    assert [line.split() for line in done.stdout.decode().splitlines()[1:]] == [
        ["k"], ["one", "k", "child"], ["two", "k", "child"],
    ]  # fmt: skip


def git(folder: Path, *words: str) -> str:
    known = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *known, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_rerun_has_the_git_state_of_the_code_that_ran(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    script = work / "a.py"
    git(work, "init", "-q")
    script.write_text("print(1)\n")
    git(work, "add", ".")
    git(work, "commit", "-qm", "one")
    script.write_text("print(2)\n")
    run(work, "run", "-e", "first", "a.py")
    run(work, "run", "-e", "bare", "--no-workspace", "a.py")
    git(work, "commit", "-qam", "two")
    git(work, "checkout", "-qb", "other")
    script.write_text("print(3)\n")
    run(work, "run", "-e", "again", "first")
    run(Path("/"), "run", "-e", "elsewhere", "again")
    run(work, "run", "-e", "as-it-is-now", "bare")
    found = experiments()
    first = found["first"].git
    assert first is not None and (first.branch, first.dirty) == ("main", True) and first.patch
    assert found["again"].git == found["elsewhere"].git == first
    now = found["as-it-is-now"].git
    assert now is not None and (now.branch, now.commit) == ("other", git(work, "rev-parse", "HEAD"))
    assert now.patch not in (None, first.patch)
    shown = studio("runs", "show", "elsewhere", "--patch", cwd=tmp_path)
    assert b"+print(2)" in shown.stdout
