"""The folder `modeldir` as the hooks use it: whole files only, and nothing at all once the script uses it itself."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from . import _studio_track
else:
    import _studio_track

OURS = re.compile(
    r"(model-\d{3,}(\.keras|\.weights\.h5|\.onnx|-inference)|model\.(joblib|json|txt)|\.studio\.json)(\.part)?"
)
SAVING = threading.RLock()
"""Held from looking at the folder to having put a file there, since the script may train in several threads."""

_ours: dict[str, tuple[int, int, int]] = {}  # path -> what the file was when a hook had put it there
_looked_at: set[str] = set()

# Files of these kinds are no checkpoints: what else a script writes into the folder keeps no model from being kept.
_BESIDE: tuple[str, ...] = (
    ".csv",
    ".tsv",
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".svg",
    ".pdf",
    ".yaml",
    ".yml",
    ".toml",
    ".ini",
    ".cfg",
)
_BESIDE += (".md", ".html", ".log", ".py", ".ipynb", ".parquet", ".jsonl")
_BOOSTERS = {".json": b'{"learner":{', ".txt": b"tree\nversion="}  # others of these kinds are no checkpoints
BESIDE: set[str] = set()
"""Files that the script saved there and that are no models: a scaler, a list of names."""

_LOOKED = 2000  # files below the folder


def folder(artifact: str = "modeldir") -> str | None:
    """The folder of an artifact of this run, None if it has none of this name."""
    path = _studio_track.artifacts().get(artifact)
    if not isinstance(path, str):
        return None
    if artifact == "modeldir" and path not in _looked_at:
        _look_at(path)
    return path


@contextlib.contextmanager
def saving(wait_s: float) -> Iterator[bool]:
    """Holds `SAVING`, unless another thread does for longer than this; says whether it does."""
    mine = SAVING.acquire(timeout=wait_s)
    try:
        yield mine
    finally:
        if mine:
            SAVING.release()


def _look_at(modeldir: str) -> None:
    """Before the script trains: what is there under our names is an earlier process's of this run, so ours."""
    _looked_at.add(modeldir)
    try:
        names = os.listdir(modeldir)
    except OSError:
        return
    told = {model.get("file") for model in note(modeldir).get("models") or () if isinstance(model, dict)}
    for name in names:
        if OURS.fullmatch(name) or name in told:
            _remember(os.path.join(modeldir, name))


def note(modeldir: str) -> dict[str, Any]:
    """What an earlier process of this run has left in `.studio.json`; nothing if it cannot be read."""
    try:
        with open(os.path.join(modeldir, ".studio.json"), "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_ours(path: str) -> bool:
    """Whether a hook has put the file there and the script has not written over it, whatever its name."""
    try:
        return path in _ours and _identity(path) == _ours[path]
    except OSError:
        return False


def _remember(path: str) -> None:
    try:
        _ours[path] = _identity(path)
    except OSError:
        pass  # it is gone already


def _identity(path: str) -> tuple[int, int, int]:
    about = os.lstat(path)
    return about.st_ino, about.st_size, about.st_mtime_ns


def is_the_scripts(modeldir: str) -> bool:
    """Whether a checkpoint lies there that no hook has put there."""
    return any(True for _ in scripts_own(modeldir))


def scripts_own(modeldir: str) -> Iterator[str]:
    """The paths of what looks like a checkpoint and no hook has put there."""
    looked = 0
    for folder, folders, names in os.walk(modeldir):
        folders[:] = [name for name in folders if not is_ours(os.path.join(folder, name))]
        for name in names:
            looked += 1
            path = os.path.join(folder, name)
            part = name.endswith(".part") and OURS.fullmatch(name)  # of a process that was killed
            if not part and path not in BESIDE and not is_ours(path) and _is_checkpoint(path, name.lower()):
                yield path
        if looked > _LOOKED:
            return


def _is_checkpoint(path: str, name: str) -> bool:
    ending = os.path.splitext(name)[1]
    if name.startswith((".", "events.out.tfevents")) or ending in _BESIDE:
        return False
    if ending not in _BOOSTERS:
        return True
    try:
        with open(path, "rb") as file:
            return file.read(len(_BOOSTERS[ending])) == _BOOSTERS[ending]
    except OSError:
        return False


def holds(modeldir: str, path: str) -> bool:
    """Whether `path` is below the folder."""
    inside, whole = os.path.realpath(modeldir), os.path.realpath(path)
    return whole == inside or whole.startswith(inside + os.sep)


def put(modeldir: str, name: str, write: Callable[[str], object]) -> str:
    """Calls `write(temporary path)` and gives the whole file its name; returns its path.

    The temporary name has the same suffix, for libraries that look at it, and is not within the folder: a capture or
    a server that looks there meanwhile must not find half a file.
    """
    path = os.path.join(modeldir, name)
    os.makedirs(modeldir, mode=0o700, exist_ok=True)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    plain = name.replace(os.sep, "-")
    temporary = os.path.join(_studio_track.spool() or modeldir, f".saving-{os.getpid()}-{plain}")
    try:
        write(temporary)
        _move(temporary, path)
        _remember(path)
    finally:
        remove(temporary)
    return path


def remove(path: str) -> None:
    """Removes a file or a folder, if it is there."""
    if os.path.isdir(path):
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.remove(path)


def remove_ours(path: str) -> None:
    """Removes a file or a folder that a hook has put there, unless the script has written over it."""
    if is_ours(path):
        remove(path)


def size(path: str) -> int:
    """Bytes of a file, or of all files of a folder; 0 if it is not there."""
    try:
        if not os.path.isdir(path):
            return os.path.getsize(path)
        return sum(size(os.path.join(path, name)) for name in os.listdir(path))
    except OSError:
        return 0


def copy(source: str, target: str) -> None:
    """Copies a file or a folder."""
    import shutil

    (shutil.copytree if os.path.isdir(source) else shutil.copyfile)(source, target)


def _move(temporary: str, path: str) -> None:
    """The whole file or none of it under the new name, after a power cut too."""
    whole = os.path.isdir(temporary)
    for folder, _, names in os.walk(temporary) if whole else [(os.path.dirname(temporary), [], [temporary])]:
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                os.fsync(file.fileno())
    if whole:
        remove(path)  # a folder cannot take the place of another
    try:
        os.replace(temporary, path)
    except OSError:
        import shutil

        (shutil.copytree if whole else shutil.copyfile)(temporary, path + ".part")  # another file system
        os.replace(path + ".part", path)


folder()  # this module is loaded with the first library that is watched, before the script has trained anything
