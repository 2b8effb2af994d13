"""Asks a loaded model as several clients at once do, and compares each answer with the library's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.models import TensorModel, load_model
from studio.serve.call import Call
from studio.serve.predictor import Predictor

Arrays = Sequence[Any]
GROUPS = ([0], [1], [2, 0, 1], [3, 4], [4], [2], [0, 1, 2, 3, 4], [3])
"""Which of five rows each client asks."""


def loaded(path: Path) -> TensorModel:
    """The model in the file."""
    model = load_model(path)
    assert isinstance(model, TensorModel), model
    return model


def ask(model: TensorModel, questions: Sequence[Arrays], mode: str) -> list[list[Any]]:
    """The outputs for each question, all asked at the same time by calls of their own, three times over."""
    names = [spec.name for spec in model.outputs or ()]

    def values(arrays: Arrays) -> dict[str, object]:
        if len(arrays) == 1:
            return {"a": arrays[0]}
        return {"a": {spec.name: x for spec, x in zip(model.inputs or (), arrays, strict=True)}}

    calls = asked(model, [values(q) for _ in range(3) for q in questions], mode)
    assert [call.failure for call in calls] == [None] * len(calls)
    outputs = [call.outputs["a"] for call in calls]
    return [[output[name] for name in names] if isinstance(output, dict) else [output] for output in outputs]


def asked(model: TensorModel, requests: Sequence[dict[str, object]], mode: str = "auto") -> list[Call]:
    """What comes of requests that are made at the same time."""

    async def work() -> list[Call]:
        predictor = Predictor(model, loop=asyncio.get_running_loop(), batch_mode=mode)
        try:
            return list(await asyncio.gather(*map(predictor.predict, requests)))
        finally:
            predictor.close()

    return asyncio.run(work())


def check_as_library(
    model: TensorModel,
    library: Callable[[Arrays], Sequence[Any]],
    rows: Arrays,
    *,
    within: float = 1e-4,
    groups: Sequence[Sequence[int]] = GROUPS,
) -> None:
    """Every client's answer is what the library says of that client's own rows.

    Args:
        model: As loaded by studio.
        library: Its own predict: one array for each input to one for each output.
        rows: Five rows for each input.
        within: How far floats may differ, against the largest that the library answers on any of the rows: one
            answer alone can lie next to zero by chance, and says nothing of how far its terms are rounded.
        groups: Which of the rows each client asks.
    """
    questions = [[np.asarray(x)[list(group)] for x in rows] for group in groups]
    expected = [[np.asarray(y) for y in library(question)] for question in questions]
    scales = [max(map(_largest, output)) for output in zip(*expected, strict=True)]
    for mode in ("loop", "thread"):
        answers = ask(model, questions, mode)
        for group, got, want in zip([*groups] * 3, answers, [*expected] * 3, strict=True):
            for one, other, scale in zip(got, want, scales, strict=True):
                check_same(np.asarray(one), other, within, f"rows {group} in mode {mode}", scale)


def _largest(array: Any) -> float:
    if array.dtype.kind not in "fc":
        return 0.0
    return float(np.abs(array[np.isfinite(array)]).max(initial=1e-6))


def check_same(got: Any, want: Any, within: float, where: str, scale: float | None = None) -> None:
    """Two arrays are equal, but for rounding: `within` of `scale`, or of the largest that is wanted."""
    assert got.shape == want.shape, f"{where}: {got.shape} for {want.shape}"
    if want.dtype.kind not in "fc":
        assert np.array_equal(got, want), f"{where}: {got} for {want}"
        return
    np.testing.assert_allclose(got, want, rtol=0, atol=within * (scale or _largest(want)), err_msg=where)
