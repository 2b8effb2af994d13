"""Brings the index up to a store: lists tags, fetches what changed, drops what is gone, reads heartbeats."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from ..errors import ConfigError, NotFound, StoreError
from ..experiment import NAME, Experiment, Faults, Summary, from_json, readable, to_json
from ..stores.base import Entry, Store
from . import documents, forgetting, rows
from .freshness import Freshness

log = logging.getLogger(__name__)

RECORDS, LIVE, CLOCK = "records/", "live/", "clock"
_CHUNK = 2000
_FETCHERS = 16
_LARGEST = 1 << 26
_CLOCK_S = 30.0
_ODD = re.compile(rb"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{19}|\\u[dD][89a-fA-F]")

Write = Callable[[Callable[[sqlite3.Connection], None]], None]
"""Runs a function in one transaction of the index, and again if the index had to be opened anew."""


class Changes:
    """What a store has that the index has not, found by listing tags alone."""

    def __init__(self, db: sqlite3.Connection, freshness: Freshness) -> None:
        self.freshness = freshness
        # Before the listing: what is written to both during it is in neither set and left in peace.
        self.known: dict[str, str] = dict(db.execute("SELECT 'records/' || key || '.json', tag FROM experiments"))
        self.broken: dict[str, str] = dict(db.execute("SELECT name, tag FROM broken"))
        undated = "SELECT key FROM experiments WHERE modified IS NULL AND status = 'running'"
        self.undated = [row[0] for row in db.execute(undated)]
        self.dated: dict[str, float] = {}
        self.unread = False
        """Whether the store has a record that it refused to read this time."""
        self.changed: list[Entry] = []
        self.gone: dict[str, str] = {}
        self.newest = 0.0

    def read(self, store: Store) -> None:
        """Lists the store's records."""
        left, broken = dict(self.known), dict(self.broken)
        newest, forget = 0.0, left.pop
        for entry in store.list(RECORDS):
            name, _, tag, modified = entry
            if modified > newest:
                newest = modified
            if forget(name, None) != tag and broken.pop(name, None) != tag:
                self.changed.append(entry)
        self.newest = newest
        self.gone = {**left, **broken}
        for key in self.undated:
            with contextlib.suppress(NotFound):
                self.dated[key] = store.stat(f"{RECORDS}{key}.json").modified


def sync(store: Store, changes: Changes, write: Write) -> int:
    """Takes up the changes, in steps that each leave a usable index; how many records they were."""
    fetched = _fetch(store, changes.changed)
    while chunk := list(islice(fetched, _CHUNK)):
        write(lambda db, chunk=chunk: _take(db, chunk, changes))  # type: ignore[misc]
    if changes.gone or changes.dated:
        write(lambda db: _drop(db, changes))
    return len(changes.changed) + sum(name in changes.known for name in changes.gone)


Fetched = tuple[Entry, bytes | StoreError, str]


def _fetch(store: Store, entries: list[Entry]) -> Iterator[Fetched]:
    """The bytes of the objects that still exist, or why they cannot be read; from afar many at once."""

    def one(entry: Entry) -> Fetched | None:
        if entry.size > _LARGEST:
            return entry, StoreError(f"it has {entry.size} bytes; no record is that large"), entry.tag
        try:
            return (entry, *store.read(entry.name))
        except NotFound:
            return None
        except StoreError as exc:  # such as a file of somebody else's; the tag is not kept: the next sync tries again
            return entry, exc, ""

    if len(entries) < 4 or store.url.startswith(("file:", "memory:")):
        yield from filter(None, map(one, entries))
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_FETCHERS) as pool:
        yield from filter(None, pool.map(one, entries))


def _take(db: sqlite3.Connection, chunk: list[Fetched], changes: Changes) -> None:
    batch = rows.Batch(db, len(chunk))
    loads = documents.reader(len(chunk))
    for entry, raw, tag in chunk:
        name = entry.name
        now = db.execute("SELECT tag FROM experiments WHERE key = ?", (_key(name),)).fetchone()
        if (now and now[0]) != changes.known.get(name):
            continue  # somebody wrote it through meanwhile: theirs is newer, or the next sync sees it
        db.execute("DELETE FROM broken WHERE name = ?", (name,))
        try:
            if isinstance(raw, StoreError):
                raise raw
            data, faults = _checked(name, loads(raw), odd=_ODD.search(raw) is not None)
            batch.add(data, tag, entry.modified, faults)
        except (ConfigError, StoreError, ValueError, RecursionError) as exc:
            if rows.remove(db, _key(name)) is not None:
                forgetting.owe(db)
            changes.unread |= not tag
            db.execute("INSERT OR REPLACE INTO broken VALUES (?, ?, ?)", (name, tag and entry.tag, _reason(exc)))
    batch.write()
    changes.freshness.touch(db)


def _key(name: str) -> str:
    """The key of the record that has this name in the store; "" for a name that no record has."""
    return name[len(RECORDS) : -5] if name.endswith(".json") else ""


def _reason(exc: Exception) -> str:
    if isinstance(exc, RecursionError):
        return "its JSON is nested too deeply"
    if isinstance(exc, UnicodeDecodeError):
        return "it is not UTF-8"
    kind = "it is not JSON: " if isinstance(exc, json.JSONDecodeError) else ""
    return (kind + str(exc)).encode("utf-8", "backslashreplace").decode()[:200]


def _checked(name: str, data: dict[str, Any], *, odd: bool) -> tuple[dict[str, Any], Faults]:
    """The record that an object holds, without what cannot be read of it; and what that is.

    Args:
        odd: it may have numbers that JSON has not, or halves of characters: they are cleaned.

    Raises:
        ConfigError, ValueError: it holds none.
    """
    faults: Faults = {}
    try:
        found = from_json(Experiment, data)
    except ConfigError:
        data, faults = readable(data)
        found = from_json(Experiment, data)
    if name != f"{RECORDS}{found.key}.json" or not NAME.fullmatch(found.key):
        raise ValueError(f"its key is {found.key[:200]!r}")
    return to_json(found) if odd or faults else data, faults


def _drop(db: sqlite3.Connection, changes: Changes) -> None:
    for name, tag in changes.gone.items():
        key = _key(name)
        if db.execute("SELECT 1 FROM experiments WHERE key = ? AND tag = ?", (key, tag)).fetchone():
            rows.remove(db, key)
        db.execute("DELETE FROM broken WHERE name = ? AND tag = ?", (name, tag))
    if changes.gone:
        rows.remove_unused(db)
        forgetting.owe(db)
    dated = [(modified, key) for key, modified in changes.dated.items()]
    db.executemany("UPDATE experiments SET modified = ? WHERE key = ?", dated)
    changes.freshness.touch(db)


class Live:
    """The live objects of running experiments as the index has them."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.known: dict[str, str] = dict(db.execute("SELECT key, tag FROM live"))
        self.running = db.execute("SELECT 1 FROM experiments WHERE status = 'running' LIMIT 1").fetchone() is not None


class Heartbeats:
    """Reads the live objects of running experiments, and what time it is where they are kept."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._measured = 0.0
        self._at = -_CLOCK_S

    def read(self, live: Live, newest: float, write: Write) -> None:
        """Brings heartbeats and running metrics up to the store.

        Args:
            newest: the latest time of any record, by the store's clock.
        """
        if not live.running and not live.known:
            return
        gone = dict(live.known)
        found: dict[str, tuple[str, float, dict[str, Any]]] = {}
        for entry in self.store.list(LIVE):
            newest = max(newest, entry.modified)
            key = entry.name[len(LIVE) :].removesuffix(".json")
            if gone.pop(key, None) != entry.tag:
                found[key] = (entry.tag, entry.modified, self._summary(entry.name))
        now = self.now(newest) if live.running else None
        if found or gone or now is not None:
            write(lambda db: _take_live(db, found, list(gone), now))

    def _summary(self, name: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        try:
            summary = documents.load(self.store.read(name)[0])["summary"]
            for metric, value in summary.items():
                with contextlib.suppress(ConfigError):
                    out[metric] = to_json(from_json(Summary, value))
        except (NotFound, LookupError, TypeError, ValueError, AttributeError, RecursionError):
            return out  # half-written by something else than studio: a heartbeat all the same
        return out

    def now(self, newest: float) -> float:
        """This moment by the store's clock, which an object written there shows; measured every 30 s at most."""
        passed = time.monotonic() - self._at
        if passed < _CLOCK_S:
            return self._measured + passed
        try:
            self.store.write(CLOCK, b"")
            self._measured = self.store.stat(CLOCK).modified
        except (StoreError, NotFound) as exc:  # may not be written: rather never lost than lost by another clock
            log.debug("the clock of %s cannot be read: %s", self.store.url, exc)
            self._measured = time.time() if self.store.url.startswith("file:") else newest
        self._at = time.monotonic()
        return self._measured


def _take_live(
    db: sqlite3.Connection, found: dict[str, tuple[str, float, dict[str, Any]]], gone: list[str], now: float | None
) -> None:
    for key, live in found.items():
        rows.set_live(db, key, live)
    for key in gone:
        rows.set_live(db, key, None)
    db.execute(
        "UPDATE experiments SET heartbeat = (SELECT max(l.modified, COALESCE(experiments.modified, 0)) FROM live l"
        " WHERE l.key = experiments.key) WHERE status = 'running' AND key IN (SELECT key FROM live)"
    )
    db.execute(
        "UPDATE experiments SET heartbeat = modified WHERE status = 'running' AND key NOT IN (SELECT key FROM live)"
    )
    if now is not None:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('now', ?)", (now,))
