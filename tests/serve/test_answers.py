"""What the predictor says about answers and fields that it cannot match."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from studio.errors import ContractViolation, ServeError
from studio.models import DictModel, LoadedModel, TensorModel, TensorSpec
from studio.serve.call import Call
from studio.serve.predictor import Predictor


def predict(model: LoadedModel, values: Mapping[str, object]) -> Call:
    async def main() -> Call:
        predictor = Predictor(model, loop=asyncio.get_running_loop())
        try:
            return await predictor.predict(values)
        finally:
            predictor.close()

    return asyncio.run(main())


def test_keys_that_are_one_as_text_lose_no_answer() -> None:
    answer: dict[Any, int] = {1: 2, "1": 9, "b": 3}
    call = predict(DictModel(style="test", call=lambda data: answer), {"a": 1})
    assert call.outputs == {} and isinstance(call.failure, ServeError)
    assert "the key '1' twice" in call.failure.message


AB = (TensorSpec("a", "float32", (-1, 4)), TensorSpec("b", "float32", (-1, 4)))
ROW = np.zeros(4)


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"a": ROW}, "b", "'b' is missing: expected a, b, got a"),
        ({"a": ROW, "b": ROW, "c": ROW}, "c", "'c' is unknown: expected a, b, got a, b, c"),
        ({"a": ROW, "c": ROW}, "b", "'b' is missing, 'c' is unknown: expected a, b, got a, c"),
        ({"one": {"a": ROW}}, "one.b", "'one.b' is missing: expected a, b, got a"),
        ({"one": {"a": ROW, "b": ROW, "c": 1}}, "one.c", "'one.c' is unknown: expected a, b, got a, b, c"),
    ],
)
def test_the_missing_or_unknown_one_of_several_inputs_is_named(
    values: dict[str, object], field: str, said: str
) -> None:
    model = TensorModel(style="test", arrays=True, inputs=AB, outputs=AB, run=lambda arrays: arrays)
    failure = predict(model, values).failure
    assert isinstance(failure, ContractViolation)
    assert failure.field == field and failure.message == said


def test_an_item_beside_bare_values_keeps_its_answer() -> None:
    model = TensorModel(style="test", arrays=True, inputs=AB, outputs=AB, run=lambda arrays: arrays)
    call = predict(model, {"one": {"a": ROW, "b": ROW}, "c": ROW})
    assert list(call.outputs) == ["one"] and list(call.errors) == ["c"]
