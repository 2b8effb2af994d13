"""What a run's artifacts are without, and why: the lines that say so, and the field of the record that keeps it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..experiment import SCRIPT, ArtifactRef, Experiment
from ..tracking.selection import BYTES, FILE, FILES, LARGE_SHARE, MOST_FILES, LeftOut
from ..units import show_limit, show_size
from .redact import clean

MOST_PLACES = 4
USUAL_LIMIT = 1 << 30
ROOM = 140
NAMES_ROOM = 80
LONGEST = 60
"""Characters of a line for all that it names, for the names of one reason, and for a name."""

NO_LIMIT = " --capture-limit 0"
LIMIT = "limit"
"""Field of a captured artifact in the record: the bytes that are kept of it at most."""

FIELD = "left_out"
"""Of an artifact in the record: `[{"path": …, "files": …, "bytes": …, "reason": ".gitignore"}, …]`.

`bytes` is -1 where nobody looked. `reason` is the user's ignore file, and missing where a limit left it out; the last
path of those, `./`, counts what has no place of its own."""


def capture_line(name: str, skipped: Sequence[str], left_out: Sequence[LeftOut], limit: int) -> str:
    """The line on all that an artifact is without, and why, and what to do about it; "" if there is nothing.

    Args:
        name: The artifact's.
        skipped: `PATH: REASON` of secrets, files that cannot be read and the like.
        left_out: What is too large or too much, for `limit` bytes.
    """
    groups = by_reason(skipped)
    for one in left_out:
        groups.setdefault(_limit(one, limit), []).append(shown(one.path) + _extent(one))
    if not groups:
        return ""
    line = f"left out of the {name}: {gathered(groups)}."
    if not left_out:
        return line
    if name not in ("workspace", f"artifact {SCRIPT}"):
        return f"{line} To keep all: --capture-limit 0. To silence this: list it in .studioml_ignore."
    path = left_out[0].path.rstrip("/")
    plain = name == "workspace" and len(left_out) == 1 and path.isprintable() and len(path) <= LONGEST
    what, example = ("it", shlex.quote(path)) if plain else ("one", "PATH")
    more = NO_LIMIT if any(_is_over(one) for one in left_out) else ""
    return f"{line} To keep {what}: --capture-once {example}:NAME{more}. To silence this: list it in .studioml_ignore."


def by_reason(lines: Iterable[str]) -> dict[str, list[str]]:
    """`PATH: REASON` lines as the paths of each reason."""
    groups: dict[str, list[str]] = {}
    for line in lines:
        path, _, why = line.partition(": ")
        groups.setdefault(why.replace(" (kept as ***)", ", kept as ***"), []).append(shown(path))
    return groups


def gathered(groups: Mapping[str, Sequence[str]], *, folders: bool = False) -> str:
    """The names of each reason, as many as a short line has room for, and how many more there are.

    Args:
        folders: Whether the names are paths of files, so that a common folder may stand for many.
    """
    texts: list[str] = []
    more = 0
    for why, names in groups.items():
        text = f"{_few(names, folders)} ({why})"
        if texts and len("; ".join((*texts, text))) > ROOM:
            more += len(names)
        else:
            texts.append(text)
    return "; ".join(texts) + (f" and {more:,} more" if more else "")


def _few(names: Sequence[str], folders: bool) -> str:
    """The first names, and how many more there are; of many files in one folder, the folder."""
    many = folders and len(names) > MOST_PLACES and not any(name.endswith("/") for name in names)
    if many and (folder := os.path.commonpath(names)):
        return f"{len(names):,} files in {_short(folder)}/"
    shown: list[str] = []
    for name in names[:MOST_PLACES]:
        if shown and sum(map(len, shown)) + len(name) > NAMES_ROOM:
            break
        shown.append(_short(name))
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _limit(one: LeftOut, limit: int) -> str:
    """The limit that left it out."""
    file, all_, files = show_limit(limit // LARGE_SHARE), show_limit(limit), f"{MOST_FILES:,} files"
    known = {FILE: f"limit: {file} a file", BYTES: f"limit: {all_} in all", FILES: f"limit: {files} in all"}
    return known.get(one.over, f"limits: {file} a file, {all_} and {files} in all")


def _is_over(one: LeftOut) -> bool:
    """Whether it may be too large for an artifact of its own as well."""
    return not one.reason and (one.path.endswith("/") or one.bytes > USUAL_LIMIT)


def limited(limit: int | None) -> Mapping[str, Any]:
    """As the record keeps how much of an artifact is kept."""
    return {} if limit is None else {LIMIT: limit}


def limit_of(ref: ArtifactRef) -> int | None:
    """How much of an artifact is kept, by its record; None = all."""
    found = ref.extra.get(LIMIT)
    return found if type(found) is int and found > 0 else None


def as_field(left_out: Sequence[LeftOut]) -> Mapping[str, Any]:
    """As the record keeps it."""
    places = [(one.path.encode("utf-8", "replace").decode(), one) for one in left_out]
    return {
        FIELD: [
            {"path": path, "files": one.files, "bytes": one.bytes} | ({"reason": one.reason} if one.reason else {})
            for path, one in places
        ]
    }


def spelled(left_out: Sequence[LeftOut]) -> str:
    """What was not captured, in a line: the largest, then the topmost of what ignore files left out."""
    large = [one for one in left_out if not one.reason]
    names = [shown(one.path) + _extent(one) for one in large[:MOST_PLACES]]
    rest = large[MOST_PLACES:]
    texts = [", ".join(names) + (f" and {sum(one.files for one in rest):,} more files" if rest else "")] * bool(names)
    ignored = [one for one in left_out if one.reason]
    named = [one for one in ignored if one.path != "./"][:MOST_PLACES]
    more = sum(one.files if one.path == "./" else 1 for one in ignored) - len(named)
    texts += [f"{shown(one.path)} ({one.reason})" for one in named]
    return ", ".join(texts) + (f" and {more:,} more that ignore files name" if more else "")


def shown(path: str) -> str:
    """A path as a line may have it, without secrets."""
    return repr(path)[1:-1] if not path.isprintable() else clean(path)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]


def _extent(one: LeftOut) -> str:
    size = show_size(one.bytes) if one.bytes >= 0 else ""
    if not one.path.endswith("/"):
        return f" of {size}" if size else ""
    return f" with {one.files:,} file{'s' if one.files != 1 else ''}" + (f" of {size}" if size else "")


def left_out_of(experiment: Experiment, name: str = "workspace") -> list[LeftOut]:
    """What an artifact of the experiment is without for its size, or by the user's ignore files."""
    ref = experiment.artifacts.get(name)
    return [] if ref is None else places_of(ref)


def places_of(ref: ArtifactRef) -> list[LeftOut]:
    """The same of an artifact in its record."""
    found = ref.extra.get(FIELD)
    out = []
    for one in found if isinstance(found, list) else []:
        if isinstance(one, dict) and isinstance(one.get("path"), str):
            files, size, reason = one.get("files"), one.get("bytes"), one.get("reason")
            count, extent = files if type(files) is int else 1, size if type(size) is int else -1
            out.append(LeftOut(one["path"], count, extent, reason=reason if isinstance(reason, str) else ""))
    return out


def lacking_file(experiment: Experiment, before: Experiment) -> str:
    """What to say of a rerun that failed and is without what was not captured; "" if there is no such thing."""
    left_out = left_out_of(before)
    if experiment.status != "failed" or not left_out:
        return ""
    error = experiment.exit.error if experiment.exit is not None else None
    for one in left_out if error is not None else ():
        if one.path != "./" and _named(one.path.rstrip("/"), error.message if error is not None else ""):
            why = f" ({one.reason})" if one.reason else ""
            return (
                f"{shown(one.path)} was not captured with {before.key}{why}; run the script where it is, or capture it"
                f" with --capture-once {shlex.quote(one.path.rstrip('/'))}:NAME{NO_LIMIT if _is_over(one) else ''}"
            )
    return f"{experiment.key} ran without what {before.key} did not capture: {spelled(left_out)}"


def _named(path: str, message: str) -> bool:
    """Whether a message names a path, or one below it: not where it is a part of another word."""
    return re.search(rf"(?<![\w.-]){re.escape(path)}(?![\w-])", message) is not None
