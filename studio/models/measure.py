"""Runs a freshly loaded model on made-up rows: warms it up, tells how long one call takes, refuses one that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import ModelLoadError
from .base import Run, TensorModel, TensorSpec

if TYPE_CHECKING:
    from .base import Array

OPEN_AXIS = 32
"""Length of an axis that may have any length; images of this side pass most convolutions."""

ENOUGH_S = 0.02


def refuse_text(name: str, inputs: Sequence[TensorSpec]) -> None:
    """Raises ModelLoadError where an input takes strings: the contract and its batches know numbers only."""
    text = [spec.name for spec in inputs if spec.dtype == "string"]
    if text:
        raise ModelLoadError(
            f"{name} takes text: {', '.join(text)} has dtype string, and a checkpoint is served with numbers only",
            hint="write a wrapper that calls the model with the strings: --wrapper FILE",
        )


def zeros(inputs: Sequence[TensorSpec], rows: int) -> list[Array]:
    """Rows of zeros that fit the contract."""
    import numpy as np

    made: list[Array] = []
    for spec in inputs:
        count = spec.shape[0] if spec.shape and spec.shape[0] > 0 else rows
        made.append(np.zeros([count, *(OPEN_AXIS if n < 0 else n for n in spec.shape[1:])], dtype=spec.dtype))
    return made


def warm_up(run: Run, inputs: Sequence[TensorSpec]) -> float:
    """Calls `run` a few times with one row and once with many; returns the quickest call in seconds.

    Raises:
        Whatever `run` raises: a model that cannot answer its own contract is no model.
    """
    one = zeros(inputs, 1)
    run(one)  # the first call compiles
    best_s, spent_s, calls = float("inf"), 0.0, 0
    while calls < 3 or (spent_s < ENOUGH_S and calls < 50):
        started = time.perf_counter()
        run(one)
        took_s = time.perf_counter() - started
        best_s, spent_s, calls = min(best_s, took_s), spent_s + took_s, calls + 1
    run(zeros(inputs, 8))
    return best_s


def _class_name(exc: BaseException) -> str:
    return type(exc).__name__


def proven(
    name: str,
    runtime: str,
    run: Run,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    *,
    told: Callable[[BaseException], str] = _class_name,
) -> TensorModel:
    """A checkpoint's model that has answered rows of zeros.

    Args:
        name: The file.
        runtime: What runs it.
        run: See `TensorModel`; likewise the specs.
        inputs: One for each array of `run`.
        outputs: One for each answer.
        told: What is said of the library's own error.

    Raises:
        ModelLoadError: it cannot answer its own contract.
    """
    with _on_zeros(name, told):
        call_s = warm_up(run, inputs)
    return TensorModel(
        style="checkpoint", file=name, runtime={"name": runtime}, arrays=True, inputs=inputs, outputs=outputs,
        run=run, call_s=call_s, stacks=all(spec.shape[:1] == (-1,) for spec in inputs),
    )  # fmt: skip


def proven_rows(name: str, runtime: str, predict: Callable[[Array], object], features: int) -> TensorModel:
    """The same for a function of rows of float64 features (-1 = any number): its answer to zeros tells its output.

    Raises:
        ModelLoadError: it cannot answer rows of zeros.
    """
    import numpy as np

    inputs = (TensorSpec("x", "float64", (-1, features)),)

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        return [np.asarray(predict(arrays[0]))]

    with _on_zeros(name, _class_name):
        answer = run(zeros(inputs, 1))[0]
    return proven(name, runtime, run, inputs, (TensorSpec("y", str(answer.dtype), (-1, *answer.shape[1:])),))


@contextmanager
def _on_zeros(name: str, told: Callable[[BaseException], str]) -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        raise ModelLoadError(f"{name} was loaded, but fails on zeros: {told(exc)}") from exc
