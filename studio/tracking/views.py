"""The tables that SQL sees of a store: their columns, and how each is read from experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..experiment import Experiment
from . import Notify, Tracking, exact, fields
from .frames import FIXED, curve_tables, experiment_table
from .rows import text
from .tables import ANY_SIZE, BOOLEAN, INTEGER, REAL, TEXT, TIME, Column, Table, text_column

Read = Callable[[Sequence[Experiment], Tracking, Notify], Iterable[Table]]


class View(NamedTuple):
    """One table: column → kind, in order, and what reads it."""

    columns: Mapping[str, str]
    read: Read


def _rows(columns: Mapping[str, str], rows: Callable[[Experiment], Iterator[tuple[object, ...]]]) -> View:
    """A view of some rows for each experiment, whose first column is its key."""

    def read(experiments: Sequence[Experiment], tracking: Tracking, notify: Notify) -> Iterator[Table]:
        found = [(e.key, *row) for e in experiments for row in rows(e)]
        values = zip(*found, strict=True) if found else ((),) * (len(columns) + 1)
        yield Table({n: _column(k, v) for (n, k), v in zip(all_columns.items(), values, strict=True)})

    all_columns = {"key": TEXT, **columns}
    return View(all_columns, read)


def _column(kind: str, values: tuple[object, ...]) -> Column:
    return text_column([v if v is None else str(v) for v in values]) if kind == TEXT else Column(kind, values)


def _params(experiment: Experiment) -> Iterator[tuple[object, ...]]:
    for name, value in experiment.params.items():
        found = exact.number(value)
        double = None if found is None else float(exact.kept(found))
        integer = found if isinstance(found, int) else None
        yield name, None if value is None else text(value), double, integer, _TYPES.get(type(value), "list")


_TYPES = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "text", dict: "object"}
"""As JSON calls them: what tells the text 1 from the number."""


def rounded(experiments: Iterable[Experiment]) -> int:
    """How many parameters are whole numbers that no double holds."""
    numbers = (exact.number(value) for e in experiments for value in e.params.values())
    return sum(isinstance(found, int) and found != float(exact.kept(found)) for found in numbers)


def _metrics(experiment: Experiment) -> Iterator[tuple[object, ...]]:
    for name, s in experiment.summary.items():
        yield name, *(getattr(s, statistic) for statistic in fields.OF_METRIC)


def _artifacts(experiment: Experiment) -> Iterator[tuple[object, ...]]:
    for name, ref in experiment.artifacts.items():
        yield name, ref.mutable, ref.files, ref.bytes, ref.manifest


def _packages(experiment: Experiment) -> Iterator[tuple[object, ...]]:
    for package in experiment.packages:
        name, _, version = package.partition("==")
        yield name, version


def _curves(experiments: Sequence[Experiment], tracking: Tracking, notify: Notify) -> Iterator[Table]:
    return curve_tables(experiments, tracking, notify=notify)


_STATISTICS = {name: INTEGER if name in ("step", "count") else REAL for name in fields.OF_METRIC}
VIEWS: dict[str, View] = {
    "experiments": View(
        {name: kind for name, (kind, _) in FIXED.items()},
        lambda experiments, tracking, notify: [experiment_table(experiments, fixed_only=True)],
    ),
    "params": _rows({"name": TEXT, "value": TEXT, "number": REAL, "integer": ANY_SIZE, "type": TEXT}, _params),
    "metrics": _rows({"name": TEXT, **_STATISTICS}, _metrics),
    "curves": View({"key": TEXT, "name": TEXT, "step": INTEGER, "time": TIME, "value": REAL}, _curves),
    "tags": _rows({"tag": TEXT}, lambda e: ((tag,) for tag in e.tags)),
    "artifacts": _rows(
        {"name": TEXT, "mutable": BOOLEAN, "files": INTEGER, "bytes": INTEGER, "manifest": TEXT}, _artifacts
    ),
    "packages": _rows({"name": TEXT, "version": TEXT}, _packages),
}
