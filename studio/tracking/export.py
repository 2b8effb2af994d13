"""Experiments and curves as tables for other programs: CSV, JSON, Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..experiment import Experiment, to_json
from ..extras import need
from . import Tracking

FORMATS = ("csv", "json", "parquet")
FIXED = ("key", "project", "owner", "kind", "status", "command", "added", "started", "finished", "exit_code", "reason",
         "commit", "branch", "host", "tags", "notes")  # fmt: skip


def rows(experiments: Iterable[Experiment]) -> Iterator[dict[str, Any]]:
    """One flat row for each experiment: fixed columns, `params.NAME`, `metrics.NAME` and its `.min .max .step`."""
    for e in experiments:
        row: dict[str, Any] = {
            "key": e.key, "project": e.project, "owner": e.owner, "kind": e.kind, "status": e.status,
            "command": " ".join([e.command.target, *e.command.args]), "added": e.times.added,
            "started": e.times.started, "finished": e.times.finished, "exit_code": e.exit.code if e.exit else None,
            "reason": e.exit.reason if e.exit else None, "commit": e.git.commit if e.git else None,
            "branch": e.git.branch if e.git else None, "host": e.host.name if e.host else None,
            "tags": ",".join(e.tags), "notes": e.notes,
        }  # fmt: skip
        row |= {f"params.{name}": value for name, value in e.params.items()}
        for name, s in e.summary.items():
            row |= {f"metrics.{name}": s.last, f"metrics.{name}.min": s.min}
            row |= {f"metrics.{name}.max": s.max, f"metrics.{name}.step": s.step}
        yield row


def curve_rows(experiments: Iterable[Experiment], tracking: Tracking) -> Iterator[dict[str, Any]]:
    """One row for each point of each curve: key, metric, step, time (seconds since 1970), value."""
    from .metrics import Curves

    for experiment in experiments:
        curves = Curves.from_store(tracking.store, experiment.key)
        for name in curves.names():
            steps, times, values = curves.curve(name)
            for step, at, value in zip(steps.tolist(), times.tolist(), values.tolist(), strict=True):
                yield {"key": experiment.key, "metric": name, "step": step, "time": at, "value": value}


def write(path: Path, experiments: Sequence[Experiment], tracking: Tracking, *, curves: bool = False) -> int:
    """Writes a table to `path`, whole or not at all; the ending says the format. Returns the number of rows.

    Args:
        curves: All points of all curves instead of one row for each experiment.

    Raises:
        ConfigError: an ending that is none of the formats, or a path that cannot be written.
        MissingExtra: Parquet, and pyarrow is not installed.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ConfigError(f"{path.name} does not say its format", hint="end it with ." + ", .".join(FORMATS))
    if kind == "json" and not curves:
        table: list[dict[str, Any]] = [to_json(e) for e in experiments]
    else:
        table = list(curve_rows(experiments, tracking) if curves else rows(experiments))
    part = path.with_name(path.name + ".part")
    try:
        {"csv": _csv, "json": _json, "parquet": _parquet}[kind](part, table)
        part.replace(path)
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror}", hint="choose another path") from exc
    finally:
        part.unlink(missing_ok=True)
    return len(table)


def _columns(table: Sequence[dict[str, Any]]) -> list[str]:
    seen = {name: None for row in table for name in row}
    return [n for n in FIXED if n in seen] + sorted(n for n in seen if n not in FIXED)


def _csv(path: Path, table: Sequence[dict[str, Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _columns(table))
        writer.writeheader()
        writer.writerows(table)


def _json(path: Path, table: Sequence[dict[str, Any]]) -> None:
    path.write_text(json.dumps(table, indent=1, ensure_ascii=False), encoding="utf-8")


def _parquet(path: Path, table: Sequence[dict[str, Any]]) -> None:
    arrow, parquet = need("pyarrow", extra="parquet"), need("pyarrow.parquet", extra="parquet")
    columns = {name: [row.get(name) for row in table] for name in _columns(table)}
    for name, values in columns.items():
        kinds = {type(v) for v in values if v is not None}
        if len(kinds) > 1 and not kinds <= {int, float}:
            columns[name] = [None if v is None else str(v) for v in values]
    parquet.write_table(arrow.table(columns), path)
