"""Proves that rows of several requests can share one call: items alone and items together must agree.

Hides how answers are compared, and how a model with a fixed number of rows answers any number of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .base import Run, TensorSpec, said

if TYPE_CHECKING:
    from .base import Array
    from .probe import Draw

ENOUGH_S = 0.15
"""After so long the proof goes on only until it has seen the first draw."""

GROUPS: tuple[tuple[int, ...], ...] = ((1, 0), (2, 0, 1), (4, 3, 2, 1, 0))
"""Which of the drawn items are asked together: others than alone, in another order, in several numbers."""

SLOW_S = 0.2
"""A model whose call takes longer is asked two items only."""

_TOLERANCES = {2: 3e-2, 4: 1e-3, 8: 1e-5}
_UNNAMED = ("", "unk__")
"""Names of axes that say nothing; tf2onnx writes `unk__17`."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the trial showed: why rows must not be merged ("" if they may), and which outputs have one row for each."""

    why: str
    by_row: tuple[bool, ...]


def prove(
    run: Run, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], draws: Iterable[Draw], *, rough: bool
) -> Proof:
    """Asks several drawn items alone and together. The first draw must be one that the model answers.

    Args:
        run: The model; each input's first axis is the rows.
        inputs: The contract.
        outputs: The names and axes of what it answers.
        draws: Ways to draw items; those that the model does not answer are passed over.
        rough: Whether the model computes in 16 bits, so that its answers agree less.
    """
    by_row = [True] * len(outputs)
    why = ""
    started = time.perf_counter()
    for number, draw in enumerate(draws):
        if number and time.perf_counter() - started > ENOUGH_S:
            break
        try:
            found = _disagreement(run, outputs, draw, by_row, rough)
        except Exception as exc:  # noqa: BLE001 - whatever a library raises
            found = "" if number else f"it answers items alone, but not together: {said(exc)}"
        why = why or found
    return Proof(why or _axes_apart(inputs, outputs), tuple(by_row))


def _disagreement(run: Run, outputs: Sequence[TensorSpec], draw: Draw, by_row: list[bool], rough: bool) -> str:
    """Why the items of this draw must not be merged, or ""; notes the outputs that have no row for each."""
    import numpy as np

    items, groups = 5, GROUPS
    drawn = draw(items, 1)
    started = time.perf_counter()
    alone = [run([x[:1] for x in drawn])]
    if time.perf_counter() - started > SLOW_S:
        items, groups = 2, GROUPS[:1]
    alone += [run([x[k : k + 1] for x in drawn]) for k in range(1, items)]
    why = ""
    for k, spec in enumerate(outputs):
        lengths = {_rows(answer[k]) for answer in alone}
        if lengths != {1}:
            by_row[k] = False
            why = why or _not_a_row(spec.name, lengths - {1}, 1)
    for group in groups:
        together = run([np.concatenate([x[k : k + 1] for k in group]) for x in drawn])
        for k, spec in enumerate(outputs):
            if _rows(together[k]) != len(group):
                by_row[k] = False
                why = why or _not_a_row(spec.name, {_rows(together[k])}, len(group))
            elif by_row[k] and not why:
                expected = [alone[item][k] for item in group]
                if not all(agree(one[0], row, rough=rough) for one, row in zip(expected, together[k], strict=True)):
                    why = f"an item's {spec.name!r} depends on the other items of its batch"
    return why


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


def agree(one: Array, other: Array, *, rough: bool = False) -> bool:
    """Whether two answers are the same but for the rounding of their dtype, against the largest of the values."""
    import numpy as np

    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return False
    if one.dtype.kind not in "fc" or other.dtype.kind not in "fc":
        return bool(np.array_equal(one, other))
    size = one.dtype.itemsize // (2 if one.dtype.kind == "c" else 1)
    within = _TOLERANCES[2] if rough else _TOLERANCES.get(size, 1e-5)
    finite = np.abs(one[np.isfinite(one)])
    scale = float(finite.max()) if finite.size else 0.0
    with np.errstate(all="ignore"):
        return bool(np.allclose(one, other, rtol=0.0, atol=within * scale, equal_nan=True))


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


Fresh = Callable[[Run, "Sequence[Array]"], Run]
"""(model, inputs that it answers) → the same model without what one call leaves behind for the next."""
