"""A listing's columns: what each shows of an experiment, as text."""

from __future__ import annotations

import time
from dataclasses import replace

from ..errors import ConfigError, nearest
from ..experiment import Exit, Experiment
from ..run.ending import signal_name
from ..tracking import fields
from ..tracking.fields import DURATION, LABELS, OF_METRIC, PARAM, SIZE, Field
from ..tracking.quoting import shown
from ..tracking.rows import text
from ..units import show_duration, show_size
from .cells import one_line

DEFAULT = ("key", "status", "added", "duration", "project", "metric", "command", "tags")
PLAIN = (
    "key", "status", "added", "started", "finished", "duration", "project", "owner", "kind", "metric", "command",
    "tags", "note", "host", "commit", "branch", "exit", "reason", "error", "model", "parent", "relation",
)  # fmt: skip
"""Columns with a form of their own; any other field of a query is shown as it is."""
_SAME = {"notes": "note", "exit.reason": "reason", "exit.code": "exit", **{name: name for name in PLAIN}}


def check(names: str) -> list[str]:
    """The names of columns, separated by commas: those of `PLAIN`, and every field that a query takes.

    Raises:
        ConfigError: one is no column; the hint names the nearest.
    """
    words = map(fields.dotted, fields.split(names))
    found = [_SAME.get(word, _SAME.get(fields.ALIASES.get(word, word), word)) for word in words]
    for name in found:
        if name not in PLAIN and fields.find(name) is None:
            hint = (nearest(name, PLAIN) if "." not in name else "") or fields.near(name)
            known = "columns: " + ", ".join(PLAIN) + ", metrics.NAME[.min|.max], params.NAME, env.NAME"
            raise ConfigError(f"no column {name!r}", hint=hint or known)
    return found


def metric(word: str) -> tuple[str, bool]:
    """The column of `NAME`, `NAME.min` or `NAME:min`, with `metrics.` before it or not, and whether the least is best.

    Raises:
        ConfigError: it names no metric.
    """
    column = fields.dotted(word if word.startswith("metrics.") else f"metrics.{word}")
    found = fields.find(column)
    if found is None:
        raise ConfigError(f"{word!r} names no metric", hint="write --metric val_accuracy.max")
    return column, found.column == "min"


def cell(experiment: Experiment, name: str, now: float) -> str:
    """What the column `name` shows of an experiment."""
    field = fields.find(name) if name not in PLAIN else None
    if field is not None:
        return _field(experiment, field)
    times, end = experiment.times, experiment.exit
    match name:
        case "added" | "started" | "finished":
            return moment(getattr(times, name))
        case "duration":
            took = replace(times, started=times.started or times.added).took(None if experiment.ended else now)
            return "" if took is None else show_duration(took)
        case "metric":
            ranked = experiment.metric
            return "" if ranked is None else f"{ranked.name}={_metric(experiment, ranked.name, ranked.mode)}"
        case "command":
            return " ".join([experiment.command.target, *experiment.command.args])[:48]
        case "tags":
            return ",".join(experiment.tags)
        case "note":
            return experiment.notes.partition("\n")[0][:60]
        case "host":
            return experiment.host.name if experiment.host else ""
        case "commit" | "branch":
            value = getattr(experiment.git, name) if experiment.git else None
            return (value or "")[:12]
        case "exit":
            return (
                ""
                if end is None
                else f"signal {end.signal}"
                if end.signal
                else ""
                if end.code is None
                else str(end.code)
            )
        case "error":
            return one_line(why(end))
        case "reason":
            return end.reason if end else ""
        case "model":
            model = experiment.artifacts.get("modeldir")
            return show_size(model.bytes) if model and model.files else ""
        case _:
            return str(getattr(experiment, name) or "")


def why(end: Exit | None) -> str:
    """Why a run ended as it did, in a line: who stopped it, the exception or the signal; "" if nothing is known."""
    if end is None:
        return ""
    if end.by:
        return f"by {end.by}"
    if end.error is not None:
        message = " ".join(end.error.message.split())
        return f"{end.error.type}: {message}" if message else end.error.type
    return signal_name(end) if end.reason in ("killed", "failed", "out-of-memory") else ""


def moment(seconds: float | None) -> str:
    """A time as people of this time zone read it; "" for None."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def number(value: float) -> str:
    """A number: whole ones with all digits, a metric's value in at most six."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _field(experiment: Experiment, field: Field) -> str:
    """A field of a query as text; "" where the experiment has none."""
    if field.table == "metrics":
        return _metric(experiment, field.name, field.column)
    if field.name.startswith("env."):
        one = (experiment.env or {}).get(field.name.removeprefix("env."))
        return "" if one is None else shown(one.value)
    if field.type == PARAM:
        value = experiment.params.get(field.name.removeprefix("params."))
        return "" if value is None else shown(value) if isinstance(value, str) else text(value)
    if field.name.startswith("artifacts."):
        name, _, part = field.name.removeprefix("artifacts.").rpartition(".")
        ref = experiment.artifacts.get(name)
        return "" if ref is None else show_size(ref.bytes) if part == "bytes" else str(ref.files)
    if field.type == LABELS:
        return ",".join(experiment.tags if field.name == "tags" else experiment.artifacts)
    return _part(experiment, field)


def _part(experiment: Experiment, field: Field) -> str:
    """What a record says at the place that the field names."""
    path = field.name or {"packages": "packages"}.get(field.table, "") or _PATHS.get(field.column, field.column)
    value: object = experiment
    for name in path.split("."):
        value = getattr(value, name, None)
    if field.name == "exit.error":
        return one_line(why(experiment.exit)) if value else ""
    if value is None or value == "":
        return ""
    if isinstance(value, tuple):
        return str(len(value)) if field.name == "host.gpus" else ",".join(value)
    if isinstance(value, int | float) and field.type in (SIZE, DURATION):
        return show_size(value) if field.type == SIZE else show_duration(value)
    return text(value)


_PATHS = {"args": "command.args", "exit_code": "exit.code", "exit_signal": "exit.signal", "exit_reason": "exit.reason"}
"""Columns of the index that a record has elsewhere."""


def _metric(experiment: Experiment, name: str, statistic: str) -> str:
    found = experiment.summary.get(name)
    value = getattr(found, statistic) if found is not None and statistic in OF_METRIC else None
    return "" if value is None else number(value)
