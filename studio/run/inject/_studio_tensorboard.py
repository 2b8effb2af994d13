"""TensorBoard writers that the script opens anywhere: the supervisor is told to read along there."""

from __future__ import annotations

import os
import re
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from . import _studio_frames, _studio_hooks, _studio_modeldir, _studio_track
else:
    import _studio_frames
    import _studio_hooks
    import _studio_modeldir
    import _studio_track

_STAMP = re.compile(r"\d{9,}\.\d+")  # a folder that add_hparams makes


def _told() -> dict[str, str]:
    """Folder -> what its names begin with, of this run."""
    known: dict[str, str] = _studio_track.memory("tensorboard", dict)
    return known


def hook(module: ModuleType) -> None:
    """Wraps what opens an event file: a class `EventFileWriter`, or TensorFlow's function."""
    if hasattr(module, "create_file_writer_v2"):
        original = module.create_file_writer_v2
        if not getattr(original, "_studio", False):
            module.create_file_writer_v2 = _telling(original, 0)  # type: ignore[attr-defined]
        return
    kind = module.EventFileWriter
    if not getattr(kind.__init__, "_studio", False):
        kind.__init__ = _telling(kind.__init__, 1)


def _telling(original: Any, position: int) -> Any:
    def opened(original: Any, *args: Any, **kwargs: Any) -> Any:
        if _studio_hooks.working():
            folder = kwargs.get("logdir", args[position] if len(args) > position else None)
            _studio_hooks.guarded("tensorboard", _tell, folder)
        return original(*args, **kwargs)

    return _studio_frames.around(original, opened)


def _tell(folder: Any) -> None:
    if not isinstance(folder, (str, os.PathLike)):
        return
    path = os.path.abspath(os.fspath(folder))
    captured = _studio_modeldir.folder("tb")
    if "://" in str(folder) or path in _told() or (captured is not None and _studio_modeldir.holds(captured, path)):
        return  # `tb` is read in any case
    prefix = _told()[path] = _prefix(path)
    _studio_track.event("tensorboard", folder=path, prefix=prefix, since=time.time() - 1)  # file times lag


def _prefix(path: str) -> str:
    """What tells the scalars of this folder from those of the others: nothing for the first one, and for its `train`
    and `validation` what these always have; else where it is, seen from the first one or from beside it.
    """
    base, kind = _parts(path)
    first = _parts(next(iter(_told()), path))[0]
    if os.path.dirname(path) in _told() and _STAMP.fullmatch(os.path.basename(path)):
        return _told()[os.path.dirname(path)]
    places = [os.path.relpath(base, start) for start in (first, os.path.dirname(first))]
    found = [("" if place == "." else place + "/") + kind for place in places if not place.startswith("..")]
    free = [prefix for prefix in (*found, os.path.basename(path) + "/") if prefix not in _told().values()]
    return free[0] if free else path.strip("/") + "/"


def _parts(path: str) -> tuple[str, str]:
    base, name = os.path.split(path)
    kind = {"train": "", "validation": "val_"}.get(name)
    return (path, "") if kind is None else (base, kind)
