"""What a run's artifacts are without, and why: the lines that say so, and the field of the record that keeps it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ..experiment import Experiment
from ..tracking import Notify
from ..tracking.selection import LARGE_SHARE, MOST_FILES, LeftOut
from ..units import show_size
from .redact import clean

MOST_LINES = 5
MOST_PLACES = 4
FIELD = "left_out"
"""Of the record's workspace: `[{"path": …, "files": …, "bytes": …}, …]`; `bytes` -1 where nobody looked."""


def say_left_out(name: str, lines: Sequence[str], notify: Notify) -> None:
    """Says what is not in something that is kept, and why."""
    for text in lines[:MOST_LINES]:
        notify(f"left out of {name}: {text}")
    if len(lines) > MOST_LINES:
        notify(f"left out of {name}: {len(lines) - MOST_LINES} more")


def not_kept(name: str, left_out: Sequence[LeftOut], limit: int) -> str:
    """The line that names what is too large or too much, the rule, and what to do about it."""
    path = left_out[0].path.rstrip("/")
    example = shlex.quote(path) if path.isprintable() else "PATH"
    return (
        f"not in the {name}: {spelled(left_out)}; kept are files up to {show_size(limit // LARGE_SHARE)}, code first,"
        f" up to {show_size(limit)} and {MOST_FILES:,} files in all (more: --capture-once {example}:NAME, or a larger"
        " artifact_limit; no such line: .studioml_ignore)"
    )


def as_field(left_out: Sequence[LeftOut]) -> Mapping[str, Any]:
    """As the record keeps it."""
    places = [(one.path.encode("utf-8", "replace").decode(), one) for one in left_out]
    return {FIELD: [{"path": path, "files": one.files, "bytes": one.bytes} for path, one in places]}


def spelled(left_out: Sequence[LeftOut]) -> str:
    """The largest of what was not captured, in a line."""
    names = [_shown(one.path) + f" ({_extent(one)})" for one in left_out[:MOST_PLACES]]
    rest = left_out[MOST_PLACES:]
    return ", ".join(names) + (f" and {sum(one.files for one in rest):,} more files" if rest else "")


def _shown(path: str) -> str:
    return repr(path)[1:-1] if not path.isprintable() else clean(path)


def _extent(one: LeftOut) -> str:
    count = f"{one.files:,} file{'s' if one.files != 1 else ''}"
    if one.bytes < 0:
        return count
    return f"{count}, {show_size(one.bytes)}" if one.path.endswith("/") else show_size(one.bytes)


def left_out_of(experiment: Experiment) -> list[LeftOut]:
    """What the experiment's workspace is without for its size."""
    ref = experiment.artifacts.get("workspace")
    found = ref.extra.get(FIELD) if ref is not None else None
    out = []
    for one in found if isinstance(found, list) else []:
        if isinstance(one, dict) and isinstance(one.get("path"), str):
            files, size = one.get("files"), one.get("bytes")
            out.append(LeftOut(one["path"], files if type(files) is int else 1, size if type(size) is int else -1))
    return out


def lacking_file(experiment: Experiment, before: Experiment) -> str:
    """What to say of a rerun that failed for a file that was not captured; "" if that was not the reason."""
    error = experiment.exit.error if experiment.exit is not None else None
    if error is None:
        return ""
    for one in left_out_of(before):
        if one.path != "./" and one.path.rstrip("/") in error.message:
            return (
                f"{one.path} was not captured with {before.key}; run the script where it is, or capture it with"
                f" --capture-once {shlex.quote(one.path.rstrip('/'))}:NAME"
            )
    return ""
