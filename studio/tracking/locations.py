"""Which content the store has, and where: a local cache in SQLite that can be lost at any time."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from .forking import single

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger(__name__)

T = TypeVar("T")

_SCHEMA = """
create table if not exists location (
    store text not null, digest text not null, pack text, at integer not null, size integer not null,
    primary key (store, digest)) without rowid;
create table if not exists learnt (store text primary key) without rowid;
"""


class Location(NamedTuple):
    """A content of `size` bytes: a blob of its own, or at offset `at` of `pack`."""

    pack: str | None
    at: int
    size: int


class Locations:
    """digest → `Location`, for each store by its id. Whatever is wrong with the file, it begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, store: str, digests: Iterable[str]) -> dict[str, Location]:
        """Those of `digests` whose place in `store` is known."""
        wanted = list(digests)

        def act(db: sqlite3.Connection) -> dict[str, Location]:
            out: dict[str, Location] = {}
            for start in range(0, len(wanted), 500):
                some = wanted[start : start + 500]
                marks = ",".join("?" * len(some))
                rows = db.execute(
                    f"select digest, pack, at, size from location where store = ? and digest in ({marks})",  # noqa: S608
                    [store, *some],
                )
                out.update({digest: Location(pack, at, size) for digest, pack, at, size in rows})
            return out

        return self._use(act, {})

    def add(self, store: str, found: Mapping[str, Location], *, learnt: bool = False) -> None:
        """Remembers places; `learnt`: the packs of this store have been looked through."""

        def act(db: sqlite3.Connection) -> None:
            db.executemany(
                "insert or replace into location values (?, ?, ?, ?, ?)",
                [(store, digest, *place) for digest, place in found.items()],
            )
            if learnt:
                db.execute("insert or ignore into learnt values (?)", (store,))

        self._use(act, None)

    def knows(self, store: str) -> bool:
        """Whether the packs of this store have been looked through; True if nothing can be remembered anyway."""
        return self._use(
            lambda db: db.execute("select 1 from learnt where store = ?", (store,)).fetchone() is not None, True
        )

    def forget(self, store: str, objects: Iterable[tuple[str | None, str]]) -> None:
        """Drops places that turned out wrong: pairs of (pack, "") or (None, digest)."""

        def act(db: sqlite3.Connection) -> None:
            for pack, digest in objects:
                if pack is None:
                    db.execute("delete from location where store = ? and digest = ?", (store, digest))
                else:
                    db.execute("delete from location where store = ? and pack = ?", (store, pack))

        self._use(act, None)

    def _use(self, act: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """What `act` gives, in one transaction; `otherwise` if SQLite fails: then it is as if nothing were known."""
        import sqlite3

        try:
            with single(), contextlib.closing(self._connect()) as db, db:
                return act(db)
        except sqlite3.OperationalError as exc:  # locked, read-only, disk full: go on without
            log.debug("location cache %s cannot be used now: %s", self._path, exc)
        except sqlite3.DatabaseError as exc:
            log.warning("location cache %s is damaged and begins anew: %s", self._path, exc)
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        return otherwise

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        with contextlib.suppress(OSError):  # what cannot be made or looked at, SQLite names
            if not self._path.exists():
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(self._path, timeout=5.0)
        try:
            # A rollback journal, right on every file system: a wrong place is worse than a slow write.
            db.execute("pragma synchronous = normal")
            if not db.execute("select 1 from sqlite_master where name = 'learnt'").fetchone():
                db.executescript(_SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
        return db
