"""Experiments and their curves as tables: the one place that says which columns they have."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast, overload

from ..errors import NotFound
from ..experiment import Experiment
from . import Notify, Tracking, fields
from .damage import damage_lines, damaged
from .metrics import Curves
from .quoting import quoted
from .tables import BOOLEAN, INTEGER, REAL, TEXT, TEXTS, TIME, Column, Table, any_column, clean, moment, text_column

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from numpy.typing import NDArray

_SHOWN = 5
_GATHERED_ROWS = 100_000
_CALLER = 4
"""Frames from a warning to the line that asks for curves."""
_COUNTS = ("step", "count")
_Read = Callable[[Experiment], object]
FIXED: dict[str, tuple[str, _Read]] = {
    "key": (TEXT, lambda e: e.key),
    "status": (TEXT, lambda e: e.status),
    "added": (TIME, lambda e: moment(e.times.added)),
    "started": (TIME, lambda e: moment(e.times.started)),
    "finished": (TIME, lambda e: moment(e.times.finished)),
    "duration": (REAL, lambda e: _duration(e)),
    "project": (TEXT, lambda e: e.project),
    "owner": (TEXT, lambda e: e.owner),
    "kind": (TEXT, lambda e: e.kind),
    "command": (TEXT, lambda e: " ".join([e.command.target, *map(str, e.command.args)])),
    "exit_code": (INTEGER, lambda e: e.exit.code if e.exit else None),
    "reason": (TEXT, lambda e: e.exit.reason if e.exit else None),
    "commit": (TEXT, lambda e: e.git.commit if e.git else None),
    "branch": (TEXT, lambda e: e.git.branch if e.git else None),
    "dirty": (BOOLEAN, lambda e: e.git.dirty if e.git else None),
    "python": (TEXT, lambda e: e.command.python),
    "host": (TEXT, lambda e: e.host.name if e.host else None),
    "parent": (TEXT, lambda e: e.parent),
    "tags": (TEXTS, lambda e: [clean(t) for t in e.tags]),
    "notes": (TEXT, lambda e: e.notes),
}
"""Column → its kind, and what reads it; times in UTC, `duration` in seconds."""


class Experiments(Sequence[Experiment]):
    """Experiments that a search found, in its order; a slice is of this type too.

    It equals any sequence of the same experiments.
    """

    def __init__(self, found: Sequence[Experiment], tracking: Tracking) -> None:
        self._found = list(found)
        self._tracking = tracking

    @overload
    def __getitem__(self, at: int) -> Experiment: ...
    @overload
    def __getitem__(self, at: slice) -> Experiments: ...
    def __getitem__(self, at: int | slice) -> Experiment | Experiments:
        return Experiments(self._found[at], self._tracking) if isinstance(at, slice) else self._found[at]

    def __len__(self) -> int:
        return len(self._found)

    def __eq__(self, other: object) -> bool:
        return list(other) == self._found if isinstance(other, list | tuple | Experiments) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        keys = [e.key for e in self._found[:_SHOWN]] + ["…"] * (len(self) > _SHOWN)
        return f"<{len(self)} experiment{'s' * (len(self) != 1)}{': ' * bool(keys)}{', '.join(keys)}>"

    def to_table(self) -> Table:
        """One row for each experiment, as `to_pandas` has it."""
        return experiment_table(self._found)

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each experiment, in their order.

        Columns: `key`, `status`, `added`, `started`, `finished` (UTC), `duration` (seconds) and what else a record
        says; `params.NAME`; `metrics.NAME` (the last value) and its `.min .max .first .step .count`. A metric whose
        own name ends like one of these is spelled as in a query: `metrics."a.min"`.

        Raises:
            MissingExtra: pandas is not installed.
        """
        return self.to_table().to_pandas()

    def to_records(self) -> list[dict[str, object]]:
        """The rows of `to_pandas` as dicts; needs no pandas."""
        return self.to_table().to_records()

    def curves(self, *names: str) -> Table:
        """Every point of these metrics (default: all): key, name, step (integer), time (UTC), value.

        Warns about curves that are damaged; what is left of them is in the table.

        Raises:
            StoreError: the store cannot be read.
        """
        return join(list(curve_tables(self._found, self._tracking, names, notify=warn_of_damage)))


def experiment_table(experiments: Sequence[Experiment], *, fixed_only: bool = False) -> Table:
    """One row for each experiment; the fixed columns are there for none, too.

    Args:
        fixed_only: Leave parameters and metrics out.
    """
    columns = {name: _column(kind, [read(e) for e in experiments]) for name, (kind, read) in FIXED.items()}
    if not fixed_only:
        for name in sorted({name for e in experiments for name in e.params}):
            columns[clean(f"params.{name}")] = any_column([e.params.get(name) for e in experiments])
        for name in sorted({name for e in experiments for name in e.summary}):
            columns |= _metric_columns(name, experiments)
    return Table(columns)


def warn_of_damage(line: str) -> None:
    """Warns about a curve that is not whole, where nobody else hears of it."""
    warnings.warn(line, RuntimeWarning, stacklevel=_CALLER)


def curve_tables(
    experiments: Sequence[Experiment], tracking: Tracking, names: Sequence[str] = (), *, notify: Notify = warn_of_damage
) -> Iterator[Table]:
    """The points of the curves, a table for each experiment; before them an empty one, which shows the columns.

    Args:
        names: Only these metrics.
        notify: Hears which curves are damaged.
    """
    import numpy as np

    yield _points([], [], np.empty(0, np.int64), np.empty(0), np.empty(0))
    for experiment in experiments:
        try:
            curves = Curves.from_store(tracking.store, experiment.key)
        except NotFound:  # deleted meanwhile
            continue
        broken = {n: why for n, why in damaged(experiment, curves).items() if not names or n in names}
        for line in damage_lines(experiment.key, broken):
            notify(line)
        chosen = [n for n in curves.names() if not names or n in names]
        parts = [curves.curve(n) for n in chosen]
        if parts:
            labels = [label for n, part in zip(chosen, parts, strict=True) for label in [n] * len(part[0])]
            steps, times, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            yield _points([experiment.key] * len(labels), labels, steps, times, values)


def join(tables: Sequence[Table]) -> Table:
    """The rows of tables with the same columns, one table after the other; there must be one at least."""
    import numpy as np

    columns: dict[str, Column] = {}
    for name, (kind, first) in tables[0].columns.items():
        parts = [table.columns[name].values for table in tables]
        if isinstance(first, np.ndarray):
            columns[name] = Column(kind, np.concatenate(cast("list[NDArray[np.generic]]", parts)))
        else:
            columns[name] = Column(kind, [v for part in parts for v in part])
    return Table(columns)


def gathered(tables: Iterable[Table]) -> Iterator[Table]:
    """The same rows in fewer tables of some hundred thousand: each takes its time to be handed over."""
    waiting: list[Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += len(table)
        if rows >= _GATHERED_ROWS:
            yield join(waiting)
            waiting, rows = [], 0
    if waiting:
        yield join(waiting)


def _points(keys: list[str], names: list[str], steps: object, times: object, values: object) -> Table:
    import numpy as np

    seconds = np.asarray(times, np.float64)
    seen = np.abs(seconds) < 2**33  # what a calendar of microseconds can say
    whole = np.where(seen, seconds * 1e6, 0).round().astype(np.int64).astype("datetime64[us]")
    return Table(
        {
            "key": Column(TEXT, keys), "name": text_column(names), "step": Column(INTEGER, np.asarray(steps)),
            "time": Column(TIME, np.where(seen, whole, np.datetime64("NaT"))),
            "value": Column(REAL, np.asarray(values)),
        }
    )  # fmt: skip


def _column(kind: str, values: list[object]) -> Column:
    return text_column([None if v is None else str(v) for v in values]) if kind == TEXT else Column(kind, values)


def _metric_columns(name: str, experiments: Sequence[Experiment]) -> Mapping[str, Column]:
    found = [e.summary.get(name) for e in experiments]
    spelled = quoted(name) if name.rpartition(".")[2] in fields.OF_METRIC else name
    label = clean(f"metrics.{spelled}")
    return {
        label if statistic == "last" else f"{label}.{statistic}": Column(
            INTEGER if statistic in _COUNTS else REAL, [None if s is None else getattr(s, statistic) for s in found]
        )
        for statistic in fields.OF_METRIC
    }


def _duration(experiment: Experiment) -> float | None:
    """Seconds that it ran; None while it runs."""
    took = experiment.times.took()
    return None if took is None else round(took, 6)
