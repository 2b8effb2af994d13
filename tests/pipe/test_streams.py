"""Generators and coroutines: flat memory, errors of the input, streams that are left early."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from studio.errors import Overloaded
from studio.pipe import ModelPipe


def doubling(**keywords: object) -> ModelPipe:
    return ModelPipe(max_inflight=keywords.pop("max_inflight", None)).add(lambda x: x * 2, num_workers=4, **keywords)


def feeders() -> int:
    return sum(thread.name == "studio-pipe-feed" for thread in threading.enumerate())


def until_no_feeder() -> None:
    deadline = time.monotonic() + 30
    while feeders():
        assert time.monotonic() < deadline
        time.sleep(0.005)


async def turns(condition: Callable[[], bool]) -> None:
    """Lets the event loop turn until something has happened."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_stream_is_never_far_ahead_of_its_reader(ordered: bool) -> None:
    given = 0

    def source() -> Iterator[int]:
        nonlocal given
        while True:
            given += 1
            yield given

    pipe = doubling(max_inflight=10)
    stream = pipe.apply_ordered(source()) if ordered else pipe(source())
    for taken, _ in zip(range(1, 500), stream, strict=False):
        assert given - taken <= 12
    stream.close()
    until_no_feeder()


def test_a_stuck_first_value_does_not_pile_up_the_rest() -> None:
    gate, given = threading.Event(), []

    def source() -> Iterator[int]:
        for n in range(1000):
            given.append(n)
            yield n

    pipe = ModelPipe(max_inflight=8).add(lambda x: (gate.wait(120) if x == 0 else None, x)[1], num_workers=4)
    stream = pipe.apply_ordered(source())
    opener = threading.Timer(0.2, gate.set)
    opener.start()
    assert next(stream) == 0
    assert len(given) <= 24
    assert list(stream) == list(range(1, 1000))
    opener.join()


def test_answers_come_while_the_source_blocks() -> None:
    more = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        assert more.wait(120)
        yield 2

    stream = doubling()(source())
    assert next(stream) == (0, 2)
    more.set()
    assert list(stream) == [(1, 4)]


@pytest.mark.parametrize("keywords", [{}, {"num_workers": 4}])
def test_an_error_of_the_source_is_raised_after_the_answers(keywords: dict[str, int]) -> None:
    def source() -> Iterator[int]:
        yield from range(10)
        raise LookupError("no more")

    stream = ModelPipe().add(lambda x: x, **keywords).apply_ordered(source())
    found = []
    with pytest.raises(LookupError, match="no more"):
        for value in stream:
            found.append(value)
    assert found == list(range(10))


def test_a_stream_left_early_stops_its_source() -> None:
    pipe = doubling()
    for ending in (lambda s: s.close(), lambda s: None):
        stream = pipe(iter(range(10**9)))
        next(stream)
        ending(stream)
        del stream
        gc.collect()
        until_no_feeder()
    pipe(iter(range(10**9)))  # never read: nothing was started
    assert feeders() == 0
    assert pipe.apply_ordered([1]) == [2]


def test_closing_the_pipe_ends_a_stream_with_an_error() -> None:
    pipe = doubling(max_inflight=4)
    stream = pipe(iter(range(1000)))
    next(stream)
    pipe.close()
    with pytest.raises(Overloaded, match="closed"):
        list(stream)


def growth(count: int) -> int:
    """By how many bytes the process grows between the 10,000th value of a stream and its last."""
    import psutil

    pipe = doubling()
    process = psutil.Process()
    total = 0
    before = 0
    for number, (index, value) in enumerate(pipe(n for n in range(count))):
        total += value - index
        if number == 10_000:
            before = process.memory_info().rss
    assert total == count * (count - 1) // 2
    return process.memory_info().rss - before


def test_a_long_stream_takes_no_memory() -> None:
    assert growth(100_000) < 4 << 20


@pytest.mark.soak
def test_ten_million_values_take_no_memory() -> None:
    assert growth(10_000_000) < 4 << 20


async def numbers(count: int) -> AsyncIterator[int]:
    for n in range(count):
        await asyncio.sleep(0)
        yield n


def test_an_async_iterable_gives_an_async_generator() -> None:
    async def main() -> None:
        pipe = doubling()
        assert [y async for y in pipe.apply_ordered(numbers(200))] == [2 * n for n in range(200)]
        assert sorted([y async for y in pipe(numbers(200))]) == [(n, 2 * n) for n in range(200)]
        stream = pipe.call(numbers(3), ordered=True)
        assert [y async for y in stream.values] == [0, 2, 4]

    asyncio.run(main())


def test_coroutines_get_what_calls_get() -> None:
    async def main() -> None:
        pipe = ModelPipe().add(lambda x: 1 / x)
        pipe.add(lambda b: [x * 2 for x in b], batch_size=8)
        assert await pipe.apply_async({"a": 1, "z": 0, "b": 2}) == {"a": 2, "b": 1}
        assert await pipe.apply_async(range(1, 4), ordered=True) == [2, 1, 2 / 3]
        assert await pipe.apply_async({1, 2}) == {2, 1}
        stream = await pipe.apply_async(iter([1, 2]), ordered=True)
        assert [y async for y in stream] == [2, 1]
        many = await asyncio.gather(*(pipe.apply_async({"k": n}) for n in range(1, 300)))
        assert many == [{"k": 2 / n} for n in range(1, 300)]

    asyncio.run(main())


def test_the_event_loop_is_not_blocked() -> None:
    async def main() -> None:
        gate = threading.Event()
        pipe = ModelPipe(max_inflight=2).add(lambda x: gate.wait(120) and x, num_workers=1)
        task = asyncio.create_task(pipe.apply_async(range(10), ordered=True))
        await turns(lambda: pipe._line is not None and pipe._line.inflight == 2)
        assert not task.done()
        gate.set()
        assert await asyncio.wait_for(task, 30) == [True and n for n in range(10)]

    asyncio.run(main())


def test_a_cancelled_coroutine_leaves_the_pipe_usable() -> None:
    async def main() -> None:
        gate = threading.Event()
        pipe = ModelPipe(max_inflight=2).add(lambda x: gate.wait(120) and x, num_workers=1)
        tasks = [asyncio.create_task(pipe.apply_async(range(10))) for _ in range(3)]
        await turns(lambda: pipe._line is not None and len(pipe._line._waiters) == 2)  # the third is inside
        for task in tasks:
            task.cancel()
        assert all(isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(*tasks, return_exceptions=True))
        late = asyncio.create_task(pipe.apply_async([7], ordered=True))  # waits behind those who gave up
        await turns(lambda: pipe._line is not None and len(pipe._line._waiters) == 1)
        gate.set()
        assert await asyncio.wait_for(late, 30) == [7]

    asyncio.run(main())


def test_an_error_of_an_async_source_and_of_a_function_are_raised() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise LookupError("no more")

    async def main() -> None:
        found = []
        with pytest.raises(LookupError):
            async for y in doubling().apply_ordered(broken()):
                found.append(y)
        assert found == [2]
        pipe = ModelPipe(on_error="raise").add(lambda x: 1 / x, num_workers=2)
        with pytest.raises(ZeroDivisionError):
            await pipe.apply_async([1, 0, 2])

    asyncio.run(main())
