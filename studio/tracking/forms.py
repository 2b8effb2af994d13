"""What DuckDB's Python would change in silence: infinite times, nanoseconds; hides the query around the user's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from .duck import READ_ONLY

NANOSECONDS = frozenset({"TIMESTAMP_NS", "TIMESTAMPTZ_NS", "TIME_NS"})
_INFINITE = frozenset({"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP WITH TIME ZONE", "DATE"})
_WITHIN = re.compile(r"""(?<![\w"'])(TIMESTAMP(?: WITH TIME ZONE|(?:TZ)?_\w+)?|DATE|TIME_NS)(?=[,)\[]|$)""")
"""A type of times in that of a list, a structure or a map."""


class Asked(NamedTuple):
    """How a query is asked.

    Attributes:
        query: The user's, or one around it, with columns for whether a time is finite behind all others.
        names: The columns' names.
        types: Their types, as DuckDB declares them.
        finite: Column → the column that says of it whether it is finite.
        before: Lines before the user's own.
    """

    query: str
    names: list[str]
    types: list[str]
    finite: dict[int, int]
    before: int = 0

    def columns(self, rows: Sequence[tuple[object, ...]]) -> list[Sequence[object]]:
        """The columns of rows that the query gave; `infinity` or `-infinity` for a time that is not finite."""
        found: list[Sequence[object]] = list(zip(*rows, strict=True)) or [()] * (len(self.names) + len(self.finite))
        for at, says in self.finite.items():
            if False in found[says]:
                found[at] = [_infinite(v) if ok is False else v for v, ok in zip(found[at], found[says], strict=True)]
        return found[: len(self.names)]


def asked(duckdb: Any, connection: Any, query: str) -> Asked | None:
    """How to ask a query so that its answer is exact; None for what is no SELECT, or an error in it."""
    query = _without_end(duckdb, query)
    try:
        described = connection.execute(f"DESCRIBE {query}").fetchall()
    except duckdb.Error:
        connection.execute("ROLLBACK")  # some errors end the transaction
        connection.execute(READ_ONLY)
        return None  # the query itself says better what is wrong with it
    names, types = [str(row[0]) for row in described], [str(row[1]) for row in described]
    columns = [_column(f"c{at}", declared) for at, declared in enumerate(types)]
    times = [at for at, declared in enumerate(types) if declared in _INFINITE]
    if not times and all(column == f"c{at}" for at, column in enumerate(columns)):
        return Asked(query, names, types, {})
    columns += [f"isfinite(c{at})" for at in times]
    aliases = ", ".join(f"c{at}" for at in range(len(names)))
    whole = f"SELECT {', '.join(columns)} FROM (\n{query}\n) AS _({aliases})"  # noqa: S608 - the user's own query
    return Asked(whole, names, types, {at: len(names) + number for number, at in enumerate(times)}, 1)


def _column(name: str, declared: str) -> str:
    if declared in NANOSECONDS:
        return f"CAST({name} AS VARCHAR)"
    if declared in _INFINITE or declared.startswith("UNION") or not _WITHIN.search(declared):
        return name
    return f"CAST({name} AS {_WITHIN.sub('VARCHAR', declared)})"


def _without_end(duckdb: Any, query: str) -> str:
    """The query without its semicolon and what stands behind that."""
    raw = query.encode()
    for at, kind in duckdb.tokenize(query):
        if kind == duckdb.token_type.operator and raw[at : at + 1] == b";":
            return raw[:at].decode()
    return query


def _infinite(value: object) -> str:
    """DuckDB's own text; in Python it gives the last or the first moment of the calendar."""
    return "infinity" if cast("Any", value).year > 1 else "-infinity"
