"""The items that a model is tried on: of all ranges that suit its inputs, with holes and infinities in some."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .base import Run, TensorSpec

if TYPE_CHECKING:
    from .base import Array
    from .probe import Draw

Item = Sequence["Array"]
"""One row for each input."""

TOO_LONG_S = 0.2
"""A model that takes longer for one row is not tried on more than a few."""

FEW = 6
MOST_REFUSED = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """Items and what the model answers to each alone.

    Attributes:
        items, answers: In the order in which they were asked.
        finite: For each, whether it holds finite numbers only.
        refused: Some that it does not answer.
        call_s: The quickest call, in seconds.
    """

    items: Sequence[Item]
    answers: Sequence[Sequence[Array]]
    finite: Sequence[bool]
    call_s: float
    refused: Sequence[Item]

    @property
    def slow(self) -> bool:
        """Whether there are only a few items, since each takes long."""
        return self.call_s > TOO_LONG_S


def ask_alone(run: Run, inputs: Sequence[TensorSpec], ways: Sequence[Draw]) -> Asked:
    """Asks one item after the other; those that the model does not answer are kept apart.

    Args:
        run: The model.
        inputs: The contract.
        ways: Ways to draw items, all of one shape; the first must be one that the model answers.
    """
    items: list[Item] = []
    answers: list[Sequence[Array]] = []
    refused: list[Item] = []
    quickest = float("inf")
    for item in _items(inputs, ways):
        started = time.perf_counter()
        try:
            answer = run(item)
        except Exception:  # noqa: BLE001 - whatever a library raises
            refused.append(item)
            continue
        quickest = min(quickest, time.perf_counter() - started)
        items.append(item)
        answers.append(answer)
        if len(items) >= FEW and quickest > TOO_LONG_S:
            break
    return Asked(items, answers, [_finite(item) for item in items], quickest, refused[:MOST_REFUSED])


def _items(inputs: Sequence[TensorSpec], ways: Sequence[Draw]) -> Iterator[Item]:
    """Different items; what tells most comes first."""
    seen: set[bytes] = set()
    for item in _drawn(inputs, ways):
        content = b"|".join([x.tobytes() for x in item])
        if content not in seen:
            seen.add(content)
            yield item


def _drawn(inputs: Sequence[TensorSpec], ways: Sequence[Draw]) -> Iterator[Item]:
    one, two = ways[0](1, 1), ways[0](1, 2)
    yield one
    yield _changed(one, 0, float("nan"))
    yield from [way(1, 1) for way in ways[-2:]]
    yield two
    yield _changed(two, -1, float("nan"))
    yield from [way(1, 1) for way in ways[1:-2]]
    yield _changed(two, 0, float("inf"))
    yield _changed(one, -1, float("-inf"))
    yield _changed(one, slice(None), float("nan"))
    yield _crossed(one, two)
    yield _crossed(two, one)
    yield from [way(1, 2) for way in ways[1:3]]


def _changed(item: Item, at: int | slice, value: float) -> Item:
    """The item with another value at a place of the last axis of each float input."""
    made = [x.copy() for x in item]
    for x in made:
        if x.dtype.kind == "f" and x.size and x.ndim:
            x[..., at] = value
    return made


def _crossed(one: Item, two: Item) -> Item:
    """The second item, with what the first one has in the first place: the same group, where rows are grouped."""
    made = [y.copy() for y in two]
    for x, y in zip(one, made, strict=True):
        if y.size and y.ndim:
            y[..., 0] = x[..., 0]
    return made


def _finite(item: Item) -> bool:
    import numpy as np

    return all(x.dtype.kind not in "fc" or bool(np.isfinite(x).all()) for x in item)
