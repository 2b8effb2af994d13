"""Says what is unlike anything that a model was fitted on, in a request that made it raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .base import TensorSpec
from .probe import Domain

if TYPE_CHECKING:
    from .base import Array

MOST_VALUES = 1_000_000
"""Of an array that are looked at."""


def unlike(inputs: Sequence[TensorSpec], told: Sequence[Sequence[Domain]], arrays: Sequence[Array]) -> str:
    """The first such thing, as a clause; "" where there is none.

    Args:
        inputs: The contract.
        told: For each input what the run recorded of its data, if it did.
        arrays: One for each input.
    """
    for spec, domains, array in zip(inputs, told, arrays, strict=True):
        found = _no_number(spec, array) or (_unseen(spec, domains[0], array) if domains else "")
        if found:
            return found
    return ""


def _no_number(spec: TensorSpec, array: Array) -> str:
    import numpy as np

    if array.ndim and not array.shape[0]:
        return "there are no rows"
    if array.dtype.kind != "f" or array.size > MOST_VALUES:
        return ""
    places = np.argwhere(~np.isfinite(array))
    if not len(places):
        return ""
    place = tuple(places[0].tolist())
    return f"{_where(spec, array, place)} is {float(array[place]):g}"


def _unseen(spec: TensorSpec, domain: Domain, array: Array) -> str:
    import numpy as np

    if array.ndim != 2 or len(domain.columns) != array.shape[1] or array.size > MOST_VALUES:
        return ""
    for k, column in enumerate(domain.columns):
        if column.choices:
            rows = np.flatnonzero(~np.isin(array[:, k].astype(np.float64), np.asarray(column.choices)))
            if len(rows):
                row = int(rows[0])
                value = float(array[row, k])
                return f"{_where(spec, array, (row, k))} is {value:g}, which no row had that it was fitted on"
    return ""


def _where(spec: TensorSpec, array: Array, place: tuple[int, ...]) -> str:
    if array.ndim == 2 and len(spec.columns) == array.shape[1] and not spec.columns[place[1]].isdigit():
        return f"{spec.columns[place[1]]} in row {place[0]}"
    return f"{spec.name}[{', '.join(map(str, place))}]"
