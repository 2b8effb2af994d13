"""SQL over a store: hides which tables a query needs, and what becomes of its values."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import Any

from ..errors import ConfigError
from ..experiment import Experiment
from ..extras import need
from ..units import counted
from . import Notify, Tracking
from .duck import Duck
from .forms import Asked, asked
from .frames import gathered, join
from .tables import (
    ANY_SIZE,
    BLOB,
    BOOLEAN,
    DECIMAL,
    INTEGER,
    LARGE,
    OTHER,
    REAL,
    TEXT,
    TEXTS,
    TIME,
    TIME_NS,
    UNSIGNED,
    Column,
    Table,
    clean,
    text_column,
)
from .views import VIEWS, rounded

CHUNK_ROWS = 10_000
SILENCE_S = 2.0
TIMEOUT_S = 300.0
_SQL = {
    TEXT: "VARCHAR", INTEGER: "BIGINT", REAL: "DOUBLE", BOOLEAN: "BOOLEAN", TIME: "TIMESTAMP WITH TIME ZONE",
    TEXTS: "VARCHAR[]", ANY_SIZE: "BIGNUM",
}  # fmt: skip
_KINDS = {
    **dict.fromkeys(("VARCHAR", "UUID", "ENUM", "DATE", "TIME_NS"), TEXT), "BOOLEAN": BOOLEAN, "VARCHAR[]": TEXTS,
    "BLOB": BLOB, "TIMESTAMP_NS": TIME_NS, "TIMESTAMPTZ_NS": TIME_NS,
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"), INTEGER),
    "UBIGINT": UNSIGNED, "HUGEINT": LARGE, "UHUGEINT": LARGE, "BIGNUM": ANY_SIZE,
    **dict.fromkeys(("DOUBLE", "FLOAT", "INTERVAL"), REAL),
    **{f"TIMESTAMP{rest}": TIME for rest in ("", " WITH TIME ZONE", "_S", "_MS")},
}  # fmt: skip
_HINT = "SELECT … FROM " + ", ".join(VIEWS)  # noqa: S608 - words for the user
_NUMBER = re.compile(r"\bnumber\b", re.IGNORECASE)
_INDIRECT = re.compile(r"\bquery(_table)?\s*\(", re.IGNORECASE)


class Answer:
    """What a query gave, read in pieces. A context manager; it holds memory and a temporary folder until it is closed.

    Attributes:
        names: The columns' names; of two alike the second has `_1` behind it.
    """

    def __init__(self, duck: Duck, asked: Asked | None) -> None:
        self._duck = duck
        if asked is None:
            described = duck.connection.description or ()
            asked = Asked("", [str(one[0]) for one in described], [str(one[1]) for one in described], {})
        self._asked = asked
        self.names = _distinct(asked.names)
        self._kinds = [_kind(declared) for declared in asked.types]

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def tables(self, *, limit: int | None = None) -> Iterator[Table]:
        """The rows (at most `limit`), some thousand in each table; the first may be empty.

        Raises:
            ConfigError: the query failed on the way, or took too long.
        """
        left = limit
        while True:
            count = CHUNK_ROWS if left is None else min(CHUNK_ROWS, left)
            rows = self._duck.call(partial(_fetch, count=count)) if count else []
            yield self._table(rows)
            left = None if left is None else left - len(rows)
            if len(rows) < CHUNK_ROWS or left == 0:
                return

    def table(self, *, limit: int | None = None) -> Table:
        """All rows, or at most `limit`."""
        return join(list(self.tables(limit=limit)))

    def close(self) -> None:
        """Gives memory and temporary folder back."""
        self._duck.close()

    def _table(self, rows: list[tuple[object, ...]]) -> Table:
        kinds = zip(self.names, self._kinds, self._asked.columns(rows), strict=True)
        return Table({name: _column(kind, values) for name, kind, values in kinds})


def ask(
    query: str,
    find: Callable[[], Sequence[Experiment]],
    tracking: Tracking,
    *,
    notify: Notify,
    timeout_s: float = TIMEOUT_S,
    memory_bytes: int | None = None,
) -> Answer:
    """Answers one SELECT (or SHOW, DESCRIBE, SUMMARIZE, EXPLAIN) over the tables of `views`.

    A table is read only if the query names it. NaN is NULL in it, so that aggregates pass over it.

    Args:
        find: Gives the experiments that the tables hold.
        notify: Hears how far a long read is.
        timeout_s: Seconds for reading and answering; 0 = no limit.
        memory_bytes: Memory of the query; beyond it, it goes on in a temporary folder. None = half of the machine's.

    Raises:
        ConfigError: it is no such query, it cannot be answered, or takes too long or too much.
        MissingExtra: duckdb or pyarrow is not installed.
        StoreError: the store cannot be read.
    """
    for library in ("duckdb", "pyarrow", "pytz"):
        need(library, extra="sql")
    query = clean(query)  # as the tables have such texts
    if memory_bytes is None:
        import psutil

        memory_bytes = psutil.virtual_memory().total // 2
    duck = Duck(timeout_s=timeout_s, memory_bytes=memory_bytes)
    try:
        duck.call(lambda connection: _check(connection, query))
        _fill(duck, query, find, tracking, notify)
        duck.lock()
        how = duck.call(lambda connection: asked(duck.duckdb, connection, query))
        duck.before = how.before if how is not None else 0
        duck.call(lambda connection: connection.execute(query if how is None else how.query))
        return Answer(duck, how)
    except BaseException:
        duck.close()
        raise


def _check(connection: Any, query: str) -> None:
    statements = connection.extract_statements(query)
    kinds = [str(statement.type).rpartition(".")[2] for statement in statements]
    if len(kinds) != 1:
        raise ConfigError(f"SQL: one query is expected, not {len(kinds) or 'none'}", hint=_HINT)
    if kinds[0] not in ("SELECT", "EXPLAIN"):
        raise ConfigError(f"SQL: {kinds[0]} is not possible: a query only reads", hint=_HINT)


def _fill(duck: Duck, query: str, find: Callable[[], Sequence[Experiment]], tracking: Tracking, notify: Notify) -> None:
    """Makes every table, and reads those whose names stand in the query."""
    experiments: Sequence[Experiment] | None = None
    for name, view in VIEWS.items():
        columns = ", ".join(f"{column} {_SQL[kind]}" for column, kind in view.columns.items())
        duck.connection.execute(f"CREATE TABLE {name} ({columns})")
        if _INDIRECT.search(query) or re.search(rf"\b{name}\b", query, re.IGNORECASE):
            experiments = find() if experiments is None else experiments
            if name == "params" and re.search(r"\bnumber\b", query, re.IGNORECASE) and (count := rounded(experiments)):
                notify(
                    f"params.number rounds {counted(count, 'whole number')} beyond 2^53; params.integer has all digits"
                )
            said = _spoken(view.read(experiments, tracking, notify), name, len(experiments), duck, notify)
            for table in gathered(said):
                duck.call(partial(_insert, name=name, table=table))


def _spoken(tables: Iterable[Table], name: str, total: int, duck: Duck, notify: Notify) -> Iterator[Table]:
    """The tables as they come; minds the time, and says every two seconds how many there were."""
    last = time.monotonic()
    for count, table in enumerate(tables):
        duck.check_time()
        if time.monotonic() - last > SILENCE_S:
            last = time.monotonic()
            notify(f"reading {name}: {count} of {total} experiments")
        yield table


def _insert(connection: Any, name: str, table: Table) -> None:
    real = [column for column, (kind, _) in table.columns.items() if kind == REAL]
    nulls = ", ".join(f"nullif({column}, 'nan'::DOUBLE) AS {column}" for column in real)
    connection.register("incoming", table.to_arrow())
    replaced = f" REPLACE ({nulls})" if nulls else ""
    connection.execute(f"INSERT INTO {name} SELECT *{replaced} FROM incoming")  # noqa: S608 - names of ours
    connection.unregister("incoming")


def _fetch(connection: Any, count: int) -> list[tuple[object, ...]]:
    return list(connection.fetchmany(count))


def _kind(declared: str) -> str:
    """The kind of a column that DuckDB declares so."""
    if declared.startswith("DECIMAL(") and declared.endswith(")"):
        return declared.replace("DECIMAL", DECIMAL)
    return _KINDS.get(declared.partition("(")[0], OTHER)


def _distinct(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        number, free = 0, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


def _column(kind: str, values: Sequence[object]) -> Column:
    if kind == TEXT:
        return text_column([None if v is None else str(v) for v in values])
    if kind == ANY_SIZE:
        return Column(kind, [None if v is None else int(str(v)) for v in values])
    if kind == TIME_NS:
        return Column(kind, [None if v is None else _nanoseconds(str(v)) for v in values])
    if kind in (REAL, TIME, OTHER):
        return Column(kind, [_value(v) for v in values])
    return Column(kind, values)


def _nanoseconds(text: str) -> str:
    """DuckDB's text of a time in ISO 8601, in UTC; `infinity` as it is."""
    return text if text.endswith("y") else f"{text.removesuffix('+00').replace(' ', 'T')}+00:00"


def _value(value: object) -> object:
    """A value of DuckDB's as tables have it: intervals in seconds, times in UTC."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return value.isoformat() if isinstance(value, date) else value
