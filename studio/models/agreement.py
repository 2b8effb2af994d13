"""Whether two answers to the same rows are the same, number by number, but for the rounding of a float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .base import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .base import Array

    Flags = NDArray[np.bool_]
    Sizes = NDArray[np.float64]

SHAKES = 3
"""How often the rows are asked with slightly other values, to see how much an answer that differs may differ."""

_TOLERANCES = {2: 3e-2, 4: 1e-3, 8: 1e-5}
_BITS = {2: 11, 4: 24, 8: 53}
_ROUNDINGS = 16
"""So many roundings of the largest number of an answer may be in each of its numbers."""


def within(answer: Array, *, rough: bool = False) -> float:
    """How far a number may be off, against itself; 0 where answers are no floats."""
    if answer.dtype.kind not in "fc":
        return 0.0
    return _TOLERANCES[2] if rough else _TOLERANCES.get(_size(answer), 1e-5)


def _size(answer: Array) -> int:
    return answer.dtype.itemsize // (2 if answer.dtype.kind == "c" else 1)


def differing(one: Array, other: Array, *, rough: bool = False) -> Flags:
    """For each number of two answers of one shape, whether it differs by more than its own rounding explains."""
    import numpy as np

    share = within(one, rough=rough)
    if not share or other.dtype.kind not in "fc":
        return np.asarray(one != other)
    with np.errstate(all="ignore"):
        floor = min(_ROUNDINGS * (1e-3 if rough else 2.0 ** (1 - _BITS.get(_size(one), 53))), share) * _largest(one)
        return ~np.isclose(other, one, rtol=share, atol=floor, equal_nan=True)


def _largest(answer: Array) -> float:
    import numpy as np

    answer = np.asarray(answer)
    finite = np.abs(answer[np.isfinite(answer)])
    return float(finite.max()) if finite.size else 0.0


def agree(one: Array, other: Array, *, rough: bool = False) -> bool:
    """Whether two answers to the same question are the same."""
    return one.shape == other.shape and not differing(one, other, rough=rough).any()


def unstable(run: Run, item: Sequence[Array], answer: Sequence[Array], *, rough: bool) -> list[Sizes]:
    """For each number of the answer to one row, how much it moves when the row moves by as little as rounding does.

    Sums that cancel and classes that are nearly even do; no number moves further than the largest one's rounding.
    """
    import numpy as np

    share = max([within(y, rough=rough) for y in answer] or [0.0]) or 1e-6
    moved = [np.zeros(y.shape) for y in answer]
    for seed in range(SHAKES):
        try:
            shaken = run(_shaken(item, share, seed))
        except Exception:  # noqa: BLE001, S112 - values that the model does not take tell nothing
            continue
        for k, (one, other) in enumerate(zip(answer, shaken, strict=True)):
            if one.shape == other.shape:
                moved[k] = np.maximum(moved[k], _distance(one, other))
    return [
        np.minimum(4 * m, within(y, rough=rough) * _largest(y)) if y.dtype.kind in "fc" else m
        for m, y in zip(moved, answer, strict=True)
    ]


def _distance(one: Array, other: Array) -> Sizes:
    """How far apart numbers are; 1 for other things that differ, 0 where a number is none."""
    import numpy as np

    if one.dtype.kind not in "fc":
        return np.asarray(one != other).astype(float)
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.abs(np.asarray(other) - np.asarray(one)), nan=0.0, posinf=0.0)


def excused(one: Array, other: Array, moves: Sizes) -> Flags:
    """For each number, whether it differs by no more than it moves."""
    import numpy as np

    far = _distance(one, other)
    known = np.isfinite(one) == np.isfinite(other) if one.dtype.kind in "fc" else True
    return np.asarray((far <= moves) & (moves > 0) & known)


def _shaken(item: Sequence[Array], share: float, seed: int) -> list[Array]:
    import numpy as np

    rng = np.random.default_rng(seed)
    made: list[Array] = []
    for x in item:
        if x.dtype.kind == "f" and x.size:
            size = np.where(x == 0, _largest(x) or 1.0, np.abs(x))
            x = (x + share * size * rng.choice((-1.0, 1.0), size=x.shape)).astype(x.dtype)
        made.append(x)
    return made
