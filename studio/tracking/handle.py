"""One process's connection to an index file: mends it, guards it between threads, and limits how long a query takes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
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


class Busy(StoreError):
    """Another process has held the index for longer than we wait."""


class Handle:
    """Runs functions on the connection. Any thread, and a forked child, may call it.

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
        self.opened = 0
        """How often a database was opened: what was read before the last time may not hold for what is open now."""
        with single():
            self._use(database.connect(path))
            guard(self)

    def run(self, work: Work[T]) -> T:
        """What `work` returns; it must not call this handle.

        Raises:
            Busy: another process holds the file.
        """
        with self.lock:
            if self._pid != os.getpid():  # a connection does not survive a fork
                self._parents = self._db  # never closed here: that would drop the parent's locks
                self._use(database.connect(self.path))
            for again in (database.replace, database.in_memory):
                try:
                    return work(self._db)
                except sqlite3.DatabaseError as exc:
                    self._mend(exc, again)
            return work(self._db)

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

        with self.lock:
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
        return bool(self.run(lambda db: db.execute("PRAGMA database_list").fetchone()[2]))

    def close(self) -> None:
        """Closes the file; the handle cannot be used any more."""
        with self.lock:
            self._file = None
            if self._pid == os.getpid():  # the parent's is left alone
                self._db.close()

    def __del__(self) -> None:
        if getattr(self, "_pid", None) == os.getpid():
            self._db.close()

    def _use(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.opened += 1
        self._pid = os.getpid()
        self._file = database.identity(self.path)
        db.create_function("regexp", 2, self._regexp, deterministic=True)
        db.create_function("exact", 2, exact.order, deterministic=True)
        db.create_collation("exact", exact.order)  # type: ignore[arg-type]  # it never gets NULL

    def _mend(self, exc: sqlite3.DatabaseError, mended: Callable[[Path, str, Identity], sqlite3.Connection]) -> None:
        """Puts a connection that works in place of one that said this, or raises what it is."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        trouble = database.trouble(exc)
        if trouble == "busy":
            raise Busy(f"the index {self.path} is in use by another process", hint="try again") from exc
        if not trouble:
            raise exc
        self._db.close()
        self._use((database.in_memory if trouble == "refused" else mended)(self.path, str(exc), self._file))

    def _regexp(self, pattern: str, text: object) -> bool:
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
