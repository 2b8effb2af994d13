"""Reads Universal Binary JSON as XGBoost writes it: https://ubjson.org, with its floats of 4 and 8 bytes."""

from __future__ import annotations

import struct
from typing import Any

from .forked import Damaged

_NUMBERS = {"i": "b", "U": "B", "I": "h", "l": "i", "L": "q", "d": "f", "D": "d"}
_PLAIN = {"T": True, "F": False, "Z": None, "N": None}


def read_ubj(data: bytes) -> Any:
    """The value that `data` begins with; arrays of one type are NumPy's.

    Raises:
        Damaged: it is no such file, or it ends too early.
    """
    try:
        return _Reader(data).value()
    except (struct.error, KeyError, IndexError, RecursionError) as exc:
        raise Damaged(f"no Universal Binary JSON ({type(exc).__name__}: {exc})") from exc


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def value(self) -> Any:
        mark = self._mark()
        if mark == "{":
            return self._object()
        if mark == "[":
            return self._array()
        if mark == "S":
            return self._text()
        return _PLAIN[mark] if mark in _PLAIN else self._number(mark)

    def _mark(self) -> str:
        self.at += 1
        return chr(self.data[self.at - 1])

    def _next_is(self, mark: str) -> bool:
        found = self.data[self.at : self.at + 1] == mark.encode()
        self.at += found
        return found

    def _number(self, mark: str) -> Any:
        form = struct.Struct(">" + _NUMBERS[mark])
        self.at += form.size
        return form.unpack_from(self.data, self.at - form.size)[0]

    def _count(self) -> int:
        count = int(self._number(self._mark()))
        if not 0 <= count <= len(self.data) - self.at:
            raise Damaged(f"it tells of {count} values where {len(self.data) - self.at} bytes are left")
        return count

    def _text(self) -> str:
        count = self._count()
        self.at += count
        return self.data[self.at - count : self.at].decode("utf-8", "replace")

    def _object(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._next_is("}"):
            key = self._text()
            found[key] = self.value()
        return found

    def _array(self) -> Any:
        if self._next_is("$"):
            import numpy as np

            kind = np.dtype(">" + _NUMBERS[self._mark()])
            if not self._next_is("#"):
                raise Damaged("a type without a count")
            count = self._count()
            if count * kind.itemsize > len(self.data) - self.at:
                raise Damaged("an array that is cut off")
            self.at += count * kind.itemsize
            return np.frombuffer(self.data, kind, count, self.at - count * kind.itemsize)
        if self._next_is("#"):
            return [self.value() for _ in range(self._count())]
        found = []
        while not self._next_is("]"):
            found.append(self.value())
        return found
