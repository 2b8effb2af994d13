"""How much memory decoded values hold, without a look at each number.

Hides what Python takes for a value beside the bytes of arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set, ValuesView
from itertools import islice
from operator import length_hint
from typing import Any

import numpy as np

from studio.errors import ServeError

_EACH = 40
"""Bytes of one number and of its place in a list."""


def weight(value: object) -> int:
    """About the bytes of all arrays, texts and numbers in `value`; each reference counts."""
    total, left = 0, [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            total += 2 * _EACH * len(one)
            left.extend(one.values())
        elif isinstance(one, (list, tuple, set, frozenset)):
            total += _EACH * len(one)
            if not set(map(type, one)) <= {int, float, bool}:
                left.extend(one)
        elif isinstance(one, (str, bytes)):
            total += len(one)
        else:
            total += int(getattr(one, "nbytes", 0))
    return total


_NUMBERS = frozenset({bool, int, float})
_PLAIN = frozenset({*_NUMBERS, complex, str, bytes, type(None)})
_GROUPS = frozenset({dict, list, tuple})
_ALIKE = (Mapping, Sequence, Set, ValuesView)
_TEXTS = (str, bytes, bytearray, memoryview)

MOST_VALUES = 20_000_000
"""Values of an answer outside arrays, counted at each reference: what is shared is written again and again."""

DEEPEST = 250
LONGEST_INT = 1 << 18
"""Bits of an integer; to write its digits takes a time that grows with the square."""

_LONG_INT = 1 << 15


def weight_of_plain(answer: Mapping[str, object]) -> int | None:
    """The same for a model's answer; None if it holds anything whose reading may run code, and so take any time.

    Raises:
        ServeError: it refers to itself, or unfolds to more than anybody could write.
    """
    walk = _Walk()
    size = walk.measure(answer, 0)[0]
    return size if walk.plain else None


def _too_large() -> ServeError:
    return ServeError(
        f"the model's answer is too large: it unfolds to more than {MOST_VALUES} values",
        hint="return arrays instead of lists of numbers",
    )


class _Walk:
    """Measures each list and dictionary of an answer once, however often it is referred to."""

    def __init__(self) -> None:
        self.plain = True
        self._met = 0  # values of all groups so far
        self._known: dict[int, tuple[int, int] | None] = {}  # None = what is being measured
        self._kept: list[object] = []  # so that no other object gets the id of one that was measured

    def measure(self, group: object, depth: int) -> tuple[int, int]:
        """Bytes and values of a group, those of what it holds included."""
        known = self._known.get(id(group), ())
        if known:
            return known
        if known is None:
            raise ServeError("the model's answer refers to itself", hint="a value cannot be a part of itself")
        if depth > DEEPEST:
            raise ServeError(f"the model's answer is nested deeper than {DEEPEST}", hint="return flat values or arrays")
        self._known[id(group)] = None
        self._met += _length(group)
        if self._met > MOST_VALUES:  # before its values are made: each group is met once, so no answer counts less
            raise _too_large()
        size, count = self._ranged(group) if isinstance(group, range) else self._unfolded(group, depth)
        if count > MOST_VALUES:
            raise _too_large()
        self._known[id(group)] = size, count
        return size, count

    def _ranged(self, group: range) -> tuple[int, int]:
        """Of a range: no number of it is needed but the first and the last."""
        extremes = [group[0], group[-1]] if group else [0]
        return len(group) * (_EACH + self._bits(extremes) // 8), len(group)

    def _unfolded(self, group: object, depth: int) -> tuple[int, int]:
        items = self._items(group)
        size, count = _EACH * len(items) * (2 if isinstance(group, dict) else 1), len(items)
        kinds = set(map(type, items))
        if int in kinds:
            whole = items if len(kinds) == 1 else [item for item in items if type(item) is int]
            size += len(whole) * (self._bits(whole) // 8)  # type: ignore[arg-type]
        if kinds <= _NUMBERS:
            return size, count
        for item in items:
            if type(item) in _NUMBERS:
                continue
            if _is_group(item):
                more = self.measure(item, depth + 1)
                size, count = size + more[0], count + more[1]
            else:
                size += self._single(item)
        return size, count

    def _items(self, group: object) -> Collection[object]:
        kind = type(group)
        if kind is list or kind is tuple:
            return group  # type: ignore[return-value]
        if kind is dict:
            return group.values()  # type: ignore[attr-defined, no-any-return]
        self.plain = False
        values: Any = group.ravel().tolist() if isinstance(group, np.ndarray) else group
        values = values.values() if isinstance(values, Mapping) else values
        told = _length(group)
        items = list(islice(values, MOST_VALUES - self._met + told + 1))
        self._met += len(items) - told  # it may have told another length
        self._kept.append(items)
        return items

    def _bits(self, items: Collection[int]) -> int:
        """Of the longest."""
        bits = max(int(max(items)).bit_length(), int(min(items)).bit_length())
        if bits > LONGEST_INT:
            raise ServeError(
                f"the model's answer holds an integer of {bits} bits; at most {LONGEST_INT} are written",
                hint="return it as text or as bytes",
            )
        self.plain = self.plain and bits <= _LONG_INT
        return bits

    def _single(self, one: object) -> int:
        kind = type(one)
        if kind is str or kind is bytes:
            return len(one)  # type: ignore[arg-type]
        if kind is np.ndarray:
            return one.nbytes  # type: ignore[attr-defined, no-any-return]
        if kind not in _PLAIN and not (isinstance(one, np.generic) and kind.__module__ == "numpy"):
            self.plain = False
            if isinstance(one, int):
                self._bits([one])
        return 0


def _length(group: object) -> int:
    """What it tells, in time and room that do not grow with it; 0 if it tells none."""
    try:
        return group.size if isinstance(group, np.ndarray) else length_hint(group, 0)
    except OverflowError:  # more than Python can count
        return MOST_VALUES + 1


def _is_group(one: object) -> bool:
    """Whether the writers look for values in it."""
    kind = type(one)
    if kind in _GROUPS:
        return True
    if kind in _PLAIN or issubclass(kind, np.generic):
        return False
    if issubclass(kind, np.ndarray):
        return one.dtype.kind == "O"  # type: ignore[attr-defined, no-any-return]
    return isinstance(one, _ALIKE) and not isinstance(one, _TEXTS)
