r"""Reads a regular expression into a tree: the part of Python's syntax that needs no backtracking."""

from __future__ import annotations

from collections.abc import Callable, Iterable

MAX_REPEAT = 1000
MAX_DEPTH = 40

Test = Callable[[str], bool]
CLASSES: dict[str, Test] = {
    "d": str.isdecimal,
    "w": lambda c: c.isalnum() or c == "_",
    "s": str.isspace,
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}
_ANCHORS = {"A": "start", "Z": "end", "b": "edge", "B": "inside"}
_HEX = {"x": 2, "u": 4}


class Tree:
    """A parsed piece: `char` (with a test; its `name` is the only one that passes, if it is one), `join`, `either`,
    `repeat` (low to high times) or `anchor`."""

    __slots__ = ("high", "kind", "low", "name", "parts", "test")

    def __init__(self, kind: str, parts: Iterable[Tree] = (), *, test: Test | None = None, name: str = "") -> None:
        self.kind = kind
        self.parts = list(parts)
        self.test = test
        self.name = name
        self.low = 0
        self.high: int | None = None


def read(text: str) -> tuple[Tree, bool]:
    """The tree of a pattern, and whether it starts with `(?i)`: then texts are compared in lower case.

    Raises:
        ValueError: it is none, or one that needs backtracking; the message says where.
    """
    fold = text.startswith("(?i)")
    return _Parser(text, 4 if fold else 0, fold).whole(), fold


def required(tree: Tree) -> tuple[str, str]:
    """A text that stands in every text where the pattern occurs, and one that ends it; "" where there is none."""
    runs, ends = [""], [""]

    def walk(piece: Tree) -> None:
        if piece.kind == "char" and piece.name:
            runs[-1] += piece.name
        elif piece.kind == "join":
            for part in piece.parts:
                walk(part)
        elif piece.kind != "anchor":
            if piece.kind == "repeat" and piece.low:
                walk(piece.parts[0])
            runs.append("")
        elif piece.name == "end":
            ends.append(runs[-1])

    walk(tree)
    return max(runs, key=len), max(ends, key=len)


class _Parser:
    def __init__(self, text: str, at: int, fold: bool) -> None:
        self.text = text
        self.at = at
        self.fold = fold

    def fail(self, said: str) -> ValueError:
        return ValueError(f"{said} at its character {self.at + 1}")

    def next(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self) -> str:
        char = self.next()
        if not char:
            raise self.fail("it ends too early")
        self.at += 1
        return char

    def whole(self) -> Tree:
        tree = self.either(0)
        if self.next():
            raise self.fail("a parenthesis too many")
        return tree

    def either(self, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise self.fail("too many levels")
        parts = [self.join(depth)]
        while self.next() == "|":
            self.at += 1
            parts.append(self.join(depth))
        return parts[0] if len(parts) == 1 else Tree("either", parts)

    def join(self, depth: int) -> Tree:
        parts = []
        while self.next() not in ("", "|", ")"):
            parts.append(self.repeated(self.one(depth)))
        return Tree("join", parts)

    def repeated(self, tree: Tree) -> Tree:
        bounds = self.bounds()
        if bounds is None:
            return tree
        if tree.kind == "anchor":
            raise self.fail("nothing to repeat")
        outer = Tree("repeat", [tree])
        outer.low, outer.high = bounds
        if self.next() == "?":  # as few as possible: the same, as only the occurrence is asked
            self.at += 1
        if self.bounds() is not None:
            raise self.fail("repeated twice")
        return outer

    def bounds(self) -> tuple[int, int | None] | None:
        char = self.next()
        if char and char in "*+?":
            self.at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        if char != "{":
            return None
        close = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : close].partition(",")
        if close < 0 or not (low or high) or not all(n.isascii() and n.isdigit() for n in (low, high) if n):
            return None  # a brace by itself
        self.at = close + 1
        least, most = int(low or 0), int(high) if high else None if comma else int(low)
        if least > MAX_REPEAT or (most or 0) > MAX_REPEAT:
            raise self.fail("its repetitions are too many")
        if most is not None and most < least:
            raise self.fail("a repetition from more to less")
        return least, most

    def one(self, depth: int) -> Tree:
        char = self.take()
        if char == "(":
            if self.next() == "?":
                if self.text[self.at : self.at + 2] != "?:":
                    raise self.fail("this kind of group is not supported")
                self.at += 2
            inner = self.either(depth + 1)
            if self.next() != ")":
                raise self.fail("a parenthesis is not closed")
            self.at += 1
            return inner
        if char == "[":
            return Tree("char", test=self.set())
        if char == ".":
            return Tree("char", test=lambda c: c != "\n")
        if char == "^":
            return Tree("anchor", name="start")
        if char == "$":
            return Tree("anchor", name="end")
        if char in "*+?":
            self.at -= 1
            raise self.fail("nothing to repeat")
        if char != "\\":
            return self.literal(char)
        if self.next() in _ANCHORS and self.next():
            return Tree("anchor", name=_ANCHORS[self.take()])
        test, char = self.escape()
        return Tree("char", test=test) if test is not None else self.literal(char)

    def literal(self, char: str) -> Tree:
        char = char.lower() if self.fold else char
        return Tree("char", test=char.__eq__, name=char)

    def escape(self) -> tuple[Test | None, str]:
        """What stands after a backslash: a class's test, or a character."""
        char = self.take()
        if char.lower() in CLASSES:
            test = CLASSES[char.lower()]
            return (test if char.islower() else lambda c: not test(c)), ""
        if char in _HEX:
            digits = self.text[self.at : self.at + _HEX[char]]
            try:
                self.at += len(digits)
                return None, chr(int(digits, 16))
            except ValueError:
                raise self.fail(f"\\{char} needs {_HEX[char]} hexadecimal digits") from None
        if char in _ESCAPES:
            return None, _ESCAPES[char]
        if char.isalnum():
            raise self.fail(f"\\{char} is not supported")
        return None, char

    def set(self) -> Test:
        r"""The test of `[…]`: characters, ranges and classes; a `^` first turns it round."""
        without = self.next() == "^"
        self.at += without
        tests: list[Test] = []
        chars: set[str] = set()
        first = True
        while first or self.next() != "]":
            first = False
            test, low = self.member()
            if test is not None:
                tests.append(test)
                continue
            if self.next() != "-" or self.text[self.at + 1 : self.at + 2] in ("]", ""):
                chars.add(low.lower() if self.fold else low)
                continue
            self.at += 1
            test, high = self.member()
            if test is not None or high < low:
                raise self.fail("a range from more to less")
            tests.append(self.range(low, high))
        self.at += 1
        known = frozenset(chars)
        return lambda c: (c in known or any(t(c) for t in tests)) != without

    def range(self, low: str, high: str) -> Test:
        if self.fold:
            return lambda c: low <= c <= high or low <= c.upper() <= high
        return lambda c: low <= c <= high

    def member(self) -> tuple[Test | None, str]:
        char = self.take()
        if char != "\\":
            return None, char
        if self.next() == "b":
            self.at += 1
            return None, "\b"
        return self.escape()
