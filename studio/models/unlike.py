"""Says what is unlike anything that a model was fitted on, in a request that made it raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .base import TensorSpec
from .probe import Domain

if TYPE_CHECKING:
    from .base import Array

MOST_VALUES = 50_000
"""Nothing is told of larger arrays: this runs where other clients wait."""

MOST = 3
"""Values that are named."""

LARGEST = 3.4e38
"""Many libraries compute with 32 bits."""


def unlike(inputs: Sequence[TensorSpec], told: Sequence[Sequence[Domain]], arrays: Sequence[Array]) -> str:
    """The first such values, as a list of clauses; "" where there are none. Which of them it was nobody knows.

    Args:
        inputs: The contract.
        told: For each input what the run recorded of its data, if it did.
        arrays: One for each input.
    """
    found: list[str] = []
    for spec, domains, array in zip(inputs, told, arrays, strict=True):
        if array.ndim and not array.shape[0]:
            return "there are no rows"
        if array.dtype.kind in "fiu" and array.size <= MOST_VALUES:
            places = {*_no_number(array), *(_unseen(domains[0], array) if domains else ())}
            found += [f"{_where(spec, array, place)} is {float(array[place]):g}" for place in sorted(places)[:MOST]]
    return ", ".join(found[:MOST])


def _no_number(array: Array) -> list[tuple[int, ...]]:
    import numpy as np

    with np.errstate(invalid="ignore"):
        places = np.argwhere(~(np.abs(array.astype(np.float64)) <= LARGEST))
    return [tuple(place) for place in places[:MOST].tolist()]


def _unseen(domain: Domain, array: Array) -> list[tuple[int, ...]]:
    """Places of the first values in each column of few values that are none of those."""
    import numpy as np

    if array.ndim != 2 or len(domain.columns) != array.shape[1]:
        return []
    found: list[tuple[int, ...]] = []
    for k, column in enumerate(domain.columns):
        if column.choices:
            rows = np.flatnonzero(~np.isin(array[:, k].astype(np.float64), np.asarray(column.choices)))
            found += [(int(row), k) for row in rows[:MOST]]
    return found


def _where(spec: TensorSpec, array: Array, place: tuple[int, ...]) -> str:
    if array.ndim == 2 and len(spec.columns) == array.shape[1] and not spec.columns[place[1]].isdigit():
        return f"{spec.columns[place[1]]} in row {place[0]}"
    return f"{spec.name}[{', '.join(map(str, place))}]"
