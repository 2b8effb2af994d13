"""Regular expressions in linear time: Python's syntax without backtracking, so no pattern can hang a search.

A pattern becomes a nondeterministic automaton, and that a deterministic one bit by bit while texts are read
(Thompson 1968; Cox, "Regular Expression Matching Can Be Simple And Fast", 2007). Not supported, because it
cannot be done this way: back references and look-around.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from .pattern_syntax import CLASSES, Test, Tree, read, required

MAX_CHARS = 200
MAX_STATES = 1000
_CACHE_ROWS = 2000


class Pattern:
    """A compiled pattern.

    Raises:
        ValueError: the text is no pattern, or one that is not supported; the message says where.

    Attributes:
        until: by `time.monotonic()`; a search that is still busy then raises TimeoutError.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARS:
            raise ValueError(f"longer than {MAX_CHARS} characters")
        tree, self._fold = read(text)
        self._within, self._behind = required(tree)
        self.until = math.inf
        self._tests: list[Test | None] = []
        self._after: list[tuple[int, ...]] = []
        self._anchors: list[str] = []
        self._accept = self._state((), None, "")
        self._start = self._build(tree, self._accept)
        self._rows: dict[tuple[frozenset[int], str], _Row] = {}
        self._found = _Row(self, frozenset(), "found")
        self._first = self._row(frozenset((self._start,)), "start")

    def search(self, text: str) -> bool:
        """Whether the pattern occurs anywhere in `text`; time grows with its length, not faster."""
        if self._fold:
            text = text.lower()
        if self._within not in text or not text.endswith(self._behind):
            return False  # most texts, in a fraction of the time
        row = self._first
        for char in text:
            row = row[char]
        if row.ends is None:
            row.ends = self._accept in self._reach(row.going, row.before, "end")
        return row.ends

    def _state(self, after: tuple[int, ...], test: Test | None, anchor: str) -> int:
        if len(self._after) >= MAX_STATES:
            raise ValueError("its repetitions are too many")
        self._after.append(after)
        self._tests.append(test)
        self._anchors.append(anchor)
        return len(self._after) - 1

    def _build(self, tree: Tree, then: int) -> int:
        """Adds the states of a piece that goes on at state `then`; returns its first."""
        if tree.kind == "char":
            return self._state((then,), tree.test, "")
        if tree.kind == "anchor":
            return self._state((then,), None, tree.name)
        if tree.kind == "join":
            for part in reversed(tree.parts):
                then = self._build(part, then)
            return then
        if tree.kind == "either":
            return self._state(tuple(self._build(part, then) for part in tree.parts), None, "")
        inner = tree.parts[0]
        if tree.high is None:
            loop = self._state((), None, "")
            self._after[loop] = (self._build(inner, loop), then)
            then = loop
        else:
            out = then
            for _ in range(tree.high - tree.low):
                then = self._state((self._build(inner, then), out), None, "")
        for _ in range(tree.low):
            then = self._build(inner, then)
        return then

    def _row(self, going: frozenset[int], before: str) -> _Row:
        """The deterministic state of this meaning, made if it is new."""
        known = self._rows.get((going, before))
        if known is None:
            if len(self._rows) >= _CACHE_ROWS:
                self._rows.clear()  # those in use live on until the texts that they read end
                self._first = _Row(self, frozenset((self._start,)), "start")
            known = self._rows[going, before] = _Row(self, going, before)
        return known

    def _move(self, row: _Row, char: str) -> _Row:
        """The state after one more character."""
        if time.monotonic() > self.until:
            raise TimeoutError("the pattern takes too long")
        kind = "word" if CLASSES["w"](char) else "other"
        reached = self._reach(row.going, row.before, kind)
        if self._accept in reached:
            return self._found
        found = {self._start}
        for one in reached:
            test = self._tests[one]
            if test is not None and test(char):
                found.update(self._after[one])
        return self._row(frozenset(found), kind)

    def _reach(self, going: Iterable[int], before: str, after: str) -> set[int]:
        """All that can be reached without reading a character, between `before` and `after`."""
        edge = (before == "word") != (after == "word")
        holds = {"": True, "start": before == "start", "end": after == "end", "edge": edge, "inside": not edge}
        reached: set[int] = set()
        open_ = list(going)
        while open_:
            one = open_.pop()
            if one in reached or not holds[self._anchors[one]]:
                continue
            reached.add(one)
            if self._tests[one] is None:
                open_.extend(self._after[one])
        return reached


class _Row(dict[str, "_Row"]):
    """A state of the deterministic automaton: what may go on at a position and what stands before it, and
    the state after each character met so far."""

    __slots__ = ("before", "ends", "going", "pattern")

    def __init__(self, pattern: Pattern, going: frozenset[int], before: str) -> None:
        self.pattern = pattern
        self.going = going
        self.before = before
        self.ends: bool | None = True if before == "found" else None

    def __missing__(self, char: str) -> _Row:
        self[char] = row = self if self.before == "found" else self.pattern._move(self, char)
        return row
