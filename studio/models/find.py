"""Decides in which order the checkpoints of a model folder are tried: chosen, named, newest or best."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import ConfigError, ModelLoadError, ModelNotFound, nearest
from .folder import Candidate, look_into
from .note import Kept, Note, one_line

_METRIC = re.compile(
    r"(?P<name>(?:val_)?(?:loss|acc|accuracy|auc|mae|mse|f1))[-_=](?P<value>-?\d+(?:\.\d+)?(?:e-?\d+)?)"
)
_SMALLER_IS_BETTER = ("loss", "mae", "mse", "error")


def find_checkpoints(modeldir: Path) -> list[Candidate]:
    """Every checkpoint in the folder (down to three levels), newest first, ties by name."""
    return newest_first(look_into(modeldir).checkpoints)


def newest_first(candidates: list[Candidate]) -> list[Candidate]:
    """The same checkpoints by their time of change, ties by name."""
    return sorted(candidates, key=lambda c: (-c.mtime, c.path.name))


def chosen_first(candidates: list[Candidate], modeldir: Path, note: Note) -> list[Candidate]:
    """The same checkpoints in the order in which they are tried.

    The model that the run's note calls *the* model comes first, then the others, newest first, and at the end those
    that the note calls helpers. A checkpoint that the note does not know and that is newer than the note was written
    by the script itself afterwards, and comes before all.
    """

    def rank(candidate: Candidate) -> tuple[int, float, str]:
        kept = note.kept(candidate.label(modeldir))
        later = kept is None and note.chosen is not None and candidate.mtime > note.written
        group = 0 if later else 1 if kept is not None and kept.chosen else 3 if kept is not None and kept.helper else 2
        return group, -_trained(candidate, kept), candidate.path.name

    return sorted(candidates, key=rank)


def trained_at(candidate: Candidate, modeldir: Path, note: Note) -> float:
    """When the model was trained, in seconds since 1970: by the note, else the file's time of change."""
    return _trained(candidate, note.kept(candidate.label(modeldir)))


def _trained(candidate: Candidate, kept: Kept | None) -> float:
    return kept.trained if kept is not None and kept.trained else candidate.mtime


def named(name: str, candidates: list[Candidate], modeldir: Path, note: Note, where: str = "") -> Candidate:
    """The checkpoint that `--model NAME` means: by the name in the note, by its file, or by its file without suffix.

    Args:
        where: What an error calls the folder: the experiment that the user named, say.

    Raises:
        ModelLoadError: the model was seen and is not there.
        ModelNotFound: nothing is called so.
        ConfigError: several are.
    """
    files = {c.label(modeldir): c for c in candidates}
    kept = {k.name: k.file for k in note.models}
    if name in kept or name in files:
        file = kept.get(name, name)
        if file in files:
            return files[file]
        raise ModelLoadError(f"model {name!r} was kept as {file}, which is not there or cannot be read")
    lost = next((lost for lost in note.lost if lost.name == name), None)
    if lost is not None:
        raise ModelLoadError(f"model {name!r} was trained, but could not be kept: {lost.why}")
    hits = [file for file in files if name in (Path(file).name, Path(file).stem)]
    if len(hits) > 1:
        raise ConfigError(f"--model {name} means {' and '.join(sorted(hits))}", hint="name the file")
    if hits:
        return files[hits[0]]
    known = model_names(candidates, modeldir, note)
    stems = [Path(file).stem for file in known]
    raise ModelNotFound(
        f"no model {one_line(name)!r} in {where or modeldir}",
        hint="; ".join(filter(None, (nearest(name, [*known, *stems]), "known: " + (", ".join(known) or "none")))),
    )


def model_names(candidates: list[Candidate], modeldir: Path, note: Note) -> list[str]:
    """What `--model` takes: the names in the note, then the files that have none."""
    noted = [kept for kept in note.models if any(c.label(modeldir) == kept.file for c in candidates)]
    files = {kept.file for kept in noted}
    return [one_line(kept.name) for kept in noted] + sorted({c.label(modeldir) for c in candidates} - files)


def best_first(candidates: list[Candidate], modeldir: Path, note: Note, where: str = "") -> list[Candidate]:
    """The same checkpoints, the one with the best metric first, those without one as `chosen_first` has them.

    The metric comes from `.studio.json`, which studio's Keras hook writes, else from the file names
    (`model-03-val_loss=0.21.keras`); a name with the word `best` wins where no number is known.

    Raises:
        ConfigError: nothing tells which one is best.
    """
    candidates = chosen_first(candidates, modeldir, note)
    first = [c for c in candidates if c.label(modeldir) == note.best]
    if first:
        return first + [c for c in candidates if c not in first]
    scores = _from_names(candidates)
    if scores:
        return sorted(candidates, key=lambda c: scores.get(c.path, float("inf")))
    named = [c for c in candidates if re.search(r"(?<![a-z])best(?![a-z])", c.path.name.lower())]
    if named:
        return named + [c for c in candidates if c not in named]
    raise ConfigError(
        f"--best: no checkpoint of {where or modeldir} has a metric",
        hint="leave out --best, or name checkpoints like model-{epoch:02d}-val_loss={val_loss:.4f}.keras",
    )


def _from_names(candidates: list[Candidate]) -> dict[Path, float]:
    """Path → score, smaller is better, for the names that tell one."""
    scores: dict[Path, float] = {}
    for candidate in candidates:
        hit = _METRIC.search(candidate.path.name.removesuffix(candidate.path.suffix).lower())
        if hit is not None:
            sign = 1.0 if any(word in hit["name"] for word in _SMALLER_IS_BETTER) else -1.0
            scores[candidate.path] = sign * float(hit["value"])
    return scores
