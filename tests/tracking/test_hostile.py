"""Records that no studio wrote: none breaks a listing, hides another record, or reaches the terminal raw."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from studio.experiment import (
    ArtifactRef,
    Command,
    Exit,
    Experiment,
    Failure,
    Git,
    Host,
    Metric,
    Summary,
    Times,
    to_json,
)
from studio.tracking.metrics import encode
from tests.commands import Ran, run_all
from tests.hostile import calm, mutated, strictly
from tests.studio_process import opened

GOOD = 3
COLUMNS = "key,status,added,started,finished,duration,project,owner,kind,metric,command," + (
    "tags,note,host,commit,branch,exit,reason,model,parent,relation"
)
LISTS = [
    ["runs", "list", "all", "--limit", "0"],
    ["runs", "list", "all", "--limit", "0", "--json"],
    ["runs", "list", "all", "--limit", "0", "--columns", f"{COLUMNS},error,params.lr,metrics.loss.max"],
    ["runs", "list", "all", "--limit", "0", "--short"],
    ["runs", "list", "all", "--sort", "metrics.loss", "--metric", "loss:max"],
    ["runs", "list", 'added > -7d or duration > 1s or params.lr > 0.1 or notes ~ "x" or tags = a or host.memory > 1G'],
    ["runs", "list", "users", "--json"],
    ["runs", "list", "projects"],
    ["runs", "export", "all.csv"],
    ["runs", "export", "all.json"],
    ["runs", "export", "all.parquet"],
    ["runs", "export", "curves.csv", "--curves"],
    ["sql", "--json", "--limit", "0", "SELECT * FROM experiments"],
    ["sql", "SELECT * FROM params UNION ALL SELECT key, name, NULL, last FROM metrics"],
    ["sql", "--csv", "SELECT * FROM tags, packages, artifacts LIMIT 100"],
    ["index", "rebuild"],
    ["runs", "list", "all", "--limit", "0", "--json"],
]  # fmt: skip


def full(key: str, **more: Any) -> Experiment:
    """A record that has every field."""
    return Experiment(
        key, Command("script", "train.py", ("--lr", "0.1"), "3.11.7", "/usr/bin/python3"),
        packages=("numpy==2.0", "a==1"),
        git=Git("https://example.org/a.git", "9" * 40, "main", True, "sha256:" + "0" * 64),
        host=Host("laptop", "Linux", "cpu", 8, 2**34, ("gpu",)),
        params={"lr": 0.1, "net": {"layers": [1, 2]}, "on": True},
        tags=("a", "b"), notes="line\nline", metric=Metric("loss", "min"), owner="ada", status="finished",
        summary={"loss": Summary(0.1, 0.1, 0.9, 4, 5, 0.9), "system/cpu": Summary(0.5, 0.1, 0.9, 4, 5)},
        artifacts={"modeldir": ArtifactRef(True, "sha256:" + "1" * 64, 2, 4096)}, times=Times(1.8e9, 1.8e9, 1.8e9 + 60),
        exit=Exit(1, None, "failed", None, Failure("ValueError", "message", "train.py:1 in main")), max_duration=60.0,
        lifetime=3600.0, parent="one", relation="child", studio="0.1.0",
        extra={"saved": [{"path": "m.pt", "how": "torch.save"}], "models": [{"name": "m", "file": "m", "chosen": True}],
               "given": ["lr"]}, **more,
    )  # fmt: skip


def spoil(folder: Path, count: int, seed: int) -> list[str]:
    """Puts hostile records beside good ones; returns the hostile ones' keys."""
    chance = random.Random(seed)
    document = to_json(full("key"))
    keys = [f"bad{at}" for at in range(count)]
    for key in keys:
        (folder / f"{key}.json").write_bytes(mutated({**document, "key": key}, chance))
    return keys


def unbroken(ran: Ran) -> None:
    said = f"studio {' '.join(ran.words)}: exit {ran.code}\n{ran.err[-3000:]}"
    assert "Traceback" not in ran.err and "internal error" not in ran.err, said
    assert ran.code == 0, said
    try:
        if "--json" in ran.words:
            strictly(ran.out)
        calm(ran.out if "--csv" not in ran.words else b"")
        calm(ran.err.encode())
    except ValueError as exc:
        raise AssertionError(f"{exc}: {said}") from exc


@pytest.mark.parametrize(
    ("count", "seed"),
    [
        (250, 1),
        *(pytest.param(500, seed, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]) for seed in range(2, 22)),
    ],
)
def test_no_record_breaks_a_listing(tmp_path: Path, home: Path, count: int, seed: int) -> None:
    studio = opened()
    good = [f"good{at}" for at in range(GOOD)]
    for key in good:
        studio.tracking.records.create(full(key))
    folder = home / ".studioml" / "store" / "records"
    bad = spoil(folder, count, seed)
    lists = run_all(LISTS, cwd=tmp_path)
    for ran in lists:
        unbroken(ran)
    for ran in (lists[1], lists[-1]):
        listed = {e["key"]: e for e in strictly(ran.out)["experiments"]}
        assert {key: listed.get(key) for key in good} == {key: to_json(full(key)) for key in good}
        damaged = opened().tracking.index.broken()
        assert sorted([*listed, *(name[8:-5] for name in damaged)]) == sorted([*good, *bad])
    assert len(json.loads((tmp_path / "all.json").read_bytes())) == len(listed)
    chance = random.Random(seed)
    shown = chance.sample(sorted(set(listed) - set(good)), 40)
    commands = [[*words, key] for key in shown for words in (["runs", "show"], ["runs", "show", "--json"])]
    commands += [["runs", "compare", "good0", *shown[at : at + 5], *more] for at in (0, 5) for more in ([], ["--json"])]
    commands += [["runs", "media", shown[0]], ["runs", "logs", shown[0]]]
    for ran in run_all(commands, cwd=tmp_path):
        unbroken(ran)
    for ran in run_all([["runs", "show", name[8:-5]] for name in list(damaged)[:10]], cwd=tmp_path):
        assert ran.code == 5 and "Traceback" not in ran.err, ran.err
        assert "is not an experiment record" in ran.err
        calm(ran.err.encode())


def hostile_lines(chance: random.Random, line: dict[str, Any], count: int) -> bytes:
    return b"\n".join(mutated(line, chance).replace(b"\n", b" ") for _ in range(count)) + b"\n"


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(s, marks=[pytest.mark.soak, pytest.mark.timeout(600)]) for s in range(2, 12))]
)
def test_what_lies_beside_a_record_breaks_no_read(tmp_path: Path, home: Path, seed: int) -> None:
    chance = random.Random(seed)
    studio, store = opened(), home / ".studioml" / "store"
    keys = [f"k{at}" for at in range(40)]
    live = {"schema": 1, "summary": {"loss": {"last": 1.0, "min": 0.5, "max": 1.0, "step": 3, "count": 4}}}
    entry = {"name": "pic", "step": 1, "time": 1.8e9, "kind": "text", "file": "pic/1.txt", "size": 3, "also": []}
    block = encode("loss", [0, 1, 2], [1.8e9] * 3, [0.5, 0.4, 0.3])
    for key in keys:
        studio.tracking.records.create(full(key).with_changes(status="running"))
    (store / "live").mkdir()
    for key in keys:
        (store / "live" / f"{key}.json").write_bytes(mutated({**live, "key": key}, chance))
        folder = store / "runs" / key / "media"
        folder.mkdir(parents=True)
        (folder / "index").write_bytes(hostile_lines(chance, entry, 5))
        (folder.parent / "metrics").mkdir()
        at = chance.randrange(len(block))
        spoilt = bytearray(block * 3)
        spoilt[at] ^= 1 << chance.randrange(8)
        (folder.parent / "metrics" / "1-1").write_bytes(bytes(spoilt))
    commands = [*LISTS, *(["runs", "media", key] for key in keys), *(["runs", "media", key, "--json"] for key in keys)]
    commands += [["runs", "show", key] for key in keys] + [["runs", "compare", *keys[at : at + 4]] for at in (0, 4, 8)]
    for ran in run_all(commands, cwd=tmp_path):
        unbroken(ran)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"\xff", b'{"layout": 1e300}', b'{"layout": "\\ud83d\\u001b[2J"}', b"[" * 9000]
)
def test_a_damaged_store_json_is_one_line(tmp_path: Path, home: Path, raw: bytes) -> None:
    opened().tracking.records.create(full("one"))
    (home / ".studioml" / "store" / "store.json").write_bytes(raw)
    for ran in run_all(
        [["runs", "list"], ["runs", "show", "one"], ["runs", "tag", "one", "x"], ["doctor"]], cwd=tmp_path
    ):
        assert "Traceback" not in ran.err and "internal error" not in ran.err, ran.err
        assert ran.code in (3, 5), ran
        calm(ran.err.encode())
