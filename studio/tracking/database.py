"""Opens an index file that may be missing, damaged, of another version, on a network disk or read-only."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ..stores.mounts import NETWORK, file_system
from . import schema

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has none; there one process at a time opens it
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

BUSY_S = 10.0
_DAMAGE = ("malformed", "not a database", "no such table", "no such column", "has no column", "disk I/O")
_REFUSED = ("readonly", "full", "unable to open", "locking protocol", "large file support")

Identity = tuple[int, int] | None


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a usable index at `path`, made if there is none.

    A file that is no index, is damaged or of another version is replaced, which the logger says. Where
    nothing can be written, the index lives in memory (with what a readable file holds), which it says too.
    Safe against other processes that open, replace or are killed at the same moment.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _lock(path, shared=True):
            found = _open(path)
        if isinstance(found, str):
            with _lock(path, shared=False):
                found = _open(path)  # somebody may have been quicker
                if isinstance(found, str):
                    if found:
                        log.warning("index %s is rebuilt: %s", path, found)
                    found = _make(path)
        return found
    except (OSError, sqlite3.Error) as exc:
        return in_memory(path, str(exc), None)


def replace(path: Path, trouble: str, opened: Identity) -> sqlite3.Connection:
    """A connection to a new, empty index in place of a damaged one.

    Args:
        trouble: what was wrong, for the logger.
        opened: the file that had it; one that another process put there since is left as it is.
    """
    try:
        with _lock(path, shared=False):
            if identity(path) == opened or opened is None:
                log.warning("index %s is rebuilt: %s", path, trouble)
                return _make(path)
        return connect(path)
    except (OSError, sqlite3.Error) as exc:
        return in_memory(path, str(exc), None)


def in_memory(path: Path, trouble: str, opened: Identity) -> sqlite3.Connection:
    """An index in memory: with what the file holds if all of it can be read, else empty, to be filled by a sync."""
    log.warning("index %s cannot be used (%s); one in memory serves this command", path, trouble)
    db = _handle(":memory:")
    try:
        if _copied(path, db):
            return db
    except (OSError, sqlite3.Error) as exc:
        log.debug("nothing of %s can be read: %s", path, exc)
    db.close()
    db = _handle(":memory:")
    schema.create(db)
    return db


def _copied(path: Path, db: sqlite3.Connection) -> bool:
    """Whether `db` now holds all that the file at `path` does.

    `immutable` alone reads a WAL file on a read-only disk (https://sqlite.org/wal.html, "Read-Only Databases"). But
    then SQLite ignores the log, and others' locks: with a log, or when the file changes meanwhile, the copy is old or
    torn, and records would be missing from every answer.
    """
    before = _still(path)
    if before is None:
        return False
    old = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    with contextlib.closing(old):
        if old.execute("PRAGMA user_version").fetchone()[0] != schema.VERSION:
            return False
        old.backup(db)
    for table in schema.NAMES:
        db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()  # noqa: S608 - constant names
    return _still(path) == before


def _still(path: Path) -> tuple[int, ...] | None:
    """What differs once the file is written to; None if there is none, or a log or journal belongs to it."""
    for end in ("-wal", "-journal"):
        if os.path.exists(f"{path}{end}") and os.path.getsize(f"{path}{end}"):
            return None
    if not os.path.isfile(path):
        return None
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def identity(path: Path) -> Identity:
    """What tells this file from another that is put in its place."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def trouble(exc: sqlite3.DatabaseError) -> str:
    """Whether the file is `busy`, `damaged` or may not be written (`refused`); "" if it is not to blame."""
    said = str(exc)
    if "locked" in said or "busy" in said:
        return "busy"
    if any(part in said for part in _DAMAGE):
        return "damaged"
    return "refused" if any(part in said for part in _REFUSED) else ""


def journal_mode(folder: Path, mounts: str | None = None) -> str:
    """`wal`, or `delete` when `folder` is on a network file system.

    Args:
        mounts: text in the form of /proc/self/mounts; None reads that file.
    """
    return "delete" if file_system(folder, mounts) in NETWORK else "wal"  # memory shared between machines: WAL's need


def _open(path: Path) -> sqlite3.Connection | str:
    """The index at `path`; why not, if it must be made anew."""
    if not os.path.lexists(path):
        return ""
    db = _handle(str(path))
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != schema.VERSION:
            db.close()
            return f"it has version {version}, not {schema.VERSION}"
        _set_up(db)
        wanted = journal_mode(path.parent)
        if db.execute("PRAGMA journal_mode").fetchone()[0] != wanted:
            db.execute(f"PRAGMA journal_mode = {wanted}")
        for table in schema.NAMES:
            db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()  # noqa: S608 - constant names
    except sqlite3.DatabaseError as exc:
        db.close()
        if trouble(exc) != "damaged":
            raise
        return str(exc)
    return db


def _make(path: Path) -> sqlite3.Connection:
    for end in ("-wal", "-shm", "-journal", ""):  # the side files first: a new file must never meet old ones
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{end}")
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = _handle(str(path))
    _set_up(db)
    db.execute(f"PRAGMA journal_mode = {journal_mode(path.parent)}")
    db.execute("BEGIN IMMEDIATE")
    schema.create(db)
    db.execute("COMMIT")
    return db


def _handle(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _set_up(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA secure_delete = ON")  # what a record no longer says is not to be found in the file
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA cache_size = -65536")


@contextlib.contextmanager
def _lock(path: Path, *, shared: bool) -> Iterator[None]:
    """Holds openers (shared) and the one that replaces the file (alone) apart."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
