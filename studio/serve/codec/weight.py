"""How much memory decoded values hold, without a look at each number.

Hides what Python takes for a value beside the bytes of arrays.
"""

from __future__ import annotations

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
