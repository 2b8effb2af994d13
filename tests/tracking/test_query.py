"""The query language: what SQL answers is what a plain evaluator answers; wrong input is one clear error."""

from __future__ import annotations

import math
import operator
import random
import re
import string
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import ConfigError
from studio.experiment import ArtifactRef, Command, Exit, Experiment, Git, Host, Metric, Summary, Times, to_json
from studio.stores.memory import MemoryStore
from studio.tracking import fields
from studio.tracking.handle import Handle
from studio.tracking.index import Index, open_index
from studio.tracking.order import compile_sort
from studio.tracking.pattern import Pattern
from studio.tracking.query import compile_query
from studio.tracking.records import Records

NOW = time.time()
TEXTS = ["adam", "sgd", "Adam", "", "v2.1", "v2.10", 'it\'s "q" \\', "ünï", "%", "a_b", "0.5", "true"]
NUMBERS = [0.0, 1.0, -1.0, 0.5, 2.0, 1e-3, 1e300, -7.25, 3.0]


def _some(chance: random.Random, values: list[Any]) -> Any:
    return chance.choice([*values, None])


def made(count: int = 60) -> list[Experiment]:
    chance = random.Random(3)
    found = []
    for i in range(count):
        metrics = {
            name: Summary(
                *(chance.choice([*NUMBERS, math.nan, math.inf]) for _ in range(3)),
                chance.randrange(5),
                3,
                _some(chance, NUMBERS),
            )
            for name in ("acc", "train/loss", "a.b", "max")
            if chance.random() < 0.7
        }
        params: dict[str, Any] = {}
        for name in ("lr", "opt", "a b", "x.y", "n"):
            value = _some(chance, [*NUMBERS, *TEXTS, True, False, 3, 10**30, [1, 2]])
            if value is not None:
                params[name] = value
        added = NOW - chance.choice([10.0, 3600.0, 90000.0, 864000.0])
        found.append(
            Experiment(
                key=f"k{i:02d}-{chance.randrange(100):02d}",
                command=Command("script", chance.choice(["train.py", "a b.py"]), (chance.choice(TEXTS), "--lr")),
                project=chance.choice(["digits", "v2.1", "Ünï"]), owner=chance.choice(["ada", "bob", ""]),
                status=chance.choice(["finished", "failed", "waiting"]),
                packages=tuple(chance.sample(["keras==3.1", "numpy==2.4", "six==1"], 2)),
                git=_some(chance, [Git(None, "9f3c", "main", dirty=chance.random() < 0.5)]),
                host=_some(chance, [Host("laptop", cores=8, memory=2**34), Host("", cores=2)]),
                params=params, tags=tuple(chance.sample(["v2.1", "v2.10", "base", "Adam"], chance.randrange(4))),
                notes=chance.choice(TEXTS), metric=_some(chance, [Metric("acc", "max")]), summary=metrics,
                artifacts={
                    n: ArtifactRef(files=i, bytes=i << 20)
                    for n in chance.sample(["modeldir", "tb"], chance.randrange(3))
                },
                times=Times(added, _some(chance, [added + 1]), _some(chance, [added + 60, added + 4000])),
                exit=_some(chance, [Exit(0, None, "finished"), Exit(None, 9, "killed")]),
            )
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("index")
    store = MemoryStore(f"memory://{folder.name}")
    found = open_index(store, folder)
    records = Records(store, found)
    for one in sorted(made(), key=lambda one: one.key[::-1]):  # not in the order of their keys
        records.create(one)
    yield found
    found.close()


ALL = {one.key: to_json(one) for one in made()}


def keys(index: Index, query: str) -> list[str]:
    return [one.key for one in index.search(query, sort="key", limit=None)]


# A plain evaluator beside a generator: each strategy draws the text of an expression and what it means.

Record = dict[str, Any]
Number = tuple[str, Callable[[Record], float | None]]
Condition = tuple[str, Callable[[Record], bool]]


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if re.fullmatch(r"[+-]?[0-9.]+", value) else None
    return None if value is None or isinstance(value, list) else float(value)


def _real(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _summary(name: str, part: str) -> Callable[[Record], float | None]:
    def value(record: Record) -> float | None:
        found = record["summary"].get(name, {}).get(part)
        return _real(None if found is None else float(found))

    return value


def _at(*path: str) -> Callable[[Record], Any]:
    def value(record: Any) -> Any:
        for name in path:
            record = None if record is None else record.get(name)
        return record

    return value


def _duration(record: Record) -> float | None:
    times = record["times"]
    return None if None in (times["started"], times["finished"]) else times["finished"] - times["started"]


def _param(name: str) -> Callable[[Record], float | None]:
    return lambda record: _number(record["params"].get(name))


NUMERIC: list[Number] = [
    ("metrics.acc", _summary("acc", "last")),
    ("metrics.acc.max", _summary("acc", "max")),
    ("metrics.acc.min", _summary("acc", "min")),
    ("metrics.acc.first", _summary("acc", "first")),
    ("metrics.acc.step", _summary("acc", "step")),
    ('metrics."train/loss".last', _summary("train/loss", "last")),
    ("metrics.a.b.count", _summary("a.b", "count")),
    ("metrics.max", _summary("max", "last")),
    ("metrics.nothing", lambda record: None),
    ("times.duration", _duration),  # after a parameter, `duration` alone would be a text
    ("exit.code", _at("exit", "code")),
    ("exit.signal", _at("exit", "signal")),
    ("host.cores", _at("host", "cores")),
    ("host.memory", _at("host", "memory")),
    ("git.dirty", lambda record: record["git"] and float(record["git"]["dirty"])),
    ("artifacts.modeldir.bytes", _at("artifacts", "modeldir", "bytes")),
    ("params.lr", _param("lr")),
    ('params."a b"', _param("a b")),
    ("params.x.y", _param("x.y")),
    ("(finished - started)", _duration),
]
TEXTUAL: list[tuple[str, Callable[[Record], str | None]]] = [
    ("key", _at("key")),
    ("project", _at("project")),
    ("owner", _at("owner")),
    ("status", _at("status")),
    ("notes", _at("notes")),
    ("git.branch", _at("git", "branch")),
    ("host.name", _at("host", "name")),
    ("exit.reason", _at("exit", "reason")),
    ("metric", _at("metric", "name")),
    ("args", lambda record: " ".join(record["command"]["args"])),
    ("command", lambda record: " ".join([record["command"]["target"], *record["command"]["args"]]).rstrip()),
]
MANY: list[tuple[str, Callable[[Record], list[str]]]] = [
    ("tags", _at("tags")),
    ("packages", _at("packages")),
    ("artifacts", lambda record: list(record["artifacts"])),
]
COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
PATTERNS = ["v2.*", "^v2\\.1$", "a|d", "(?i)adam", "[0-9]+$", "^$", "", "\\bq\\b", "ü", "(b|o)+", "=="]
WORDS = [*TEXTS, "finished", "keras", "k1", "TRAIN", "--lr", "none of these", "ÜNÏ"]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _arithmetic(op: str, a: Number, b: Number) -> Number:
    def value(record: Record) -> float | None:
        left, right = a[1](record), b[1](record)
        if left is None or right is None or (op == "/" and right == 0):
            return None
        left, right = float(left), float(right)
        found = {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else 0.0}[op]
        return _real(found)

    return f"({a[0]} {op} {b[0]})", value


def _minus(inner: Number) -> Number:
    def value(record: Record) -> float | None:
        found = inner[1](record)
        return None if found is None else -found

    return f"-{inner[0]}" if inner[0][0] != "-" and " " not in inner[0] else f"-({inner[0]})", value


LITERALS = st.sampled_from(NUMBERS).map(lambda n: (repr(n), lambda record: n))
VALUES = st.recursive(
    st.sampled_from(NUMERIC),
    lambda inner: st.builds(_arithmetic, st.sampled_from("+-*/"), inner, inner | LITERALS) | st.builds(_minus, inner),
    max_leaves=4,
)


def _compared(a: Number, op: str, b: Number) -> Condition:
    def holds(record: Record) -> bool:
        left, right = a[1](record), b[1](record)
        if left is None or right is None:
            return op == "!="
        return bool(COMPARE[op](left, right))

    return f"{a[0]} {op} {b[0]}", holds


def _text(field: Any, op: str, text: str) -> Condition:
    def holds(record: Record) -> bool:
        value = field[1](record)
        if not text and op in ("=", "!="):
            return (not value) == (op == "=")
        if value is None or (field[0].startswith(("git.", "host.", "notes")) and value == ""):
            return op == "!="
        return bool(COMPARE[op](value, text))

    return f"{field[0]} {op} {quoted(text)}", holds


def _spelled(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _param_text(name: str, op: str, text: str) -> Condition:
    def holds(record: Record) -> bool:
        if name not in record["params"]:
            return op == "!="
        return bool(COMPARE[op](_spelled(record["params"][name]), text))

    return f"params.{name} {op} {quoted(text)}", holds


def _matches(field: Any, op: str, pattern: str) -> Condition:
    def holds(record: Record) -> bool:
        found = field[1](record)
        values = found if isinstance(found, list) else [] if found is None else [found]
        if values == [""] and field[0].startswith(("git.", "host.", "notes")):
            values = []
        return any(re.search(pattern, value) for value in values) == (op == "~")

    return f"{field[0]} {op} {quoted(pattern)}", holds


def _within(field: Any, op: str, texts: list[str]) -> Condition:
    def holds(record: Record) -> bool:
        return any(value in texts for value in field[1](record)) == (op == "in")

    return f"{field[0]} {op} ({', '.join(map(quoted, texts))})", holds


def _amongst(a: Number, op: str, values: list[float]) -> Condition:
    return f"{a[0]} {op} ({', '.join(map(repr, values))})", lambda record: (a[1](record) in values) == (op == "in")


def _none(name: str, value: Callable[[Record], Any], op: str) -> Condition:
    def holds(record: Record) -> bool:
        return (value(record) in (None, "", [])) == (op == "=")

    return f"{name} {op} none", holds


def _word(word: str) -> Condition:
    def holds(record: Record) -> bool:
        command = " ".join([record["command"]["target"], *record["command"]["args"]])
        places = [record["key"], record["project"], record["notes"], command, *record["tags"]]
        return any(word.casefold() in place.casefold() for place in places)

    return quoted(word), holds


OPS = st.sampled_from(sorted(COMPARE))
TEXT_FIELDS = st.sampled_from(TEXTUAL)
MANY_FIELDS = st.sampled_from(MANY)
EITHER = st.sampled_from(["in", "not in"])
EQUAL = st.sampled_from(["=", "!="])
ALONE = st.sampled_from([f for f in NUMERIC if f[0][0] != "(" and not f[0].startswith("params")])
POSITIVE = st.sampled_from([n for n in NUMBERS if n >= 0])
ATOMS: st.SearchStrategy[Condition] = st.one_of(
    st.builds(_compared, VALUES, OPS, VALUES | LITERALS),
    st.builds(_compared, LITERALS, OPS, st.sampled_from(NUMERIC)),
    st.builds(_text, TEXT_FIELDS, OPS, st.sampled_from([*TEXTS, "k15", "failed", "9f3c"])),
    st.builds(_param_text, st.sampled_from(["lr", "opt", "none_such"]), OPS, st.sampled_from([*TEXTS, "3", "false"])),
    st.builds(_matches, TEXT_FIELDS | MANY_FIELDS, st.sampled_from(["~", "!~"]), st.sampled_from(PATTERNS)),
    st.builds(_within, MANY_FIELDS, EITHER, st.lists(st.sampled_from(["v2.1", "tb", "no"]), min_size=1, max_size=3)),
    st.builds(_amongst, VALUES, EITHER, st.lists(POSITIVE, min_size=1, max_size=3)),
    st.builds(lambda f, op: _none(f[0], f[1], op), ALONE | TEXT_FIELDS | MANY_FIELDS, EQUAL),
    st.builds(_word, st.sampled_from(WORDS)),
)  # fmt: skip


def _both(a: Condition, word: str, b: Condition) -> Condition:
    if word == "or":
        return f"({a[0]} or {b[0]})", lambda record: a[1](record) or b[1](record)
    return f"({a[0]} {word} {b[0]})", lambda record: a[1](record) and b[1](record)


CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds(_both, inner, st.sampled_from(["and", "or", "AND"]), inner)
        | inner.map(lambda a: (f"not {a[0]}", lambda record: not a[1](record)))
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(CONDITIONS)
def test_sql_answers_what_a_plain_evaluator_does(index: Index, condition: Condition) -> None:
    query, holds = condition
    assert keys(index, query) == [key for key, record in sorted(ALL.items()) if holds(record)]
    assert index.count(query) == sum(map(holds, ALL.values()))


@settings(max_examples=200, deadline=None)
@given(ATOMS, ATOMS, ATOMS)
def test_precedence_is_pythons(index: Index, a: Condition, b: Condition, c: Condition) -> None:
    found = keys(index, f"{a[0]} or {b[0]} and not {c[0]}")
    assert found == [k for k, r in sorted(ALL.items()) if a[1](r) or (b[1](r) and not c[1](r))]
    found = keys(index, f"not {a[0]} and {b[0]} or {c[0]}")
    assert found == [k for k, r in sorted(ALL.items()) if (not a[1](r) and b[1](r)) or c[1](r)]


PIECES = st.sampled_from(
    [
        "and",
        "or",
        "not",
        "in",
        "(",
        ")",
        ",",
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "~",
        "!~",
        "+",
        "-",
        "*",
        "/",
        '"a"',
        "'b'",
        "1e-3",
        "2h",
        "3g",
        "-7d",
        "none",
        "true",
        "now",
        "tags",
        "metrics.acc",
        "params.lr",
        "key",
        "added",
        "duration",
        "2026-11-01",
        "adam",
        '"("',
        '"["',
        "metrics.",
        "params.",
        'params."a',
        'b"',
        "packages",
        ";",
        "--",
        "/*",
        "?",
        "\x00",
        '"',
        "\\",
        "é",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(PIECES, max_size=12).map(" ".join)
    | st.text(max_size=40)
    | st.text(string.punctuation + "ab1 ", max_size=30)
)
def test_garbage_is_an_answer_or_a_config_error(index: Index, query: str) -> None:
    try:
        assert index.search(query, limit=3) is not None
    except ConfigError as exc:
        assert "\n" not in exc.message and len(exc.message) < 400
        assert "query" in exc.message


# Literals

DAY = 86400.0


def test_relative_and_written_times(tmp_path: Path) -> None:
    now = 1795180502.0
    store = MemoryStore(f"memory://{tmp_path.name}")
    found = open_index(store, tmp_path)
    records = Records(store, found)
    for key, added in (("day", now - DAY), ("week", now - 7 * DAY), ("new", now - 60)):
        records.create(Experiment(key=key, command=Command("exec", "x"), times=Times(added, added + 1, added + 9001)))

    def keys_at(query: str) -> list[str]:
        sql, values = compile_query(query, now=now)
        rows = found._select(f"SELECT key FROM experiments e WHERE {sql} ORDER BY key", values)
        return [row[0] for row in rows]

    assert keys_at("added > -2h") == ["new"]
    assert keys_at('added > "-2d"') == ["day", "new"]
    assert keys_at("added < now - 6d") == ["week"]
    assert keys_at("now - 2d < added") == ["day", "new"]
    written = time.strftime("%Y-%m-%d", time.localtime(now - DAY))
    assert keys_at(f"added = {written}") == ["day"] == keys_at(f'times.added = "{written}"')
    assert keys_at("added = yesterday") == ["day"] and keys_at("added >= today") == ["new"]
    assert keys_at(f"added != {written}") == ["new", "week"]
    utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - DAY))
    assert keys_at(f'added = "{utc}Z"') == ["day"] == keys_at(f'added = "{utc}+00:00"')
    assert keys_at(f'added >= "{time.strftime("%Y-%m-%d %H:%M", time.localtime(now - DAY))}"') == ["day", "new"]
    assert keys_at("duration > 2h and duration < 2h30m1s") == ["day", "new", "week"]
    assert keys_at("2h < duration") == keys_at("duration >= 9000") == keys_at("finished - started > 149m")
    assert keys_at("duration / 2 > 1.2h") == ["day", "new", "week"]
    assert keys_at(f"added in ({written}, yesterday)") == ["day"]
    found.close()


def test_sizes_and_truth(index: Index) -> None:
    def records(holds: Callable[[Record], Any]) -> list[str]:
        return [k for k, r in sorted(ALL.items()) if holds(r)]

    assert keys(index, "host.memory >= 16g") == records(lambda r: (r["host"] or {}).get("memory") == 2**34)
    assert keys(index, "artifacts.modeldir.bytes > 20m") == records(
        lambda r: r["artifacts"].get("modeldir", {}).get("bytes", 0) > 20 << 20
    )
    dirty = records(lambda r: (r["git"] or {}).get("dirty"))
    assert keys(index, "git.dirty") == keys(index, "git.dirty = true") == keys(index, "not not git.dirty") == dirty
    assert (
        keys(index, "not git.dirty")
        == keys(index, "git.dirty != true")
        == records(lambda r: not (r["git"] or {}).get("dirty"))
    )
    assert keys(index, "params.lr = true") == records(
        lambda r: r["params"].get("lr") in (True, 1.0) or r["params"].get("lr") == 1
    )


def test_bare_values_and_names(index: Index) -> None:
    assert keys(index, "status = finished") == keys(index, "status == 'finished'") == keys(index, '"finished" = status')
    assert keys(index, "params.opt = adam") == keys(index, 'params.opt = "adam"')
    assert keys(index, "tags = v2.1 base") == keys(index, 'tags = "v2.1" and "base"')
    assert keys(index, "params.lr = params.lr") == keys(index, "params.lr != none and params.lr + 0 = params.lr + 0")
    assert keys(index, "key > key") == [] and keys(index, "params.n = git.branch") == []
    assert keys(index, "") == keys(index, "  ") == sorted(ALL)
    assert keys(index, "params.opt = duration") == [] != keys(index, "times.duration != none")
    assert keys(index, "user = ada") == keys(index, "owner = ada")


# Errors


@pytest.mark.parametrize(
    ("query", "column", "said", "hint"),
    [
        ("stauts = finished", 1, "there is no field 'stauts'", "did you mean 'status'?"),
        ("status = failed and metrcs.loss < 1", 21, "no field 'metrcs.loss'", ""),
        ("git.brnch = main", 1, "no field 'git.brnch'", "git.branch"),
        ("(status = failed", 1, "parenthesis is never closed", ""),
        ("status = failed)", 16, "unexpected ')'", ""),
        ("status =", 9, "ends too early", ""),
        ("status = failed and", 20, "ends too early", ""),
        ("a && b", 3, "unexpected character", "use: and"),
        ("a | b", 3, "unexpected character", "use: or"),
        ('notes = "half', 9, "quote is never closed", ""),
        ("status", 1, "needs a comparison", "quotes"),
        ("metrics.acc > 0.1 > 0.2", 19, "do not chain", "a < b and b < c"),
        ("tags > 3", 1, "many values", "~"),
        ("metrics.acc ~ x", 1, "~ looks into texts", ""),
        ('tags ~ "(a"', 8, "regular expression", ""),
        ('tags ~ "(a)\\\\1"', 8, "not supported", ""),
        ("added > 3x", 9, "is not a time", "2026-11-01"),
        ("added > 2026-13-01", 9, "is not a time", ""),
        ("duration > 3x", 12, "is not a duration", "2h"),
        ("metrics.acc > 5m", 15, "duration or a size", ""),
        ("metrics.acc > key", 15, "key is a text", ""),
        ("metrics.acc - key > 1", 15, "key is a text", ""),
        ("finished-started > 1", 1, "no field", "spaces around a minus"),
        ("tags in x", 9, "list in parentheses", "in ("),
        ("metrics.acc + 1", 1, "a condition is expected", ""),
        ("(metrics.acc > 1) > 2", 1, "a value is expected", ""),
        ("exit.code < none", 13, "nothing can be", "="),
        ("metrics.acc > 1 and * 2", 21, "unexpected '*'", ""),
    ],
)
def test_an_error_points_at_its_column(index: Index, query: str, column: int, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        index.search(query)
    assert caught.value.message.startswith(f"query, column {column}: ")
    assert said in caught.value.message and "▸" in caught.value.message
    assert hint in caught.value.hint


def test_length_depth_and_count_are_capped() -> None:
    for query in (
        "a" * 4001,
        "(" * 41 + "a" + ")" * 41,
        "not " * 60 + "a",
        "-" * 60 + "1 > 2",
        " ".join("a" * 401),
        "1 + " * 399,
    ):
        with pytest.raises(ConfigError):
            compile_query(query)
    assert compile_query(" or ".join(["status = failed"] * 80))
    assert compile_query("metrics.a + " * 150 + "1 > 0")


def test_values_never_become_sql(index: Index) -> None:
    for text in ("'; DROP TABLE experiments; --", '" OR 1=1 --', "%' OR ''='"):
        for query in (f"key = {quoted(text)}", quoted(text), f"tags ~ {quoted(re.escape(text).replace(chr(32), ' '))}"):
            sql, values = compile_query(query)
            assert "DROP" not in sql and "1=1" not in sql
            assert keys(index, query) == []
    name = 'a"; DROP TABLE metrics; --'
    sql, values = compile_query(f"metrics.{quoted(name)} > 1")
    assert "DROP" not in sql and name in values
    assert len(keys(index, "")) == len(ALL)


def test_every_documented_example_is_a_query(index: Index) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "query.md").read_text("utf-8")
    examples = page.partition("## Examples")[2].split("```")[1].strip().splitlines()
    assert len(examples) > 5
    for query in examples:
        index.search(query)
    for name in fields.STATIC:
        assert f"`{name}`" in page or f"`.{name.rpartition('.')[2]}`" in page


# Order


@pytest.mark.parametrize(
    ("sort", "value", "down"),
    [
        ("key", _at("key"), False),
        ("-key", _at("key"), True),
        ("metrics.acc", _summary("acc", "last"), False),
        ("-metrics.acc.max", _summary("acc", "max"), True),
        ("duration", _duration, False),
        ("-git.branch", _at("git", "branch"), True),
        ("exit.code", _at("exit", "code"), False),
        ("-status", _at("status"), True),
        ("-host.memory", _at("host", "memory"), True),
    ],
)
@pytest.mark.parametrize("limit", [None, 7, 1000])
def test_missing_values_come_last_and_ties_go_by_key(
    index: Index, sort: str, value: Any, down: bool, limit: int | None
) -> None:
    there = sorted(k for k, r in ALL.items() if value(r) is not None)
    there.sort(key=lambda k: value(ALL[k]), reverse=False)
    if down:  # stable by key within equal values
        there = sorted(sorted(there), key=lambda k: value(ALL[k]), reverse=True)
        groups: dict[Any, list[str]] = {}
        for key in there:
            groups.setdefault(value(ALL[key]), []).append(key)
        there = [key for group in groups.values() for key in sorted(group)]
    wanted = there + sorted(set(ALL) - set(there))
    assert [e.key for e in index.search(sort=sort, limit=limit)] == wanted[:limit]
    assert [e.key for e in index.search(sort=sort, limit=5, offset=3)] == wanted[3:8]
    assert [e.key for e in index.search(sort=sort, limit=5, offset=len(ALL) - 2)] == wanted[-2:]


def test_more_than_one_order(index: Index) -> None:
    found = [(e.status, e.project, e.key) for e in index.search(sort="status,-project", limit=None)]
    assert found == sorted(
        sorted(sorted(found, key=lambda f: f[2]), key=lambda f: f[1], reverse=True), key=lambda f: f[0]
    )
    numbers = [e.params.get("lr") for e in index.search("params.lr != none", sort="params.lr", limit=None)]
    as_numbers = [_number(v) for v in numbers]
    there = [n for n in as_numbers if n is not None]
    assert as_numbers == sorted(there) + [None] * (len(numbers) - len(there))


@pytest.mark.parametrize("sort", ["stauts", "tags", "-packages", "metrics.", "key; DROP TABLE x", "a,b", "--key x"])
def test_an_unknown_order_is_an_error(sort: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_sort(sort)
    assert "cannot sort by" in caught.value.message and caught.value.hint


# Time


def test_a_query_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    handle = Handle(tmp_path / "index.sqlite", query_s=0.05)
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(ConfigError) as caught:
        handle.query(lambda db: db.execute(forever).fetchall())
    assert "takes more than 0.05 s" in caught.value.message
    assert handle.query(lambda db: db.execute("SELECT 1").fetchall()) == [(1,)]
    slow = "(a|b)*a" + "(a|b)" * 30 + "c"
    text = "".join(random.Random(1).choices("ab", k=3000))
    with pytest.raises(ConfigError):
        handle.query(lambda db: db.execute("SELECT regexp(?, ?)", (slow, text * 50)).fetchall())
    handle.close()


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(.*)*x", "a?" * 60 + "b", "(a*)*(a*)*(a*)*b", ".*.*.*.*.*.*b"]
)
def test_no_pattern_hangs(pattern: str) -> None:
    assert not Pattern(pattern).search("a" * 50 + "!" + "a" * 20_000 + "!")


def _pattern(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeats = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{,2}", "{2,}", "*?", "+?"])
    return (
        st.builds("{}{}".format, inner, inner)
        | st.builds("({}|{})".format, inner, inner)
        | st.builds("(?:{}){}".format, inner, repeats)
        | st.builds("{}{}".format, st.sampled_from(["^", "\\b"]), inner)
        | st.builds("{}{}".format, inner, st.just("$"))
    )


ONES = [
    "a",
    "b",
    "1",
    ".",
    "[ab]",
    "[^a-c]",
    "[a-z0-9_]",
    "[]x]",
    "[\\w-]",
    "\\d",
    "\\w",
    "\\W",
    "\\s",
    "\\.",
    "_",
    "\\x41",
    "é",
    "{",
    "",
]
REGEXES = st.recursive(st.sampled_from(ONES), _pattern, max_leaves=8)


@settings(max_examples=500, deadline=None)
@given(REGEXES, st.booleans(), st.lists(st.text("abAB1_-. é{", max_size=8), min_size=1, max_size=6))
def test_patterns_mean_what_they_mean_in_python(regex: str, fold: bool, texts: list[str]) -> None:
    regex = "(?i)" + regex if fold else regex
    try:
        known = re.compile(regex)
    except re.error:
        with pytest.raises(ValueError):
            Pattern(regex)
        return
    try:
        pattern = Pattern(regex)
    except ValueError as exc:
        assert "too many" in str(exc) or "nothing to repeat" in str(exc)
        return
    for text in texts:
        assert pattern.search(text) == (known.search(text) is not None), (regex, text)


@pytest.mark.parametrize(
    "regex",
    [
        "(",
        ")",
        "[",
        "[a",
        "*",
        "a**",
        "a{2}{3}",
        "(?=a)",
        "(?P<x>a)",
        "\\1",
        "\\q",
        "\\",
        "[b-a]",
        "a{3,2}",
        "x" * 201,
        "(a{1,900}){900}",
    ],
)
def test_a_pattern_that_cannot_be_used_says_where(regex: str) -> None:
    with pytest.raises(ValueError):
        Pattern(regex)
