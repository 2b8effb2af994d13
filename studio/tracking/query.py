"""Compiles a query to one SQL condition with parameters; hides types, literals and what a missing value means."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..errors import ConfigError, nearest
from . import fields, literals
from .fields import DURATION, FLAG, LABELS, MANY, NUMBER, NUMERIC, PACKAGES, PARAM, SIZE, TEXT, TIME, Field
from .order import Parameter, Sql, scalar
from .parser import Node, fail, parse
from .pattern import Pattern

_MIRROR = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_POSITIVE = {"!=": "=", "!~": "~", "not in": "in"}
_LITERALS = ("string", "word", "number")
_MOST_JOINED = 8


def compile_query(query: str, *, alive_after: float = 0.0, now: float | None = None) -> Sql:
    """The condition on `experiments e` that `query` states; an empty query holds for every experiment.

    A comparison with a value that an experiment does not have is false; `!=`, `!~`, `not in` and `not`
    are true wherever what they negate is not.

    Args:
        alive_after: the oldest heartbeat, by the store's clock, that a living run has; for `status`.
        now: what relative times count from, in seconds since 1970; None = this moment.

    Raises:
        ConfigError: it is no query; the message shows the column and marks the place.
    """
    tree = parse(query)
    if tree is None:
        return "1", []
    return _Compiler(query, alive_after, time.time() if now is None else now).whole(tree)


class _Compiler:
    def __init__(self, query: str, alive_after: float, now: float) -> None:
        self.query = query
        self.alive_after = alive_after
        self.now = now
        self.by_row = False
        """Whether few rows are left to look at, because a condition before has chosen them: then each row's value is
        looked up; else those that fit are listed once, which is quicker for all rows together."""
        self.joined_as: dict[tuple[str, str], str] = {}
        """The alias of each (table, name) while a comparison of several is written."""

    def whole(self, tree: Node) -> Sql:
        """SQL for the whole query."""
        if tree.kind != "and":
            return self.condition(tree)
        parts = []
        for part in tree.parts:
            parts.append(self.condition(part))
            self.by_row = self.by_row or parts[-1][0].startswith("e.id IN")
        return self.joined(" AND ", parts)

    def error(self, node: Node, said: str, hint: str = "") -> ConfigError:
        return fail(self.query, node.at, node.end, said, hint)

    def condition(self, node: Node, negated: bool = False) -> Sql:
        """SQL that is 1 where the node holds (or, `negated`, does not), and 0 or NULL elsewhere."""
        if node.kind == "not":
            return self.condition(node.parts[0], not negated)
        if node.kind in ("and", "or"):
            word = " AND " if (node.kind == "and") != negated else " OR "
            return self.joined(word, [self.condition(p, negated) for p in node.parts])
        if node.kind == "compare":
            return self.comparison(node, negated)
        if node.kind in _LITERALS:
            return self.words(node, negated)
        raise self.error(node, "this is a value, a condition is expected", "compare it, such as: … > 0")

    def joined(self, word: str, parts: Sequence[Sql]) -> Sql:
        return "(" + word.join(sql for sql, _ in parts) + ")", [p for _, some in parts for p in some]

    def words(self, node: Node, negated: bool) -> Sql:
        """A word by itself: part of the key, project, a tag, the notes or the command."""
        field = self.field_of(node)
        if field is not None and field.type == FLAG:
            sql, parameters = self.within(field, "num <> ?", 0)
            return f"{'NOT ' * negated}{sql}", parameters
        if field is not None:
            hint = f"such as: {node.value} = …; to search for the word, put it in quotes"
            raise self.error(node, f"the field {node.value} needs a comparison", hint)
        needle = node.value.casefold().replace("\x1f", " ")
        verb = "NOT IN" if negated else "IN"
        return f"e.id {verb} (SELECT id FROM words WHERE instr(text, ?))", [needle]  # noqa: S608 - one of two words

    def comparison(self, node: Node, negated: bool) -> Sql:
        op, (left, right) = node.value, node.parts
        if op in _POSITIVE:
            op, negated = _POSITIVE[op], not negated
        fixed = left.kind in ("string", "number") or (left.kind == "word" and left.value[0].isdigit())
        if fixed and op in _MIRROR and self.field_of(right) is not None:
            op, left, right = _MIRROR[op], right, left
        if op == "in":
            sql, parameters = self.joined(" OR ", [self.atom(node, "=", left, choice) for choice in right.parts])
        else:
            sql, parameters = self.atom(node, op, left, right)
        return (f"NOT COALESCE({sql}, 0)" if negated else sql), parameters

    def atom(self, node: Node, op: str, left: Node, right: Node) -> Sql:
        field = self.field_of(left)
        if field is not None and right.kind == "word" and right.value.lower() == "none":
            if op != "=":
                raise self.error(right, f"nothing can be {op} none", "use = or !=")
            return self.missing(field)
        if field is not None and field.type in (TEXT, PARAM, *MANY):
            if op == "~":
                return self.pattern(field, right)
            if field.type != PARAM or self.is_text(right):
                return self.text(node, op, field, right)
        if op == "~":
            raise self.error(left, "~ looks into texts, this is none", "compare it by = < >")
        return self.numbers(op, left, right)

    def field_of(self, node: Node) -> Field | None:
        return fields.find(node.value) if node.kind == "word" else None

    def is_text(self, right: Node) -> bool:
        """Whether a parameter is compared as a text with this."""
        if right.kind != "word":
            return right.kind == "string"
        other = self.field_of(right) if self.refers(right) else None
        return other.type == TEXT if other is not None else right.value.lower() not in ("true", "false")

    def refers(self, node: Node) -> bool:
        """Whether a word on the right of a text is a field: only one with a dot is, such as params.x."""
        return "." in node.value and self.field_of(node) is not None

    def missing(self, field: Field) -> Sql:
        if field.type == LABELS or field.type == PARAM:
            return f"e.id NOT IN (SELECT id FROM {field.table} WHERE name = ?)", [field.name]  # noqa: S608 - our names
        if field.type == PACKAGES:
            return "e.packages IN (SELECT id FROM lists WHERE json = '[]')", []
        sql, parameters = scalar(field, self.alive_after)
        return f"COALESCE({sql}, '') = ''", parameters

    def pattern(self, field: Field, right: Node) -> Sql:
        if right.kind not in _LITERALS:
            raise self.error(right, "a regular expression in quotes is expected", 'such as: tags ~ "v2.*"')
        try:
            Pattern(right.value)
        except ValueError as exc:
            raise self.error(right, f"not a regular expression that can be used ({exc})") from exc
        return self.within(field, "regexp(?, {})", right.value)

    def text(self, node: Node, op: str, field: Field, right: Node) -> Sql:
        if field.type in MANY and op != "=":
            raise self.error(node, f"{op} does not work on a field with many values", "use = != ~ !~ or in")
        if right.kind not in _LITERALS:
            raise self.error(right, "a text is expected", "put it in quotes")
        if right.kind == "word" and self.refers(right):
            other = self.field_of(right)
            if other is None or other.type not in (TEXT, PARAM) or field.type in MANY:
                raise self.error(node, "a text can only be compared with a text", "put its letters in quotes")
            (a, some), (b, more) = (scalar(_spelled(f), self.alive_after) for f in (field, other))
            return f"({a} {op} {b})", some + more
        if not right.value and op == "=" and field.type == TEXT:
            return self.missing(field)
        return self.within(field, f"{{}} {op} ?", right.value)

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
        column = _spelled(field).column if isinstance(value, str) else field.column
        if self.by_row and field.table == "labels":
            return f"EXISTS (SELECT 1 {of} AND {test.format(column)} AND id = e.id)", [field.name, value]
        if self.by_row:
            return f"((SELECT {test.format(column)} {of} AND id = e.id))", [value, field.name]
        return f"e.id IN (SELECT id {of} AND {test.format(column)})", [field.name, value]

    def numbers(self, op: str, left: Node, right: Node) -> Sql:
        left_type, right_type = self.type_of(left), self.type_of(right)
        if op == "=" and left_type == TIME and right.kind in _LITERALS and literals.is_day(right.value):
            start, end = literals.day(right.value, self.now)
            a, some = self.value(left, TIME)
            return f"({a} >= ? AND {a} < ?)", [*some, start, *some, end]
        among = list(dict.fromkeys((f.table, f.name) for n in (left, right) for f in self.fields_in(n)))
        if 2 <= len(among) <= _MOST_JOINED and not self.by_row and ("experiments", "") not in among:
            return self.across(op, left, right, among)
        (a, some), (b, more) = self.value(left, right_type), self.value(right, left_type)
        field = self.field_of(left)
        if field is not None and field.table != "experiments" and b == "?":
            return self.within(field, f"{{}} {op} ?", more[0])
        return f"({a} {op} {b})", some + more

    def across(self, op: str, left: Node, right: Node, among: list[tuple[str, str]]) -> Sql:
        """SQL for a comparison of values of several metrics and parameters: joined, which looks each up once."""
        self.joined_as = {one: f"v{number}" for number, one in enumerate(among)}
        (a, some), (b, more) = self.value(left, self.type_of(right)), self.value(right, self.type_of(left))
        self.joined_as = {}
        (table, name), *others = among
        joins = "".join(
            f" CROSS JOIN {t} v{n} ON v{n}.name = ? AND v{n}.id = v0.id" for n, (t, _) in enumerate(others, 1)
        )
        sql = f"SELECT v0.id FROM {table} v0{''.join(joins)} WHERE v0.name = ? AND {a} {op} {b}"  # noqa: S608 - our names
        return f"e.id IN ({sql})", [*(one for _, one in others), name, *some, *more]

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
            return "?", [float(node.value)]
        if node.kind == "sum":
            inner = self.type_of(node) or other
            beside = DURATION if inner == TIME else inner  # a time takes durations: now - 7d
            (a, some), (b, more) = (self.value(p, beside) for p in node.parts)
            return f"(CAST({a} AS REAL) {node.value} CAST({b} AS REAL))", some + more
        if node.kind == "negate":
            return self.negated(node.parts[0], other)
        if node.kind not in _LITERALS:
            raise self.error(node, "this is a condition, a value is expected")
        field = self.field_of(node)
        if field is None:
            return "?", [self.literal(node, other)]
        if field.type not in NUMERIC:
            raise self.error(node, f"{node.value} is a text, a number is expected")
        alias = self.joined_as.get((field.table, field.name))
        return (f"{alias}.{field.column}", []) if alias else scalar(field, self.alive_after)

    def negated(self, inner: Node, other: str) -> Sql:
        if other == TIME and inner.kind == "word" and self.field_of(inner) is None:
            return "?", [self.now - self.literal(inner, DURATION)]  # -7d is seven days ago
        sql, parameters = self.value(inner, other)
        return ("?", [-float(parameters[0])]) if sql == "?" else (f"(- CAST({sql} AS REAL))", parameters)

    def literal(self, node: Node, other: str) -> float:
        word = node.value.lower()
        if word in ("true", "false") and node.kind == "word":
            return float(word == "true")
        try:
            if other == TIME or (node.kind == "word" and word in literals.DAYS):
                return literals.instant(node.value, self.now)
            return literals.amount(node.value, size=other == SIZE, duration=other == DURATION)
        except ConfigError as exc:
            if node.kind == "word" and not node.value[0].isdigit():
                raise self.unknown(node) from exc
            raise self.error(node, exc.message, exc.hint) from exc

    def unknown(self, node: Node) -> ConfigError:
        hint = "put spaces around a minus: a - b" if "-" in node.value else ""
        hint = hint or nearest(node.value, [*fields.STATIC, *fields.ALIASES]) or "a text goes in quotes"
        return self.error(node, f"there is no field {node.value!r}", hint)


def _spelled(field: Field) -> Field:
    """The field as a text: parameters are kept both ways."""
    return field._replace(column="text") if field.table == "facts" else field
