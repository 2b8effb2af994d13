"""Looks into a model folder: which files are checkpoints, which only look like models, and what must not be read.

Only regular files are opened, never a pipe, a socket or a device, so that no folder can make the server wait.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

DEPTH = 3
SAVED_MODEL_MEMBERS = 10_000
SPARSE_BYTES = 64 * 1024 * 1024
"""Files from this size on are checked for holes; below it even a file of nothing but holes costs little to read."""

SPARSE_RATIO = 64
_EXTENTS = 10_000

_BY_SUFFIX = {".keras": "keras", ".h5": "keras", ".hdf5": "keras", ".onnx": "onnx", ".joblib": "joblib"}
_PICKLES = (".pkl", ".pickle")
_PACKED = (".gz", ".bz2", ".xz", ".lzma", ".z")
_BOOSTERS = {".json": ("xgboost", b'{"learner":{'), ".txt": ("lightgbm", b"tree\nversion=")}

_ODD_NAME = "its name holds control characters or is no text; rename it"
_TORCH = "holds weights only, or a pickle of PyTorch's whose code studio does not run"
_WEIGHTS = "holds weights only, without the model's structure"
_UNKNOWN = "is in a format that studio does not load"
_LEFTOVERS = {
    ".pt": _TORCH, ".pth": _TORCH, ".ckpt": _TORCH, ".pt2": _UNKNOWN, ".safetensors": _WEIGHTS, ".dill": _UNKNOWN,
    ".skops": _UNKNOWN, ".cbm": _UNKNOWN, ".tflite": _UNKNOWN, ".pmml": _UNKNOWN, ".mlmodel": _UNKNOWN,
    ".gguf": _WEIGHTS, ".msgpack": _WEIGHTS, ".pdparams": _WEIGHTS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file or folder that looks like a checkpoint. `format` is a name of the `studio.loaders` table."""

    path: Path
    format: str
    mtime: float

    def label(self, modeldir: Path) -> str:
        """Its path within the model folder."""
        return self.path.relative_to(modeldir).as_posix()


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that looks like a model, and why studio cannot serve it, as a clause with the file as its subject."""

    label: str
    mtime: float
    why: str


@dataclass(slots=True)
class Found:
    """What a model folder holds.

    Attributes:
        checkpoints: What may be served.
        leftovers: Files that look like models and have no loader.
        skipped: A line for each name that looks like a model and was not opened, with the reason.
    """

    checkpoints: list[Candidate] = field(default_factory=list)
    leftovers: list[Leftover] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def look_into(modeldir: Path) -> Found:
    """What the folder holds, down to three levels. Names with a leading dot do not count.

    Raises:
        OSError: the folder itself cannot be read.
    """
    found = Found()
    _walk(modeldir, "", DEPTH, found)
    return found


def look_through(files: Iterable[tuple[str, float]], read: Callable[[str], bytes]) -> list[Candidate]:
    """The checkpoints of a folder that is elsewhere, such as in a store; their paths are those within the folder.

    Args:
        files: Path within the folder, and time of change.
        read: The bytes of a file whose name does not tell what it is.
    """
    seen = [(label, label.split("/"), mtime) for label, mtime in files]
    seen = [one for one in seen if not any(part.startswith(".") for part in one[1])]
    graphs = {"/".join(parts[:-1]): mtime for _, parts, mtime in seen if parts[1:] and parts[-1] == "saved_model.pb"}
    found = [Candidate(Path(at), "saved_model", mtime) for at, mtime in graphs.items() if at.count("/") < DEPTH]
    for label, parts, mtime in seen:
        name = parts[-1].lower()
        if len(parts) > DEPTH or _left(name) or any("/".join(parts[:n]) in graphs for n in range(1, len(parts))):
            continue
        kind = _by_name(name)
        if kind is None and os.path.splitext(name)[1] in _BOOSTERS:
            library, beginning = _BOOSTERS[os.path.splitext(name)[1]]
            kind = library if read(label).startswith(beginning) else None
        if kind is not None:
            found.append(Candidate(Path(label), kind, mtime))
    return found


def look_at(path: Path) -> Candidate | Leftover | str | None:
    """One path: what it is, or why it must not be read; None if it does not look like a model."""
    return _judge(path, path.name)


def why_left(label: str) -> str | None:
    """Why the file at a path within a model folder cannot be served although it looks like a model; None for others."""
    parts = label.split("/")
    return None if len(parts) > DEPTH or any(part.startswith(".") for part in parts) else _left(parts[-1].lower())


def shown(name: str, most: int = 200) -> str:
    """A name as one line of text, whatever it holds."""
    return name if _plain(name) and len(name) <= most else repr(name[:most])


def kind_of(mode: int) -> str:
    """What lies under a name that is neither a file nor a folder."""
    return "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of a regular file, for reading.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    # O_NONBLOCK: between the look and the opening the name may have become a pipe, which would make us wait
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def _walk(folder: Path, prefix: str, depth: int, found: Found) -> None:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        if name.startswith("."):
            continue
        path, label = folder / name, prefix + name
        judged = _judge(path, label)
        if isinstance(judged, Candidate):
            found.checkpoints.append(judged)
        elif isinstance(judged, Leftover):
            found.leftovers.append(judged)
        elif judged is not None:
            found.skipped.append(f"{shown(label)}: {judged}")
        elif depth > 1 and path.is_dir() and not path.is_symlink():
            if not _plain(name):
                found.skipped.append(f"{shown(label)}/: {_ODD_NAME}")
                continue
            try:
                _walk(path, label + "/", depth - 1, found)
            except OSError as exc:
                found.skipped.append(f"{shown(label)}/: cannot be read: {exc.strerror or exc}")


def _judge(path: Path, label: str) -> Candidate | Leftover | str | None:
    """A checkpoint, a leftover, the reason why it is neither, or None for what does not look like a model."""
    try:
        about = os.stat(path)
    except OSError as exc:
        return _unreachable(path, exc) if _looks_like_a_model(path.name) else None
    if stat.S_ISDIR(about.st_mode):
        return _judge_folder(path, label)
    name = path.name.lower()
    sniffed = not _looks_like_a_model(name)
    if name.startswith(".") or (sniffed and Path(name).suffix not in _BOOSTERS):
        return None
    why = _unreadable(path, about)
    if why or not _plain(path.name):
        return None if sniffed else why or _ODD_NAME
    left = _left(name)
    if left is not None:
        return Leftover(shown(label), about.st_mtime, left)
    kind = _format_of(path, name)
    return Candidate(path, kind, about.st_mtime) if kind is not None else None


def _judge_folder(path: Path, label: str) -> Candidate | Leftover | str | None:
    graph = path / "saved_model.pb"
    if os.path.lexists(path / "_CHECKPOINT_METADATA"):
        return Leftover(shown(label), path.stat().st_mtime, "is a checkpoint of Orbax and holds weights only")
    if not os.path.lexists(graph):
        return None
    if not _plain(path.name):
        return _ODD_NAME
    members = 0
    for folder, _, names in os.walk(path):
        for name in names:
            members += 1
            inner = Path(folder, name)
            why = "too many files for a SavedModel" if members > SAVED_MODEL_MEMBERS else _member(inner)
            if why:
                return f"{shown(inner.relative_to(path).as_posix())} in it: {why}"
    return Candidate(path, "saved_model", graph.stat().st_mtime)


def _member(path: Path) -> str:
    try:
        return _unreadable(path, os.stat(path))
    except OSError as exc:
        return _unreachable(path, exc)


def _looks_like_a_model(name: str) -> bool:
    """By the name alone. XGBoost's and LightGBM's text files do not count: anything is called so."""
    name = name.lower()
    return _by_name(name) is not None or _left(name) is not None


def _by_name(name: str) -> str | None:
    stem, suffix = os.path.splitext(name)
    if suffix in _PACKED:
        suffix = os.path.splitext(stem)[1]
        return "joblib" if suffix in (*_PICKLES, ".joblib") else None
    if suffix.startswith(".hdf"):
        return "keras"
    return _BY_SUFFIX.get(suffix) or {".ubj": "xgboost"}.get(suffix) or ("joblib" if suffix in _PICKLES else None)


def _left(name: str) -> str | None:
    """Why a file of this name is no checkpoint although it looks like one; None for all others."""
    if name.endswith(".weights.h5"):
        return _WEIGHTS
    if name == "checkpoint" or name == "pytorch_model.bin":
        return _TORCH
    if name.endswith(".index") and "ckpt" in name:
        return "is a checkpoint of TensorFlow and holds weights only"
    return _LEFTOVERS.get(os.path.splitext(name)[1])


def _format_of(path: Path, name: str) -> str | None:
    kind, suffix = _by_name(name), os.path.splitext(name)[1]
    if kind is not None or suffix not in _BOOSTERS:
        return kind
    library, beginning = _BOOSTERS[suffix]
    try:
        with opened(path) as descriptor:
            return library if os.read(descriptor, len(beginning)) == beginning else None
    except OSError:
        return None


def _unreachable(path: Path, exc: OSError) -> str:
    if path.is_symlink():
        return f"a link that leads nowhere: {exc.strerror or exc}"
    return f"cannot be read: {exc.strerror or exc}"


def _unreadable(path: Path, about: os.stat_result) -> str:
    """Why a file must not be read; "" if it may."""
    if not stat.S_ISREG(about.st_mode):
        return f"{kind_of(about.st_mode)}, not a file"
    try:
        with opened(path) as descriptor:
            holes = about.st_size >= SPARSE_BYTES and about.st_blocks * 512 * SPARSE_RATIO < about.st_size
            if holes and _data_bytes(descriptor, about.st_size) * SPARSE_RATIO < about.st_size:
                return f"a sparse file: {about.st_size} bytes, nearly all of them holes"
    except OSError as exc:
        return f"cannot be read: {exc.strerror or exc}"
    return ""


def _data_bytes(descriptor: int, size: int) -> int:
    """Bytes that are not holes. Block counts alone do not tell: some file systems count a fresh file's blocks late."""
    at = data = 0
    try:
        for _ in range(_EXTENTS):
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            at = os.lseek(descriptor, start, os.SEEK_HOLE)
            data += at - start
            if at >= size:
                break
        else:
            return size
    except OSError:  # no data behind this point
        pass
    return data


def _plain(text: str) -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)
