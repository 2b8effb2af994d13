"""A table, column by column: hides what a missing value, a time or a list is in pandas, Arrow, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple, cast

from ..extras import need

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import pyarrow
    from numpy.typing import NDArray

TEXT, INTEGER, REAL, BOOLEAN, TIME, TEXTS, OTHER = "text", "integer", "real", "boolean", "time", "texts", "other"
"""What a column holds: `time` is timezone-aware, `texts` lists of texts, `other` whatever has no kind of its own."""

_SPELLED = frozenset({"NaN", "Infinity", "-Infinity"})
_WORDS = {
    **dict.fromkeys(("NaN", "nan"), float("nan")),
    **dict.fromkeys(("Infinity", "inf"), float("inf")),
    **dict.fromkeys(("-Infinity", "-inf"), float("-inf")),
}


class Column(NamedTuple):
    """Values of one kind; None is a missing one. numpy arrays may stand for integer, real, time (UTC) and text."""

    kind: str
    values: Sequence[object] | NDArray[np.generic]


class Table:
    """Rows of named columns. `len(table)` is the number of rows; iterating gives each as a tuple.

    Args:
        columns: Name → column, all of one length, in order.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = dict(columns)
        self._rows = len(next(iter(columns.values())).values) if columns else 0

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return list(self.columns)

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        return zip(*(_plain(column) for column in self.columns.values()), strict=True)

    def __repr__(self) -> str:
        return f"<Table of {self._rows} row{'s' * (self._rows != 1)}: {', '.join(self.columns)}>"

    def to_records(self) -> list[dict[str, object]]:
        """One dict for each row; times are timezone-aware datetimes, missing values None."""
        return [dict(zip(self.columns, row, strict=True)) for row in self]

    def to_pandas(self) -> pandas.DataFrame:
        """The table as a DataFrame.

        Texts are of dtype `string`, times `datetime64[us, UTC]`, numbers `float64`; integers `int64` and booleans
        `bool`, or `Int64` and `boolean` where some are missing. Lists and mixed columns are objects.

        Raises:
            MissingExtra: pandas is not installed.
        """
        pd = need("pandas", extra="pandas")
        series = {name: pd.Series(_for_pandas(pd, column), name=name) for name, column in self.columns.items()}
        return cast("pandas.DataFrame", pd.DataFrame(series, columns=list(self.columns)))

    def to_arrow(self) -> pyarrow.Table:
        """The table as an Arrow table; mixed columns are texts in it.

        Raises:
            MissingExtra: pyarrow is not installed.
        """
        pa = need("pyarrow", extra="parquet")
        types = {
            TEXT: pa.string(), INTEGER: pa.int64(), REAL: pa.float64(), BOOLEAN: pa.bool_(),
            TIME: pa.timestamp("us", "UTC"), TEXTS: pa.list_(pa.string()), OTHER: pa.string(),
        }  # fmt: skip
        arrays = []
        for kind, values in self.columns.values():
            texts = [None if v is None else spell(v) for v in values] if kind == OTHER else values
            arrays.append(pa.array(texts, type=types[kind]))
        return pa.Table.from_arrays(arrays, names=list(self.columns))

    def texts(self) -> Iterator[tuple[str, ...]]:
        """Each row as CSV and a terminal show it: missing values empty, times in ISO 8601, lists with commas."""
        return zip(*([_cell(v) for v in _plain(column)] for column in self.columns.values()), strict=True)

    def json_rows(self) -> Iterator[dict[str, object]]:
        """Each row as JSON shows it: times in ISO 8601, what JSON has no form for as text; NaN stays a float."""
        for row in self:
            yield {n: v.isoformat() if isinstance(v, datetime) else v for n, v in zip(self.columns, row, strict=True)}


def moment(seconds: float | None) -> datetime | None:
    """Seconds since 1970 as a timezone-aware time; None stays None, and so does what no calendar has."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None


def text_column(values: Iterable[str | None]) -> Column:
    """A column of texts; halves of characters, which no encoding takes, are spelled out."""
    found = list(values)
    try:
        "".join([v for v in found if v is not None]).encode()
    except UnicodeEncodeError:
        found = [None if v is None else clean(v) for v in found]
    return Column(TEXT, found)


def any_column(values: Sequence[object]) -> Column:
    """A column of what users gave: of the one kind that all of them have, else `other`.

    A record spells NaN and infinities as texts; among numbers, or alone, they are numbers again.
    """
    kinds = {type(v) for v in values if v is not None}
    if kinds == {str} and all(v is None or v in _SPELLED for v in values):
        return Column(REAL, [None if v is None else _real(v) for v in values])
    if kinds <= {str}:
        return text_column(cast("Sequence[str | None]", values))
    if kinds == {bool}:
        return Column(BOOLEAN, values)
    if int in kinds or float in kinds:
        numbers = [v for v in values if v is not None and not (isinstance(v, str) and v in _WORDS)]
        if all(type(v) is float or (type(v) is int and -(2**63) <= v < 2**63) for v in numbers):
            if kinds == {int}:
                return Column(INTEGER, values)
            return Column(REAL, [None if v is None else _real(v) for v in values])
    return Column(OTHER, [clean(v) if isinstance(v, str) else v for v in values])


def clean(text: str) -> str:
    """The text as every encoding takes it."""
    return text.encode("utf-8", "backslashreplace").decode()


def spell(value: object) -> str:
    """A value of a mixed column as text: itself if it is one, else its JSON form if it has one, cleaned."""
    if not isinstance(value, dict | list | tuple | bool):
        return clean(str(value))
    return clean(json.dumps(value, ensure_ascii=False, default=str))


def _real(value: object) -> float:
    return _WORDS[value] if isinstance(value, str) else float(cast("float", value))


def _plain(column: Column) -> Sequence[object]:
    """The values as Python's own."""
    values: Sequence[object] = column.values.tolist() if hasattr(column.values, "tolist") else column.values
    if column.kind != TIME or values is column.values:
        return values
    return [None if v is None else cast("datetime", v).replace(tzinfo=timezone.utc) for v in values]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return ",".join(value)
    return spell(value)


def _for_pandas(pd: object, column: Column) -> object:
    """What `pandas.Series` makes the right dtype of."""
    make = pd.array  # type: ignore[attr-defined]
    kind, values = column
    gaps = not hasattr(values, "dtype") and any(v is None for v in values)
    if kind == TEXT:
        return make(values, dtype="string")
    if kind == TIME:
        return make(_plain(column), dtype="datetime64[us, UTC]")
    if kind in (INTEGER, BOOLEAN):
        names = {INTEGER: ("int64", "Int64"), BOOLEAN: ("bool", "boolean")}
        return make(values, dtype=names[kind][gaps])
    if kind == REAL:
        return make(values, dtype="float64") if not gaps else make(_nan(values), dtype="float64")
    series = pd.Series(list(values), dtype=object)  # type: ignore[attr-defined]
    return series if kind == TEXTS else series.infer_objects()


def _nan(values: Sequence[object] | NDArray[np.generic]) -> list[object]:
    return [float("nan") if v is None else v for v in values]
