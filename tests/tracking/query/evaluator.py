"""A plain evaluator beside a generator: each strategy draws the text of an expression and what it means."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.tracking.query.records import NUMBERS, TEXTS

Record = dict[str, Any]
Number = tuple[str, Callable[[Record], float | None]]
Condition = tuple[str, Callable[[Record], bool]]


def number(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if re.fullmatch(r"[+-]?[0-9.]+", value) else None
    return None if value is None or isinstance(value, list) else value if type(value) is int else float(value)


def _real(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def summary_of(name: str, part: str) -> Callable[[Record], float | None]:
    def value(record: Record) -> float | None:
        found = record["summary"].get(name, {}).get(part)
        return _real(None if found is None else float(found))

    return value


def at(*path: str) -> Callable[[Record], Any]:
    def value(record: Any) -> Any:
        for name in path:
            record = None if record is None else record.get(name)
        return record

    return value


def duration(record: Record) -> float | None:
    times = record["times"]
    return None if None in (times["started"], times["finished"]) else times["finished"] - times["started"]


def _param(name: str) -> Callable[[Record], float | None]:
    return lambda record: number(record["params"].get(name))


NUMERIC: list[Number] = [
    ("metrics.acc", summary_of("acc", "last")),
    ("metrics.acc.max", summary_of("acc", "max")),
    ("metrics.acc.min", summary_of("acc", "min")),
    ("metrics.acc.first", summary_of("acc", "first")),
    ("metrics.acc.step", summary_of("acc", "step")),
    ('metrics."train/loss".last', summary_of("train/loss", "last")),
    ("metrics.a.b.count", summary_of("a.b", "count")),
    ("metrics.max", summary_of("max", "last")),
    ("metrics.nothing", lambda record: None),
    ("times.duration", duration),  # after a parameter, `duration` alone would be a text
    ("exit.code", at("exit", "code")),
    ("exit.signal", at("exit", "signal")),
    ("host.cores", at("host", "cores")),
    ("host.memory", at("host", "memory")),
    ("git.dirty", lambda record: record["git"] and float(record["git"]["dirty"])),
    ("artifacts.modeldir.bytes", at("artifacts", "modeldir", "bytes")),
    ("params.lr", _param("lr")),
    ('params."a b"', _param("a b")),
    ("params.x.y", _param("x.y")),
    ("(finished - started)", duration),
]
TEXTUAL: list[tuple[str, Callable[[Record], str | None]]] = [
    ("key", at("key")),
    ("project", at("project")),
    ("owner", at("owner")),
    ("status", at("status")),
    ("notes", at("notes")),
    ("git.branch", at("git", "branch")),
    ("host.name", at("host", "name")),
    ("exit.reason", at("exit", "reason")),
    ("metric", at("metric", "name")),
    ("args", lambda record: " ".join(record["command"]["args"])),
    ("command", lambda record: " ".join([record["command"]["target"], *record["command"]["args"]]).rstrip()),
]
MANY: list[tuple[str, Callable[[Record], list[str]]]] = [
    ("tags", at("tags")),
    ("packages", at("packages")),
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
