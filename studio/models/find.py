"""Decides in which order the checkpoints of a model folder are tried: chosen, named, newest or best."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import ConfigError, ModelLoadError, ModelNotFound, nearest
from .folder import Candidate, look_into
from .note import Kept, Note, one_line

_BETTER = {"loss": "smaller", "mae": "smaller", "mse": "smaller"} | dict.fromkeys(
    ("acc", "accuracy", "auc", "f1"), "larger"
)
_METRIC = re.compile(
    rf"(?<![a-z0-9])(?P<val>val[_-])?(?P<name>{'|'.join(_BETTER)})[-_=]"
    r"(?P<value>-?\d+(?:\.\d+)?(?:e[-+]?\d+)?|nan|-?inf)(?![a-z0-9]|\.\d)"
)


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

    Capital letters matter only where names differ in nothing else.

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
    every = {
        *kept,
        *files,
        *(lost.name for lost in note.lost),
        *(n for f in files for n in (Path(f).name, Path(f).stem)),
    }
    alike = [named(n, candidates, modeldir, note, where) for n in sorted(every) if n.casefold() == name.casefold()]
    if len({candidate.path for candidate in alike}) > 1:
        labels = sorted({candidate.label(modeldir) for candidate in alike})
        raise ConfigError(f"--model {name} means {' and '.join(labels)}", hint="write capital letters as they do")
    if alike:
        return alike[0]
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
    (`model-03-val_loss=0.21.keras`): one that all names with a metric have, of validation if there is one. A name with
    the word `best` wins where no number is known.

    Raises:
        ConfigError: nothing tells which one is best.
    """
    candidates = chosen_first(candidates, modeldir, note)
    first = [c for c in candidates if c.label(modeldir) == note.best]
    if first:
        return first + [c for c in candidates if c not in first]
    _, scores = _from_names(candidates)
    if scores:
        return sorted(candidates, key=lambda c: scores.get(c.path, (float("inf"), ""))[0])
    named = [c for c in candidates if re.search(r"(?<![a-z])best(?![a-z])", c.path.name.lower())]
    if named:
        return named + [c for c in candidates if c not in named]
    where = where or str(modeldir)
    some = any(_metrics(c) for c in candidates)
    raise ConfigError(
        f"--best: the checkpoints of {where} have no metric in common"
        if some
        else f"--best: no checkpoint of {where} has a metric",
        hint="leave out --best, or name checkpoints like model-{epoch:02d}-val_loss={val_loss:.4f}.keras",
    )


def judged_by(served: Candidate, candidates: list[Candidate], modeldir: Path, note: Note) -> str:
    """What tells that this one is the best, in words; "" where it is not, or no number tells."""
    if served.label(modeldir) == note.best:
        return note.best_by
    name, scores = _from_names(candidates)
    if served.path not in scores:
        return ""
    return (
        f"{name} {scores[served.path][1]} of {len(scores)} checkpoints, {_BETTER[name.removeprefix('val_')]} is better"
    )


def _from_names(candidates: list[Candidate]) -> tuple[str, dict[Path, tuple[float, str]]]:
    """A metric that all names with any have, and path → score, smaller is better, and the value as it stands there."""
    found = {c.path: metrics for c in candidates if (metrics := _metrics(c))}
    shared = [name for name in next(iter(found.values()), {}) if all(name in metrics for metrics in found.values())]
    if not shared:
        return "", {}
    best = next((name for name in shared if name.startswith("val_")), shared[0])
    sign = 1.0 if _BETTER[best.removeprefix("val_")] == "smaller" else -1.0
    scores = {path: sign * float(metrics[best]) for path, metrics in found.items()}
    return best, {p: (float("inf") if s != s else s, found[p][best]) for p, s in scores.items()}


def _metrics(candidate: Candidate) -> dict[str, str]:
    """Metric → value as the file's name has them; the first value of each."""
    found: dict[str, str] = {}
    for hit in _METRIC.finditer(candidate.path.name.removesuffix(candidate.path.suffix).lower()):
        found.setdefault(f"{'val_' if hit['val'] else ''}{hit['name']}", hit["value"])
    return found
