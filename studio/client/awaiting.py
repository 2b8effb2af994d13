"""`AsyncModelClient`: asks on the caller's event loop, and holds no thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import weakref
from collections import deque
from collections.abc import Mapping
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING

from .asking import Asking, PartialAnswer
from .blocking import LARGEST_ANSWER
from .copied import Copied
from .pool import IDLE_CONNECTIONS
from .settings import check_connections, check_settings
from .wire import Addresses, look_up

if TYPE_CHECKING:
    from ..experiment import JSON


class AsyncModelClient(Copied):
    """`ModelClient` for `async` code: the same arguments, and `predict`, `metadata` and `ready` are awaited.

    Of one event loop at a time. A request that is cancelled ends at once. Requests are written and answers read on the
    event loop, which takes the time that their bytes take.

    Args:
        connections: How many may be used at once; further requests wait, which counts as part of their time.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout_s: float = 60.0, retries: int | None = None,
        form: str = "pickle", fingerprint: str | None = None, insecure: bool = False,
        connections: int = IDLE_CONNECTIONS, max_answer: int = LARGEST_ANSWER,
    ) -> None:  # fmt: skip
        given = {
            "url": url, "token": token, "timeout_s": timeout_s, "retries": retries, "form": form,
            "fingerprint": fingerprint, "insecure": insecure, "max_answer": max_answer,
        }  # fmt: skip
        self._asking = Asking(check_settings(**given), _OnLoop(check_connections(connections)))
        self._given = {**given, "connections": connections}
        self.form = form

    async def predict(self, inputs: Mapping[str, object]) -> PartialAnswer:
        """As `ModelClient.predict`."""
        return await self._asking.predict(inputs, self.form)

    async def metadata(self) -> dict[str, JSON]:
        """As `ModelClient.metadata`."""
        return await self._asking.metadata()

    async def ready(self) -> bool:
        """As `ModelClient.ready`."""
        return await self._asking.ready()

    async def close(self) -> None:
        """As `ModelClient.close`."""
        self._asking.pool.close()

    async def __aenter__(self) -> AsyncModelClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


_limits: weakref.WeakSet[_OnLoop] = weakref.WeakSet()


class _OnLoop:
    """Waits that let the running event loop go on."""

    def __init__(self, connections: int) -> None:
        self._most = connections
        self.reset()
        _limits.add(self)

    def reset(self) -> None:
        """Nothing is used; for the first use and for a forked child."""
        self._used = 0
        self._queue: deque[asyncio.Future[bool]] = deque()

    async def ready(self, sock: socket.socket, *, read: bool, write: bool, deadline: float) -> bool:
        news, timer = _until(deadline)
        loop, number = news.get_loop(), sock.fileno()
        try:
            if read:
                loop.add_reader(number, _settle, news, True)
            if write:
                loop.add_writer(number, _settle, news, True)
            return await news
        finally:
            timer.cancel()
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                if read:
                    loop.remove_reader(number)
                if write:
                    loop.remove_writer(number)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def addresses(self, host: str, port: int, deadline: float) -> Addresses:
        news, timer = _until(deadline)
        loop = news.get_loop()
        found: list[Addresses | OSError] = []

        def tell(addresses: Addresses | OSError) -> None:
            found.append(addresses)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_settle, news, True)

        look_up(host, port, tell)
        try:
            if not await news:
                raise TimeoutError("the name was not found in time")
        finally:
            timer.cancel()
        if isinstance(found[0], OSError):
            raise found[0]
        return found[0]

    async def enter(self, deadline: float) -> None:
        if self._used < self._most:
            self._used += 1
            return
        turn, timer = _until(deadline)
        self._queue.append(turn)
        try:
            if not await turn:
                raise TimeoutError("all connections are used")
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():  # its turn came at the same moment
                self.leave()
            raise
        finally:
            timer.cancel()

    def leave(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(True)  # which uses the connection from now on
                return
        self._used -= 1


def _until(deadline: float) -> tuple[asyncio.Future[bool], asyncio.TimerHandle]:
    """A future that becomes False at the deadline, and the timer that sees to it."""
    loop = asyncio.get_running_loop()
    news: asyncio.Future[bool] = loop.create_future()
    return news, loop.call_later(max(0.0, deadline - monotonic()), _settle, news, False)


def _settle(news: asyncio.Future[bool], value: bool) -> None:
    if not news.done():
        news.set_result(value)


def _after_fork() -> None:
    for limit in list(_limits):
        limit.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
