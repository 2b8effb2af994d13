"""A table, column by column: hides what a missing value, a time or a list is in pandas, Arrow, CSV and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..errors import ConfigError
from ..extras import need

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import pyarrow
    from numpy.typing import NDArray

TEXT, INTEGER, REAL, BOOLEAN, TIME, TEXTS, OTHER = "text", "integer", "real", "boolean", "time", "texts", "other"
UNSIGNED, LARGE, ANY_SIZE, DECIMAL = "unsigned", "large", "any size", "decimal"
TIME_NS, BLOB = "time ns", "blob"
"""What a column holds: `time` is timezone-aware, `texts` lists of texts, `other` whatever has no kind of its own.

Whole numbers are `integer` up to 64 bits, `unsigned` up to 64 bits without a sign, `large` up to 128, or of `any size`;
`decimal(p,s)` has decimals of `p` digits, `s` of them after the point. `time ns` has times with nanoseconds as texts in
ISO 8601. In both kinds of times, `infinity` and `-infinity` are texts. `blob` has bytes.
"""

_WORDS = re.compile(r"\s*[+-]?(nan|inf(inity)?)\s*", re.IGNORECASE)
"""Texts that readers of files take for numbers."""


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
        `bool`, or `Int64` and `boolean` where some are missing. Lists, decimals, larger integers and mixed columns are
        objects: Python's own values.

        Raises:
            MissingExtra: pandas is not installed.
        """
        pd = need("pandas", extra="pandas")
        series = {name: pd.Series(_for_pandas(pd, column), name=name) for name, column in self.columns.items()}
        return cast("pandas.DataFrame", pd.DataFrame(series, columns=list(self.columns)))

    def to_arrow(self) -> pyarrow.Table:
        """The table as an Arrow table; mixed columns are texts in it, and so are whole numbers of any size.

        Raises:
            ConfigError: a whole number has more than the 38 digits that Arrow's decimals hold.
            MissingExtra: pyarrow is not installed.
        """
        pa = need("pyarrow", extra="parquet")
        arrays = [_arrow(pa, name, column) for name, column in self.columns.items()]
        return pa.Table.from_arrays(arrays, names=list(self.columns))

    def texts(self) -> Iterator[tuple[str, ...]]:
        """Each row as CSV and a terminal show it: missing values empty, times in ISO 8601, lists as JSON."""
        return (tuple(cell or "" for cell in row) for row in self.cells())

    def cells(self) -> Iterator[tuple[str | None, ...]]:
        """Each row as `texts` has it, with None for a missing value, which is no empty text."""
        return zip(*([_cell(v, column.kind) for v in _plain(column)] for column in self.columns.values()), strict=True)

    def json_rows(self) -> Iterator[dict[str, object]]:
        """Each row as JSON shows it: times in ISO 8601, what JSON has no form for as text; NaN stays a float.

        A decimal is a number where a float has all its digits, else a text.
        """
        for row in self:
            yield {name: _as_json(value) for name, value in zip(self.columns, row, strict=True)}


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

    Numbers are of kind `real` only if doubles hold all of them: no whole number loses its last digits to others.
    """
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {str}:
        return text_column(cast("Sequence[str | None]", values))
    if kinds == {bool}:
        return Column(BOOLEAN, values)
    numbers = [v for v in values if v is not None]
    if kinds == {int} and all(-(2**63) <= v < 2**63 for v in cast("list[int]", numbers)):
        return Column(INTEGER, values)
    if kinds <= {int, float} and all(type(v) is float or abs(cast("int", v)) <= 2**53 for v in numbers):
        return Column(REAL, [None if v is None else float(cast("float", v)) for v in values])
    return Column(OTHER, [clean(v) if isinstance(v, str) else v for v in values])


def clean(text: str) -> str:
    """The text as every encoding takes it."""
    return text.encode("utf-8", "backslashreplace").decode()


def spell(value: object) -> str:
    """A value of a mixed column as text: itself if it is one, else its JSON form if it has one, cleaned.

    The texts `inf`, `NaN` and so on stand in quotes: among numbers they would be taken for one.
    """
    if isinstance(value, str) and _WORDS.fullmatch(value):
        return json.dumps(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return value.hex()
    if not isinstance(value, dict | list | tuple | bool):
        return clean(str(value))
    return clean(json.dumps(_as_json(value), ensure_ascii=False))


def _as_json(value: object) -> object:
    """The value as JSON has it."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Decimal):
        return float(value) if Decimal(repr(float(value))) == value else f"{value:f}"
    if isinstance(value, dict):
        return {str(_as_json(k)): _as_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(v) for v in value]
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _plain(column: Column) -> Sequence[object]:
    """The values as Python's own."""
    values: Sequence[object] = column.values.tolist() if hasattr(column.values, "tolist") else column.values
    if column.kind != TIME or values is column.values:
        return values
    return [None if v is None else cast("datetime", v).replace(tzinfo=timezone.utc) for v in values]


def _cell(value: object, kind: str) -> str | None:
    if kind != OTHER and isinstance(value, str):
        return value
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    return spell(value)


def _arrow(pa: Any, name: str, column: Column) -> object:
    """A column as an Arrow array."""
    kind, values = column
    types = {
        TEXT: pa.string(), INTEGER: pa.int64(), UNSIGNED: pa.uint64(), LARGE: pa.decimal128(38), REAL: pa.float64(),
        BOOLEAN: pa.bool_(), TIME: pa.timestamp("us", "UTC"), TEXTS: pa.list_(pa.string()),
        TIME_NS: pa.timestamp("ns", "UTC"), BLOB: pa.binary(),
    }  # fmt: skip
    if _is_infinite(column):
        raise ConfigError(
            f"column {name}: Parquet has no infinite times", hint=f"write them as texts: CAST({name} AS VARCHAR)"
        )
    if kind == TIME_NS:
        values = _nanoseconds(values)
    if kind in (OTHER, ANY_SIZE):
        values, kind = [None if v is None else spell(v) for v in values], TEXT
    if kind.startswith(DECIMAL):
        precision, scale = kind.removeprefix(DECIMAL).strip("()").split(",")
        return pa.array(values, type=pa.decimal128(int(precision), int(scale)))
    if kind == LARGE and any(v is not None and abs(cast("int", v)) >= 10**38 for v in values):
        raise ConfigError(
            f"column {name}: Parquet has no whole numbers of more than 38 digits",
            hint=f"write them as texts: CAST({name} AS VARCHAR)",
        )
    return pa.array(values, type=types[kind])


def _is_infinite(column: Column) -> bool:
    """Whether a column of times has one that no calendar shows: it is a text there."""
    kind, values = column
    texts = (v for v in values if isinstance(v, str)) if kind in (TIME, TIME_NS) and isinstance(values, list) else ()
    return any(kind == TIME or text.endswith("y") for text in texts)


def _nanoseconds(values: Iterable[object]) -> NDArray[np.generic]:
    """Times with nanoseconds, in UTC."""
    import numpy

    return numpy.array([str(v or "NaT").removesuffix("+00:00") for v in values], dtype="datetime64[ns]")


def _for_pandas(pd: object, column: Column) -> object:
    """What `pandas.Series` makes the right dtype of."""
    make = pd.array  # type: ignore[attr-defined]
    kind, values = column
    gaps = not hasattr(values, "dtype") and any(v is None for v in values)
    if kind == TEXT:
        return make(values, dtype="string")
    if _is_infinite(column):
        return pd.Series(_plain(column), dtype=object)  # type: ignore[attr-defined]
    if kind == TIME_NS:
        return pd.Series(_nanoseconds(values)).dt.tz_localize("UTC")  # type: ignore[attr-defined]
    if kind == TIME:
        return make(_plain(column), dtype="datetime64[us, UTC]")
    if kind == LARGE and all(v is None or -(2**63) <= cast("int", v) < 2**63 for v in values):
        kind = INTEGER
    if kind in _DTYPES:
        return make(values, dtype=_DTYPES[kind][gaps])
    if kind == REAL:
        return make(values, dtype="float64") if not gaps else make(_nan(values), dtype="float64")
    return pd.Series(list(values), dtype=object)  # type: ignore[attr-defined]


_DTYPES = {INTEGER: ("int64", "Int64"), UNSIGNED: ("uint64", "UInt64"), BOOLEAN: ("bool", "boolean")}
"""Kind → pandas' dtype, and the one that has missing values."""


def _nan(values: Sequence[object] | NDArray[np.generic]) -> list[object]:
    return [float("nan") if v is None else v for v in values]
