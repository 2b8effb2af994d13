"""One process's connection to an index file: mends it, guards it between threads, limits queries, and closes it."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import ConfigError, StoreError
from . import database, exact
from .database import Identity
from .forking import guard, single

if TYPE_CHECKING:
    from .pattern import Pattern

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

QUERY_S = 5.0
_STEPS = 20_000
_PATTERNS = 20
MOST_OPEN = 8
"""So many files are open at once, each with three descriptors; another one closes that which was used longest ago."""

_open: weakref.WeakSet[Handle] = weakref.WeakSet()
_clock = itertools.count()
_parents: list[sqlite3.Connection] = []
"""A parent's connections in its forked child. They are kept: to close one would drop the parent's locks."""


class Busy(StoreError):
    """Another process has held the index for longer than we wait."""


class Handle:
    """Runs functions on the connection. Any thread, and a forked child, may call it.

    The file is closed when nobody has the handle any more, and while many others are used; it is opened again then.
    A function may run twice: again on a new, empty file after a damaged one was replaced, and then in memory. What it
    then returns is true of the new database only: see `opened`.
    """

    def __init__(self, path: Path, *, query_s: float = QUERY_S) -> None:
        self.path = path
        self._query_s = query_s
        self.lock = threading.RLock()
        self._patterns: dict[str, Pattern] = {}
        self._until = 0.0
        self._file: Identity = None
        self._db: sqlite3.Connection | None = None
        self._closed, self._working, self._used = False, 0, 0
        self.opened = 0
        """How often a database was opened: what was read before the last time may not hold for what is open now."""
        with single():
            self._connect()
            guard(self)

    def run(self, work: Work[T]) -> T:
        """What `work` returns; it must not call this handle.

        Raises:
            Busy: another process holds the file.
        """
        with self._opened():
            for again in (database.replace, database.in_memory):
                try:
                    return work(self._connection)
                except sqlite3.DatabaseError as exc:
                    self._mend(exc, again)
            return work(self._connection)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        """Holds the lock, with the file open and no other handle closing it."""
        while True:
            lock = self.lock
            lock.acquire()
            if self._db is not None and self._pid == os.getpid():
                break
            lock.release()
            with single(), self.lock:  # in this order, as a fork takes them
                if self._db is None or self._pid != os.getpid():
                    self._connect()
        self._working += 1
        self._used = next(_clock)
        try:
            yield
        finally:
            self._working -= 1
            lock.release()

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError("the index is closed")
        return self._db

    def write(self, work: Work[object]) -> None:
        """Runs `work` as one transaction: all of it is kept or nothing."""

        def transaction(db: sqlite3.Connection) -> None:
            try:
                db.execute("BEGIN IMMEDIATE")
                work(db)
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

        self.run(transaction)

    def query(self, work: Work[T]) -> T:
        """Runs `work`, which only reads, for `query_s` seconds at most.

        Raises:
            ConfigError: it takes longer.
        """

        def limited(db: sqlite3.Connection) -> T:
            db.set_progress_handler(lambda: time.monotonic() > self._until, _STEPS)
            try:
                return work(db)
            finally:
                db.set_progress_handler(None, 0)

        with self._opened():
            self._until = time.monotonic() + self._query_s
            for pattern in self._patterns.values():
                pattern.until = self._until
            try:
                return self.run(limited)
            except sqlite3.OperationalError as exc:
                if time.monotonic() < self._until:
                    raise
                raise ConfigError(
                    f"the query takes more than {self._query_s:g} s", hint="ask for less at once"
                ) from exc

    def is_current(self) -> bool:
        """Whether what is open is the file at the path now; one in memory, or a closed one, is not."""
        if self._file is None or self._file != database.identity(self.path):
            return False
        return bool(self.run(_name))

    def close(self) -> None:
        """Closes the file; the handle cannot be used any more."""
        with self.lock:
            self._file = None
            self._closed = self._db is None or self._pid == os.getpid()  # the parent's is left alone
            self._drop()

    def __del__(self) -> None:
        if getattr(self, "_db", None) is not None:
            self._drop()

    def _drop(self) -> None:
        """Closes the connection, unless it is the parent's."""
        db, self._db = self._db, None
        if db is not None and self._pid == os.getpid():
            db.close()
        elif db is not None:
            _parents.append(db)

    def _connect(self) -> None:
        """Opens the file; the caller holds `single()`."""
        if self._closed:
            raise sqlite3.ProgrammingError("the index is closed")
        self._drop()
        self._use(database.connect(self.path))
        self._used = next(_clock)
        _open.add(self)
        others = sorted((one for one in _open if one is not self), key=lambda one: one._used)
        for one in others[: max(0, len(others) + 1 - MOST_OPEN)]:
            one._rest()

    def _rest(self) -> None:
        """Closes the file until it is used again, unless somebody uses it now, or it is in memory."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            if not self._working and (self._db is None or self._pid != os.getpid() or _name(self._db)):
                self._drop()
                _open.discard(self)
        finally:
            self.lock.release()

    def _use(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.opened += 1
        self._pid = os.getpid()
        self._file = database.identity(self.path)
        this = weakref.ref(self)  # SQLite keeps what it is given, out of the garbage collector's sight
        db.create_function("regexp", 2, lambda *pair: _regexp(this, *pair), deterministic=True)
        db.create_function("exact", 2, exact.order, deterministic=True)
        db.create_function("against", 2, exact.against, deterministic=True)
        db.create_collation("exact", exact.order)  # type: ignore[arg-type]  # it never gets NULL

    def _mend(self, exc: sqlite3.DatabaseError, mended: Callable[[Path, str, Identity], sqlite3.Connection]) -> None:
        """Puts a connection that works in place of one that said this, or raises what it is."""
        db = self._connection
        if db.in_transaction:
            db.execute("ROLLBACK")
        trouble = database.trouble(exc)
        if trouble == "busy":
            raise Busy(f"the index {self.path} is in use by another process", hint="try again") from exc
        if not trouble:
            raise exc
        db.close()
        self._use((database.in_memory if trouble == "refused" else mended)(self.path, str(exc), self._file))

    def search(self, pattern: str, text: object) -> bool:
        """Whether a text, if it is one, has the pattern; within the time of the query."""
        if not isinstance(text, str):
            return False
        known = self._patterns.get(pattern)
        if known is None:
            from .pattern import Pattern

            if len(self._patterns) >= _PATTERNS:
                self._patterns.clear()
            known = self._patterns[pattern] = Pattern(pattern)
            known.until = self._until
        return known.search(text)


def _regexp(handle: weakref.ref[Handle], pattern: str, text: object) -> bool:
    found = handle()
    return found is not None and found.search(pattern, text)


def _name(db: sqlite3.Connection) -> str:
    """The path of its file; "" in memory."""
    return str(db.execute("PRAGMA database_list").fetchone()[2])
