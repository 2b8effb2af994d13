"""Proves that rows of several requests can share one call: items alone and items together must agree.

Hides which items meet in which batches, and how a model with a fixed number of rows answers any number of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .agreement import differing, excused, unstable
from .base import Run, TensorSpec, said

if TYPE_CHECKING:
    from .base import Array
    from .items import Asked, Item

MOST = 64
"""The most rows of a batch, unless another number is asked for."""

LONG_S = 0.5
"""Once a batch takes so long, larger ones are neither tried nor made."""

MOST_BYTES = 1 << 28
"""The largest batch that is tried for its size alone, in bytes of input."""

_UNNAMED = ("", "unk__")
"""Names of axes that say nothing; tf2onnx writes `unk__17`."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the trial showed.

    Attributes:
        why: Why rows must not be merged; "" if they may.
        by_row: For each output, whether it has one row for each row of input.
        most: The most rows that were seen to keep apart.
    """

    why: str
    by_row: tuple[bool, ...]
    most: int = 1


def prove(
    run: Run, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], asked: Asked, *, rough: bool, rows: int = 0
) -> Proof:
    """Asks items together that were asked alone: of all ranges in one batch, in batches as large as requests make.

    Args:
        run: The model; each input's first axis is the rows.
        inputs: The contract.
        outputs: The names and axes of what it answers.
        asked: The items, with what the model answers to each alone.
        rough: Whether the model computes in 16 bits, so that its answers agree less.
        rows: The number of rows that the model itself fixes; 0 = none.
    """
    by_row = [all(_rows(answer[k]) == 1 for answer in asked.answers) for k in range(len(outputs))]
    lengths = [{_rows(answer[k]) for answer in asked.answers} - {1} for k in range(len(outputs))]
    why = next((_not_a_row(s.name, found, 1) for s, found in zip(outputs, lengths, strict=True) if found), "")
    if not why and asked.slow:
        why = f"one call takes {asked.call_s:.1f} s, too long to try at load whether merging changes an answer"
    most = 1
    trial = _Together(run, outputs, asked, rough, by_row)
    for group in _groups(asked.finite, rows):
        if len(group) > len(asked.items) and len(group) * _bytes(asked.items[0]) > MOST_BYTES:
            break
        took_s, found = trial.disagreement(group)
        why = why or found
        if why:
            break
        most = max(most, len(group))
        if took_s > LONG_S and len(group) >= len(asked.items) and trial.disagreement(group)[0] > LONG_S:
            break  # the first of a size may be compiled
    why = why or trial.answered_beside_others() or _axes_apart(inputs, outputs)
    return Proof(why, tuple(by_row), min(most, rows or MOST))


def _groups(finite: Sequence[bool], rows: int) -> Iterator[list[int]]:
    """Which items are asked together: more and more of them, in mixed order, with holes and infinities and without."""
    import numpy as np

    mixed = np.random.default_rng(0).permutation(len(finite)).tolist()
    plain = [k for k in mixed if finite[k]] or mixed
    yield [plain[-1], plain[0]]
    if rows == 1:
        return
    yield [*plain[:2], *mixed[:3]]
    yield cycled(plain, 9)
    yield cycled(mixed[::-1], max(len(mixed), 17))
    if not rows:
        yield cycled(plain, MOST // 2 + 1)
        yield cycled(mixed, MOST)


def cycled(items: Sequence[int], count: int) -> list[int]:
    """So many of them, over and over."""
    return [items[k % len(items)] for k in range(count)]


@dataclass(slots=True)
class _Together:
    """Compares items together with items alone; notes in `by_row` the outputs that have no row for each."""

    run: Run
    outputs: Sequence[TensorSpec]
    asked: Asked
    rough: bool
    by_row: list[bool]

    def disagreement(self, group: Sequence[int]) -> tuple[float, str]:
        """How long the call took, and why the items of this group must not be merged, or ""."""
        import numpy as np

        batch = [np.concatenate(parts) for parts in zip(*[self.asked.items[k] for k in group], strict=True)]
        started = time.perf_counter()
        try:
            together = self.run(batch)
        except Exception as exc:  # noqa: BLE001 - whatever a library raises
            return 0.0, f"it answers items alone, but not together: {said(exc)}"
        took_s = time.perf_counter() - started
        why = ""
        for k, spec in enumerate(self.outputs):
            if _rows(together[k]) != len(group):
                self.by_row[k] = False
                why = why or _not_a_row(spec.name, {_rows(together[k])}, len(group))
        for k, spec in enumerate(self.outputs):
            if not why and self.by_row[k] and not self._same(k, group, together[k]):
                why = f"an item's {spec.name!r} depends on the other items of its batch"
        return took_s, why

    def answered_beside_others(self) -> str:
        """Why items that are refused alone must not be merged: others answer for them; or ""."""
        import numpy as np

        for item in self.asked.refused:
            batch = [np.concatenate(parts) for parts in zip(item, self.asked.items[0], item, strict=True)]
            with contextlib.suppress(Exception):
                self.run(batch)
                return "it answers an item beside others that it refuses alone"
        return ""

    def _same(self, output: int, group: Sequence[int], together: Array) -> bool:
        import numpy as np

        for k, row in zip(group, together, strict=True):
            alone = np.asarray(self.asked.answers[k][output][0])
            if alone.shape != np.shape(row):
                return False
            off = differing(alone, np.asarray(row), rough=self.rough)
            if off.any():
                moves = unstable(self.run, self.asked.items[k], self.asked.answers[k], rough=self.rough)[output][0]
                if (off & ~excused(alone, np.asarray(row), moves)).any():
                    return False
        return True


def _bytes(item: Item) -> int:
    return sum(x.nbytes for x in item)


def _rows(answer: Array) -> int:
    """The length of the first axis; -1 where there is none."""
    return len(answer) if answer.ndim else -1


def _not_a_row(name: str, lengths: set[int], asked: int) -> str:
    shown = "a single value" if lengths == {-1} else f"{max(lengths)} rows"
    return f"the output {name!r} is {shown} for {asked} row{'s' * (asked > 1)} of input"


def _axes_apart(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str:
    """Why the model's own names of its axes speak against one row out for each row in, or ""."""
    named = [(spec, spec.axes[0]) for spec in (*inputs, *outputs) if spec.axes and not _nameless(spec.axes[0])]
    for spec, name in named:
        if name != named[0][1]:
            first, its = named[0]
            return f"the model calls the rows of {first.name!r} {its!r}, those of {spec.name!r} {name!r}"
    own = named[0][1] if named else None
    for spec in inputs:
        if own is not None and own in spec.axes[1:]:
            return f"the length of {spec.name!r} depends on the number of rows"
    return ""


def _nameless(axis: str) -> bool:
    return not axis or any(axis.startswith(beginning) for beginning in _UNNAMED if beginning)


def filled(run: Run, rows: int) -> Run:
    """A model of exactly `rows` rows as one of any number: the last row is repeated up to it, and long ones are cut."""

    def any_number(arrays: Sequence[Array]) -> Sequence[Array]:
        import numpy as np

        count = len(arrays[0])
        parts: list[Sequence[Array]] = []
        for at in range(0, max(count, 1), rows):
            chunk = [x[at : at + rows] for x in arrays]
            lacking = rows - len(chunk[0])
            if lacking:
                last = [x[-1:] if len(x) else np.zeros_like(x, shape=(1, *x.shape[1:])) for x in chunk]
                chunk = [np.concatenate([x, np.repeat(y, lacking, 0)]) for x, y in zip(chunk, last, strict=True)]
            answer = run(chunk)
            cut = rows - lacking
            parts.append([y[:cut] if _rows(y) == rows else y for y in answer])
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(columns) if columns[0].ndim else columns[0] for columns in zip(*parts, strict=True)]

    return any_number


def any_rows(specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The same specs with any number of rows."""
    return tuple([replace(spec, shape=(-1, *spec.shape[1:])) if spec.shape else spec for spec in specs])


Fresh = Callable[[Run, "Sequence[Item]", bool], Run]
"""(model, items that it was asked, whether it answered them alike again) → the same model without what one call leaves
behind for the next."""
