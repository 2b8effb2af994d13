"""One use of a pipe: feeds values into a line and hands back its own answers, whoever else uses the line."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from itertools import islice

from ..errors import ConfigError, FilteredOut
from .line import Line
from .lineage import lineage
from .stage import Item, Verdict

_CHUNK = 64


def refuse_own_worker(line: Line) -> None:
    """Raises ConfigError in a worker of `line`, or in one that such a worker waits for."""
    if line in lineage():
        raise ConfigError(
            "a function of this pipe waits for the pipe itself: its own worker could be the one it waits for",
            hint="call another pipe, or hand the value on with submit(value, wait=False) and do not wait for it",
        )


class Call:
    """Answers of one call, in the order of completion. The end is known by count.

    Args:
        line: Where the work is done.
        carry: See `Sink.carry`.
    """

    def __init__(self, line: Line, *, carry: bool) -> None:
        refuse_own_worker(line)
        self.line = line
        self.carry = carry
        self.wanted = True
        self.lineage = lineage()
        self._lock = threading.Lock()
        self._settled: deque[Item] = deque()
        self._waiting = False
        self._fed = 0
        self._taken = 0
        self._given = 0
        self._ended = False
        self._failure: BaseException | None = None
        self._wake = threading.Lock()
        self._wake.acquire()

    def settle(self, item: Item) -> None:
        """See `Sink.settle`."""
        with self._lock:
            self._settled.append(item)
            waiting, self._waiting = self._waiting, False
        if waiting:
            self._notify()

    def _notify(self) -> None:
        self._wake.release()

    def _poll(self) -> Item | None:
        """The next answer, or None: then either `over`, or `_notify` comes."""
        with self._lock:
            if self._settled:
                self._taken += 1
                return self._settled.popleft()
            self._waiting = not self._over
        return None

    @property
    def _over(self) -> bool:
        return self._ended and self._taken == self._fed

    def _next(self) -> Item | None:
        while (item := self._poll()) is None and not self._over:
            self._wake.acquire()
        return item

    # -- values that are at hand -----------------------------------------------------------------

    def run(self, values: Iterable[object]) -> Generator[Item, None, None]:
        """Answers for values whose iterator does not block; fed by the calling thread."""
        source = enumerate(values)
        chunk: list[Item] = []
        more = True
        try:
            while True:
                while more and self._fed - self._taken < self.line.max_inflight:
                    if not chunk:
                        chunk = [Item(value, key, self) for key, value in islice(source, _CHUNK)]
                    if not chunk:
                        more = False
                        break
                    idle = self._fed == self._taken
                    granted = self.line.wait_to_admit(len(chunk)) if idle else self.line.admit(len(chunk))
                    if not granted:
                        break
                    self._fed += granted
                    entering, chunk = chunk[:granted], chunk[granted:]
                    self.line.enter(entering)
                if not more and self._fed == self._taken:
                    return
                while (item := self._poll()) is None:
                    self._wake.acquire()
                yield item
        finally:
            self.wanted = False

    # -- values that come with time --------------------------------------------------------------

    def stream(self, values: Iterator[object], *, ordered: bool) -> Generator[Item, None, None]:
        """Answers for values that another thread takes from an iterator, at most a line's fill ahead.

        What the iterator raises is raised here, after the answers to what it gave before.
        """
        room = threading.Condition(threading.Lock())
        threading.Thread(target=self._feed, args=(values, room), name="studio-pipe-feed", daemon=True).start()
        half = self.line.max_inflight // 2
        order = _Order() if ordered else None
        try:
            while (item := self._next()) is not None:
                for ready in [item] if order is None else order.push(item):
                    self._given += 1
                    if self._fed - self._given <= half:
                        with room:
                            room.notify()
                    yield ready
            if self._failure is not None:
                raise self._failure
        finally:
            self.wanted = False
            with room:
                room.notify()

    def _feed(self, values: Iterator[object], room: threading.Condition) -> None:
        window = self.line.max_inflight
        failure: BaseException | None = None
        try:
            for key, value in enumerate(values):
                if self._fed - self._given >= window:
                    with room:
                        room.wait_for(lambda: not self.wanted or self._fed - self._given <= window // 2)
                if not self.wanted:
                    break
                self.line.wait_to_admit(1)
                self._fed += 1
                self.line.enter([Item(value, key, self)])
        except BaseException as exc:  # noqa: BLE001 - the caller's iterator: the error is raised there
            failure = exc
        with self._lock:
            self._failure = failure
            self._ended = True
            waiting, self._waiting = self._waiting, False
        if waiting:
            self._notify()


class AsyncCall(Call):
    """The same for a coroutine: nothing here blocks the event loop."""

    def __init__(self, line: Line, *, carry: bool) -> None:
        super().__init__(line, carry=carry)
        self._loop = asyncio.get_running_loop()
        self._answered = asyncio.Event()
        self._free = asyncio.Event()

    def _notify(self) -> None:
        self._soon(self._answered)

    def _soon(self, event: asyncio.Event) -> None:
        try:
            self._loop.call_soon_threadsafe(event.set)
        except RuntimeError:
            self.wanted = False  # the loop was closed with this call under way

    async def answers(self, values: AsyncIterable[object], *, ordered: bool) -> AsyncGenerator[Item, None]:
        """As `Call.stream`."""
        order = _Order() if ordered else None
        feeder = asyncio.create_task(self._feed_async(values))
        try:
            while True:
                self._answered.clear()
                item = self._poll()
                if item is not None:
                    for ready in [item] if order is None else order.push(item):
                        self._given += 1
                        self._free.set()
                        yield ready
                elif self._over:
                    break
                else:
                    await self._answered.wait()
            await feeder
        finally:
            self.wanted = False
            feeder.cancel()

    async def _feed_async(self, values: AsyncIterable[object]) -> None:
        key = 0
        try:
            async for value in values:
                while self._fed - self._given >= self.line.max_inflight:
                    self._free.clear()
                    await self._free.wait()
                await self._admit()
                self._fed += 1
                self.line.enter([Item(value, key, self)])
                key += 1
        finally:
            self._ended = True
            self._answered.set()

    async def _admit(self) -> None:
        while True:
            room = asyncio.Event()

            def waiter(room: asyncio.Event = room) -> None:
                self._soon(room)

            if self.line.admit(1, waiter):
                return
            try:
                await room.wait()
            except asyncio.CancelledError:
                self.line.forget(waiter)
                raise


class Promise:
    """An item's sink that is a future."""

    carry = False

    def __init__(self) -> None:
        self.future: Future[object] = Future()
        self.lineage = lineage()

    @property
    def wanted(self) -> bool:
        """Not cancelled."""
        return not self.future.cancelled()

    def settle(self, item: Item) -> None:
        """See `Sink.settle`."""
        future = self.future
        try:
            if item.verdict is Verdict.DONE:
                future.set_result(item.value)
            elif item.error is not None:
                future.set_exception(item.error)
            elif item.verdict is Verdict.FILTERED:
                future.set_exception(
                    FilteredOut("a filter of the pipe left this value out", hint="see filterf of ModelPipe.add")
                )
            else:
                future.set_running_or_notify_cancel()
        except InvalidStateError:
            future.set_running_or_notify_cancel()  # cancelled while it was under way


class _Order:
    """Holds back what comes too early."""

    def __init__(self) -> None:
        self._early: dict[int, Item] = {}
        self._due = 0

    def push(self, item: Item) -> list[Item]:
        """The items that are now due, in the order of their keys."""
        self._early[item.key] = item
        ready = []
        while self._due in self._early:
            ready.append(self._early.pop(self._due))
            self._due += 1
        return ready
