"""Refuses `--model` and `--best` where WHAT has no such model, by the server's rules, before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from ..models.find import best_first, named
from ..models.folder import Candidate, look_at, look_into, look_through
from ..models.note import SIDECAR, Note, parse_note, read_note
from ..serve.resolve import Resolved
from ..tracking import Tracking

Models = tuple[list[Candidate], Path, Note]
"""Checkpoints, the folder that they are in, and what the run noted of them."""


def check_choice(found: Resolved, options: Sequence[str], tracking: Tracking) -> None:
    """Refuses the server's words `options` if they name a model that is not there.

    Raises:
        ModelNotFound, ModelLoadError: `--model` is unknown, or was lost.
        ConfigError: it means several, or `--best` has no metric to go by.
    """
    name, best = _value(options, "--model"), "--best" in options
    if (name is None and not best) or "--identity" in options or "--wrapper" in options or found.is_wrapper:
        return
    where = f"experiment {found.experiment.key}" if found.experiment is not None else str(found.path)
    try:
        candidates, folder, note = models_of(found, tracking)
    except OSError:  # the server has the words for a folder that cannot be read
        return
    if name is not None:
        named(name, candidates, folder, note, where)
    elif candidates:
        best_first(candidates, folder, note, where)
    else:
        raise ConfigError(f"--best: there is no checkpoint in {where}", hint="leave out --best")


def models_of(found: Resolved, tracking: Tracking) -> Models:
    """The models of a path, or of an experiment, whose files stay in the store.

    Raises:
        OSError: the folder cannot be read.
        StoreError, ArtifactNotFound: the artifact cannot.
    """
    if found.path is not None:
        return _in_folder(found.path)
    ref = found.experiment.artifacts.get("modeldir") if found.experiment is not None else None
    if ref is not None and ref.manifest is not None:
        return _in_store(ref.manifest, tracking)
    here = tracking.home / "experiments" / found.experiment.key / "modeldir" if found.experiment is not None else None
    return _in_folder(here) if here is not None and here.is_dir() else ([], Path(), Note())


def _in_folder(path: Path) -> Models:
    if path.is_dir():
        at = look_at(path)  # a SavedModel is a folder
        if not isinstance(at, Candidate):
            return look_into(path).checkpoints, path, read_note(path)
    at = look_at(path)
    return [at] if isinstance(at, Candidate) else [], path.parent, read_note(path.parent)


def _in_store(manifest: str, tracking: Tracking) -> Models:
    members = tracking.artifacts.manifest(manifest)
    files = [(entry.path, entry.mtime) for entry in members.files if not entry.folder]
    note = members.entry(SIDECAR)
    known = Note() if note is None else parse_note(tracking.artifacts.read(manifest, SIDECAR), note.mtime)
    return look_through(files, lambda path: tracking.artifacts.read(manifest, path)), Path(), known


def _value(options: Sequence[str], name: str) -> str | None:
    """The value of an option among words, as `--model x` or `--model=x`."""
    for word, following in zip(options, [*options[1:], ""], strict=False):  # no options: nothing to see
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None
