"""Reads the text of a query into a tree: a lexer and a recursive-descent parser with Python's precedence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from ..errors import ConfigError
from .quoting import unquote

MAX_CHARS = 4000
MAX_TOKENS = 400
MAX_DEPTH = 40

_LEX = re.compile(
    r"""\s*(?:
      (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.:-]))
    | (?P<word>\w[\w.:-]*(?:(?<=\.)"(?:[^"\\]|\\.)*"[\w.:-]*)*)
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<op>!=|!~|<=|>=|==|[=<>~()+*/,-])
    )""",
    re.VERBOSE,
)
COMPARE = ("=", "!=", "<", "<=", ">", ">=", "~", "!~", "in", "not in", "is", "is not")
STATES = ("nan", "none")
"""What may stand after `is`; before anything else it is a word to look for."""


class Node:
    """One place of the tree. `at` and `end` are offsets into the query."""

    __slots__ = ("at", "end", "kind", "parts", "value")

    def __init__(self, kind: str, value: str, parts: Sequence[Node], at: int, end: int) -> None:
        self.kind = kind
        """number, word, string, list, and, or, not, compare, sum (+ - * /), negate"""
        self.value = value
        self.parts = tuple(parts)
        self.at = at
        self.end = end


def fail(query: str, at: int, end: int, said: str, hint: str = "") -> ConfigError:
    """The ConfigError that shows where in the query it is."""
    before, after = query[max(0, at - 30) : at], query[end : end + 30]
    shown = f"{'…' if at > 30 else ''}{before}▸{query[at:end]}◂{after}{'…' if len(query) > end + 30 else ''}"
    return ConfigError(f"query, column {at + 1}: {said}: {' '.join(shown.split())}", hint=hint)


def parse(query: str) -> Node | None:
    """The tree of a query; None for an empty one.

    Raises:
        ConfigError: it is none; the message shows the column and marks the place.
    """
    if len(query) > MAX_CHARS:
        raise ConfigError(f"a query has at most {MAX_CHARS} characters, this one {len(query)}")
    parser = _Parser(query)
    if parser.kind == "end":
        return None
    tree = parser.any_of(0)
    if parser.kind != "end":
        parser.unexpected()
    return tree


class _Parser:
    def __init__(self, query: str) -> None:
        self.query = query
        self.tokens = list(self._lex(query))
        self.index = -1
        self.step()

    def _lex(self, query: str) -> list[tuple[str, str, int, int]]:
        tokens: list[tuple[str, str, int, int]] = []
        at = 0
        while True:
            found = _LEX.match(query, at)
            if found is None:
                at += len(query[at:]) - len(query[at:].lstrip())
                if at >= len(query):
                    return [*tokens, ("end", "", len(query), len(query))]
                if query[at] in "\"'":
                    raise fail(query, at, len(query), "this quote is never closed")
                hint = {"&": "use: and", "|": "use: or", "!": "use: not", "^": ""}.get(query[at], "put it in quotes")
                raise fail(query, at, at + 1, "unexpected character", hint)
            kind = found.lastgroup or ""
            start, at = found.span(kind)
            tokens.append((kind, found[kind], start, at))
            if len(tokens) > MAX_TOKENS:
                raise ConfigError(f"a query has at most {MAX_TOKENS} words and operators")

    def step(self) -> tuple[str, str, int, int]:
        """Moves on and returns the token that was current."""
        self.index += 1
        self.kind, self.text, self.at, self.end = self.tokens[self.index]
        self.keyword = self.text.lower() if self.kind == "word" else ""
        return self.tokens[self.index - 1]

    def unexpected(self) -> NoReturn:
        if self.kind == "end":
            raise fail(self.query, self.at, self.end, "the query ends too early")
        raise fail(self.query, self.at, self.end, f"unexpected {self.text!r}")

    def any_of(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise fail(self.query, self.at, self.end, f"more than {MAX_DEPTH} levels deep")
        parts = [self.all_of(depth)]
        while self.keyword == "or":
            self.step()
            parts.append(self.all_of(depth))
        return parts[0] if len(parts) == 1 else Node("or", "or", parts, parts[0].at, parts[-1].end)

    def all_of(self, depth: int) -> Node:
        parts = [self.negation(depth)]
        while self.keyword != "or" and self.text != ")" and self.text != "," and self.kind != "end":
            if self.keyword == "and":
                self.step()
            elif self.kind == "op" and self.text != "(":
                self.unexpected()
            parts.append(self.negation(depth))
        return parts[0] if len(parts) == 1 else Node("and", "and", parts, parts[0].at, parts[-1].end)

    def negation(self, depth: int) -> Node:
        if self.keyword != "not":
            return self.comparison(depth)
        if depth > MAX_DEPTH:
            raise fail(self.query, self.at, self.end, f"more than {MAX_DEPTH} levels deep")
        at = self.step()[2]
        inner = self.negation(depth + 1)
        return Node("not", "not", [inner], at, inner.end)

    def comparison(self, depth: int) -> Node:
        left = self.sum(depth)
        op = self.operator()
        if op not in COMPARE:
            return left
        self.step()
        right = self.choices(depth) if op in ("in", "not in") else self.sum(depth)
        if (self.kind == "op" and self.text in COMPARE) or self.text == "==":
            raise fail(self.query, self.at, self.end, "comparisons do not chain", "write: a < b and b < c")
        return Node("compare", op, [left, right], left.at, right.end)

    def operator(self) -> str:
        """The comparison that begins here, before the last of its words; any other text is none."""
        if self.keyword not in ("is", "not"):
            return "=" if self.text == "==" else self.text if self.kind == "op" else self.keyword
        words = [text.lower() for _, text, _, _ in self.tokens[self.index : self.index + 3]]
        if words[0] == "is" and words[1] in STATES:
            return "is"
        if words[:2] == ["not", "in"] or (words[:2] == ["is", "not"] and words[2] in STATES):
            self.step()
            return " ".join(words[:2])
        return ""

    def choices(self, depth: int) -> Node:
        at = self.at
        parts: list[Node] = []
        if self.text != "(":
            raise fail(self.query, self.at, self.end, "a list in parentheses is expected", 'such as: in ("a", "b")')
        while not parts or self.text == ",":
            self.step()
            parts.append(self.sum(depth + 1))
        if self.text != ")":
            self.unexpected()
        return Node("list", "", parts, at, self.step()[3])

    def sum(self, depth: int) -> Node:
        left = self.product(depth)
        while self.kind == "op" and self.text in ("+", "-"):
            op = self.step()[1]
            right = self.product(depth)
            left = Node("sum", op, [left, right], left.at, right.end)
        return left

    def product(self, depth: int) -> Node:
        left = self.operand(depth)
        while self.kind == "op" and self.text in ("*", "/"):
            op = self.step()[1]
            right = self.operand(depth)
            left = Node("sum", op, [left, right], left.at, right.end)
        return left

    def operand(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise fail(self.query, self.at, self.end, f"more than {MAX_DEPTH} levels deep")
        if self.kind == "op" and self.text == "-":
            at = self.step()[2]
            inner = self.operand(depth + 1)
            return Node("negate", "-", [inner], at, inner.end)
        if self.kind == "op" and self.text == "(":
            at = self.step()[2]
            inner = self.any_of(depth + 1)
            if self.text != ")" or self.kind != "op":
                if self.kind == "end":
                    raise fail(self.query, at, at + 1, "this parenthesis is never closed")
                self.unexpected()
            end = self.step()[3]
            return Node(inner.kind, inner.value, inner.parts, at, end) if inner.parts else inner
        if self.kind in ("end", "op") or self.keyword in ("and", "or", "in"):
            self.unexpected()
        kind, text, at, end = self.step()
        return Node(kind, unquote(text) if kind == "string" else text, [], at, end)
