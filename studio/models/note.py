"""Reads `.studio.json`, where the hooks of a run tell which models they kept, which is *the* model, which were lost."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .folder import DEPTH, opened, shown

SIDECAR = ".studio.json"
MOST_BYTES = 16 * 1024 * 1024
LONGEST = 300
LONGEST_WHY = 600
"""Characters of why a model is lost: what to do comes last."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A model that a hook kept. `file` is relative to the folder; `trained` in seconds since 1970, 0 if unknown.

    `cut` tells what has cut its fit short, if anything has; `broken`: an error, so that it is no model to go on with.
    """

    name: str
    file: str
    helper: bool
    chosen: bool
    trained: float
    reason: str = ""
    cut: str = ""
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """A training that a hook saw and whose model it could not keep."""

    name: str
    trained: float
    why: str


@dataclass(frozen=True, slots=True)
class Note:
    """What the file tells. `written` is its time of change, 0 without one; `dropped` counts models without room.

    `best_by` says in words by which metric `best` is the best.
    """

    best: str | None = None
    models: tuple[Kept, ...] = ()
    lost: tuple[Lost, ...] = ()
    written: float = 0.0
    dropped: int = 0
    best_by: str = ""

    @property
    def chosen(self) -> Kept | None:
        """*The* model, if a hook has chosen one."""
        return next((kept for kept in self.models if kept.chosen), None)

    def kept(self, label: str) -> Kept | None:
        """What is told of a file."""
        return next((kept for kept in self.models if kept.file == label), None)


def read_note(modeldir: Path) -> Note:
    """The folder's note; an empty one where it is missing or damaged, for a script may write there what it likes."""
    data, written = _read(modeldir)
    return parse_note(data, written)


def entry_of(path: Path) -> Mapping[str, Any]:
    """All that the note beside the file, or above it, tells of the model in this file; empty if it tells nothing."""
    for folder in list(path.absolute().parents)[:DEPTH]:
        try:
            models = json.loads(_read(folder)[0])["models"]
            name = path.absolute().relative_to(folder).as_posix()
            found = next(model for model in models if model["file"] == name)
            return found if isinstance(found, dict) else {}
        except (ValueError, KeyError, TypeError, StopIteration, RecursionError):
            continue
    return {}


def _read(modeldir: Path) -> tuple[bytes, float]:
    """The bytes of the note, none if it cannot be read, and its time of change."""
    try:
        with opened(modeldir / SIDECAR) as descriptor:
            written = os.fstat(descriptor).st_mtime
            if os.fstat(descriptor).st_size > MOST_BYTES:
                return b"", 0.0
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(MOST_BYTES + 1), written
    except OSError:
        return b"", 0.0


def parse_note(data: bytes, written: float = 0.0) -> Note:
    """The same for the bytes of a note."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return Note()
    if not isinstance(told, dict):
        return Note()
    best = told.get("best")
    file = best.get("file") if isinstance(best, dict) else None
    models, lost = ([e for e in _list(told.get(k)) if isinstance(e, dict)] for k in ("models", "lost"))
    return Note(
        file if isinstance(file, str) else None,
        tuple(kept for entry in models if (kept := _kept(entry)) is not None),
        tuple(_lost(entry) for entry in lost if entry.get("role") != "helper"),
        written,
        int(_seconds(told.get("dropped"))),
        _best_by(best) if isinstance(best, dict) else "",
    )


def _best_by(best: dict[str, object]) -> str:
    metric, value, better = best.get("metric"), best.get("value"), {"max": "larger", "min": "smaller"}
    mode = better.get(str(best.get("mode")), "")
    if not isinstance(metric, str) or not isinstance(value, int | float) or not mode:
        return ""
    return f"{one_line(metric)} {_seconds(value):.4g} of its epochs that were kept, {mode} is better"


def _kept(entry: dict[str, object]) -> Kept | None:
    name, file = entry.get("name"), entry.get("file")
    if not isinstance(name, str) or not isinstance(file, str):
        return None
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        return None
    return Kept(
        name,
        path.as_posix(),
        entry.get("role") == "helper",
        entry.get("chosen") is True,
        _seconds(entry.get("trained")),
        one_line(str(entry.get("reason") or "")),
        one_line(str(entry.get("cut") or "")),
        entry.get("broken") is True,
    )


def _lost(entry: dict[str, object]) -> Lost:
    name = entry.get("name") or entry.get("class") or "a model"
    why = entry.get("why") or "the hook does not tell why"
    return Lost(one_line(str(name)), _seconds(entry.get("trained")), one_line(str(why), LONGEST_WHY))


def one_line(text: str, most: int = LONGEST) -> str:
    """Text from a file as one printable line of bounded length, which ends with a whole word where it has any."""
    text = " ".join(text[: 10 * most].split())
    if len(text) > most:
        start, blank, _ = text[: most - 1].rpartition(" ")
        text = (start if blank and len(start) > most // 2 else text[: most - 2]) + " …"
    return shown(text, most)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        return float(value) if math.isfinite(value) else 0.0
    except OverflowError:
        return 0.0


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
