"""Whether a listing of the records can be left out, because the store's token says that nothing was written since."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from typing import NamedTuple

SETTLE_S = 0.25
"""How long a token was known when the listing began that it is believed for: longer than the tick of any clock that
counts in less than a millisecond."""
FULL_S = 60.0
"""After so long the records are listed in any case: what something changes in place, past the store, moves no token."""

_STATE, _LISTED = "state", "listed"


class Listed(NamedTuple):
    """The last complete listing of the records that the index holds.

    Attributes:
        token: the store's change token from before it.
        machine: where it was made; another one's clock is not ours.
        since: when the token was first seen, in seconds since 1970 by this machine's clock.
        at: when the listing began, likewise.
        newest: the latest time of any record, by the store's clock.
        state: what the index held then; see `touch`.
    """

    token: str = ""
    machine: str = ""
    since: float = 0.0
    at: float = 0.0
    newest: float = 0.0
    state: str = ""

    def still_holds(self, token: str | None, state: str, now: float) -> bool:
        """Whether another listing at `now` would find what this one found."""
        same = token is not None and (token, state, os.uname().nodename) == (self.token, self.state, self.machine)
        return same and self.at - self.since >= SETTLE_S and 0 <= now - self.at < FULL_S

    def followed_by(self, token: str, now: float, newest: float, state: str) -> Listed:
        """A listing that began at `now`, after this one."""
        machine = os.uname().nodename
        known = token == self.token and machine == self.machine and self.since <= now
        return Listed(token, machine, self.since if known else now, now, newest, state)


class Freshness:
    """What the index says of its last listing, read before anything else of it; then follows what a sync changes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.state: str | None = _value(db, _STATE)
        """None once something else changed the index too."""
        self.at = time.time()
        found = _value(db, _LISTED)
        self.last = Listed(*json.loads(found)) if found else Listed()

    def unchanged(self, token: str | None) -> bool:
        """Whether the listing can be left out."""
        return self.state is not None and self.last.still_holds(token, self.state, self.at)

    def touch(self, db: sqlite3.Connection) -> None:
        """Notes, in the transaction of a change, that this sync made it; others' changes since are then found out."""
        mine = self.state == _value(db, _STATE)
        new = touch(db)
        self.state = new if mine else None

    def keep(self, db: sqlite3.Connection, token: str, newest: float) -> None:
        """Notes that the index holds what a listing found that began after the `token` was read.

        Nothing is noted if something else changed the index meanwhile: the two together may be what no listing found.
        """
        if self.state is not None and self.state == _value(db, _STATE):
            one = self.last.followed_by(token, self.at, newest, self.state)
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_LISTED, json.dumps(one)))


def touch(db: sqlite3.Connection) -> str:
    """Notes, in the transaction of a change, that the index holds other records now."""
    state = secrets.token_hex(8)
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_STATE, state))
    return state


def _value(db: sqlite3.Connection, name: str) -> str:
    found = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return str(found[0]) if found else ""
