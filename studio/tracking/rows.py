"""What of a record goes into which row of the index; many records are written at once."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from ..experiment import PAUSED, Faults, is_moment, is_whole, restored
from . import documents, exact, forgetting

_COLUMNS = (
    "id", "key", "tag", "status", "heartbeat", "modified", "added", "started", "finished", "duration", "project",
    "owner", "kind", "command", "args", "metric", "exit_code", "exit_signal", "exit_reason", "packages",
)  # fmt: skip
STATISTICS = ("last", "min", "max", "first", "step", "count")
"""The columns of a metric, in order; the bits of `nan` are in the same order."""
_NAN = "NaN"
_INFINITE: dict[object, object] = {"Infinity": math.inf, "-Infinity": -math.inf}
"""As records spell them."""
_FACTS = {
    "git": ("url", "commit", "branch", "dirty"),
    "host": ("name", "os", "cpu", "cores", "memory"),
    "resources": ("cpus", "gpus", "ram", "hdd"),
    "command": ("kind", "target", "python", "interpreter"),
}
_TOP_FACTS = ("notes", "parent", "relation", "lifetime", "max_duration", "studio")
_PLACE = itemgetter(0, 1)

Row = tuple[Any, ...]
Summary = Mapping[str, Mapping[str, Any]]


class Batch:
    """Records to be written together; the caller holds the transaction around everything.

    Each is a mapping that `from_json` took as an Experiment. `size` is about how many there are.
    """

    def __init__(self, db: sqlite3.Connection, size: int = 1) -> None:
        self._db = db
        self._next = (db.execute("SELECT max(id) FROM experiments").fetchone()[0] or 0) + 1
        self._lists: dict[str, int] = {}
        self._dumps = documents.writer(size)
        self._rows: dict[str, list[Row]] = {
            name: [] for name in ("experiments", "documents", "words", "metrics", "facts", "labels", "faulty")
        }

    def add(self, data: Mapping[str, Any], tag: str, modified: float | None, faults: Faults) -> None:
        """Takes a record in place of what there is of its key.

        Args:
            modified: when it was written, by the store's clock; None if that is not known yet.
            faults: what the object in the store has that `data` is without, as it cannot be read.
        """
        db, key = self._db, data["key"]
        before = remove(db, key)
        if before is not None:
            forgetting.note_change(db, before, data)
        id_ = self._next
        self._next += 1
        rows = self._rows
        rows["experiments"].append((id_, key, tag, *_columns(data, modified), self._list(data.get("packages") or ())))
        rows["documents"].append((id_, self._dumps({k: v for k, v in data.items() if k != "packages"})))
        rows["words"].append((id_, _words(data)))
        rows["facts"] += [(name, id_, *_faces(value)) for name, value in _facts(data)]
        rows["labels"] += [(name, label, id_) for name, label in _labels(data)]
        summary = data.get("summary") or {}
        if data.get("status") == "running":
            summary = {**summary, **live_summary(db, key)}
        rows["metrics"] += _metrics(id_, summary)
        rows["faulty"] += [(key, text(".".join(place)), text(why)) for place, why in faults.items()]

    def write(self) -> None:
        """Writes what was added."""
        for table, rows in self._rows.items():
            if rows:
                rows.sort(key=_PLACE)
                marks = ", ".join("?" * len(rows[0]))
                columns = f" ({', '.join(_COLUMNS)})" if table == "experiments" else ""
                verb = "INSERT OR REPLACE INTO" if table in ("facts", "faulty") else "INSERT INTO"
                self._db.executemany(f"{verb} {table}{columns} VALUES ({marks})", rows)
                rows.clear()

    def _list(self, values: Iterable[str]) -> int:
        """The number of a list of packages; most experiments share theirs, so each is kept once."""
        spelled = json.dumps(list(values))
        known = self._lists.get(spelled)
        if known is None:
            self._db.execute("INSERT OR IGNORE INTO lists (json) VALUES (?)", (spelled,))
            known = self._db.execute("SELECT id FROM lists WHERE json = ?", (spelled,)).fetchone()[0]
            self._lists[spelled] = known
        return known


def remove(db: sqlite3.Connection, key: str) -> Mapping[str, Any] | None:
    """Removes every row of one experiment and returns what it said, without packages; None if there was none."""
    db.execute("DELETE FROM faulty WHERE key = ?", (key,))
    row = db.execute(
        "SELECT e.id, d.json FROM experiments e JOIN documents d ON d.id = e.id WHERE e.key = ?", (key,)
    ).fetchone()
    if row is None:
        return None
    id_, data = row[0], dict(json.loads(row[1]))
    _remove_metrics(db, id_, {**(data.get("summary") or {}), **live_summary(db, key)})
    db.executemany("DELETE FROM facts WHERE name = ? AND id = ?", [(name, id_) for name, _ in _facts(data)])
    db.executemany("DELETE FROM labels WHERE name = ? AND text = ? AND id = ?", [(*one, id_) for one in _labels(data)])
    for table in ("experiments", "documents", "words"):
        db.execute(f"DELETE FROM {table} WHERE id = ?", (id_,))  # noqa: S608 - constant names
    return data


def remove_unused(db: sqlite3.Connection) -> None:
    """Removes the lists of packages that no experiment has any more."""
    db.execute("DELETE FROM lists WHERE id NOT IN (SELECT packages FROM experiments WHERE packages IS NOT NULL)")


def set_live(db: sqlite3.Connection, key: str, live: tuple[str, float, Mapping[str, Any]] | None) -> None:
    """Takes the live object of an experiment (tag, time by the store's clock, summary), or that there is none."""
    before = live_summary(db, key)
    if live is None:
        db.execute("DELETE FROM live WHERE key = ?", (key,))
    else:
        spelled = json.dumps(live[2])
        db.execute("INSERT OR REPLACE INTO live VALUES (?, ?, ?, ?)", (key, live[0], live[1], spelled))
    row = db.execute(
        "SELECT e.id, e.status, d.json FROM experiments e JOIN documents d ON d.id = e.id WHERE e.key = ?", (key,)
    ).fetchone()
    if row is None:
        return
    summary = json.loads(row[2]).get("summary") or {}
    _remove_metrics(db, row[0], {**summary, **before})
    if live is not None and row[1] == "running":
        summary = {**summary, **live[2]}
    db.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _metrics(row[0], summary))


def live_summary(db: sqlite3.Connection, key: str) -> dict[str, Any]:
    """The metrics of a running experiment as of its last heartbeat; empty if there is none."""
    row = db.execute("SELECT json FROM live WHERE key = ?", (key,)).fetchone()
    return {} if row is None else dict(json.loads(row[0]))


def text(value: Any) -> str:
    """The text that a value is searched by: itself if it is one, else its JSON form; `inf`, `-inf` or `nan`."""
    if type(value) is float:
        return repr(value)
    spelled = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if spelled.isascii():
        return spelled
    return spelled.encode("utf-8", "backslashreplace").decode("utf-8")  # bytes that are no UTF-8


def number(value: Any) -> float | int | None:
    """The number that a value is compared as, as the index keeps it; None if it is none."""
    found = exact.number(value)
    return None if found is None else exact.kept(found)


def _faces(value: Any) -> tuple[float | int | None, str | None, bool]:
    """The number of a single value, its text, and whether it is NaN; a secret has neither, but is there."""
    return number(value), None if value is None else text(value), value != value


def _moment(value: Any) -> float | None:
    """A time as the record's reader takes it."""
    return value if is_moment(value) else None


def _columns(data: Mapping[str, Any], modified: float | None) -> Row:
    command, times, ended = data["command"], data.get("times") or {}, data.get("exit") or {}
    added, started, finished, paused = (_moment(times.get(n)) for n in ("added", "started", "finished", PAUSED))
    args = text(" ".join(map(str, command.get("args") or ())))
    metric, reason = (data.get("metric") or {}).get("name"), ended.get("reason")
    return (
        text(data.get("status") or "waiting"), modified, modified, added or 0.0, started, finished,
        None if started is None or finished is None else max(0.0, finished - started - (paused or 0.0)),
        text(data.get("project") or "default"), text(data.get("owner") or ""), text(data.get("kind") or "run"),
        text(f"{command['target']} {args}".rstrip()), args, None if metric is None else text(metric),
        number(ended.get("code")), number(ended.get("signal")), None if reason is None else text(reason),
    )  # fmt: skip


def _words(data: Mapping[str, Any]) -> str:
    command = data["command"]
    parts = [data["key"], data.get("project") or "default", *(data.get("tags") or ()), data.get("notes") or ""]
    parts.append(" ".join([command["target"], *map(str, command.get("args") or ())]))
    return text("\x1f".join(map(str, parts)).casefold())


def _facts(data: Mapping[str, Any]) -> list[tuple[str, Any]]:
    params = restored(data.get("params") or {}, data.get("nonfinite"))
    found = [("params." + text(name), value) for name, value in params.items() if value is not None]
    for name, one in (data.get("env") or {}).items():
        value = one.get("value") or ""
        found.append(("env." + text(name), value if is_whole(value, one.get("digest")) else None))
    for group, names in _FACTS.items():
        values = data.get(group)
        if values:
            found += [(f"{group}.{n}", values[n]) for n in names if values.get(n) not in (None, "")]
    if (data.get("host") or {}).get("gpus") is not None:
        found.append(("host.gpus", len(data["host"]["gpus"])))
    found += [(f"exit.{name}", said) for name, said in _ended(data.get("exit") or {}) if said]
    found += [(n, data[n]) for n in _TOP_FACTS if data.get(n) not in (None, "")]
    for name, one in (data.get("artifacts") or {}).items():
        found += [(f"artifacts.{text(name)}.{n}", one.get(n) or 0) for n in ("files", "bytes")]
    return found


def _ended(end: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Who stopped it, and the exception that ended it."""
    error = end.get("error") or {}
    said = f"{error.get('type')}: {error['message']}" if error.get("message") else error.get("type")
    return [("by", end.get("by")), ("error", said)]


def _labels(data: Mapping[str, Any]) -> set[tuple[str, str]]:
    found = {("tags", text(tag)) for tag in data.get("tags") or ()}
    return found | {("artifacts", text(name)) for name in data.get("artifacts") or ()}


def _metrics(id_: int, summary: Summary) -> list[Row]:
    """One row for each metric; NaN becomes NULL, so that it compares as missing, as in IEEE 754, and a bit in `nan`."""
    found: list[Row] = []
    for name, one in {text(name): one for name, one in summary.items()}.items():
        values = [one.get(part) for part in STATISTICS]
        nan = sum(1 << at for at, v in enumerate(values) if v == _NAN) if _NAN in values else 0
        found.append((name, id_, *[v if type(v) is float else number(_INFINITE.get(v, v)) for v in values], nan))
    return found


def _remove_metrics(db: sqlite3.Connection, id_: int, summary: Mapping[str, Any]) -> None:
    db.executemany("DELETE FROM metrics WHERE name = ? AND id = ?", [(text(name), id_) for name in summary])
