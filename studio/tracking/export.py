"""Tables as files for other programs: CSV, JSON, Parquet; whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from ..errors import ConfigError
from ..experiment import strict, to_json
from ..extras import need
from . import Notify, Tracking
from .frames import Experiments, curve_tables, gathered, warn_of_damage
from .tables import Table

FORMATS = ("csv", "json", "parquet")
_PLAIN = re.compile(r"[\w.+:/@%=()<>*-]+( [\w.+:/@%=()<>*-]+)*", re.ASCII)
"""Texts that CSV needs no quotes for."""
_FORMULAS = ("=", "+", "@", "-")


def export(
    path: Path, experiments: Experiments, tracking: Tracking, *, curves: bool = False, notify: Notify = warn_of_damage
) -> int:
    """Writes experiments to `path`, whose ending says the format. Returns the number of rows.

    JSON has the records as the store keeps them; CSV and Parquet the columns of `Experiments.to_pandas`.

    Args:
        curves: All points of all curves instead of one row for each experiment.
        notify: Hears which curves are damaged.

    Raises:
        ConfigError: an ending that is none of the formats, or a path that cannot be written.
        MissingExtra: Parquet, and pyarrow is not installed.
    """
    kind = format_of(path)
    if curves:
        return write(path, curve_tables(experiments, tracking, notify=notify))
    if kind == "json":
        return _whole(path, lambda part: _json(part, map(to_json, experiments)))
    return write(path, [experiments.to_table()])


def write(path: Path, tables: Iterable[Table]) -> int:
    """Writes the rows of tables with the same columns, one table after the other. Returns the number of rows.

    Args:
        path: Its ending says the format.
        tables: At least one; read one at a time.

    Raises:
        ConfigError, MissingExtra: as in `export`.
    """
    kind = format_of(path)
    if kind == "json":
        return _whole(path, lambda part: _json(part, (row for table in tables for row in table.json_rows())))
    if kind == "csv":
        return _whole(path, lambda part: _csv(part, tables))
    return _whole(path, lambda part: _parquet(part, tables))


def format_of(path: Path) -> str:
    """The format that a path's ending says.

    Raises:
        ConfigError: it says none.
        MissingExtra: it says Parquet, and pyarrow is not installed.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ConfigError(f"{path.name} does not say its format", hint="end it with ." + ", .".join(FORMATS))
    if kind == "parquet":
        need("pyarrow.parquet", extra="parquet")
    return kind


def write_csv(file: IO[str], tables: Iterable[Table]) -> int:
    """The tables' rows as CSV under one line of names; returns how many rows.

    Texts that begin with `=`, `+` or `@` get an apostrophe before them: no spreadsheet is to run what a script logged.
    Whatever is not a plain word is quoted, so that no reader takes a part of it for a separator, a comment or the end
    of a line. An empty text is `""`, a missing value is nothing; a row of one missing value is `""` too, as readers
    skip empty lines. A carriage return in a name is spelled out: DuckDB takes it for the end of the first line.
    """
    count = 0
    for number, table in enumerate(tables):
        if number == 0:
            file.write(_row([name.replace("\r", "\\r") for name in table.names]))
        file.writelines(map(_row, table.cells()))
        count += len(table)
    return count


def _row(cells: Sequence[str | None]) -> str:
    line = ",".join(["" if cell is None else _quoted(_harmless(cell)) for cell in cells])
    return (line or '""') + "\n"  # empty is only the line of one missing value


def _quoted(cell: str) -> str:
    return cell if _PLAIN.fullmatch(cell) else '"' + cell.replace('"', '""') + '"'


def _harmless(cell: str) -> str:
    """A text that a spreadsheet would compute, behind an apostrophe; numbers as they are.

    Such a text that has apostrophes before it already gets one more: no two texts are one.
    """
    if cell.startswith("'"):
        return "'" + cell if _harmless(bare := cell.lstrip("'")) != bare else cell
    start = cell.lstrip("\t\n\r ")[:1]  # spreadsheets pass over these
    if start not in _FORMULAS or not start:
        return cell
    try:
        float(cell)
    except ValueError:
        formula = start != "-" or any(sign in cell for sign in "|!(")  # `--lr 0.1` is no formula
        return "'" + cell if formula else cell
    return cell


def _whole(path: Path, make: Callable[[Path], int]) -> int:
    """Lets `make` write a file beside `path`, which takes its place once it is complete."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        count = make(part)
        part.replace(path)
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}", hint="choose another path") from exc
    finally:
        with contextlib.suppress(OSError):  # as on a disk that became read-only
            part.unlink(missing_ok=True)
    return count


def _csv(path: Path, tables: Iterable[Table]) -> int:
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        return write_csv(file, tables)


def _json(path: Path, rows: Iterable[object]) -> int:
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write("[")
        for count, row in enumerate(rows, 1):
            file.write(",\n" if count > 1 else "\n")
            file.write(_spelled(row))
        file.write("\n]\n")
    return count


def _spelled(row: object) -> str:
    try:
        found = json.dumps(row, ensure_ascii=False, allow_nan=False, default=str)
        found.encode()
        return found
    except ValueError:  # a number that JSON has not, or half a character
        return json.dumps(strict(row), ensure_ascii=False, default=str)


def _parquet(path: Path, tables: Iterable[Table]) -> int:
    parquet = need("pyarrow.parquet", extra="parquet")
    count, writer = 0, None
    try:
        for table in gathered(tables):
            arrow = table.to_arrow()
            writer = writer or parquet.ParquetWriter(path, arrow.schema)
            if len(table) or count == 0:
                writer.write_table(arrow)
            count += len(table)
    finally:
        if writer is not None:
            writer.close()
    return count
