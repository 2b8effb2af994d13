"""Reads and writes the index's JSON: many objects by orjson, which costs more to import than it saves on a few."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

from ..experiment import Experiment, fraction, from_json

_MANY = 150
_LONG = re.compile(rb"[0-9]{19}")
_PACKAGES = "SELECT json FROM lists WHERE id = ?"
_SHOWN = (
    "SELECT d.json, l.json, e.heartbeat, e.packages FROM experiments e JOIN documents d ON d.id = e.id"
    " LEFT JOIN live l ON l.key = e.key WHERE e.id = ?"
)
_read = 0


def reader(count: int) -> Callable[[bytes], dict[str, Any]]:
    """What reads `count` more objects quickest; gives what `load` gives, for NaN and long integers too."""
    global _read
    _read += count
    if _read < _MANY and "orjson" not in sys.modules:
        return load
    from orjson import JSONDecodeError, loads

    def read(raw: bytes) -> Any:
        if _LONG.search(raw):  # orjson makes a float of an integer over 64 bits
            return load(raw)
        try:
            return loads(raw)
        except JSONDecodeError:
            return load(raw)

    return read


def load(raw: bytes) -> Any:
    """The object of a JSON document; a number beyond any double, such as 3e563, is its text and not infinity."""
    return json.loads(raw, parse_float=fraction)


def writer(count: int) -> Callable[[object], bytes]:
    """What writes `count` objects quickest."""
    if count < _MANY and "orjson" not in sys.modules:
        return _write
    from orjson import JSONEncodeError, dumps

    def write(data: object) -> bytes:
        try:
            return dumps(data)
        except JSONEncodeError:  # integers over 64 bits, lone surrogates
            return _write(data)

    return write


def _write(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def shown(db: sqlite3.Connection, ids: list[tuple[int]], alive_after: float) -> list[Experiment]:
    """These experiments as people see them.

    Args:
        alive_after: the oldest heartbeat of a living run, by the store's clock.
    """
    loads = reader(len(ids))
    lists: dict[int, list[str]] = {}
    found = []
    for id_ in ids:
        for raw, live, heartbeat, packages in db.execute(_SHOWN, id_):
            if packages not in lists:
                lists[packages] = json.loads(db.execute(_PACKAGES, (packages,)).fetchone()[0])
            data = loads(raw)
            data["packages"] = lists[packages]
            if data.get("status") == "running":
                _as_seen(data, live, heartbeat, alive_after)
            found.append(from_json(Experiment, data))
    return found


def _as_seen(data: dict[str, Any], live: str | None, heartbeat: float | None, alive_after: float) -> None:
    """Gives a running record the status and the metrics that its heartbeat says."""
    if heartbeat is not None and heartbeat < alive_after:
        data["status"] = "lost"
    if live is not None:
        data["summary"] = {**(data.get("summary") or {}), **json.loads(live)}
