"""Finds the checkpoints of a model folder, newest first, without opening a framework."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError

DEPTH = 3
_BY_SUFFIX = {".keras": "keras", ".h5": "keras", ".hdf5": "keras", ".onnx": "onnx", ".joblib": "joblib"}
_BOOSTERS = {".json": ("xgboost", b'{"learner":{'), ".txt": ("lightgbm", b"tree\nversion=")}
_METRIC = re.compile(
    r"(?P<name>(?:val_)?(?:loss|acc|accuracy|auc|mae|mse|f1))[-_=](?P<value>-?\d+(?:\.\d+)?(?:e-?\d+)?)"
)
_SMALLER_IS_BETTER = ("loss", "mae", "mse", "error")
SIDECAR = ".studio.json"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file or folder that looks like a checkpoint. `format` is a name of the `studio.loaders` table."""

    path: Path
    format: str
    mtime: float

    def label(self, modeldir: Path) -> str:
        """Its path within the model folder."""
        return self.path.relative_to(modeldir).as_posix()


def format_of(path: Path) -> str | None:
    """The loader for this path by its name (or, for a folder, its content); None if it is no checkpoint."""
    if path.is_dir():
        return "saved_model" if (path / "saved_model.pb").is_file() else None
    if path.name.startswith(".") or weights_only(path):
        return None
    suffix = path.suffix.lower()
    if suffix.startswith(".hdf"):
        return "keras"
    return _BY_SUFFIX.get(suffix) or _booster_format(path, suffix)


def _booster_format(path: Path, suffix: str) -> str | None:
    """Boosters by their first bytes: `.json` and `.txt` may be anything."""
    if suffix == ".ubj":
        return "xgboost"
    if suffix not in _BOOSTERS:
        return None
    library, beginning = _BOOSTERS[suffix]
    try:
        with open(path, "rb") as file:
            return library if file.read(len(beginning)) == beginning else None
    except OSError:
        return None


def weights_only(path: Path) -> bool:
    """Whether the name says that the file holds weights without the model's structure."""
    return path.name.lower().endswith(".weights.h5")


def find_checkpoints(modeldir: Path) -> list[Candidate]:
    """Every checkpoint in the folder (down to three levels), newest first, ties by name."""
    found = [Candidate(p, f, _newest(p)) for p, f in _walk(modeldir, DEPTH)]
    return sorted(found, key=lambda c: (-c.mtime, c.path.name))


def find_weights(modeldir: Path) -> list[Path]:
    """Files that hold only weights, PyTorch's included: not servable alone, named in the error."""
    return sorted(p for end in ("*.weights.h5", "*.pt", "*.pth") for p in modeldir.rglob(end) if p.is_file())


def _walk(folder: Path, depth: int) -> Iterator[tuple[Path, str]]:
    for entry in sorted(folder.iterdir()):
        found = format_of(entry)
        if found is not None:
            yield entry, found
        elif entry.is_dir() and not entry.is_symlink() and depth > 1 and not entry.name.startswith("."):
            yield from _walk(entry, depth - 1)


def _newest(path: Path) -> float:
    return (path / "saved_model.pb" if path.is_dir() else path).stat().st_mtime


def best_first(candidates: list[Candidate], modeldir: Path) -> list[Candidate]:
    """The same checkpoints, the one with the best metric first.

    The metric comes from `.studio.json`, which studio's Keras hook writes, else from the file names
    (`model-03-val_loss=0.21.keras`); a name with the word `best` wins where no number is known.

    Raises:
        ConfigError: nothing tells which one is best.
    """
    told = _told_best(modeldir)
    first = [c for c in candidates if c.label(modeldir) == told]
    if first:
        return first + [c for c in candidates if c not in first]
    scores = _from_names(candidates)
    if scores:
        return sorted(candidates, key=lambda c: scores.get(c.path, float("inf")))
    named = [c for c in candidates if re.search(r"(?<![a-z])best(?![a-z])", c.path.name.lower())]
    if named:
        return named + [c for c in candidates if c not in named]
    raise ConfigError(
        f"--best: nothing in {modeldir} tells a metric",
        hint="leave out --best, or name checkpoints like model-{epoch:02d}-val_loss={val_loss:.4f}.keras",
    )


def _told_best(modeldir: Path) -> str | None:
    try:
        return str(json.loads((modeldir / SIDECAR).read_bytes())["best"]["file"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _from_names(candidates: list[Candidate]) -> dict[Path, float]:
    """Path → score, smaller is better, for the names that tell one."""
    scores: dict[Path, float] = {}
    for candidate in candidates:
        hit = _METRIC.search(candidate.path.name.removesuffix(candidate.path.suffix).lower())
        if hit is not None:
            sign = 1.0 if any(word in hit["name"] for word in _SMALLER_IS_BETTER) else -1.0
            scores[candidate.path] = sign * float(hit["value"])
    return scores
