"""A few daemon threads for work that may hang or raise: such a call blocks one thread; the server goes on."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable

from ..errors import Overloaded

log = logging.getLogger(__name__)

FEW = 3
"""Fewer calls that hang may be chance, however few threads there are."""

MOST_LOST = 64


def call_soon(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: object) -> None:
    """Calls on the event loop, from any thread; never where the loop is closed: the server has ended."""
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise


class Threads:
    """Runs jobs in at most `count` threads, started when they are needed.

    Args:
        count: Threads that run jobs at once.
        name: Of the threads.
        what: What a job is, for the log.
    """

    def __init__(self, count: int, name: str, what: str = "a call of the wrapper") -> None:
        self._count, self._name, self._what = count, name, what
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._alive = 0
        self._unfinished = 0  # jobs that wait or run in a thread that counts
        self._busy: dict[int, float] = {}
        self._left_behind: set[int] = set()

    @property
    def lost(self) -> int:
        """How many threads were left behind and have not returned yet."""
        return len(self._left_behind)

    @property
    def exhausted(self) -> bool:
        """Whether all threads hang, and those that took their place: from now on none is replaced."""
        return self.lost >= min(MOST_LOST, max(FEW, 2 * self._count))

    def submit(self, job: Callable[[], None]) -> None:
        """Runs `job` as soon as a thread is free.

        Raises:
            Overloaded: there is no thread, and the system gives none.
        """
        with self._lock:
            self._unfinished += 1
            self._add_if_short()
            if not self._alive and not self.exhausted:
                self._unfinished -= 1
                raise Overloaded("the system gives no more threads", hint="retry later")
        self._jobs.put(job)

    def replace_hung(self, since: float) -> None:
        """Threads whose job began before `since` (monotonic) no longer count; others may take their place."""
        with self._lock:
            for ident, began in self._busy.items():
                if began < since and ident not in self._left_behind and not self.exhausted:
                    log.error("%s has not returned within the time limit; its thread is left behind", self._what)
                    self._left_behind.add(ident)
                    self._alive -= 1
                    self._unfinished -= 1
                    self._add_if_short()

    def close(self) -> None:
        """Ends the threads that are idle."""
        for _ in range(self._alive):
            self._jobs.put(None)

    def _add_if_short(self) -> None:
        """Under the lock: one more thread if there are more jobs than threads."""
        if self._unfinished > self._alive and self._alive < self._count:
            try:
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            except RuntimeError:  # the system has no more: those that are there do the work
                return
            self._alive += 1

    def _work(self) -> None:
        ident = threading.get_ident()
        while True:
            job = self._jobs.get()
            if job is None:
                return
            with self._lock:
                self._busy[ident] = time.monotonic()
            try:
                job()
            except BaseException:  # a job answers for itself; whatever it lets out must not cost the thread
                log.exception("%s failed", self._what)
            del job  # an idle thread holds nothing of the last request
            with self._lock:
                self._busy.pop(ident, None)
                if ident in self._left_behind:
                    self._left_behind.discard(ident)
                    self._add_if_short()  # jobs may wait since no thread was added any more
                    return
                self._unfinished -= 1
