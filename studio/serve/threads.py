"""A few daemon threads for wrappers: a hanging call loses its thread, not the server."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

MOST_LOST = 64
"""After so many calls that never returned, no more threads are added."""


class Threads:
    """Runs jobs in at most `count` threads, started when they are needed."""

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._alive = 0
        self._unfinished = 0  # jobs that wait or run in a thread that counts
        self._lost = 0
        self._busy: dict[int, float] = {}
        self._left_behind: set[int] = set()

    def submit(self, job: Callable[[], None]) -> None:
        """Runs `job` as soon as a thread is free. A job must not raise."""
        with self._lock:
            self._unfinished += 1
            self._add_if_short()
        self._jobs.put(job)

    def replace_hung(self, since: float) -> None:
        """Threads whose job began before `since` (monotonic) no longer count; others may take their place."""
        with self._lock:
            for ident, began in self._busy.items():
                if began < since and ident not in self._left_behind and self._lost < MOST_LOST:
                    log.error("a call of the wrapper has not returned within the time limit; its thread is left behind")
                    self._left_behind.add(ident)
                    self._lost += 1
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
            self._alive += 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        ident = threading.get_ident()
        while True:
            job = self._jobs.get()
            if job is None:
                return
            with self._lock:
                self._busy[ident] = time.monotonic()
            job()
            with self._lock:
                self._busy.pop(ident, None)
                if ident in self._left_behind:
                    self._left_behind.discard(ident)
                    self._lost -= 1
                    return
                self._unfinished -= 1
