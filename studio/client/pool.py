"""Idle connections of one client, for its next requests: of any thread, and of no other process."""

from __future__ import annotations

import os
import threading
import weakref

from ..errors import ServeError
from .wire import Wire

IDLE_CONNECTIONS = 32

_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


class Pool:
    """Connections that nobody uses at the moment. After a fork, the child's pool is empty."""

    def __init__(self) -> None:
        self.closed = False
        self.reset()
        _pools.add(self)

    def reset(self) -> None:
        """Forgets all; for the first use and for a forked child, which has not the thread that may hold the lock."""
        self._lock = threading.Lock()
        self._idle: list[Wire] = []

    def check(self) -> None:
        """Raises ServeError if the client was closed."""
        if self.closed:
            raise ServeError("this client is closed", hint="make a new one")

    def take(self) -> Wire | None:
        """An idle connection; None if there is none.

        Raises:
            ServeError: the client was closed.
        """
        while True:
            with self._lock:
                self.check()
                wire = self._idle.pop() if self._idle else None
            if wire is None or not _is_stale(wire):
                return wire
            wire.shut()

    def give(self, wire: Wire) -> None:
        """Keeps a connection for later, or closes it."""
        with self._lock:
            if not self.closed and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(wire)
                return
        wire.shut()

    def close(self) -> None:
        """Closes those that are idle now, and each other one when its answer is there."""
        with self._lock:
            self.closed = True
            idle, self._idle = self._idle, []
        for wire in idle:
            wire.shut()


def _is_stale(wire: Wire) -> bool:
    """Whether the server closed it, or sent what nobody asked for."""
    try:
        return wire.has_news()
    except OSError:
        return True


def _after_fork() -> None:
    for pool in list(_pools):
        pool.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
