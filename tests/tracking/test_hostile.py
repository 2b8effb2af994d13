"""Records that no studio wrote: none breaks a listing, hides another record, or reaches the terminal raw."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Container, Sequence
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
    ["runs", "list", "all", "--limit", "0", "--json"],
    ["runs", "list", "all", "--limit", "0", "--columns", f"{COLUMNS},error,params.lr,metrics.loss.max"],
    ["runs", "list", "all", "--sort", "metrics.loss", "--metric", "loss:max"],
    ["runs", "list", 'added > -7d or duration > 1s or params.lr > 0.1 or notes ~ "x" or tags = a or host.memory > 1G'],
    ["runs", "export", "all.csv"],
    ["runs", "export", "all.json"],
    ["sql", "--json", "--limit", "0", "SELECT * FROM experiments"],
    ["index", "rebuild"],
    ["runs", "list", "all", "--limit", "0", "--json"],
]  # fmt: skip
MORE = [
    ["runs", "list", "all", "--limit", "0"],
    ["runs", "list", "all", "--limit", "0", "--short"],
    ["runs", "list", "all", "--tree"],
    ["runs", "list", "user", "ada", "--project", "default", "--short"],
    ["runs", "list", "users", "--json"],
    ["runs", "list", "projects"],
    ["runs", "export", "all.parquet"],
    ["runs", "export", "curves.csv", "--curves"],
    ["sql", "SELECT * FROM params UNION ALL SELECT key, name, NULL, last FROM metrics"],
    ["sql", "--csv", "SELECT * FROM tags, packages, artifacts LIMIT 100"],
    ["store", "check"],
    ["doctor"],
]
READ = ("show KEY", "show KEY --json", "logs KEY", "media KEY", "media KEY --json", "compare good0 KEY")
ASK = (
    "show KEY --patch", "compare good0 KEY --diff", "compare KEY good1 --json", "get KEY modeldir got", "rerun KEY",
    "get KEY workspace got", "tag KEY more", "note KEY text", "stop KEY --timeout 0.1", "delete KEY --yes",
)  # fmt: skip
"""What takes a key: reads that answer, and what may end with a reason, as the record names what is not there."""


def of_each(keys: Sequence[str], forms: Sequence[str]) -> list[list[str]]:
    return [["runs", *form.replace("KEY", key).split()] for key in keys for form in forms]


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


ODD_NAMES = (
    "-odd.json",
    ".json",
    "..json",
    ".hidden.json",
    "a.txt",
    "good0.text",
    "below/one.json",
    "x" * 129 + ".json",
)
"""Objects that no record's name fits."""


def spoil(folder: Path, count: int, seed: int) -> list[str]:
    """Puts hostile records beside good ones, and some where no record can be; returns the hostile records' keys."""
    chance = random.Random(seed)
    document = to_json(full("key"))
    keys = [f"bad{at}" for at in range(count)]
    for key in keys:
        (folder / f"{key}.json").write_bytes(mutated({**document, "key": key}, chance))
    (folder / "below").mkdir()
    for name in ODD_NAMES:
        raw = json.dumps({**document, "key": name.removesuffix(".json")}).encode()
        (folder / name).write_bytes(chance.choice((raw, mutated(document, chance))))
    return keys


def unbroken(ran: Ran, codes: Container[int] = (0,)) -> None:
    said = f"studio {' '.join(ran.words)}: exit {ran.code}\n{ran.err[-3000:]}"
    assert "Traceback" not in ran.err and "internal error" not in ran.err, said
    assert ran.code in codes, said
    try:
        if "--json" in ran.words:
            strictly(ran.out)
        calm(b"" if {"--csv", "--diff", "--patch", "logs"} & {*ran.words} else ran.out)  # those are byte for byte
        calm(ran.err.encode())
    except ValueError as exc:
        raise AssertionError(f"{exc}: {said}") from exc


def soaked(seeds: range, *more: int) -> list[Any]:
    return [pytest.param(*more, seed, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]) for seed in seeds]


@pytest.mark.parametrize(("count", "seed"), [(100, 1), *soaked(range(2, 12), 1000)])
def test_no_record_breaks_a_reading(tmp_path: Path, home: Path, count: int, seed: int) -> None:
    studio = opened()
    good = [f"good{at}" for at in range(GOOD)]
    for key in good:
        studio.tracking.records.create(full(key))
    folder = home / ".studioml" / "store" / "records"
    bad = spoil(folder, count, seed)
    lists = run_all(LISTS + (MORE if count > 100 else []), cwd=tmp_path)
    for ran in lists:
        unbroken(ran)
    for ran in (lists[0], lists[len(LISTS) - 1]):
        listed = {e["key"]: e for e in strictly(ran.out)["experiments"]}
        assert {key: listed.get(key) for key in good} == {key: to_json(full(key)) for key in good}
        damaged = opened().damaged()
        assert sorted([*listed, *damaged]) == sorted([*good, *bad])
        assert {name[8:] for name in opened().tracking.index.broken()} == {*ODD_NAMES, *(f"{k}.json" for k in damaged)}
    assert len(json.loads((tmp_path / "all.json").read_bytes())) == len(listed)
    shown = random.Random(seed).sample(sorted(set(listed) - set(good)), count // 25)
    for ran in run_all(of_each(shown, READ), cwd=tmp_path):
        unbroken(ran)
    for ran in run_all(of_each(shown[::4], ASK), cwd=tmp_path):
        unbroken(ran, (0, 3, 4, 5))
    for ran in run_all(of_each(list(damaged)[:4], ("show KEY", "delete KEY --yes")), cwd=tmp_path):
        unbroken(ran, (5,) if ran.words[1] == "show" else (0,))
        assert ran.words[1] == "delete" or "is not an experiment record" in ran.err


def hostile_lines(chance: random.Random, line: dict[str, Any], count: int) -> bytes:
    return b"\n".join(mutated(line, chance).replace(b"\n", b" ") for _ in range(count)) + b"\n"


@pytest.mark.parametrize(("count", "seed"), [(8, 1), *soaked(range(2, 12), 40)])
def test_what_lies_beside_a_record_breaks_no_read(tmp_path: Path, home: Path, count: int, seed: int) -> None:
    chance = random.Random(seed)
    studio, store = opened(), home / ".studioml" / "store"
    keys = [f"k{at}" for at in range(count)]
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
    commands = [*LISTS, *(MORE if count > 8 else []), ["runs", "compare", *keys[:4]], ["runs", "compare", *keys[4:8]]]
    for ran in run_all([*commands, *of_each(keys, ("media KEY", "media KEY --json", "show KEY"))], cwd=tmp_path):
        unbroken(ran)


def test_a_damaged_store_json_is_one_line(tmp_path: Path) -> None:
    commands = []
    for at, raw in enumerate(
        (b"", b"{", b"[]", b"\xff", b'{"layout": 1e300}', b'{"layout": "\\ud83d\\u001b[2J"}', b"[" * 9000)
    ):
        store = tmp_path / str(at)
        opened(store=str(store)).tracking.records.create(full("one"))
        (store / "store.json").write_bytes(raw)
        commands += [[*words, "--store", str(store)] for words in (["runs", "list"], ["runs", "tag", "one", "x"])]
    for ran in run_all([*commands, ["doctor", "--store", str(store)]], cwd=tmp_path):
        unbroken(ran, (3, 5))


def member(path: str = "a", **more: Any) -> dict[str, Any]:
    return {"path": path, "size": 3, "mode": 0o644, "mtime": 1.0, "sha256": hashlib.sha256(b"odd").hexdigest(), **more}


def listing(*files: Any, **more: Any) -> bytes:
    return json.dumps({"schema": 1, "files": files, **more}).encode()


MANIFESTS = {
    "up": listing(member("../evil")),
    "root": listing(member("/tmp/evil")),
    "link": listing({"path": "l", "link": ".."}, member("l/evil")),
    "time": listing(member(mtime=float("nan"))),
    "late": listing(member(mtime=1e300)),
    "deep": b"[" * 100_000,
    "deeper": b'{"schema": 1, "files": [' + b'{"path": ' * 50_000,
    "many": b'{"schema": 1, "files": [' + b"{}," * 10_000_000 + b"{}]}",
    "lists": b'{"schema": 1, "files": [' + b"[]," * 10_000_000 + b"[]]}",
    "escape": listing(member("a\x1b]0;title\x07"), {"path": "l\x1b[2J", "link": "/etc\x1b[2J"}),
    "lost": listing(member(sha256="0" * 64)),
    "long": listing(member(size=10**12)),
    "short": listing(member(size=1)),
    "pack": listing(member(pack="1" * 64, at=5)),
    "parts": listing(member(parts=[{"sha256": "0" * 64, "size": 3}])),
    "none": listing(single=True),
    "single": listing(member(), member("b"), single=True),
    "types": listing(7, None, []),
    "twice": listing(member(), member()),
    "empty": b"",
}  # fmt: skip
"""Manifests that no capture makes, each of an experiment's artifacts."""
REFUSED = set(MANIFESTS) - {"none", "escape"}


@pytest.mark.parametrize(
    "names",
    [
        ["up", "deep", "escape", "none", "lists"],
        pytest.param(list(MANIFESTS), marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
    ],
)
def test_no_manifest_breaks_a_command(tmp_path: Path, home: Path, names: list[str]) -> None:
    work = tmp_path / "work"
    (work / "in").mkdir(parents=True)
    (work / "train.py").write_text("print(1)\n")
    studio = opened()
    studio.tracking.artifacts.write_blob(b"odd")
    write = studio.tracking.artifacts.write_blob
    forged = {"digest": "sha256:../../x", **{name: write(MANIFESTS[name]) for name in names}}
    for key, manifest in {**forged, "good": write(listing(member()))}.items():
        ref = ArtifactRef(False, manifest, 1, 3)
        studio.tracking.records.create(full(key).with_changes(artifacts={"modeldir": ref, "workspace": ref}))
    outside = full("outside").with_changes(artifacts={str(tmp_path / "evil"): ArtifactRef(False, manifest)})
    studio.tracking.store.write("records/outside.json", json.dumps(to_json(outside)).encode())
    forms = ("show KEY", "compare good KEY", "compare KEY good --diff", "get KEY modeldir in/KEY", "rerun KEY")
    commands = of_each([*forged, "outside"], forms)
    for ran in run_all([*commands, *(["serve", key, "--port", "0"] for key in names if key in REFUSED)], cwd=work):
        key = next(w for w in ran.words[1:] if w in forged or w == "outside")
        refused = key in REFUSED and ran.words[1] not in ("show", "compare")
        unbroken(ran, (3, 4, 5, 8) if refused else range(9))
        assert len(ran.err.splitlines()) <= 4 or key not in REFUSED, ran.err
    assert not list(tmp_path.rglob("evil")) and not (home / "evil").exists()
    assert sorted(path.name for path in (work / "in").iterdir()) == ["escape", "none"]
