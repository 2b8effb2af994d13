"""Draws inputs to try a model on: from what its run recorded, what the model itself tells, or what suits most."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import TensorSpec
from .note import entry_of

if TYPE_CHECKING:
    import numpy as np

    from .base import Array

Draw = Callable[[int, int], "list[Array]"]
"""(rows, seed) → one array for each input; another seed gives other values."""

LENGTHS = (32, 224, 8, 1, 64, 128, 299, 512, 2, 3, 4, 5, 6, 7, 10, 12, 13, 16, 20, 30)
"""Tried for axes that may have any length: sides of images, lengths of texts and signals, numbers of features."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The values that an input, or one of its columns, takes.

    Attributes:
        low, high: The range, both included.
        whole: Only whole numbers of it.
        choices: Only these, if there are any.
        columns: One domain for each place of the last axis, if there are any.
    """

    low: float = 0.05
    high: float = 1.0
    whole: bool = False
    choices: tuple[float, ...] = ()
    columns: tuple[Domain, ...] = ()

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """An array of float64, or of int64 where all values are whole numbers."""
        import numpy as np

        if self.columns and shape and shape[-1] == len(self.columns):
            return np.stack([column.draw(rng, shape[:-1]).astype(np.float64) for column in self.columns], axis=-1)
        if self.choices:
            return rng.choice(np.asarray(self.choices), size=tuple(shape))
        if self.whole:
            return rng.integers(math.ceil(self.low), math.floor(self.high), size=tuple(shape), endpoint=True)
        return rng.uniform(self.low, self.high, size=tuple(shape))


_FRACTIONS = (
    Domain(), Domain(-2, 2), Domain(1, 5, whole=True), Domain(0, 1, whole=True), Domain(1, 1), Domain(0, 0),
    Domain(1, 255, whole=True), Domain(50, 5000), Domain(-5000, -50), Domain(-1e5, 1e5),
)  # fmt: skip
_WHOLE = (
    Domain(0, 1, whole=True), Domain(1, 5, whole=True), Domain(1, 1, whole=True), Domain(0, 0, whole=True),
    Domain(1, 100, whole=True), Domain(0, 255, whole=True), Domain(-100, -1, whole=True),
)  # fmt: skip


def draws(
    inputs: Sequence[TensorSpec], told: Sequence[Sequence[Domain]] = (), lengths: Sequence[int] = ()
) -> list[list[Draw]]:
    """Ways to draw inputs for a contract: a list for each choice of domains, the most likely first, of one way for
    each choice of lengths.

    Args:
        inputs: The contract; an axis of any length has the same length in all inputs.
        told: For each input the domains that it is known to take, best first; may be empty.
        lengths: Tried first for axes of any length.
    """
    open_axes = any(n < 0 for spec in inputs for n in spec.shape[1:])
    ranks = (2, 1, 0, 3, 4) if any(spec.free for spec in inputs) else (0,)
    own = [n for domain in told for d in domain for n in [len(d.columns)] if n]
    every = list(dict.fromkeys([*own, *lengths, *LENGTHS]))
    shapes = list(product(every if open_axes else LENGTHS[:1], ranks))
    known = [tuple(told[k]) if k < len(told) else () for k in range(len(inputs))]
    general = [_WHOLE if _is_whole(spec) else _FRACTIONS for spec in inputs]
    best = max(map(len, known), default=0)
    rounds = [[k[min(n, len(k) - 1)] if k else g[0] for k, g in zip(known, general, strict=True)] for n in range(best)]
    rounds += [[g[min(n, len(g) - 1)] for g in general] for n in range(len(_FRACTIONS))]
    return [[_drawing(inputs, domains, length, rank) for length, rank in shapes] for domains in rounds]


def _is_whole(spec: TensorSpec) -> bool:
    return spec.dtype.startswith(("int", "uint"))


def _drawing(inputs: Sequence[TensorSpec], domains: Sequence[Domain], length: int, rank: int) -> Draw:
    def draw(rows: int, seed: int) -> list[Array]:
        import numpy as np

        rng = np.random.default_rng(seed)
        made: list[Array] = []
        for spec, domain in zip(inputs, domains, strict=True):
            array = domain.draw(rng, _shape(spec, rows, length, rank))
            made.append(np.asarray(np.asarray(array).astype(spec.dtype)))
        return made

    return draw


def _shape(spec: TensorSpec, rows: int, length: int, rank: int) -> list[int]:
    if spec.free:
        return [rows, *[3] * (rank - 1)] if rank else []
    own = spec.axes[0] if spec.axes else ""
    return [
        n if n >= 0 else rows if k == 0 or (own and spec.axes[k] == own) else length for k, n in enumerate(spec.shape)
    ]


def signature_of(path: Path) -> Sequence[Mapping[str, Any]]:
    """The inputs that the run recorded of the model in this file; empty if it recorded none."""
    try:
        return [entry for entry in entry_of(path)["signature"]["inputs"] if isinstance(entry, dict)]
    except (KeyError, TypeError):
        return []


def named_columns(path: Path, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The inputs; the only one of a model that was fitted on a table has the table's columns, unless it has others."""
    entries = signature_of(path)
    listed = entries[0].get("columns") if len(entries) == 1 and entries[0].get("table") else None
    if len(inputs) != 1 or inputs[0].columns or not isinstance(listed, list):
        return tuple(inputs)
    names = tuple([str(column.get("name")) for column in listed if isinstance(column, dict)])
    wide = inputs[0].shape[-1:] == (len(names),) and len(set(names)) == len(names)
    return (replace(inputs[0], columns=names),) if wide else tuple(inputs)


def told_domains(path: Path, inputs: Sequence[TensorSpec]) -> list[list[Domain]]:
    """For each input the domain that the run recorded for it, in a list that is empty where there is none."""
    entries = signature_of(path)
    by_name = {str(entry.get("name")): entry for entry in entries}
    found: list[list[Domain]] = []
    for k, spec in enumerate(inputs):
        entry = by_name.get(spec.name) or (entries[k] if len(entries) == len(inputs) else None)
        domain = None if entry is None else _domain_of(entry)
        found.append([] if domain is None else [domain])
    return found


def _domain_of(entry: Mapping[str, Any]) -> Domain | None:
    """What the signature says of an input or a column; None where it says nothing that can be drawn from."""
    try:
        columns = tuple([_domain_of(column) or Domain() for column in entry.get("columns") or ()])
        categories = [float(value) for value in entry.get("categories") or ()]
        low, high = entry.get("low"), entry.get("high")
        whole = str(entry.get("dtype", "")).startswith(("int", "uint", "bool"))
        if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low <= high):
            return Domain(choices=tuple(categories), columns=columns) if categories or columns else None
        return Domain(float(low), float(high), whole, tuple(categories), columns)
    except (TypeError, ValueError, AttributeError, OverflowError):
        return None
