"""How much memory decoded values hold, without a look at each number.

Hides what Python takes for a value beside the bytes of arrays.
"""

from __future__ import annotations

import numpy as np

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


_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def weight_of_plain(value: object) -> int | None:
    """The same for a model's answer; None if it holds anything whose reading may run code, and so take any time."""
    total, left = 0, [value]
    while left:
        one = left.pop()
        kind = type(one)
        if kind is dict:
            total += 2 * _EACH * len(one)  # type: ignore[arg-type]
            left.extend(one.values())  # type: ignore[attr-defined]
        elif kind is list or kind is tuple:
            total += _EACH * len(one)  # type: ignore[arg-type]
            if not set(map(type, one)) <= {int, float, bool}:  # type: ignore[call-overload]
                left.extend(one)  # type: ignore[arg-type]
        elif kind is str or kind is bytes:
            total += len(one)  # type: ignore[arg-type]
        elif kind is np.ndarray and one.dtype.kind != "O":  # type: ignore[attr-defined]
            total += one.nbytes  # type: ignore[attr-defined]
        elif kind is int:
            total += one.bit_length() >> 3  # type: ignore[attr-defined]
        elif kind not in _PLAIN and not (isinstance(one, np.generic) and kind.__module__ == "numpy"):
            return None
    return total
