"""How long a model takes for inputs of which size, learnt from its calls: whether the event loop may wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..models.base import Array

LOOP_BELOW_S = 300e-6
"""A call that is quicker than this runs on the event loop: a hand-off to a thread would cost more than it frees."""

TOO_LONG_S = 0.05
"""A size that once held the event loop for so long is never run there again."""

MOST_SIZES = 4096


class _Rows(Protocol):
    """What is stacked into a batch."""

    rows: int
    tensors: list[Array]


class Cost:
    """Seconds by size. Sizes are equal whose rows and axes have the same power of two below them.

    A size that was never met is not quick: a model that takes microseconds for what was drawn at load may take
    seconds for a long row. So the first call of each size runs in a thread.

    Args:
        below_s: Calls that take less are quick.
    """

    def __init__(self, below_s: float = LOOP_BELOW_S) -> None:
        self._below_s = below_s
        self._seconds: dict[tuple[int, ...], float] = {}

    def quick(self, batch: Sequence[_Rows]) -> bool:
        """Whether this batch takes so little time that the event loop may wait for it."""
        size = _size(batch)
        return size is not None and self._seconds.get(size, self._below_s) < self._below_s

    def learn(self, batch: Sequence[_Rows], took_s: float) -> None:
        """A batch took so long: more than before counts at once, less by and by."""
        size = _size(batch)
        if size is None:
            return
        known = self._seconds.get(size)
        if took_s > TOO_LONG_S and known is not None and known < self._below_s:
            took_s = float("inf")
        elif known is not None and took_s < known:
            took_s = (took_s + known) / 2
        elif known is None and len(self._seconds) >= MOST_SIZES:
            self._seconds.clear()
        self._seconds[size] = took_s


def _size(batch: Sequence[_Rows]) -> tuple[int, ...] | None:
    """The powers of two below the number of rows and each axis; None for texts and objects, of any length."""
    size = [sum([item.rows for item in batch]).bit_length()]
    for array in batch[0].tensors:
        if array.dtype.kind not in "biufcmM":
            return None
        size += [length.bit_length() for length in array.shape[1:]]
    return tuple(size)
