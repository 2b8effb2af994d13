"""Random queries, orders and tables over numbers that doubles cannot hold, against an evaluation that knows no SQL.

Each field is written in any of its spellings.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import random
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from studio.experiment import Command, Exit, Experiment, Failure, Summary, Times, Variable
from studio.tracking import Tracking, rows
from studio.tracking.frames import Experiments
from studio.tracking.parser import parse
from studio.tracking.quoting import shown
from studio.tracking.unheard import mentioned

Value = int | float | None
Record = Experiment
Condition = tuple[str, Callable[[Record], bool]]
TOP, BITS = 2**1024 - 1, 2**63
LARGEST = int(1.7976931348623157e308)
INTEGERS = [
    0, 1, -1, 7, 2**53, 2**53 + 1, -(2**53) - 1, BITS - 1, BITS, BITS + 1, -BITS, -BITS - 1, 2**64, 10**20, 10**20 + 1,
    2**127 + 1, 2**128 - 1, 2**128 - 2, -(2**127) - 3, 2**1023 + 3, TOP, TOP - 1, -TOP, 10**23, 1234567890123456800,
]  # fmt: skip
FLOATS = [
    0.5, 1.1, -2.5, 2.0**53, 1e20, 1e300, -1e300, 2.0**63, 1e23, 1234567890123456800.0, math.inf, -math.inf, math.nan,
]  # fmt: skip
LITERALS = [
    "9007199254740993.0", "9007199254740993e0", "1e23", "-1e23", "1.0e23", "1.2345678901234568e+18", "3e563", "-3e563",
    "9007199254740992.0", "0.10", "100000000000000000000000.0", "7.0", ".5", "18446744073709551617e0",
]  # fmt: skip
TEXTS = [
    "3e563", "-3e563", "Infinity", "nan", "9007199254740993.0", "1e23", "1e-400", "1" * 100, "1.10", "adam", "inf",
    "NaN", "9007199254740993", " 7 ", "1e3", "true", "", "ü", "[64,64]", "-Infinity",
    "C:\\temp\\new", "\\\\server\\share\\", "\\server\\share\\", 'say "hi"',
    "it's", "it\\'s", "a\nb", "a\\nb", "\\u000a", "\n",
]  # fmt: skip
VARIABLES = {
    "MODE": Variable("fast"), "N": Variable("9007199254740993"), "TOKEN": Variable("***", "d1", "s1"),
    "a-b": Variable("inf"), "URL": Variable("https://***@host", "d2", "s1"), "EMPTY": Variable(""),
}  # fmt: skip
LISTS: list[Any] = [[64, 64], ["a", "ü"], [2**70, None], []]
COMPARE = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
MIRROR = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def made(count: int, chance: random.Random) -> list[Experiment]:
    """Experiments with parameters `a` to `d` and metrics of every kind of number; some have few of them."""
    found = []
    for at in range(count):
        pool = [*INTEGERS, *FLOATS, *FLOATS, *TEXTS, *LISTS, True, False, None]
        real = [*FLOATS, 0.25, 3.0]
        params = {name: chance.choice(pool) for name in ("a", "b", "c.d", "e/f") if chance.random() < 0.85}
        summary = {
            name: Summary(*chance.choices(real, k=3), chance.choice([0, 5, 2**53 + 1]), 3, chance.choice([*real, None]))
            for name in ("loss", "top:5", "a.max") if chance.random() < 0.8
        }  # fmt: skip
        end = chance.choice([None, Exit(chance.choice([0, 1]), None, "finished"), Exit(None, 9, "killed", "ada")])
        if end is not None and chance.random() < 0.3:
            end = Exit(1, None, "failed", error=Failure("ValueError", chance.choice(["", "half \udc80"])))
        found.append(
            Experiment(
                f"k{at:02d}",
                Command("script", "t.py"),
                params=params,
                summary=summary,
                exit=end,
                notes=chance.choice(["", "x", "ü\ny"]),
                env=chance.choice([None, {n: v for n, v in VARIABLES.items() if chance.random() < 0.6}]),
                tags=tuple(chance.sample(["x", "y"], chance.randrange(3))),
                times=Times(1e9, 1e9 + 1, chance.choice([None, 1e9 + 3.5])),
            )
        )
    return found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tracking, list[Experiment]]]:
    folder = tmp_path_factory.mktemp("exact")
    tracking = Tracking(f"file://{folder}/store", folder / "home")
    records = made(60, random.Random(5))
    for one in records[::-1]:
        tracking.records.create(one)
    yield tracking, records
    tracking.index.close()


# ---- what a value is, without any code of studio


def number(value: Any) -> Value:
    if isinstance(value, str):
        word = value.strip()
        if re.fullmatch(r"[+-]?[0-9]+", word):
            return int(word)
        if not re.fullmatch(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", word):
            return None
        near, real = float(word), Fraction(word)
        if (near == 0 and real) or (math.isinf(near) and real.denominator > 1):
            return None
        return int(real) if math.isinf(near) or (real.denominator == 1 and Fraction(repr(near)) != real) else near
    if value is None or value is SECRET or isinstance(value, list) or (isinstance(value, float) and math.isnan(value)):
        return None
    return int(value) if isinstance(value, bool) else value  # type: ignore[no-any-return]


def recorded(value: Any) -> Any:
    """As a record has it: of a very large number, which is one and no other, the size and the digest."""
    if type(value) is not int or value.bit_length() <= 1024:
        return value
    data = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
    return f"<an integer of {value.bit_length()} bits, sha256 {hashlib.sha256(data).hexdigest()[:16]}>"


def text(value: Any) -> str | None:
    if isinstance(value, float):
        return repr(value)
    if value is SECRET:
        return None
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def double(value: Value) -> Value:
    """As arithmetic takes it."""
    if value is None or isinstance(value, float) or -BITS <= value < BITS:
        return value
    return float(max(-LARGEST, min(LARGEST, value)))


def combined(op: str, one: Value, other: Value) -> Value:
    a, b = double(one), double(other)
    if a is None or b is None or (op == "/" and b == 0):
        return None
    if op == "/":
        found: Value = float(a) / float(b)
    else:
        found = {"+": operator.add, "-": operator.sub, "*": operator.mul}[op](a, b)
        if isinstance(found, int) and not -BITS <= found < BITS:
            found = {"+": operator.add, "-": operator.sub, "*": operator.mul}[op](float(a), float(b))
    return None if found != found else found


class Field:
    """One field: its spellings, and what a record has there."""

    def __init__(self, spellings: list[str], read: Callable[[Record], Any]) -> None:
        self.spellings = spellings
        self.read = read

    def number(self, record: Record) -> Value:
        return number(self.read(record))


def param(name: str, *spellings: str) -> Field:
    return Field([f"params.{s}" for s in spellings], lambda r: r.params.get(name))


def metric(name: str, part: str, *spellings: str) -> Field:
    forms = [f"metrics.{s}.{part}" for s in spellings] + [f"metrics.{s}:{part}" for s in spellings]
    if part == "last":
        forms += [f"metrics.{s}" for s in spellings]
    return Field(forms, lambda r: getattr(r.summary[name], part) if name in r.summary else None)


PARAMS = [
    param("a", "a", '"a"'), param("b", "b"), param("c.d", "c.d", '"c.d"', 'c."d"'), param("e/f", '"e/f"'),
]  # fmt: skip


def variable(name: str, *spellings: str) -> Field:
    def read(record: Record) -> Any:
        one = (record.env or {}).get(name)
        return None if one is None else SECRET if "***" in one.value else one.value

    return Field([f"env.{s}" for s in spellings], read)


SECRET = object()
"""Is there, and equals nothing."""
ENV = [variable("MODE", "MODE", '"MODE"'), variable("N", "N"), variable("TOKEN", "TOKEN"), variable("a-b", "a-b"),
       variable("URL", "URL"), variable("EMPTY", "EMPTY")]  # fmt: skip
METRICS = [
    *(metric("loss", part, "loss", '"loss"') for part in ("last", "min", "max", "first", "step", "count")),
    metric("top:5", "min", '"top:5"'), metric("a.max", "last", '"a.max"'), metric("a.max", "max", "a.max", '"a.max"'),
]  # fmt: skip
CODE = Field(["exit.code", "exit", "exit_code"], lambda r: r.exit and r.exit.code)
WORDS = [
    Field(["notes", "note"], lambda r: r.notes or None),
    Field(["exit.reason", "reason"], lambda r: r.exit and r.exit.reason),
    Field(["exit.by"], lambda r: r.exit and r.exit.by),
]


# ---- random conditions, each a text and what it means


def spelled(value: Any, chance: random.Random) -> str:
    if isinstance(value, float) and math.isinf(value):
        return ("-" if value < 0 else "") + chance.choice(["inf", "Infinity", "INF"])
    return str(value) if isinstance(value, Typed) else repr(value)


class Typed(str):
    """A literal with a fraction or an exponent."""

    __slots__ = ()


def meets(op: str, value: int | float, other: int | float | Typed) -> bool:
    """What a literal means: a whole number is itself for whole numbers, and its double for doubles that spell so."""
    if isinstance(other, Typed):
        real, near = Fraction(other), number(other)
        assert near is not None
        other = int(real) if isinstance(value, int) and real.denominator == 1 else near
    return bool(COMPARE[op](value, other))


def literal(chance: random.Random) -> int | float | Typed:
    if chance.random() < 0.3:
        return Typed(chance.choice(LITERALS))
    value = chance.choice([*INTEGERS, *INTEGERS, *(f for f in FLOATS if f == f)])
    if isinstance(value, float) and math.isfinite(value):
        return Typed(repr(value))
    return value + chance.choice([0, 0, 1, -1]) if isinstance(value, int) else value


def compared(chance: random.Random) -> Condition:
    op = chance.choice(list(COMPARE))
    left = chance.choice([*PARAMS, *PARAMS, *METRICS, CODE, *ENV])
    form, read = chance.choice(left.spellings), left.number
    if chance.random() < 0.25:
        sign, step = chance.choice("+-*/"), chance.choice([1, 2, 0.5, 2**53])
        form, read = f"({form} {sign} {step!r})", lambda r: combined(sign, left.number(r), step)
    if chance.random() < 0.35:
        right = chance.choice([*PARAMS, *METRICS, *ENV])
        other, of = chance.choice(right.spellings), right.number
    else:
        value = literal(chance)
        other, of = spelled(value, chance), lambda r: value
    if chance.random() < 0.2 and "." in form.partition(" ")[0] and "(" not in form and not other.startswith("-"):
        form, read, other, of = other, of, form, read

    def holds(record: Record) -> bool:
        a, b = read(record), of(record)
        if a is None or b is None:
            return op == "!="
        return meets(MIRROR[op], b, a) if isinstance(a, Typed) else meets(op, a, b)  # type: ignore[arg-type]

    return f"{form} {op} {other}", holds


def among(chance: random.Random) -> Condition:
    field, word = chance.choice([*PARAMS, *METRICS, *ENV]), chance.choice(["in", "not in"])
    values = [literal(chance) for _ in range(3)]
    form = f"{chance.choice(field.spellings)} {word} ({', '.join(spelled(v, chance) for v in values)})"

    def holds(record: Record) -> bool:
        found = field.number(record)
        return (found is not None and any(meets("=", found, v) for v in values)) == (word == "in")

    return form, holds


def state(chance: random.Random) -> Condition:
    field, no = chance.choice([*PARAMS, *METRICS, CODE, *ENV]), chance.choice(["", "not "])
    if chance.random() < 0.5:
        holds = lambda r: isinstance(found := field.read(r), float) and math.isnan(found)  # noqa: E731
        return f"{chance.choice(field.spellings)} is {no}nan", lambda r: holds(r) == (not no)
    gone = lambda r: field.read(r) is None if field in [*PARAMS, *ENV] else field.number(r) is None  # noqa: E731
    return f"{chance.choice(field.spellings)} is {no}none", lambda r: gone(r) == (not no)


def words(chance: random.Random) -> Condition:
    op = chance.choice(["=", "!="])
    field = chance.choice([*PARAMS, *WORDS, *ENV])
    value = chance.choice(
        [*TEXTS, *map(text, LISTS), "-inf", "1e+23", "***", "fast", "x", "killed", "ada", "18446744073709551616"]
    )
    assert isinstance(value, str)

    def holds(record: Record) -> bool:
        found = text(field.read(record))
        if field in WORDS and not value:
            return (not found) == (op == "=")
        same = found is not None and (found == value or (value == "[64,64]" and found == "[64, 64]"))
        return same == (op == "=") if field in [*PARAMS, *ENV] else (found == value) == (op == "=")

    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{chance.choice(field.spellings)} {op} "{quoted}"', holds


def test_what_is_printed_of_a_text_is_found_in_quotes(kept: tuple[Tracking, list[Experiment]]) -> None:
    chance = random.Random(7)
    parts = [
        "\\",
        "\\\\",
        '"',
        "'",
        "n",
        "u000a",
        "u0041",
        "\n",
        "\t",
        " ",
        "\u202e",
        "\u00a0",
        "ü",
        "\udc80",
        "\\u2028",
        "C:",
        "x",
    ]
    found = {"".join(chance.choices(parts, k=chance.randrange(6))) for _ in range(3000)} | set(TEXTS)
    printed = {shown(text) for text in found}
    assert len(printed) == len(found), "no two are printed alike"
    for value in found:
        form = shown(value)
        node = parse(form if form.startswith('"') else f'"{form}"')
        assert node is not None and rows.text(node.value) == rows.text(value), (value, form)
    tracking, records = kept
    for value in {v for r in records for v in r.params.values() if isinstance(v, str)}:
        form = shown(value) if shown(value).startswith('"') else f'"{value}"'
        wanted = [r.key for r in records if value in (v := r.params.get("a"), text(v)) and v is not None]
        assert [e.key for e in tracking.index.search(f"params.a = {form}", sort="key", limit=None)] == wanted, value


def condition(chance: random.Random) -> Condition:
    kinds = [compared, compared, compared, among, state, words]
    form, holds = chance.choice(kinds)(chance)
    for _ in range(chance.choice([0, 0, 1, 2])):
        word, (more, also), before = chance.choice(["and", "or"]), chance.choice(kinds)(chance), holds
        turned = chance.random() < 0.3
        form = f"({form}) {word} not {more}" if turned else f"({form}) {word} {more}"
        if word == "and":
            holds = lambda r, a=before, b=also, no=turned: a(r) and b(r) != no  # noqa: E731
        else:
            holds = lambda r, a=before, b=also, no=turned: a(r) or b(r) != no  # noqa: E731
    return form, holds


COUNTS = [200, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]


@pytest.mark.parametrize("count", COUNTS)
def test_random_queries_find_what_their_meaning_says(kept: tuple[Tracking, list[Experiment]], count: int) -> None:
    tracking, records = kept
    chance = random.Random(count)
    wrong = []
    for _ in range(count):
        query, holds = condition(chance)
        found = [e.key for e in tracking.index.search(query, sort="key", limit=None)]
        if found != (wanted := [r.key for r in records if holds(r)]):
            wrong.append((query, set(found) ^ set(wanted)))
    assert not wrong, f"{len(wrong)} of {count}: {wrong[:3]}"


def test_a_number_that_is_kept_as_a_digest_is_found_by_its_digits(kept: tuple[Tracking, list[Experiment]]) -> None:
    tracking, _ = kept
    numbers = [10**400, 10**400 + 1, -(2**1024)]
    for at, value in enumerate(numbers):
        tracking.records.create(Experiment(f"x{at}", Command("script", "t.py"), params={"huge": value, "b": 0}))
    try:
        for at, value in enumerate(numbers):
            for query in (
                f"params.huge = {value}",
                f"params.huge in ({value}, 7)",
                f'params.huge = "{recorded(value)}"',
            ):
                assert [e.key for e in tracking.index.search(query)] == [f"x{at}"]
        assert not tracking.index.search(f"params.huge = {10**400 + 2} or params.huge > 0")
    finally:
        for at in range(len(numbers)):
            tracking.records.delete(f"x{at}")


@pytest.mark.parametrize("down", [False, True])
def test_orders_go_by_the_values_themselves(kept: tuple[Tracking, list[Experiment]], down: bool) -> None:
    tracking, records = kept
    for field in [*PARAMS, *METRICS, CODE, *WORDS, *ENV]:
        values = {r.key: field.number(r) if field not in WORDS else None for r in records}
        rest = {r.key: text(field.read(r)) if field in [*PARAMS, *WORDS, *ENV] else None for r in records}
        first = sorted((k for k, v in values.items() if v is not None), key=lambda k: values[k], reverse=down)  # type: ignore[arg-type, return-value]
        then = [k for k in values if values[k] is None and rest[k] is not None]
        then = sorted(then, key=lambda k: str(rest[k]), reverse=down)
        wanted = first + then + [k for k in values if values[k] is None and rest[k] is None]
        for form in field.spellings:
            found = [e.key for e in tracking.index.search(sort="-" * down + form, limit=None)]
            assert found == wanted, form


def test_an_index_that_is_rebuilt_and_every_table_keep_all_digits(
    kept: tuple[Tracking, list[Experiment]], tmp_path: Path
) -> None:
    from studio.tracking.export import export

    tracking, records = kept
    for again in (False, True):
        if again:
            assert tracking.index.rebuild() == len(records)
        found = tracking.index.search(sort="key", limit=None)
        for one, before in zip(found, records, strict=True):
            assert {n: text(v) for n, v in one.params.items()} == {n: text(v) for n, v in before.params.items()}
    experiments = Experiments(found, tracking)
    whole = {r.key: r.params["b"] for r in records if type(r.params.get("b")) is int}
    assert any(abs(v) > 2**64 for v in whole.values())
    some = Experiments([e for e in found if e.key in whole], tracking)
    assert [row["params.b"] for row in some.to_records()] == list(whole.values())
    pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("duckdb", reason="duckdb is not installed")
    for table in (some.to_pandas(), experiments.to_pandas()):
        shown = dict(zip(table["key"], table["params.b"], strict=True))
        assert {key: shown[key] for key in whole} == whole
    from studio.tracking.sql import ask

    with ask("SELECT key, integer FROM params WHERE name = 'b'", lambda: found, tracking, notify=print) as answer:
        integers = dict(answer.table())
    assert {key: integers[key] for key in whole} == whole  # type: ignore[index]
    value = next(v for v in whole.values() if abs(v) > 2**64)
    query = f"SELECT key FROM params WHERE name = 'b' AND integer = {value} ORDER BY key"
    with ask(query, lambda: found, tracking, notify=print) as answer:
        assert [key for (key,) in answer.table()] == [key for key, other in whole.items() if other == value]
    with ask("SELECT key, value, type FROM params WHERE name = 'a'", lambda: found, tracking, notify=print) as answer:
        rows = {str(key): (value, kind) for key, value, kind in answer.table()}
    kinds = {int: "number", float: "number", str: "text", bool: "boolean", list: "list", type(None): "null"}
    assert rows == {r.key: (text(v := r.params["a"]), kinds[type(v)]) for r in records if "a" in r.params}
    import csv

    export(tmp_path / "all.csv", experiments, tracking)
    with open(tmp_path / "all.csv", newline="", encoding="utf-8") as file:
        cells = {row["key"]: row["params.b"] for row in csv.DictReader(file)}
    assert {key: int(cells[key]) for key in whole} == whole


def test_of_two_names_of_one_path_each_is_found_as_it_is_printed(tmp_path: Path) -> None:
    tracking = Tracking(f"file://{tmp_path}/store", tmp_path / "home")
    params = {'d."a.b"': 1, "d.a.b": 0, "none": None}
    tracking.records.create(Experiment("k", Command("script", "a.py", ()), params=params))
    for query in ('params.d."a.b" = 1', "params.d.a.b = 0", 'params."d.\\"a.b\\"" = 1', 'params.d."a" is none'):
        assert [e.key for e in tracking.index.search(query)] == ["k"], query
    assert not list(mentioned(tracking.index, "params.none is none"))
