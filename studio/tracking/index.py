"""The SQLite index of a store's experiments: rebuilt at will, searched by the query language."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import NotFound
from ..experiment import Experiment, Faults, to_json
from ..stores.base import Store
from . import documents, exact, forgetting, rows, schema
from .freshness import Freshness, touch
from .handle import Busy, Handle
from .sync import LIVE, RECORDS, Changes, Heartbeats, Live, sync

if TYPE_CHECKING:
    from .order import Sql

log = logging.getLogger(__name__)

T = TypeVar("T")

LOST_AFTER_S = 60.0
_IDS = "SELECT e.id FROM experiments e"
_COUNT = "SELECT count(*) FROM experiments e"


def open_index(store: Store, home: Path, *, lost_after_s: float = LOST_AFTER_S) -> Index:
    """The index of `store` under the home folder."""
    return Index(store, home / "index", lost_after_s=lost_after_s)


_shared: list[Index] = []


def shared_index(store: Store, home: Path, *, lost_after_s: float = LOST_AFTER_S) -> Index:
    """The index of `store`, the same one for all who ask one after the other in this process.

    To open one and to read its pages takes as long as a search. One whose file was replaced meanwhile is left.
    """
    for one in _shared:
        if one.store.url == store.url and one.serves(home / "index", lost_after_s):
            return one
    _shared[:] = [open_index(store, home, lost_after_s=lost_after_s)]
    return _shared[0]


class Index:
    """Answers searches over a store's experiments without reading them all; losing it loses nothing.

    Threads and processes: any may use it at once. What it answers is as of the last `sync` and every
    `put` and `drop` through it; the first search of a new index syncs it. Experiments come back as people
    see them: a run whose heartbeat stopped is `lost`, a running one has the newest metrics of its live object.
    A damaged file is rebuilt, one that cannot be written is replaced by memory; the logger says so.

    Raises, everywhere: StoreError when another process blocks it for ten seconds.
    """

    def __init__(self, store: Store, folder: Path, *, lost_after_s: float = LOST_AFTER_S) -> None:
        self.store = store
        self.path = folder / (hashlib.sha256(os.fsencode(store.url)).hexdigest()[:16] + ".sqlite")
        self._lost_after_s = lost_after_s
        self._heartbeats = Heartbeats(store)
        self._warned: frozenset[str] = frozenset()
        self._handle = Handle(self.path)
        self._more = False
        self.stale = ""
        """Why the last `sync` could not take up what is new; empty if it did."""
        self.unclean = ""
        """Why the index's files may still hold what was deleted; empty if they do not."""

    def serves(self, folder: Path, lost_after_s: float) -> bool:
        """Whether this is an index in that folder with that patience, open on the file that lies there now."""
        asked = (folder / self.path.name, lost_after_s)
        return asked == (self.path, self._lost_after_s) and self._handle.is_current()

    def put(self, experiment: Experiment, tag: str, faults: Faults | None = None) -> None:
        """Takes up a record just written to the store, whose tag there is now `tag`, with these faults there."""
        data = to_json(experiment)

        def add(db: sqlite3.Connection) -> None:
            batch = rows.Batch(db)
            batch.add(data, tag, None, faults or {})
            batch.write()
            touch(db)

        self._write_or_leave(experiment.key, add)

    def drop(self, key: str, *, more: bool = False) -> None:
        """Forgets an experiment just removed from the store, and leaves nothing of it in the index's files.

        Args:
            more: Others follow at once: the files are cleaned after the last one.
        """

        def remove(db: sqlite3.Connection) -> None:
            rows.remove(db, key)
            db.execute("DELETE FROM live WHERE key = ?", (key,))
            db.execute("DELETE FROM broken WHERE name = ?", (f"{RECORDS}{key}.json",))
            rows.remove_unused(db)
            forgetting.owe(db)
            touch(db)

        self._more = more
        if not self._write_or_leave(key, remove):
            self.unclean = f"the index {self.path} is in use by another process"
        elif not more:
            self.forget_changed()

    def sync(self) -> int:
        """Takes up what changed in the store since the last time; how many records that were.

        Raises:
            StoreError: the store cannot be read.
        """
        count, self.stale = 0, ""
        try:
            count = self._steady(self._sync)
        except Busy as exc:
            self.stale = f"{exc.message}: newer changes may be missing below"
            log.warning("%s", self.stale)
        if not self._more and self._handle.run(forgetting.owes):  # others deleted, or a deletion was interrupted
            self.forget_changed()
        self._warn()
        return count

    def _sync(self) -> int:
        freshness = self._handle.run(Freshness)
        token = self.store.change_token(RECORDS)  # before the listing: what is written during it is in the next
        count, newest = 0, freshness.last.newest
        if not freshness.unchanged(token):
            count, newest = self._list(freshness, token)
        self._heartbeats.read(self._handle.run(Live), newest, self._handle.write)
        return count

    def _steady(self, work: Callable[[], T]) -> T:
        """What `work` returns; again if the database was replaced under it, by an older or an empty one.

        A file is replaced once by a new file and once by memory, hence the number of attempts.
        """
        for _ in range(3):
            opened = self._handle.opened
            found = work()
            if self._handle.opened == opened:
                break
        return found

    def _filled(self, work: Callable[[], T]) -> T:
        """What `work` reads from an index that was filled from the store."""

        def read() -> T:
            if self._handle.run(_is_new):
                self._sync()
            return work()

        return self._steady(read)

    def _list(self, freshness: Freshness, token: str | None) -> tuple[int, float]:
        """Takes up what a listing of the store shows: how many changes, and the latest time of any record."""
        changes = self._handle.run(lambda db: Changes(db, freshness))
        changes.read(self.store)
        count = sync(self.store, changes, self._handle.write)

        def listed(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('synced', 1)")
            if token is not None:
                freshness.keep(db, token, changes.newest)

        if changes.unread:
            token = None  # the next sync lists again, and tries again to read what it could not
        if token is not None or self._handle.run(_is_new):
            self._handle.write(listed)
        return count, changes.newest

    def rebuild(self) -> int:
        """Makes the index anew from the store; how many records it has."""

        def clear(db: sqlite3.Connection) -> None:
            for table in schema.NAMES:
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - constant names

        self._handle.write(clear)
        self.sync()
        self.forget_changed()
        return self.count()

    def search(
        self,
        query: str = "",
        *,
        sort: str = "-added",
        limit: int | None = 50,
        offset: int = 0,
        project: str | None = None,
        owner: str | None = None,
    ) -> list[Experiment]:
        """The experiments (of this project, this owner) that `query` holds for, sorted, and then by their keys.

        Raises:
            ConfigError: the query or the sort order cannot be read, or takes more than five seconds.
        """
        from .order import compile_sort

        def find() -> list[Experiment]:
            alive = self._alive_after()
            where, values = _where(query, alive, project=project, owner=owner)
            order = compile_sort(sort, alive_after=alive)
            values = [*order.join_parameters, *values, *order.term_parameters]
            bounds = (-1 if limit is None else max(0, limit), max(0, offset))
            tail = f" ORDER BY {order.terms} LIMIT ? OFFSET ?"
            ids: list[tuple[int]] = []
            if order.first:
                joins = order.joins.replace("LEFT JOIN", "JOIN", 1)
                ids = self._rows(f"{_IDS}{joins} WHERE {where} AND {order.first}{tail}", [*values, *bounds])
            if not ids or len(ids) != limit:
                ids = self._rows(f"{_IDS}{order.joins} WHERE {where}{tail}", [*values, *bounds])
            return self._shown(ids, alive)

        return self._filled(find)

    def count(self, query: str = "", *, project: str | None = None, owner: str | None = None) -> int:
        """How many experiments `query` holds for.

        Raises:
            ConfigError: as in `search`.
        """

        def find() -> int:
            where, values = _where(query, self._alive_after(), project=project, owner=owner)
            return int(self._rows(f"{_COUNT} WHERE {where}", values)[0][0])

        return self._filled(find)

    def keys(self, prefix: str) -> list[str]:
        """Every key that begins with `prefix`, sorted."""
        sql = "SELECT key FROM experiments WHERE key >= ? AND key < ? ORDER BY key"
        return [row[0] for row in self._select(sql, (prefix, prefix + "\x7f"))]

    def newest(self, *, kind: str = "run", project: str | None = None, owner: str | None = None) -> Experiment | None:
        """The experiment of this kind (project, owner) that was added last; None if there is none."""

        def find() -> list[Experiment]:
            alive = self._alive_after()
            where, values = _where("", alive, kind=kind, project=project, owner=owner)
            ids = self._rows(f"{_IDS} WHERE {where} ORDER BY e.added DESC, e.key DESC LIMIT 1", values)
            return self._shown(ids, alive)

        return next(iter(self._filled(find)), None)

    def has(self, table: str, name: str) -> bool:
        """Whether an experiment has this metric (table `metrics`), or this single value (`facts`)."""
        return bool(self._select(f"SELECT 1 FROM {table} WHERE name = ? LIMIT 1", (name,)))  # noqa: S608 - our names

    def is_null(self, name: str) -> bool:
        """Whether some experiment has this parameter, and it is null there: `facts` knows no such values."""
        sql = "SELECT 1 FROM documents d, json_each(d.json, '$.params') p WHERE p.key = ? AND p.type = 'null' LIMIT 1"
        return name.startswith("params.") and bool(self._select(sql, (name.removeprefix("params."),)))

    def is_secret(self, name: str) -> bool:
        """Whether some experiment has this single value, and nobody may know which."""
        return bool(self._select("SELECT 1 FROM facts WHERE name = ? AND text IS NULL LIMIT 1", (name,)))

    def has_any(self) -> bool:
        """Whether there is any experiment."""
        return bool(self._select("SELECT 1 FROM experiments LIMIT 1", ()))

    def names(self, table: str, prefix: str) -> list[str]:
        """The names that begin with `prefix` of what `has` knows, sorted."""
        sql = f"SELECT DISTINCT name FROM {table} WHERE name >= ? AND name < ? ORDER BY name"  # noqa: S608 - our names
        return [row[0] for row in self._select(sql, (prefix, prefix + "\U0010ffff"))]

    def projects(self) -> list[tuple[str, int]]:
        """Every project and how many experiments it has, by name."""
        return self._select("SELECT project, count(*) FROM experiments GROUP BY project ORDER BY project", ())

    def owners(self) -> list[tuple[str, int]]:
        """Every owner and how many experiments they have, by name."""
        return self._select("SELECT owner, count(*) FROM experiments GROUP BY owner ORDER BY owner", ())

    def forget_changed(self) -> None:
        """Leaves nothing of what rows said before in the index's files; see `unclean`."""
        self._more = False
        try:
            self.unclean = self._handle.run(forgetting.clean)
        except Busy as exc:
            self.unclean = exc.message
        if not self.unclean and self.path.exists() and not self._handle.is_current():
            self.unclean = f"the index {self.path} cannot be written"

    def forget_owed(self) -> None:
        """The same, if anything was deleted, taken out or replaced since the files were cleaned; see `unclean`."""
        self.unclean = ""
        try:
            if self._handle.run(forgetting.owes_any):
                self.forget_changed()
        except Busy as exc:
            self.unclean = exc.message

    def settle(self) -> None:
        """Cleans the files now if `drop` was told that others follow, and none will."""
        if self._more:
            self.forget_changed()

    def close(self) -> None:
        """Closes the file; the index cannot be used any more."""
        self._handle.close()

    def _write_or_leave(self, key: str, work: Callable[[sqlite3.Connection], object]) -> bool:
        """An index that is busy must not fail what was done in the store: the next sync takes it up."""
        try:
            self._handle.write(work)
        except Busy as exc:
            log.warning("%s: %s; the next listing takes it up", key, exc.message)
            return False
        return True

    def _select(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """The rows of a statement; a new index is filled first."""
        return self._filled(lambda: self._rows(sql, values))

    def _rows(self, sql: str, values: Sequence[Any]) -> list[Any]:
        known = [rows.text(v) if isinstance(v, str) else exact.kept(v) for v in values]  # as in the rows
        return self._handle.query(lambda db: db.execute(sql, known).fetchall())

    def _shown(self, ids: list[tuple[int]], alive_after: float) -> list[Experiment]:
        return self._handle.query(lambda db: documents.shown(db, ids, alive_after))

    def _alive_after(self) -> float:
        """The oldest heartbeat of a living run, by the store's clock at the last sync."""
        found = self._handle.run(lambda db: db.execute("SELECT value FROM meta WHERE name = 'now'").fetchone())
        return float(found[0] if found else 0.0) - self._lost_after_s

    def broken(self) -> dict[str, str]:
        """Names of the objects in records/ that are no experiment records, and why; listings leave them out."""
        return dict(self._rows("SELECT name, reason FROM broken ORDER BY name", ()))

    def faulty(self) -> dict[str, dict[str, str]]:
        """Keys of the records with fields that cannot be read, and for each field why; it is as if it were absent."""
        found: dict[str, dict[str, str]] = {}
        for key, place, why in self._rows("SELECT key, place, reason FROM faulty ORDER BY key, place", ()):
            found.setdefault(key, {})[place] = why
        return found

    def beats(self, key: str) -> bool:
        """Whether an experiment has a fresh heartbeat, whatever its record says, by the store's clock."""
        try:
            modified = self.store.stat(f"{LIVE}{key}.json").modified
        except NotFound:
            return False
        return modified >= self._heartbeats.now(modified) - self._lost_after_s

    def _warn(self) -> None:
        names = frozenset(self.broken())
        if names - self._warned:
            log.warning("left out, because they are no experiment records: %s", ", ".join(sorted(names)))
        self._warned = names


def _where(query: str, alive_after: float, **columns: str | None) -> Sql:
    """The condition of a query and of columns that must have these values; None = any."""
    from .query import compile_query  # a run that asks nothing needs no query language

    sql, values = compile_query(query, alive_after=alive_after)
    for column, wanted in columns.items():
        if wanted is not None:
            sql += f" AND e.{column} = ?"
            values = [*values, wanted]
    return sql, values


def _is_new(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM meta WHERE name = 'synced'").fetchone() is None
