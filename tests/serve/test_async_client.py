"""`AsyncModelClient`: holds no thread, ends at once when it is cancelled, keeps time on the caller's loop."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from studio.client import AsyncModelClient, ModelClient
from studio.client.awaiting import _OnLoop
from studio.client.blocking import _Blocking
from studio.client.wire import LATE, Wire
from studio.errors import ConfigError, ServeError, Timeout

from .conftest import Served
from .test_hostile_servers import DRIP_S, DRIPS, LATE_S, Raw, raw  # noqa: F401 - a fixture


def test_many_requests_at_once_over_few_connections(identity: Served) -> None:
    async def main() -> list[object]:
        async with AsyncModelClient(identity.url, connections=3) as client:
            assert await client.ready() and (await client.metadata())["style"] == "identity"
            before = threading.active_count()
            answers = await asyncio.gather(*(client.predict({"n": n}) for n in range(60)))
            assert len(client._asking.pool._idle) <= 3 and threading.active_count() <= before
            return [answer["n"] for answer in answers]

    assert asyncio.run(main()) == list(range(60))


def test_a_client_outlives_an_event_loop(identity: Served) -> None:
    client = AsyncModelClient(identity.url)

    async def one(n: int) -> object:
        return (await client.predict({"n": n}))["n"]

    assert [asyncio.run(one(n)) for n in range(3)] == [0, 1, 2]
    asyncio.run(client.close())


def test_whoever_is_cancelled_gets_nobody_elses_answer(identity: Served) -> None:
    async def main() -> None:
        async with AsyncModelClient(identity.url, connections=2) as client:
            for n in range(60):
                tasks = [asyncio.create_task(client.predict({"n": [n, k]})) for k in range(4)]
                await asyncio.sleep(random.choice((0, 0.001, 0.003)))
                for task in random.sample(tasks, 2):
                    task.cancel()
                for k, answer in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
                    if not isinstance(answer, asyncio.CancelledError):
                        assert answer["n"].tolist() == [n, k]  # type: ignore[index, union-attr]
            assert client._asking._waits._used == 0  # type: ignore[attr-defined]

    asyncio.run(main())


def test_the_end_of_a_program_waits_for_no_request_that_was_cancelled(raw: Callable[..., Raw]) -> None:  # noqa: F811
    code = (
        "import asyncio, sys, threading\nfrom studio.client import AsyncModelClient\n"
        "async def main():\n"
        "    client = AsyncModelClient(sys.argv[1], timeout_s=100_000)\n"
        "    task = asyncio.create_task(client.predict({'a': 1}))\n"
        "    await asyncio.sleep(0.2)\n"
        "    task.cancel()\n"
        "    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)\n"
        "    assert threading.active_count() == 1, threading.enumerate()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, raw(b"").url], capture_output=True, text=True, timeout=LATE_S)
    assert done.returncode == 0, done.stderr


def test_servers_that_drip_are_left_when_the_time_is_over(raw: Callable[..., Raw]) -> None:  # noqa: F811
    async def left(kind: str) -> type[BaseException]:
        async with AsyncModelClient(raw(*DRIPS[kind], DRIP_S).url, timeout_s=0.7, retries=0) as client:
            with pytest.raises(ServeError) as caught:
                await client.predict({"a": 1.0})
            return caught.type

    async def main() -> None:
        assert await asyncio.gather(*map(left, DRIPS)) == [Timeout] * len(DRIPS)
        silent = AsyncModelClient(raw(b"").url, timeout_s=0.3, retries=0, connections=1)
        two = await asyncio.gather(silent.predict({"a": 1}), silent.predict({"a": 1}), return_exceptions=True)
        assert [type(one) for one in two] == [Timeout, Timeout]  # the other one waited for the connection

    asyncio.run(main())


def test_what_came_in_time_counts_though_the_process_stood_still() -> None:
    async def check(waits: _Blocking | _OnLoop) -> None:
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            wire = Wire(here, waits)
            there.sendall(b"x" * 10_000)
            assert await wire.receive(time.monotonic() - 1) == b"x" * 10_000
            with pytest.raises(TimeoutError):
                await wire.receive(time.monotonic() - 1)
            if isinstance(waits, _OnLoop):
                deadline = time.monotonic() + 0.1
                task = asyncio.create_task(wire.receive(deadline))
                await asyncio.sleep(0)
                there.sendall(b"y")
                time.sleep(0.2)  # the loop stands
                assert await task == b"y"
            there.setblocking(False)
            with pytest.raises(TimeoutError):  # one who sends without end is left all the same
                for _ in range(2 * LATE):
                    with suppress(BlockingIOError):
                        there.send(b"z" * 65536)
                    await wire.receive(time.monotonic() - 1)

    asyncio.run(check(_OnLoop(1)))
    asyncio.run(check(_Blocking()))


def test_a_closed_client_says_so() -> None:
    async def main() -> None:
        client = AsyncModelClient("http://127.0.0.1:1")
        await client.close()
        for ask in (client.predict({"a": 1}), client.metadata(), client.ready()):
            with pytest.raises(ServeError, match="closed"):
                await ask

    asyncio.run(main())
    blocking = ModelClient("http://127.0.0.1:1")
    blocking.close()
    for ask in (lambda: blocking.predict({"a": 1}), blocking.metadata, blocking.ready):
        with pytest.raises(ServeError, match="closed"):
            ask()


def test_connections_are_a_number() -> None:
    for wrong in (0, -1, 1.5, "3", True, None):
        with pytest.raises(ConfigError, match="connections"):
            AsyncModelClient("http://127.0.0.1:1", connections=wrong)  # type: ignore[arg-type]
