"""Tries a freshly loaded model on drawn inputs: warms it up, times a call, proves what may be merged, finds state."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelLoadError
from ..experiment import JSON
from .agreement import agree
from .base import Run, TensorModel, TensorSpec, said
from .items import Asked, ask_alone
from .probe import Domain, Draw, draws, named_columns, told_domains
from .stacking import MOST, Fresh, any_rows, filled, prove
from .unlike import unlike
from .watch import FIRST_S, Hangs, Watch

if TYPE_CHECKING:
    from .base import Array

ENOUGH_S = 0.02
SLOW_S = 0.2
"""One call of this length tells enough."""

AGAIN = 4
"""So many of the items are asked once more; the first few differ most."""

WIDEST_SAMPLE = 100  # columns of a row that is shown as an example
GIVE_UP_S = 20.0
"""Drawing inputs for a model that answers none ends after so long."""

RANDOM = (
    "the same question gets another answer each time: it draws random numbers, or keeps state that studio cannot see"
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A loaded model before it is tried.

    Attributes:
        path: The file or folder.
        runtime: What runs it.
        run: See `TensorModel`; it takes the contract's dtypes and answers with numpy's arrays.
        inputs, outputs: The contract; an output whose rank is unknown gets its shape from the answers.
        told: For each input what it is known to take, from the model itself.
        lengths: Likely lengths of axes that may have any.
        fresh: Takes away what a call leaves behind.
        hopeless: What says of the library's error that no input can help; raises the right error then.
        rough: Whether the model computes in 16 bits.
        bounded: See `TensorModel`.
        patience_s: See `Watch`.
        warnings: What is degraded already.
    """

    path: Path
    runtime: str
    run: Run
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    told: Sequence[Sequence[Domain]] = ()
    lengths: tuple[int, ...] = ()
    fresh: Fresh | None = None
    hopeless: Callable[[BaseException], None] = lambda exc: None
    rough: bool = False
    bounded: bool = False
    patience_s: float = FIRST_S
    warnings: tuple[str, ...] = ()


def refuse_text(name: str, inputs: Sequence[TensorSpec]) -> None:
    """Raises ModelLoadError where an input takes strings: the contract and its batches know numbers only."""
    text = [spec.name for spec in inputs if spec.dtype == "string"]
    if text:
        raise ModelLoadError(
            f"{name}: it takes text ({', '.join(text)} has dtype string), but studio serves numbers only",
            hint="write a wrapper that calls the model with texts (docs/howto/wrappers.md): --wrapper FILE",
        )


def proven(trial: Trial) -> TensorModel:
    """The model, after a trial on drawn inputs; every loader ends here.

    A model that answers no drawn input is served all the same, one request at a time, with a warning that holds the
    library's own message: the inputs that it takes may be beyond guessing. So is one that answers, but not all of
    them in time.

    Raises:
        ModelLoadError: no input could ever be answered, or none in time, or a call leaves behind what changes later
            answers.
    """
    _check_dtypes(trial)
    trial = replace(trial, inputs=named_columns(trial.path, trial.inputs))
    met: list[_Found] = []
    watch = Watch(trial.run, trial.path.name, trial.patience_s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries warn of infinities and overflows, which are drawn on purpose
        try:
            return watch.result(lambda: _watched(replace(trial, run=watch.run), met))
        except Hangs as exc:
            return _hanging(trial, met, exc)


def _watched(trial: Trial, met: list[_Found]) -> TensorModel:
    found, first = _answered(trial, met)
    if found is None:
        if first is not None:
            trial.hopeless(first)
        return _untried(trial, first)
    if not any(map(_tells, found.answer)):
        trial = replace(
            trial, warnings=(*trial.warnings, f"{trial.path.name} answers nan to all that studio drew to try it")
        )
    trial = replace(trial, inputs=_with_samples(trial, found), outputs=_shaped(trial, found.answer))
    model = _tried(trial, found)
    return replace(model, call_s=warm_up(model))


def _with_samples(trial: Trial, found: _Found) -> tuple[TensorSpec, ...]:
    """The inputs with the row that was answered as their example, where rows of zeros are not."""
    import numpy as np

    row = found.draw(1, 0)
    if any(len(x.shape) != 2 or x.shape[1] > WIDEST_SAMPLE or x.dtype.kind not in "fiu" for x in row):
        return trial.inputs
    try:
        trial.run([np.zeros_like(x) for x in row])
    except Exception:  # noqa: BLE001 - whatever a library raises
        return tuple(
            [
                spec if spec.sample else replace(spec, sample=tuple(x[0].tolist()))
                for spec, x in zip(trial.inputs, row, strict=True)
            ]
        )
    return trial.inputs


def _hanging(trial: Trial, met: Sequence[_Found], exc: Hangs) -> TensorModel:
    """The model that has answered some inputs, each request alone."""
    if not met:
        raise ModelLoadError(
            f"{trial.path.name} was loaded, but a call of it hangs: {exc} to an input that studio drew",
            hint="if it needs more time, or inputs of a special kind, call it in a wrapper: --wrapper FILE",
        ) from exc
    run = trial.run if trial.fresh is None else trial.fresh(trial.run, (), True)
    outputs = _shaped(trial, met[0].answer)
    by_row = tuple([s.shape[:1] == (-1,) and x.shape[:1] == (1,) for s, x in zip(outputs, met[0].answer, strict=True)])
    why = f"{exc} to one of the inputs that studio drew to try it"
    return _model(replace(trial, run=run, outputs=outputs), unmerged=why, by_row=by_row, probe=met[0].draw)


def _check_dtypes(trial: Trial) -> None:
    import numpy as np

    for spec in trial.inputs:
        try:
            np.dtype(spec.dtype)
        except TypeError:
            raise ModelLoadError(
                f"{trial.path.name}: the input {spec.name!r} is {spec.dtype}, which no form of the wire carries",
                hint="export the model with inputs of float32, or write a wrapper: --wrapper FILE",
            ) from None


@dataclass(frozen=True, slots=True)
class _Found:
    """A draw that was answered: its place among all, itself, the answer."""

    place: tuple[int, int]
    draw: Draw
    answer: Sequence[Array]


def _draws(trial: Trial) -> list[list[Draw]]:
    recorded = told_domains(trial.path, trial.inputs)
    own = [tuple(trial.told[k]) if k < len(trial.told) else () for k in range(len(trial.inputs))]
    return draws(trial.inputs, [[*a, *b] for a, b in zip(recorded, own, strict=True)], trial.lengths)


def _answered(trial: Trial, met: list[_Found]) -> tuple[_Found | None, BaseException | None]:
    """The first draw that gets an answer with numbers in it; the error that the first draw met.

    All that are answered are put into `met`, the best first.
    """
    first: BaseException | None = None
    silent: _Found | None = None
    until = time.perf_counter() + GIVE_UP_S
    for i, line in enumerate(_draws(trial)):
        for k, draw in enumerate(line):
            try:
                answer = trial.run(draw(1, 0))
            except Exception as exc:  # noqa: BLE001 - whatever a library raises
                first = first or exc
            else:
                found = _Found((i, k), draw, answer)
                if any(map(_tells, answer)):
                    met.insert(0, found)
                    return found, first
                met.append(found)
                silent = silent or found
            if time.perf_counter() > until:
                return silent, first
    return silent, first


def _tells(answer: Array) -> bool:
    """Whether there is anything in it but not-a-number."""
    import numpy as np

    return bool(answer.size) and (answer.dtype.kind not in "fc" or not bool(np.isnan(answer).all()))


def _untried(trial: Trial, first: BaseException | None) -> TensorModel:
    why = "it answered none of the inputs that studio drew to try it" + (f" ({said(first)})" if first else "")
    outputs = tuple([replace(s, shape=(-1,), free=False) if s.free else s for s in trial.outputs])
    by_row = tuple([spec.shape[:1] == (-1,) for spec in outputs])
    return _model(replace(trial, outputs=outputs), unmerged=why, by_row=by_row)


def _shaped(trial: Trial, answer: Sequence[Array]) -> tuple[TensorSpec, ...]:
    """The outputs with the dtype of what was answered, those of unknown rank with its shape too."""
    if len(answer) != len(trial.outputs):
        raise ModelLoadError(f"{trial.path.name} has {len(trial.outputs)} outputs, but answered {len(answer)}")
    shaped = []
    for spec, array in zip(trial.outputs, answer, strict=True):
        dtype = "str" if array.dtype.kind in "US" else array.dtype.name
        shape = (-1, *array.shape[1:]) if spec.free and array.ndim else () if spec.free else spec.shape
        shaped.append(replace(spec, dtype=dtype, shape=shape, free=False))
    return tuple(shaped)


def _tried(trial: Trial, found: _Found) -> TensorModel:
    """The model without memory, with requests merged where that is proven to change no answer."""
    opened, ways = _opened(trial, found)
    asked = ask_alone(opened.run, opened.inputs, ways)
    same = _steady(opened, asked)
    run = trial.run if trial.fresh is None else trial.fresh(trial.run, asked.items, same)
    if run is not trial.run:
        trial = replace(trial, run=run)
        opened, ways = _opened(trial, found)
        asked = ask_alone(opened.run, opened.inputs, ways)
        same = _steady(opened, asked)
    if not same:
        return _alone(trial, found.draw, RANDOM)
    if not all(spec.shape[:1] == (-1,) for spec in opened.inputs):
        free = any(spec.free for spec in trial.inputs)
        why = "it does not tell the shape of its input" if free else "not every input has an axis of any number of rows"
        return _alone(trial, found.draw, why)
    rows = _fixed_rows(trial.inputs)
    proof = prove(opened.run, opened.inputs, opened.outputs, asked, rough=trial.rough, rows=rows)
    if proof.why and rows:
        exact = f"it takes exactly {rows} rows, and " if rows > 1 else ""
        return _alone(trial, found.draw, exact + proof.why, proof.by_row)
    return _model(opened, unmerged=proof.why, by_row=proof.by_row, probe=ways[0], rows=rows, most=proof.most)


def _opened(trial: Trial, found: _Found) -> tuple[Trial, list[Draw]]:
    """The trial of a model of any number of rows, where one fixes them; ways to draw, the answered one first."""
    rows = _fixed_rows(trial.inputs)
    if rows:
        trial = replace(
            trial, run=filled(trial.run, rows), inputs=any_rows(trial.inputs), outputs=any_rows(trial.outputs)
        )
    i, k = found.place
    lines = _draws(trial)
    return trial, [lines[i][k], *[line[k] for place, line in enumerate(lines) if place != i]]


def _steady(trial: Trial, asked: Asked) -> bool:
    """Whether the same questions get the same answers: at once, and after others, in another order."""
    for k in [len(asked.items) - 1, *reversed(range(min(AGAIN, len(asked.items))))]:
        try:
            again = trial.run(asked.items[k])
        except Exception:  # noqa: BLE001 - whatever a library raises
            return False
        if not all(agree(a, b, rough=trial.rough) for a, b in zip(asked.answers[k], again, strict=True)):
            return False
    return True


def _fixed_rows(inputs: Sequence[TensorSpec]) -> int:
    """The number of rows that all inputs fix; 0 if they fix none, or differ."""
    fixed = {spec.shape[0] if spec.shape else 0 for spec in inputs}
    return max(fixed.pop(), 0) if len(fixed) == 1 else 0


def _alone(trial: Trial, draw: Draw, why: str, by_row: tuple[bool, ...] = ()) -> TensorModel:
    return _model(trial, unmerged=why, by_row=by_row or _by_row(trial, draw), probe=draw)


def _by_row(trial: Trial, draw: Draw) -> tuple[bool, ...]:
    """For each output, whether its first axis is the rows of the inputs: as answered to one row and to three."""
    measured = [k for k, spec in enumerate(trial.inputs) if spec.shape[:1] == (-1,)]
    fixed = _fixed_rows(trial.inputs)
    if not measured and not fixed:
        return (False,) * len(trial.outputs)
    found = [True] * len(trial.outputs)
    for rows in (fixed,) if fixed else (1, 3):
        try:
            answer = trial.run(draw(rows, 3))
        except Exception:  # noqa: BLE001 - one row was answered before: of more, nothing is known
            return tuple([spec.shape[:1] == (-1,) and good for spec, good in zip(trial.outputs, found, strict=True)])
        found = [good and array.shape[:1] == (rows,) for good, array in zip(found, answer, strict=True)]
    return tuple(found)


def _model(
    trial: Trial,
    *,
    unmerged: str = "",
    by_row: tuple[bool, ...] = (),
    probe: Draw | None = None,
    rows: int = 0,
    most: int = MOST,
) -> TensorModel:
    runtime: dict[str, JSON] = {"name": trial.runtime, **({"rows": rows} if rows > 1 else {})}
    degraded = (*trial.warnings, *([f"requests are not merged: {unmerged}"] if unmerged else []))
    return TensorModel(
        style="checkpoint", file=trial.path.name, runtime=runtime, arrays=True, inputs=trial.inputs,
        outputs=trial.outputs, warnings=degraded, run=trial.run, unmerged=unmerged,
        by_row=() if all(by_row) else by_row, probe=None if probe is None else lambda count: probe(count, 0),
        bounded=trial.bounded, batch=rows or most,
        unlike=partial(unlike, trial.inputs, told_domains(trial.path, trial.inputs)),
    )  # fmt: skip


def warm_up(model: TensorModel) -> float | None:
    """Calls it a few times with one row, and once with many where it merges; the quickest call in seconds."""
    if model.probe is None:
        return None
    one = model.probe(1)
    best_s, spent_s, calls = float("inf"), 0.0, 0
    while calls < 3 or (spent_s < ENOUGH_S and calls < 50):
        started = time.perf_counter()
        model.run(one)
        took_s = time.perf_counter() - started
        best_s, spent_s, calls = min(best_s, took_s), spent_s + took_s, calls + 1
        if took_s > SLOW_S:
            break
    if model.stacks:
        model.run(model.probe(8))
    return best_s
