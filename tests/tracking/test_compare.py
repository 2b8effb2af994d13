"""`compare` against an evaluation of its own: random pairs of experiments that differ in a few hostile ways."""

from __future__ import annotations

import copy
import hashlib
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.cli.verdict import verdict
from studio.experiment import Command, Exit, Experiment, Failure, Summary, Variable, from_json, to_json
from studio.tracking import Tracking
from studio.tracking.agree import agreement
from studio.tracking.cells import show
from studio.tracking.compare import compare
from studio.tracking.manifest import FileEntry, Manifest
from studio.tracking.metrics import encode
from studio.tracking.repetition import Repetition

LONG = "x" * 5000
ALIKE: list[list[Any]] = [
    [None, "None", "null", "none", "", " ", "-", "?"],
    [0, 0.0, -0.0, False, "0", "False", [], {}],
    [1, 1.0, True, "1", "1.0", "True", "true", [1]],
    [-1, -1.0, "-1"],
    ["1e3", 1000.0, 1000, "1000.0"],
    ["NaN", "nan", math.nan, [math.nan], ["NaN"], "[nan]"],
    ["Infinity", "inf", "-Infinity", "-inf", math.inf, -math.inf, "3e563", 1e308, [math.inf, "Infinity"], ["inf"]],
    ["a b", "a  b", " a b", '"a b"', "'a b'", "a\u00a0b"],
    ["a\nb", "a\\nb", '"a\\nb"'],
    [[1, 2], "[1, 2]", [1, "2"], ["1, 2"], [1, 2.0]],
    [{"a": 1, "b": [None]}, {"a": 1, "b": ["None"]}, {"b": [None], "a": 1}, {"a": 1}, '{"a": 1}'],
    [LONG, LONG + "y", LONG + "z", LONG + "y" * 50],
    [2**53, 2**53 + 1, float(2**53)],
    [2**70, 2**70 + 1, float(2**70)],
    [0.3, 0.1 + 0.2, 0.3 + 1e-9, "0.3"],
    ["ü", "u\u0308", "\udcff", "é\u200b", "é"],
    ["***", "key ***", "key **"],
]
VALUES = [value for group in ALIKE for value in group]
ALIKE_WORDS = [["a b"], ["a", "b"], ["a  b"], ["'a b'"], ["a", "", "b"]]
WORDS = ["a b", "a", "b", "", "--lr", "0.1", "--lr=0.1", "a\tb", "'a b'", "ü"]
NUMBERS = [0.0, 1.0, 1 + 5e-7, 1 + 3e-6, -1.0, math.nan, math.inf, -math.inf, 1e300, -1e300, 1e-300]
DIGEST = [hashlib.sha256(bytes([i])).hexdigest() for i in range(6)]
MEMBERS: dict[str, list[tuple[Any, ...]]] = {
    "a.py": [("file", 0, 0o644), ("file", 1, 0o644), ("file", 0, 0o755), ("link", "b.py"), ()],
    "b.py": [("file", 2, 0o600), ("file", 2, 0o644), ()],
    "l": [("link", "a.py"), ("link", "b.py"), ("folder",), ()],
}


class Made:
    """An experiment's JSON object, its artifacts' members, its curves, and which of these are damaged."""

    def __init__(self, chance: random.Random) -> None:
        self.files: dict[str, dict[str, tuple[Any, ...]] | None] = {"workspace": {}, "data": {}}
        self.curves = {
            name: [(step, chance.choice(NUMBERS)) for step in range(4)] for name in ("loss", "acc", "system/cpu")
        }
        self.damage: dict[str, int] = {}
        self.times = 1.0
        self.record: dict[str, Any] = {
            "project": "p", "owner": "ada", "kind": "run", "status": "finished", "tags": [], "notes": "",
            "command": {"kind": "script", "target": "t.py", "args": ["a b"], "python": "3.11.7", "interpreter": "py"},
            "params": {"lr": 0.1, "opt": "adam", "seed": None}, "packages": ["numpy==1", "six==1"], "studio": "0.1.0",
            "git": {"url": None, "commit": "9" * 40, "branch": "main", "dirty": False, "patch": None},
            "host": {"name": "h", "os": "L", "cpu": "c", "cores": 2, "memory": 1, "gpus": ["g"]},
            "digests": {}, "env": {"A": {"value": "1", "digest": None, "salt": None}},
            "exit": {"code": 0, "signal": None, "reason": "finished", "by": None, "error": None},
        }  # fmt: skip

    def change(self, chance: random.Random) -> None:
        """Makes one random change."""
        record = self.record
        match chance.randrange(15):
            case 0 | 1 | 2 | 3:
                record["params"][chance.choice(["lr", "opt", "seed", "new"])] = chance.choice(VALUES)
                if chance.random() < 0.3:
                    secret = chance.choice(["***", "x ***"])
                    record["params"]["key"] = secret
                    record["digests"] = {"key": [chance.choice(["d1", "d2"]), chance.choice(["s1", "s2"])]}
            case 4:
                record["params"].pop(chance.choice(["lr", "opt", "seed"]), None)
            case 5:
                record["command"]["args"] = chance.choices(WORDS, k=chance.randrange(3))
            case 6:
                name = chance.choice(["A", "B"])
                secret = {
                    "value": "***",
                    "digest": chance.choice(["d1", "d2", None]),
                    "salt": chance.choice(["s1", "s2"]),
                }
                plain = {"value": chance.choice(["1", "1 ", "***", "x ***"]), "digest": None, "salt": None}
                record["env"][name] = chance.choice([secret, plain])
            case 7 | 8:
                which = self.files[chance.choice(["workspace", "data"])]
                name = chance.choice(list(MEMBERS))
                if which is not None:
                    which[name] = chance.choice(MEMBERS[name])
            case 9:
                self.files[chance.choice(["workspace", "data"])] = None
            case 10:
                record["packages"] = chance.choice([["numpy==2"], ["numpy==1", "numpy==2"], [], ["six"], ["python==3"]])
            case 11:
                part, name, values = chance.choice(OTHERS)
                (record[part] if part else record)[name] = chance.choice(values)
            case 12:
                self.times += 1
            case 13:
                steps = self.curves[chance.choice(list(self.curves))]
                steps[chance.randrange(4) :] = [(chance.randrange(6), chance.choice(NUMBERS))]
            case 14:
                self.damage[chance.choice(list(self.curves))] = chance.randrange(3)


OTHERS: list[tuple[str, str, list[Any]]] = [
    ("git", "url", ["https://example.org/a", None]), ("git", "commit", ["9" * 39 + "8", "1" * 40, None]),
    ("git", "branch", ["x", None]), ("git", "dirty", [True]), ("git", "patch", ["sha256:00", "sha256:01"]),
    ("host", "cores", [3]), ("host", "gpus", [["g", "h"], ["g, h"], []]), ("host", "name", ["i"]),
    ("exit", "code", [1, 2]), ("exit", "signal", [9, 15]), ("exit", "by", ["ada@h"]), ("", "status", ["failed"]),
    ("exit", "error", [{"type": "E", "message": "m", "frame": "f"}, {"type": "E", "message": "n", "frame": "f"}]),
    ("command", "python", ["3.12.1", None]), ("command", "target", ["u.py"]), ("command", "kind", ["module"]),
    ("", "tags", [["a", "b"], ["b", "a"], ["a"]]), ("", "notes", ["x", "x\n"]), ("", "project", ["q"]),
    ("", "owner", ["bob"]), ("", "studio", ["0.2.0", ""]), ("", "metric", [{"name": "loss", "mode": "min"}, None]),
]  # fmt: skip


def confuse(one: Made, other: Made, chance: random.Random) -> None:
    """Gives both, now and then, values of one place that are easily taken for each other."""
    for made, group in zip((one, other), [chance.choice(ALIKE)] * 2, strict=True):
        made.record["params"]["opt"] = chance.choice(group)
    if chance.random() < 0.3:
        one.record["command"]["args"], other.record["command"]["args"] = chance.sample(ALIKE_WORDS, 2)
    if chance.random() < 0.3:
        for made in (one, other):
            made.record["params"]["key"] = "***"
            made.record["digests"] = {"key": [chance.choice(["d1", "d2"]), "s1"]}
            made.record["env"]["A"] = {"value": "***", "digest": chance.choice(["d1", "d2"]), "salt": "s1"}
    if chance.random() < 0.3:
        for made in (one, other):
            for name in ("workspace", "data"):
                made.files[name] = {path: chance.choice(forms) for path, forms in MEMBERS.items()}
    if chance.random() < 0.2:
        one.damage["loss"] = other.damage["loss"] = 0  # of both nothing is left
        other.curves["loss"] = list(one.curves["loss"])


def stored(made: Made, key: str, tracking: Tracking) -> Experiment:
    """The experiment in the store, with manifests and streams; damaged streams are damaged after they were counted."""
    record = copy.deepcopy(made.record)
    artifacts = {}
    for name, members in made.files.items():
        if members is None:
            continue
        entries = [_entry(path, form, made.times) for path, form in sorted(members.items()) if form]
        artifacts[name] = {"manifest": tracking.artifacts.write_blob(Manifest(tuple(entries)).encode()), "files": 1}
    record |= {"key": key, "artifacts": artifacts, "summary": {}}
    for name, points in made.curves.items():
        blocks = [encode(name, [step], [0.0], [value]) for step, value in points]
        whole = dict(points)
        if whole:
            last = max(whole)
            record["summary"][name] = to_json(Summary(whole[last], 0.0, 0.0, last, len(whole)))
        match made.damage.get(name):
            case 0:
                blocks = []
            case 1:
                blocks[0] = blocks[0][:-1] + bytes([blocks[0][-1] ^ 1])
            case 2:
                blocks[-1] = blocks[-1][:-5]
        if blocks:
            tracking.store.write(f"runs/{key}/metrics/{name.replace('/', '-')}", b"".join(blocks))
    found = from_json(Experiment, {**record, "params": {}}).with_changes(params=record["params"])
    tracking.records.create(found)
    return tracking.index.search(f'key = "{key}"')[0]


def _entry(path: str, form: tuple[Any, ...], mtime: float) -> FileEntry:
    if form[0] == "link":
        return FileEntry(path, link=form[1])
    if form[0] == "folder":
        return FileEntry(path, folder=True)
    return FileEntry(path, size=1, mode=form[2], mtime=mtime, sha256=DIGEST[form[1]])


def alike(one: Any, other: Any) -> bool:
    """Equal, types and signs included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one == other)


NONE = object()


def salted(value: Any) -> Any:
    """A secret parameter with its digest is that, whatever is shown of it."""
    return ["digest", *value[1:]] if isinstance(value, tuple) else value


Is = Callable[[Any], bool]


def evaluate(made: tuple[Made, Made]) -> Iterator[tuple[str, str]]:
    """Section and name of each row that there must be, from what was made: by no code of studio's."""
    one, other = (m.record for m in made)

    def each(
        section: str, sheets: list[dict[str, Any]], unknown: Callable[[Any], bool] = lambda v: False
    ) -> Iterator[Any]:
        for name in {**sheets[0], **sheets[1]}:
            pair = [sheet.get(name, NONE) for sheet in sheets]
            if not alike(*pair) or any(map(unknown, pair)):
                yield section, name

    secret = lambda v: isinstance(v, str) and "***" in v  # noqa: E731
    sheets = [{**r["params"], **{n: (r["params"][n], *d) for n, d in r["digests"].items()}} for r in (one, other)]
    yield from each("parameters", [{n: salted(v) for n, v in s.items()} for s in sheets], secret)
    masked = lambda v: isinstance(v, dict) and "***" in v["value"] and not (v["digest"] and v["salt"])  # noqa: E731
    yield from each("variables", [one["env"], other["env"]], masked)
    yield from each(
        "command", [{"arguments": r["command"]["args"], **_part(r, "command", "kind target")} for r in (one, other)]
    )
    yield from each("environment", [_set(_part(r, "command", "python interpreter")) for r in (one, other)])
    yield from each("environment", [_set({"studio": r["studio"]}) for r in (one, other)])
    hosts = [{"GPUs": r["host"]["gpus"], "cores": r["host"]["cores"], "name": r["host"]["name"]} for r in (one, other)]
    yield from each("machine", hosts)
    about = [{"tags": sorted(r["tags"]), "note": r["notes"], "ranking metric": r.get("metric")} for r in (one, other)]
    yield from each("about", [_set(sheet) for sheet in about])
    yield from each("about", [{"project": r["project"], "owner": r["owner"]} for r in (one, other)])
    status = [
        [r["status"], r["exit"]["reason"], r["exit"]["code"] or 0, r["exit"]["signal"] or 0] for r in (one, other)
    ]
    yield from each("outcome", [{"status": s} for s in status])
    errors = [r["exit"]["error"] for r in (one, other)]
    yield from each(
        "outcome", [{"error": f"{e['type']}: {e['message']}", "error at": e["frame"]} if e else {} for e in errors]
    )
    yield from each("outcome", [_set({"stopped by": r["exit"]["by"]}) for r in (one, other)])
    git = [r["git"] for r in (one, other)]
    yield from each("code", [_set({"remote": g["url"], "commit": g["commit"], "branch": g["branch"]}) for g in git])
    kept = [g["patch"] or ("?" if g["dirty"] else "none") for g in git]
    yield from each("code", [{"uncommitted changes": patch} for patch in kept], lambda v: v == "?")
    yield from _packages([r["packages"] for r in (one, other)])
    files = [m.files["workspace"] for m in made]
    known = [g["commit"] is not None and (not g["dirty"] or g["patch"] is not None) for g in git]
    if None in files and not (files == [None, None] and all(known)):
        yield "files", "all"
    if None not in files:
        yield from each("files", [{n: list(form) for n, form in (f or {}).items() if form} for f in files])
    data = [m.files["data"] for m in made]
    content = [None if d is None else {n: form for n, form in d.items() if form} for d in data]
    if content[0] != content[1]:
        yield "data", "data"
    yield from _curves(made)


def _part(record: dict[str, Any], part: str, names: str) -> dict[str, Any]:
    return {name: record[part][name] for name in names.split()}


def _set(sheet: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sheet.items() if value}


def _packages(lists: list[list[str]]) -> Iterator[tuple[str, str]]:
    if not all(lists):
        if any(lists):
            yield "environment", "packages"
        return
    for name in {package.split("==")[0] for some in lists for package in some}:
        if len({tuple(p for p in some if p.split("==")[0] == name) for some in lists}) > 1:
            yield "environment", name


def _curves(made: tuple[Made, Made]) -> Iterator[tuple[str, str]]:
    for name in ("acc", "loss"):
        points = [dict(m.curves[name]) for m in made]
        lasts = [p[max(p)] for p in points]
        if not near(*lasts):
            yield "metrics", name
        damaged = [_is_damaged(m, name) for m in made]
        common = points[0].keys() & points[1].keys()
        differ = points[0].keys() != points[1].keys() or not all(near(points[0][s], points[1][s]) for s in common)
        if any(damaged) or differ:
            yield "curves part at", name


def _is_damaged(made: Made, name: str) -> bool:
    """Whether the block that was damaged had a step that no other block has."""
    which, points = made.damage.get(name), made.curves[name]
    if which is None or which == 0:
        return which == 0
    left = points[1:] if which == 1 else points[:-1]
    return len(dict(left)) < len(dict(points))


def near(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other) or math.isinf(one) or math.isinf(other):
        return repr(one) == repr(other)
    return abs(one - other) <= 1e-6 * max(abs(one), abs(other))


@pytest.mark.parametrize(
    ("count", "seed"), [(60, 1), pytest.param(1000, 2, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
def test_random_pairs_differ_where_an_independent_evaluation_says_so(tmp_path: Path, count: int, seed: int) -> None:
    tracking = Tracking(f"memory://compare-{seed}-{tmp_path.name}", tmp_path)
    chance = random.Random(seed)
    differing = 0
    for number in range(count):
        one = Made(chance)
        for _ in range(chance.randrange(3)):
            one.change(chance)
        other = copy.deepcopy(one)
        for _ in range(chance.randrange(6)):
            other.change(chance)
        confuse(one, other, chance)
        pair = [stored(made, f"{name}{number}", tracking) for name, made in (("a", one), ("b", other))]
        found = compare(pair, tracking)
        want = set(evaluate((one, other)))
        assert {(d.section, d.name) for d in found} == want, (number, one.record, other.record)
        for row in found:
            if row.section in ("parameters", "command"):
                unlike = row.values[0] != row.values[1]
                known = "(secret, digest" in row.values[0] and "(secret, digest" in row.values[1]
                assert unlike or ("***" in row.values[0] and not known), row
        differing += bool(want)
    assert differing > count // 2


def test_no_two_values_have_the_same_text() -> None:
    texts = [show(value) for value in VALUES]
    twins = {text for text in texts if texts.count(text) > 1}
    assert twins == {'{"a": 1, "b": [null]}'}, "its order does not count"
    assert show("-") != "-" and show("plain text, as it is") == "plain text, as it is"


def ended(tracking: Tracking, key: str, *, loss: float = 1.0, **fields: Any) -> Experiment:
    """An experiment with one metric, in the store."""
    fields = {"status": "finished", "exit": Exit(0, None, "finished"), "params": {"lr": 0.1}, "env": {}, **fields}
    tracking.store.write(f"runs/{key}/metrics/w", encode("loss", [0, 1], [0.0, 0.0], [2.0, loss]))
    summary = {"loss": Summary(loss, min(loss, 2.0), 2.0, 1, 2)}
    found = Experiment(key=key, command=Command("script", "t.py"), summary=summary, **fields)
    tracking.records.create(found)
    return found


SECRET, OTHER, FOREIGN = Variable("***", "d1", "s1"), Variable("***", "d2", "s1"), Variable("***", "d1", "s2")
AGREE, NOT = "metrics agree with those of a (1 metric)", "b does not repeat a, although 1 metric had the same values"
WITH_LIB = {"extra": {"modules": [{"name": "lib", "path": "/elsewhere/lib.py", "sha256": "1" * 64}]}}
FAILED = {"status": "failed", "exit": Exit(3, None, "failed", None, Failure("ValueError", "bad"))}


@pytest.mark.parametrize(
    ("before", "again", "said"),
    [
        ({}, {}, [AGREE]),
        ({}, FAILED, ["b failed (code 3, ValueError: bad), a finished", NOT]),
        (FAILED, FAILED, ["b failed (code 3, ValueError: bad), as a did", NOT]),
        ({}, {"loss": 3.0, "params": {}},
         ["b ran with other parameters than a: without lr", "metrics differ; studio runs compare a b tells more"]),
        ({"params": {"lr": None}}, {"params": {"lr": "None"}},
         ['b ran with other parameters than a: lr "None" (was null)', NOT]),
        ({"params": {"x": "<T at 0x7f12>"}}, {"params": {"x": "<T at 0x7f99>"}}, [AGREE]),
        ({"params": {"key": "***"}}, {"params": {"key": "***"}},
         [AGREE, "not compared: key (secret)"]),
        ({"params": {"key": "***"}, "digests": {"key": ("d1", "s1")}},
         {"params": {"key": "***"}, "digests": {"key": ("d1", "s1")}}, [AGREE]),
        ({"params": {"key": "***"}, "digests": {"key": ("d1", "s1")}},
         {"params": {"key": "***"}, "digests": {"key": ("d2", "s1")}},
         ["b ran with other parameters than a:"
          " key *** (secret, digest d2, salt s1) (was *** (secret, digest d1, salt s1))", NOT]),
        ({"params": {"key": "***"}, "digests": {"key": ("d1", "s1")}},
         {"params": {"key": "***"}, "digests": {"key": ("d1", "s2")}}, [AGREE, "not compared: key (secret)"]),
        ({"env": {"KEY": SECRET}}, {"env": {"KEY": SECRET}}, [AGREE]),
        ({"env": {"KEY": SECRET}}, {"env": {}},
         ["b ran with other variables than a: without KEY", NOT]),
        ({"env": {"KEY": SECRET}}, {"env": {"KEY": OTHER}},
         ["b ran with other variables than a:"
          " KEY *** (secret, digest d2, salt s1) (was *** (secret, digest d1, salt s1))",
          NOT]),
        ({"env": None}, {"env": {"A": Variable("1")}}, [AGREE, "not compared: the variables, which were not recorded"]),
        ({"env": {"KEY": SECRET}}, {"env": {"KEY": FOREIGN}},
         [AGREE, "not compared: KEY (secret)"]),
        (WITH_LIB, WITH_LIB, [AGREE]),
        (WITH_LIB, {"extra": {"modules": [{"name": "lib", "path": "/p/lib.py", "sha256": "2" * 64}]}},
         [f"b ran with other modules than a: lib {'2' * 12} (was {'1' * 12})", NOT]),
        (WITH_LIB, {}, [AGREE, "not compared: modules that one of the two did not capture, or not import: lib"]),
        ({"extra": {"modules": 3}}, {"extra": {"modules": [3, {"name": [], "path": 1}]}}, [AGREE]),
    ],
)  # fmt: skip
def test_a_rerun_is_judged_by_outcome_parameters_and_variables_first(
    tmp_path: Path, before: dict[str, Any], again: dict[str, Any], said: list[str]
) -> None:
    tracking = Tracking(f"memory://rerun-{tmp_path.name}", tmp_path)
    pair = (ended(tracking, "a", **before), ended(tracking, "b", **again))
    assert list(verdict(Repetition([pair]), [agreement(*pair, tracking)], *pair)) == said


def test_a_damaged_curve_agrees_with_nothing(tmp_path: Path) -> None:
    tracking = Tracking(f"memory://damage-{tmp_path.name}", tmp_path)
    pair = (ended(tracking, "a"), ended(tracking, "b"))
    for key in ("a", "b"):
        tracking.store.remove(f"runs/{key}/metrics/w")
    lines = list(verdict(Repetition([pair]), [agreement(*pair, tracking)], *pair))
    assert lines == [
        "the curve loss of a is damaged: 0 of 2 points are left",
        "the curve loss of b is damaged: 0 of 2 points are left", "b does not repeat a",
    ]  # fmt: skip
    tracking.store.write("runs/a/metrics/w", b"SMB1" + bytes(3))
    curves = [row.values for row in compare(pair, tracking) if row.section == "curves part at"]
    assert curves == [("damaged: 0 of 2 points are left",) * 2]
