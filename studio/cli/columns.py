"""A listing's columns: what each shows of an experiment, as text."""

from __future__ import annotations

import time

from ..errors import ConfigError, nearest
from ..experiment import Exit, Experiment
from ..run.ending import signal_name
from ..tracking.fields import OF_METRIC, find, spelled
from ..units import show_duration, show_size
from .cells import one_line

DEFAULT = ("key", "status", "added", "duration", "project", "metric", "command", "tags")
PLAIN = (
    "key", "status", "added", "started", "finished", "duration", "project", "owner", "kind", "metric", "command",
    "tags", "note", "host", "commit", "branch", "exit", "reason", "error", "model", "parent", "relation",
)  # fmt: skip


def check(names: list[str]) -> list[str]:
    """The names, `metrics.NAME:min` as `metrics.NAME.min`.

    Raises:
        ConfigError: one is no column; the hint names the nearest.
    """
    names = [spelled(name) for name in names]
    for name in names:
        if name not in PLAIN and not name.startswith(("metrics.", "params.")):
            hint = nearest(name, PLAIN) or "columns: " + ", ".join(PLAIN) + ", metrics.NAME[.min|.max], params.NAME"
            raise ConfigError(f"no column {name!r}", hint=hint)
    return names


def cell(experiment: Experiment, name: str, now: float) -> str:
    """What the column `name` shows of an experiment."""
    if name.startswith("params."):
        value = experiment.params.get(name.removeprefix("params."))
        return "" if value is None else str(value)
    if name.startswith("metrics."):
        return _metric(experiment, name.removeprefix("metrics."))
    times, end = experiment.times, experiment.exit
    match name:
        case "added" | "started" | "finished":
            return moment(getattr(times, name))
        case "duration":
            start = times.started or times.added
            return (
                show_duration(max(0.0, (times.finished or now) - start))
                if times.finished or not experiment.ended
                else ""
            )
        case "metric":
            ranked = experiment.metric
            return "" if ranked is None else f"{ranked.name}={_metric(experiment, f'{ranked.name}.{ranked.mode}')}"
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
    """A metric's value in at most six digits."""
    return f"{value:.6g}"


def _metric(experiment: Experiment, name: str) -> str:
    base, _, statistic = name.rpartition(".")
    if '"' in name and (quoted := find(f"metrics.{name}")):
        base, statistic = quoted.name, quoted.column
    if statistic not in OF_METRIC or base not in experiment.summary:
        base, statistic = name, "last"
    found = experiment.summary.get(base)
    value = getattr(found, statistic) if found is not None else None
    return "" if value is None else number(value)
