"""Compiles expressions of numbers, times and sizes, and comparisons of them, to SQL; hides what doubles cannot hold."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ConfigError
from ..experiment import whole
from . import exact, fields, literals
from .fields import DURATION, NUMBER, NUMERIC, PARAM, SIZE, TIME, Field
from .order import Parameter, Sql, scalar
from .parser import Node, fail

LITERALS = ("string", "word", "number")
MIRROR = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""The comparison that says the same with its sides changed over."""
_MOST_JOINED = 8


class Side(NamedTuple):
    """One side of a comparison. `text` is SQL for its exact text; "" where the number itself is exact."""

    sql: str
    parameters: list[Parameter]
    text: str = ""
    text_parameters: list[Parameter] = []  # noqa: RUF012 - nobody changes it
    rounded: str = ""
    """A literal of which the double is only near: see `exact.is_rounded`."""

    @property
    def is_plain(self) -> bool:
        """Whether it is a literal that SQLite holds exactly: what equals its double is the same number."""
        return self.sql == "?" and not self.text and not self.rounded


class Numeric:
    """What a query says of numbers.

    Args:
        alive_after: the oldest heartbeat, by the store's clock, that a living run has.
        now: what relative times count from, in seconds since 1970.
    """

    def __init__(self, query: str, alive_after: float, now: float) -> None:
        self.query = query
        self.alive_after = alive_after
        self.now = now
        self.by_row = False
        """Whether few rows are left to look at, because a condition before has chosen them: then each row's value is
        looked up; else those that fit are listed once, which is quicker for all rows together."""
        self.joined_as: dict[tuple[str, str], str] = {}
        """The alias of each (table, name) while a comparison of several is written."""

    def error(self, node: Node, said: str, hint: str = "") -> ConfigError:
        """What is wrong with a node, and where it stands."""
        return fail(self.query, node.at, node.end, said, hint)

    def field_of(self, node: Node) -> Field | None:
        """The field that a node names; None if it names none."""
        if node.kind != "word":
            return None
        try:
            return fields.find(node.value)
        except ConfigError as exc:
            raise self.error(node, exc.message, exc.hint) from exc

    def within(self, field: Field, test: str, value: Parameter) -> Sql:
        """SQL for: `test`, with {} for the value of the field, holds for a value of the field."""
        if field.table == "experiments":
            sql, parameters = scalar(field, self.alive_after)
            return f"({test.format(sql)})", [value, *parameters] if test.startswith("regexp") else [*parameters, value]
        if field.table == "lists":
            inner = "SELECT l.id FROM lists l, json_each(l.json) j WHERE " + test.format("j.value")  # noqa: S608 - our tests
            return f"e.packages IN ({inner})", [value]
        of = f"FROM {field.table} WHERE name = ?"
        if test.startswith("regexp"):  # each different text once; LIMIT keeps SQLite from testing them all
            inner = f"SELECT text FROM (SELECT DISTINCT text {of} LIMIT -1) WHERE {test.format('text')}"  # noqa: S608
            return f"e.id IN (SELECT id {of} AND text IN ({inner}))", [field.name, field.name, value]
        column = as_text(field).column if isinstance(value, str) else field.column
        if self.by_row and field.table == "labels":
            return f"EXISTS (SELECT 1 {of} AND {test.format(column)} AND id = e.id)", [field.name, value]
        if self.by_row:
            return f"((SELECT {test.format(column)} {of} AND id = e.id))", [value, field.name]
        return f"e.id IN (SELECT id {of} AND {test.format(column)})", [field.name, value]

    def numbers(self, op: str, left: Node, right: Node) -> Sql:
        """SQL for a comparison of numbers."""
        left_type, right_type = self.type_of(left), self.type_of(right)
        if op == "=" and left_type == TIME and right.kind in LITERALS and literals.is_day(right.value):
            start, end = literals.day(right.value, self.now)
            a, some = self.value(left, TIME)
            return f"({a} >= ? AND {a} < ?)", [*some, start, *some, end]
        among = list(dict.fromkeys((f.table, f.name) for n in (left, right) for f in self.fields_in(n)))
        if 2 <= len(among) <= _MOST_JOINED and not self.by_row and ("experiments", "") not in among:
            return self.across(op, left, right, among)
        one, other = self.side(left, right_type), self.side(right, left_type)
        field = self.field_of(left)
        if field is not None and field.table != "experiments" and other.is_plain:
            return self.within(field, f"{{}} {op} ?", other.parameters[0])
        sql, parameters = _compared(op, one, other)
        digits = str(other.text_parameters[0]) if other.text == "?" else ""
        if op == "=" and field is not None and field.type == PARAM and digits.lstrip("-").isdecimal():
            text = whole(int(digits))
            if isinstance(text, str):  # of so large a number a record has the digest
                also, some = self.within(field, "{} = ?", text)
                return f"({sql} OR {also})", parameters + some
        return sql, parameters

    def across(self, op: str, left: Node, right: Node, among: list[tuple[str, str]]) -> Sql:
        """SQL for a comparison of values of several metrics and parameters: joined, which looks each up once."""
        self.joined_as = {one: f"v{number}" for number, one in enumerate(among)}
        sql, parameters = _compared(op, self.side(left, self.type_of(right)), self.side(right, self.type_of(left)))
        self.joined_as = {}
        (table, name), *others = among
        joins = "".join(
            f" CROSS JOIN {t} v{n} ON v{n}.name = ? AND v{n}.id = v0.id" for n, (t, _) in enumerate(others, 1)
        )
        inner = f"SELECT v0.id FROM {table} v0{joins} WHERE v0.name = ? AND {sql}"  # noqa: S608 - our names
        return f"e.id IN ({inner})", [*(one for _, one in others), name, *parameters]

    def side(self, node: Node, other: str) -> Side:
        """One side of a comparison with what is of type `other`."""
        sql, parameters = self.value(node, other)
        field = self.field_of(node)
        if field is not None and field.type == PARAM:
            return Side(sql, parameters, *self.column(as_text(field)))
        if sql == "?" and (text := self.rounded(node)):
            return Side(sql, parameters, rounded=text)
        if sql == "?" and not isinstance(parameters[0], str) and exact.is_large(parameters[0]):
            return Side(sql, parameters, "?", [str(parameters[0])])
        return Side(sql, parameters)

    def rounded(self, node: Node) -> str:
        """The text of a literal of which the double is only near; "" for any other."""
        text = node.parts[0].value if node.kind == "negate" else node.value
        inner = node.parts[0] if node.kind == "negate" else node
        if inner.kind not in LITERALS or not text[:1].isdigit() or not exact.is_rounded(text):
            return ""
        return "-" * (node.kind == "negate") + text

    def column(self, field: Field) -> Sql:
        """The value of a field with one value, from the joined tables if it is among them."""
        alias = self.joined_as.get((field.table, field.name))
        return (f"{alias}.{field.column}", []) if alias else scalar(field, self.alive_after)

    def fields_in(self, node: Node) -> list[Field]:
        """The fields that stand in a number-like expression."""
        field = self.field_of(node)
        return [field] if field is not None else [found for part in node.parts for found in self.fields_in(part)]

    def type_of(self, node: Node) -> str:
        """The type of a number-like expression; "" for a literal, which takes the other side's."""
        if node.kind == "negate":
            return self.type_of(node.parts[0])
        if node.kind == "sum":
            found = [t for t in map(self.type_of, node.parts) if t]
            if not found or (node.value in "+-" and len(found) == 1):
                return "".join(found)
            if found == [TIME, TIME]:
                return DURATION
            if node.value in "+-":
                return found[0]
            units = {DURATION, SIZE} & set(found)
            return units.pop() if node.value == "*" and len(units) == 1 else NUMBER
        field = self.field_of(node)
        if field is not None:
            return field.type
        return TIME if node.kind == "word" and node.value.lower() in literals.DAYS else ""

    def value(self, node: Node, other: str) -> Sql:
        """A number-like expression; a literal in it is read as what the `other` side is."""
        if node.kind == "number":
            return "?", [self.literal(node, "")]
        if node.kind == "sum":
            inner = self.type_of(node) or other
            beside = DURATION if inner == TIME else inner  # a time takes durations: now - 7d
            (a, some), (b, more) = (self.value(p, beside) for p in node.parts)
            if node.value == "/":  # of whole numbers, SQLite would give a whole one
                a, b = f"CAST({a} AS REAL)", f"CAST({b} AS REAL)"
            return f"({a} {node.value} {b})", some + more
        if node.kind == "negate":
            return self.negated(node.parts[0], other)
        if node.kind not in LITERALS:
            raise self.error(node, "this is a condition, a value is expected")
        field = self.field_of(node)
        if field is None:
            return "?", [self.literal(node, other)]
        if field.type not in NUMERIC:
            raise self.error(node, f"{node.value} is a text, a number is expected")
        return self.column(field)

    def negated(self, inner: Node, other: str) -> Sql:
        """The number below zero that is as large."""
        if other == TIME and inner.kind == "word" and self.field_of(inner) is None:
            return "?", [self.now - self.literal(inner, DURATION)]  # -7d is seven days ago
        sql, parameters = self.value(inner, other)
        if sql == "?" and not isinstance(parameters[0], str):
            return "?", [-parameters[0]]
        return f"(- {sql})", parameters

    def literal(self, node: Node, other: str) -> int | float:
        """The number that a word or a text stands for."""
        word = node.value.lower()
        if node.kind == "word" and word in literals.NUMBERS:
            return literals.NUMBERS[word]
        if node.kind == "word" and word == "nan":
            raise self.error(node, "nothing equals nan, or is above or below it", "write: … is nan")
        try:
            if other == TIME or (node.kind == "word" and word in literals.DAYS):
                return literals.instant(node.value, self.now)
            return literals.amount(node.value, size=other == SIZE, duration=other == DURATION)
        except ConfigError as exc:
            if node.kind == "word" and not node.value[0].isdigit():
                raise self.unknown(node) from exc
            raise self.error(node, exc.message, exc.hint) from exc

    def unknown(self, node: Node) -> ConfigError:
        """That a word names no field, and which one may be meant."""
        hint = "put spaces around a minus: a - b" if "-" in node.value else ""
        hint = hint or fields.near(node.value) or "a text goes in quotes"
        return self.error(node, f"there is no field {node.value!r}", hint)


def as_text(field: Field) -> Field:
    """The field as a text: parameters are kept both ways."""
    return field._replace(column="text") if field.table == "facts" else field


def _compared(op: str, a: Side, b: Side) -> Sql:
    """SQL for the comparison; numbers that have the same double are compared by their texts."""
    if b.rounded:
        value, some = (a.text, a.text_parameters) if a.text else (a.sql, a.parameters)
        sql = f"(CASE WHEN {a.sql} IS NOT NULL THEN against({value}, ?) {op} 0 END)"
        return sql, [*a.parameters, *some, b.rounded]
    if a.rounded:
        return _compared(MIRROR[op], b, a)
    if a.is_plain or b.is_plain or not (a.text or b.text):
        return f"({a.sql} {op} {b.sql})", a.parameters + b.parameters
    left, right = a.text or a.sql, b.text or b.sql
    sql = (
        f"(CASE WHEN {a.sql} = {b.sql} AND {exact.IS_LARGE.format(a.sql)} THEN exact({left}, {right}) {op} 0"
        f" ELSE {a.sql} {op} {b.sql} END)"
    )
    texts = (a.text_parameters if a.text else a.parameters) + (b.text_parameters if b.text else b.parameters)
    both = a.parameters + b.parameters
    return sql, both + 2 * a.parameters + texts + both
