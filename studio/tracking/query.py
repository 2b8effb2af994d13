"""Compiles a query to one SQL condition with parameters; hides types, literals and what a missing value means."""

from __future__ import annotations

import time
from collections.abc import Sequence

from . import fields, literals, rows
from .fields import FLAG, LABELS, MANY, NUMERIC, PACKAGES, PARAM, TEXT, Field
from .numeric import LITERALS, MIRROR, Numeric, as_text
from .order import Sql, scalar
from .parser import Node, parse
from .pattern import Pattern

_POSITIVE = {"!=": "=", "!~": "~", "not in": "in", "is not": "is"}


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


def named(query: str) -> list[tuple[str, Field]]:
    """The metrics, parameters and artifacts that stand in a query, each as its word and its field.

    Raises:
        ConfigError: it is no query.
    """
    tree = parse(query)
    waiting, found = [] if tree is None else [tree], {}
    while waiting:
        node = waiting.pop(0)
        waiting += node.parts
        if node.kind == "word" and fields.is_open(node.value):
            found[node.value] = fields.find(node.value)
    return [(word, field) for word, field in found.items() if field is not None]


class _Compiler(Numeric):
    def whole(self, tree: Node) -> Sql:
        """SQL for the whole query."""
        if tree.kind != "and":
            return self.condition(tree)
        parts = []
        for part in tree.parts:
            parts.append(self.condition(part))
            self.by_row = self.by_row or parts[-1][0].startswith("e.id IN")
        return self.joined(" AND ", parts)

    def condition(self, node: Node, negated: bool = False) -> Sql:
        """SQL that is 1 where the node holds (or, `negated`, does not), and 0 or NULL elsewhere."""
        if node.kind == "not":
            return self.condition(node.parts[0], not negated)
        if node.kind in ("and", "or"):
            word = " AND " if (node.kind == "and") != negated else " OR "
            return self.joined(word, [self.condition(p, negated) for p in node.parts])
        if node.kind == "compare":
            return self.comparison(node, negated)
        if node.kind in LITERALS:
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
        if field is not None and node.value not in fields.LISTED:
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
        if fixed and op in MIRROR and self.field_of(right) is not None:
            op, left, right = MIRROR[op], right, left
        if op == "in":
            sql, parameters = self.joined(" OR ", [self.atom(node, "=", left, choice) for choice in right.parts])
        else:
            sql, parameters = self.atom(node, op, left, right)
        return (f"NOT COALESCE({sql}, 0)" if negated else sql), parameters

    def atom(self, node: Node, op: str, left: Node, right: Node) -> Sql:
        field = self.field_of(left)
        word = right.value.lower() if right.kind == "word" else ""
        if op == "is":
            return self.state(left, word)
        if field is not None and word == "none":
            if op != "=":
                raise self.error(right, f"nothing can be {op} none", "use = or !=")
            return self.missing(field)
        if field is not None and word == "nan" and field.type in NUMERIC:
            raise self.error(right, f"nothing is {op} nan", f"write: {left.value} is nan")
        if field is not None and field.type in (TEXT, PARAM, *MANY):
            if op == "~":
                return self.pattern(field, right)
            if field.type != PARAM or self.is_text(right):
                return self.text(node, op, field, right)
        if op == "~":
            raise self.error(left, "~ looks into texts, this is none", "compare it by = < >")
        return self.numbers(op, left, right)

    def is_text(self, right: Node) -> bool:
        """Whether a parameter is compared as a text with this."""
        if right.kind != "word":
            return right.kind == "string"
        other = self.field_of(right) if self.refers(right) else None
        return other.type == TEXT if other is not None else right.value.lower() not in literals.NUMBERS

    def refers(self, node: Node) -> bool:
        """Whether a word on the right of a text is a field: only one with a dot is, such as params.x."""
        return "." in node.value and self.field_of(node) is not None

    def state(self, left: Node, word: str) -> Sql:
        """SQL for: a field `is none`, or `is nan`."""
        field = self.field_of(left)
        if field is None:
            raise self.unknown(left) if left.kind == "word" else self.error(left, f"before `is {word}` stands a field")
        if word == "none":
            return self.missing(field)
        if field.type not in NUMERIC:
            raise self.error(left, f"{left.value} is a text, which is never nan", f'as a word: {left.value} = "nan"')
        if field.table == "metrics":
            bit = 1 << rows.STATISTICS.index(field.column)
            return "e.id IN (SELECT id FROM metrics WHERE name = ? AND nan & ?)", [field.name, bit]
        if field.type == PARAM:
            return "e.id IN (SELECT id FROM facts WHERE name = ? AND nan)", [field.name]
        return "(0)", []

    def missing(self, field: Field) -> Sql:
        if field.type == LABELS or field.type == PARAM:
            return f"e.id NOT IN (SELECT id FROM {field.table} WHERE name = ?)", [field.name]  # noqa: S608 - our names
        if field.type == PACKAGES:
            return "e.packages IN (SELECT id FROM lists WHERE json = '[]')", []
        sql, parameters = scalar(field, self.alive_after)
        return f"COALESCE({sql}, '') = ''", parameters

    def pattern(self, field: Field, right: Node) -> Sql:
        if right.kind not in LITERALS:
            raise self.error(right, "a regular expression in quotes is expected", 'such as: tags ~ "v2.*"')
        try:
            Pattern(right.value)
        except ValueError as exc:
            raise self.error(right, f"not a regular expression that can be used ({exc})") from exc
        return self.within(field, "regexp(?, {})", right.value)

    def text(self, node: Node, op: str, field: Field, right: Node) -> Sql:
        if field.type in MANY and op != "=":
            raise self.error(node, f"{op} does not work on a field with many values", "use = != ~ !~ or in")
        if right.kind not in LITERALS:
            raise self.error(right, "a text is expected", "put it in quotes")
        if right.kind == "word" and self.refers(right):
            other = self.field_of(right)
            if other is None or other.type not in (TEXT, PARAM) or field.type in MANY:
                raise self.error(node, "a text can only be compared with a text", "put its letters in quotes")
            (a, some), (b, more) = (scalar(as_text(f), self.alive_after) for f in (field, other))
            return f"({a} {op} {b})", some + more
        if not right.value and op == "=" and field.type == TEXT:
            return self.missing(field)
        forms = {right.value, literals.as_json(right.value)} if op == "=" and field.type == PARAM else {right.value}
        return self.joined(" OR ", [self.within(field, f"{{}} {op} ?", form) for form in sorted(forms)])
