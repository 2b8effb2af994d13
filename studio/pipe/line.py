"""A pipe's stages at work: how much is let in, when time is up, when all threads end.

A line admits a bounded number of items; each leaves it exactly once, through `Sink.settle`. No worker
ever waits for room in a later queue, so a line always moves. Threads start with the first item, end
after `IDLE_S` without work, and end when the line is shut down and empty.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from ..errors import Overloaded
from .crew import IDLE_S, Crew
from .lineage import forget_lineage, lineage
from .stage import Item, Spec

_lines: weakref.WeakSet[Line] = weakref.WeakSet()


class Line:
    """The stages of one pipe with their threads.

    Threads: every method may be called from any thread; `shutdown` from a finalizer too.

    Args:
        specs: The stages.
        max_inflight: How many items may be between `admit` and `settle`.
    """

    def __init__(self, specs: Sequence[Spec], max_inflight: int) -> None:
        self.max_inflight = max_inflight
        self.closing = False
        self.crews = tuple(Crew(self, number, spec) for number, spec in enumerate(specs, 1))
        for crew, after in zip(self.crews, self.crews[1:], strict=False):
            crew.after = after
        limits = [spec.timeout for spec in specs if spec.timeout is not None]
        self._shortest = min(limits, default=0.0)
        self.reset()
        _lines.add(self)

    def reset(self) -> None:
        """Forget all threads and items; for the first use and for a forked child."""
        self._gate = threading.Lock()
        self._waiters: deque[Callable[[], None]] = deque()
        self._drained = threading.Event()
        self._watching: threading.Thread | None = None
        self._nudge = threading.Lock()
        self._nudge.acquire()
        self.inflight = 0
        for crew in self.crews:
            crew.reset()

    @property
    def finished(self) -> bool:
        """Shut down and empty."""
        return self.closing and self.inflight == 0

    def admit(self, count: int, waiter: Callable[[], None] | None = None) -> int:
        """Places for at most `count` items; 0 if the line is full.

        Args:
            waiter: Called once when there may be room again, if the answer was 0.

        Raises:
            Overloaded: the pipe is closed.
        """
        following = None
        watch = False
        with self._gate:
            if self.closing:
                raise Overloaded("the pipe is closed")
            granted = min(count, self.max_inflight - self.inflight)
            self.inflight += granted
            if granted == 0 and waiter is not None:
                self._waiters.append(waiter)
            elif self._waiters and self.inflight < self.max_inflight:
                following = self._waiters.popleft()
            if granted and self._shortest and self._watching is None:
                self._watching = threading.Thread(target=self._watch, name="studio-pipe-watch", daemon=True)
                watch = True
        if watch and self._watching is not None:
            self._watching.start()
        if following is not None:
            following()
        return granted

    def wait_to_admit(self, count: int) -> int:
        """As `admit`, but waits for room."""
        while True:
            room = threading.Lock()
            room.acquire()
            waiter = room.release
            try:
                granted = self.admit(count, waiter)
                if granted:
                    return granted
                room.acquire()
            except BaseException:  # an interrupt, wherever it came
                self.forget(waiter)
                raise

    def forget(self, waiter: Callable[[], None]) -> None:
        """A waiter that gave up; if it was called already, the next one is."""
        with self._gate:
            try:
                self._waiters.remove(waiter)
                return
            except ValueError:
                following = self._waiters.popleft() if self._waiters else None
        if following is not None:
            following()

    def enter(self, items: list[Item]) -> None:
        """Send admitted items in."""
        self.crews[0].put(items)

    def release(self, count: int) -> None:
        """Places that are free again."""
        following = None
        with self._gate:
            self.inflight -= count
            if self._waiters:
                following = self._waiters.popleft()
            finished = self.finished
        if following is not None:
            following()
        if finished:
            self._drained.set()
            self.wake_all()

    def wake_all(self) -> None:
        """Let all idle threads look up. Takes no lock."""
        for crew in self.crews:
            crew.wake_all()
        try:
            self._nudge.release()
        except RuntimeError:
            pass  # nudged already

    def shutdown(self) -> None:
        """Admit nothing more; threads end when the line is empty. Takes no lock, does not wait."""
        self.closing = True
        self.wake_all()
        self.dissolve()

    def dissolve(self) -> None:
        """Once all is over, let go of the functions now: they may hold pipes that shall end too."""
        if self.finished and not any(crew.manned for crew in self.crews):
            self.crews = ()

    def close(self) -> None:
        """Shut down, wait for what is in flight and for the threads; not when called by one of them."""
        crews = self.crews
        with self._gate:
            self.closing = True
            waiters, self._waiters = self._waiters, deque()
            if self.inflight == 0:
                self._drained.set()
        self.wake_all()
        for waiter in waiters:
            waiter()
        if self in lineage():
            return
        self._drained.wait()
        self.join(crews, None)

    def join(self, crews: Sequence[Crew], seconds: float | None) -> None:
        """Wait for the threads of `crews` that are not given up, at most `seconds` in all."""
        until = None if seconds is None else monotonic() + seconds
        threads = [thread for crew in crews for thread in crew.threads()]
        watching = self._watching
        for thread in [*threads, watching] if watching is not None else threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(None if until is None else max(0.0, until - monotonic()))

    def _watch(self) -> None:
        """The watchdog's thread: sees to time limits while there is work, and a while after."""
        idle_since = monotonic()
        while True:
            now = monotonic()
            due = min([now + self._shortest, *(crew.expire(now) for crew in self.crews)])
            with self._gate:
                if self.inflight:
                    idle_since = now
                elif self.closing or now - idle_since > IDLE_S:
                    self._watching = None
                    return
            self._nudge.acquire(timeout=min(max(0.0, due - monotonic()), threading.TIMEOUT_MAX))


def _after_fork() -> None:
    """The child has none of the threads and must not wait for their locks."""
    forget_lineage()
    for line in list(_lines):
        line.reset()


def _at_exit() -> None:
    """Let idle threads end before the interpreter does; one that is in a function is left to it."""
    lines = [(line, line.crews) for line in list(_lines)]
    for line, _ in lines:
        line.shutdown()
    until = monotonic() + 0.2
    for line, crews in lines:
        if line.inflight == 0:
            line.join(crews, max(0.0, until - monotonic()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
