"""Makes sure that what was deleted is in none of the index's files: not in free space of a page, nor in the log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

_OWED = "owed"
_LATER, _NOW = 1, 2
_GIVEN = ("tags", "notes", "params", "digests", "given", "env", "command", "metric", "project", "owner", "exit")
"""The fields whose values the user gives, and can take out again."""
_BY_HAND = ("tags", "notes")
"""Those of them that a script only adds to."""


def owe(db: sqlite3.Connection, *, later: bool = False) -> None:
    """Notes, in the transaction of a deletion, that the files have to be cleaned: this process may be killed before.

    Args:
        later: It is enough when the runs have ended that run now.
    """
    found = db.execute("SELECT value FROM meta WHERE name = ?", (_OWED,)).fetchone()
    level = max(found[0] if found else 0, _LATER if later else _NOW)
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_OWED, level))


def owes(db: sqlite3.Connection) -> bool:
    """Whether the files have to be cleaned now: a deletion was noted, and nobody has cleaned them since."""
    found = db.execute("SELECT value FROM meta WHERE name = ?", (_OWED,)).fetchone()
    if found is None or found[0] != _LATER:
        return found is not None
    return db.execute("SELECT 1 FROM experiments WHERE status = 'running' LIMIT 1").fetchone() is None


def owes_any(db: sqlite3.Connection) -> bool:
    """Whether the files have to be cleaned, now or later."""
    return db.execute("SELECT 1 FROM meta WHERE name = ?", (_OWED,)).fetchone() is not None


def note_change(db: sqlite3.Connection, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Notes, in the transaction that writes `after` in place of `before`, what has to be cleaned away thereafter.

    A script that gives a parameter again and again, each second perhaps, is no reason to write the database anew each
    time: it waits for the run's end. What somebody takes out by hand does not.
    """
    gone = [name for name in _GIVEN if _lacks(before.get(name), after.get(name))]
    if gone:
        owe(db, later=after.get("status") == "running" and not set(gone).intersection(_BY_HAND))


def _lacks(before: Any, after: Any) -> bool:
    """Whether something stands in `before` that is not in `after`; a text may have got longer."""
    if before == after:
        return False
    if isinstance(before, str) and isinstance(after, str):
        return before not in after
    return not set(_leaves(before)) <= set(_leaves(after))


def _leaves(value: Any) -> Iterator[str]:
    """Each name and each single value in a value of JSON, as texts."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    elif not isinstance(value, dict) and value not in (None, ""):
        yield repr(value)


def clean(db: sqlite3.Connection) -> str:
    """Writes the database anew and empties its log; why that is not possible now, else "".

    `secure_delete` alone clears rows where they stand. When SQLite moves rows to another page, which it does to balance
    its trees, their old places stay as they were: only a database that is written anew has none of those. It takes a
    quarter of a second for 10,000 experiments. The log has every page as it was before until it is emptied, which
    waits for those who read.
    """
    try:
        db.execute("VACUUM")
        if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            return "another process reads the index"
        db.execute("DELETE FROM meta WHERE name = ?", (_OWED,))
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.OperationalError as exc:  # in use, or no room on the disk
        return f"the index cannot be cleaned: {exc}"
    return ""
