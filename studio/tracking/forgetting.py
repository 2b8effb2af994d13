"""Makes sure that what was deleted is in none of the index's files: not in free space of a page, nor in the log."""

from __future__ import annotations

import sqlite3

_OWED = "owed"


def owe(db: sqlite3.Connection) -> None:
    """Notes, in the transaction of a deletion, that the files have to be cleaned: this process may be killed before."""
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, 1)", (_OWED,))


def owes(db: sqlite3.Connection) -> bool:
    """Whether a deletion was noted after which nobody has cleaned the files."""
    return db.execute("SELECT 1 FROM meta WHERE name = ?", (_OWED,)).fetchone() is not None


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
