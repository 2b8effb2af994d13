"""One experiment on one page of text."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..experiment import RERUN, SERVING, Experiment, Git, modules_of
from ..run.code import without
from ..run.ending import signal_name
from ..run.left_out import left_out_of
from ..tracking.quoting import shown
from ..tracking.rows import text
from ..units import counted, show_duration, show_size
from .cells import one_line
from .columns import moment, number

USAGE = "system/"
"""Prefix of the metrics that the supervisor measures."""

_NAME_CHARS = 48
"""A longer name pushes its own value aside, not those of all others."""

_VALUE_CHARS = 400
"""Longer parameters are cut; `--json` has them whole."""

_LINE_CHARS = 20_000

_PARENTS: dict[str | None, str] = {RERUN: "rerun of", SERVING: "serves"}
"""What a parent is called that the experiment is no child of."""

_CHILDREN = 20
"""More of them are counted."""


def sheet(experiment: Experiment, media: Sequence[str] = (), children: Sequence[Experiment] = ()) -> Iterator[str]:
    """The lines of `studio runs show`; `media` are the names of its pictures, texts and the like."""
    yield from _pairs(_head(experiment))
    curves = sorted(experiment.summary.items())
    kept = [(name, ref) for name, ref in sorted(experiment.artifacts.items()) if ref.manifest]
    for title, rows in (
        ("parameters", [(n, one_line(_value(v), most=_VALUE_CHARS)) for n, v in sorted(experiment.params.items())]),
        (
            "variables",
            [(n, one_line(shown(v.value), most=_VALUE_CHARS)) for n, v in sorted((experiment.env or {}).items())],
        ),
        ("metrics", [(n, _curve(s.last, s.min, s.max, s.step)) for n, s in curves if not n.startswith(USAGE)]),
        ("resources", [(n.removeprefix(USAGE), _used(n, s.max)) for n, s in curves if n.startswith(USAGE)]),
        ("artifacts", [(name, f"{counted(ref.files, 'file')}, {show_size(ref.bytes)}") for name, ref in kept]),
        ("not captured", _not_captured(experiment)),
        ("modules that were not captured", _modules(experiment)),
        ("models", _models(experiment)),
        ("saved by the script", _saved(experiment)),
        ("children", _children(children)),
    ):
        if rows:
            yield ""
            yield f"{title}:"
            yield from ("  " + line for line in _pairs(rows))
    if media:
        names = ", ".join(media[:8]) + (f" and {len(media) - 8} more" if len(media) > 8 else "")
        yield ""
        yield f"media: {names} (studio runs media {experiment.key} lists them)"
    if experiment.packages:
        yield ""
        yield f"packages: {len(experiment.packages)} (studio runs show {experiment.key} --json lists them)"


def _value(value: object) -> str:
    return shown(value) if isinstance(value, str) else text(value)


def _head(experiment: Experiment) -> list[tuple[str, str]]:
    command, times, end, git, host = (
        experiment.command,
        experiment.times,
        experiment.exit,
        experiment.git,
        experiment.host,
    )
    words = {"module": ["-m", command.target], "exec": ["--", command.target]}.get(command.kind, [command.target])
    rows = [("key", experiment.key), ("status", experiment.status + (f" ({_end(experiment)})" if end else ""))]
    rows += _why(experiment)
    rows += [("kind", experiment.kind), ("project", experiment.project), ("owner", experiment.owner)]
    rows.append(("command", shlex.join([*words, *command.args])))
    if command.python:
        rows.append(("python", f"{command.python} ({command.interpreter})"))
    if git is not None:
        rows.append(("git", _git(git)))
        rows += [("remote", git.url)] if git.url else []
        rows += [("", f"not in the patch: {line}") for line in without(git)]
        rows += [("", line) for line in git.resumed]
    if host is not None:
        rows.append(
            (
                "host",
                f"{host.name}, {counted(host.cores, 'core')}, {show_size(host.memory)}"
                + "".join(f", {g}" for g in host.gpus),
            )
        )
    rows.append(("added", moment(times.added)))
    if times.finished is not None:
        rows.append(("took", show_duration(replace(times, started=times.started or times.added).took() or 0.0)))
    rows += [("paused", f"{show_duration(times.paused)} before --resume")] if times.paused else []
    rows += [("tags", ", ".join(experiment.tags))] if experiment.tags else []
    rows += [("note", experiment.notes)] if experiment.notes else []
    rows += [(_PARENTS.get(experiment.relation, "parent"), experiment.parent)] if experiment.parent else []
    return rows


def _not_captured(experiment: Experiment) -> list[tuple[str, str]]:
    """What the workspace is without for its size or number, or by the user's ignore files; artifacts by their names."""
    rows = []
    others = [name for name in experiment.artifacts if name != "workspace"]
    places = left_out_of(experiment) + [
        replace(one, path=f"{name}: {one.path}") for name in others for one in left_out_of(experiment, name)
    ]
    for one in places:
        if one.reason:
            rows.append(("…", f"{one.files:,} more ({one.reason})") if one.path == "./" else (one.path, one.reason))
            continue
        files = counted(one.files, "file") if one.path.endswith("/") else ""
        rows.append((one.path, ", ".join(filter(None, [files, show_size(one.bytes) if one.bytes >= 0 else ""]))))
    return rows


def _modules(experiment: Experiment) -> list[tuple[str, str]]:
    found = modules_of(experiment)
    rows = [(one_line(one.name), one_line(f"{one.path}, {(one.sha256 or 'not read')[:12]}", most=200)) for one in found]
    more = len(rows) - _CHILDREN
    return [*rows[:_CHILDREN], ("…", f"{more} more: --json lists them")] if more > 0 else rows


def _models(experiment: Experiment) -> list[tuple[str, str]]:
    known = experiment.extra.get("models")
    entries = [entry for entry in known if isinstance(entry, dict)] if isinstance(known, list) else []
    rows = []
    for entry in entries:
        reason = str(entry.get("reason") or "")
        why = f" (the model: {reason})" if entry.get("chosen") else f" ({reason})" if reason else ""
        rows.append((one_line(str(entry.get("name"))), one_line(f"{entry.get('file')}{why}", most=200)))
    lost = experiment.extra.get("not_kept")
    if isinstance(lost, dict):
        rows.append((one_line(str(lost.get("name"))), one_line(f"trained last, not kept: {lost.get('why')}", most=400)))
    return rows


def _children(children: Sequence[Experiment]) -> list[tuple[str, str]]:
    rows = [(child.key, child.status) for child in children[:_CHILDREN]]
    more = len(children) - len(rows)
    return [*rows, ("…", f"{more} more: studio runs list --tree shows all")] if more else rows


def _saved(experiment: Experiment) -> list[tuple[str, str]]:
    known = experiment.extra.get("saved")
    entries = [entry for entry in known if isinstance(entry, dict)] if isinstance(known, list) else []
    return [(str(entry.get("path")), str(entry.get("how"))) for entry in entries]


def _git(git: Git) -> str:
    if git.unknown:
        return "not known"
    kept = "" if git.patch else ", not kept"
    changes = f" with uncommitted changes{kept}" if git.dirty else ""
    return f"{(git.commit or 'no commit')[:12]} on {git.branch or 'a detached head'}{changes}"


def _end(experiment: Experiment) -> str:
    end = experiment.exit
    if end is None:
        return ""
    name = signal_name(end)
    detail = f"signal {end.signal}" if end.signal else f"code {end.code}" if end.code is not None else "no exit status"
    detail += f", {name}" if name and name not in detail else ""
    return f"{end.reason}, {detail}" if end.reason != experiment.status else detail


def _why(experiment: Experiment) -> list[tuple[str, str]]:
    """Who stopped it, or the exception that ended it and where that was raised."""
    end = experiment.exit
    rows = [("stopped by", end.by)] if end is not None and end.by else []
    if end is not None and end.error is not None:
        rows.append(("error", f"{end.error.type}: {end.error.message}" if end.error.message else end.error.type))
        rows += [("at", end.error.frame)] if end.error.frame else []
    return rows


def _curve(last: float, low: float, high: float, step: int) -> str:
    return f"{number(last)} (step {step}; {number(low)} to {number(high)})"


def _used(name: str, most: float) -> str:
    if name.endswith("memory"):
        return f"at most {show_size(most)}"
    if name.endswith(("read", "written", "received", "sent")):
        return f"at most {show_size(most)}/s"
    return f"at most {most:.2f}" + (" cores" if name.endswith("cpu") else "")


def _pairs(rows: list[tuple[str, str]]) -> Iterator[str]:
    named = [(one_line(name, most=_VALUE_CHARS), value) for name, value in rows]
    width = max((len(name) for name, _ in named if len(name) <= _NAME_CHARS), default=0)
    for name, value in named:
        for line in value.split("\n"):  # of a note
            yield f"{name.ljust(width)}  {one_line(line, most=_LINE_CHARS)}"
            name = ""
