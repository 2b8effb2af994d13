"""Async functions as stages, filters and batchers: awaited, side by side, and never on the caller's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from studio.errors import ConfigError, ServeError
from studio.pipe import ModelPipe


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return value * 2


async def add(value: int, more: int) -> int:
    return value + more


class Callable:
    async def __call__(self, value: int) -> int:
        return value + 1


class Model:
    async def predict(self, value: int) -> int:
        return -value


def test_whatever_is_to_be_awaited_is() -> None:
    for pipe in (
        ModelPipe().add(double),
        ModelPipe().add(double, num_workers=3),
        ModelPipe().add(lambda value: double(value)),
    ):
        assert pipe({"a": 1, "b": 2}) == {"a": 2, "b": 4}
    chain = ModelPipe().add(double, num_workers=2).add(partial(add, more=5), num_workers=1).add(Callable()).add(Model())
    assert chain.apply_ordered([1, 2, 3]) == [-8, -10, -12]
    assert chain.submit(1).result(60) == -8


def test_batches_batchers_and_filters() -> None:
    async def batcher(values: list[int]) -> tuple[int, ...]:
        return tuple(values)

    async def batch(values: tuple[int, ...]) -> list[int]:
        assert type(values) is tuple
        return [value * 10 for value in values]

    async def odd(value: int) -> bool:
        return value % 2 == 1

    pipe = ModelPipe().add(batch, num_workers=1, batch_size=8, batcher=batcher, filterf=odd)
    assert pipe({k: k for k in range(6)}) == {1: 10, 3: 30, 5: 50}


def test_workers_wait_side_by_side_and_one_loop_serves_all() -> None:
    loops: set[int] = set()
    together: list[asyncio.Event] = []

    async def meet(value: int) -> int:
        loops.add(id(asyncio.get_running_loop()))
        together.append(asyncio.Event())
        if len(together) == 4:
            for event in together:
                event.set()
        await asyncio.wait_for(together[-1].wait(), 60)
        return value

    assert sorted(ModelPipe().add(meet, num_workers=4)([1, 2, 3, 4])) == [(k - 1, k) for k in (1, 2, 3, 4)]
    assert len(loops) == 1


def test_an_error_is_the_values_own_and_the_loop_survives_an_exit() -> None:
    async def fail(value: int) -> int:
        if value == 1:
            raise ValueError("one")
        if value == 2:
            raise SystemExit(3)
        return value

    outcome = ModelPipe().add(fail, num_workers=2).call({k: k for k in range(5)}, on_error="drop")
    assert outcome.values == {0: 0, 3: 3, 4: 4}
    assert isinstance(outcome.errors[1], ValueError) and isinstance(outcome.errors[2], ServeError)
    assert ModelPipe().add(double)([4]) == [(0, 8)]


def test_async_generators_are_refused() -> None:
    async def stream(value: int) -> AsyncIterator[int]:
        yield value

    with pytest.raises(ConfigError, match="async generator"):
        ModelPipe().add(stream)
    outcome = ModelPipe().add(lambda value: stream(value), num_workers=1).call({"a": 1}, on_error="drop")
    assert "async generator" in str(outcome.errors["a"])


def test_a_coroutine_can_use_the_pipe_and_its_loop_goes_on() -> None:
    async def main() -> object:
        ticks = asyncio.ensure_future(asyncio.sleep(0))
        answer = await ModelPipe().add(double, num_workers=2).apply_async([1, 2], ordered=True)
        await ticks
        return answer

    assert asyncio.run(main()) == [2, 4]


def test_an_async_function_that_would_wait_for_itself_fails() -> None:
    inner = ModelPipe().add(double)

    async def nested(value: int) -> object:
        return inner([value])

    done: list[object] = []
    pipe = ModelPipe().add(nested, num_workers=1)
    thread = threading.Thread(target=lambda: done.append(pipe.call({"a": 1}, on_error="drop")), daemon=True)
    thread.start()
    thread.join(60)
    assert done and not thread.is_alive()
