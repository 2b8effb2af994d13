"""Makes a fork wait until no thread is inside SQLite or holds a lock of ours, which the child would never get back."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Protocol

WAIT_S = 60.0
"""The limit is for a thread that cannot go on before the fork is done."""


class Locked(Protocol):
    """What has a lock."""

    lock: Any


_locked: weakref.WeakSet[Any] = weakref.WeakSet()
_single: Any = threading.RLock()
_held: dict[int, list[Any]] = {}


def single() -> Any:
    """The lock to hold while a connection is opened, and around all use of one that no lock of its own guards."""
    return _single


def guard(one: Locked) -> None:
    """Lets forks wait for the lock of `one`, a reentrant one, which a child has anew."""
    _locked.add(one)


def _forking() -> None:
    held = _held[threading.get_ident()] = []
    if _single.acquire(timeout=WAIT_S):
        held.append(_single)
        held += [lock for lock in [one.lock for one in list(_locked)] if lock.acquire(timeout=WAIT_S)]


def _forked_parent() -> None:
    for lock in _held.pop(threading.get_ident(), ()):
        lock.release()


def _forked_child() -> None:
    global _single
    _held.clear()
    _single = threading.RLock()
    for one in list(_locked):
        one.lock = threading.RLock()


os.register_at_fork(before=_forking, after_in_parent=_forked_parent, after_in_child=_forked_child)
