"""What a script saves by `model.save`, `torch.save`, `joblib.dump`, `savefig`: noted; models and figures are copied."""

from __future__ import annotations

import contextlib
import functools
import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

    from . import _studio_end, _studio_hooks, _studio_modeldir, _studio_track
else:
    import _studio_end
    import _studio_hooks
    import _studio_modeldir
    import _studio_track

COPY_BYTES = 1 << 30  # all copies together; the newest count
NOTED = 50  # paths that are told of; a script that saves each step to a name of its own has thousands
FIGURES = 1000  # that are copied
FIGURE_TYPES = ("png", "jpg", "jpeg", "svg", "webp")  # no PDF: browsers' pages show these
_local = threading.local()
_saved: dict[str, str] = {}  # path -> by what, the newest last
_noted: set[str] = set()
_figures = 0


def hook(module: ModuleType) -> None:
    """Wraps the function of this module that saves."""
    if module.__name__ == "joblib.numpy_pickle":
        _wrap(module, "dump", "joblib.dump", 1, "filename")
    elif module.__name__ == "torch.serialization":
        _wrap(module, "save", "torch.save", 1, "f")
    elif module.__name__ == "matplotlib.figure":
        _wrap(module.Figure, "savefig", "savefig", 1, "fname")
    elif module.__name__ == "keras":
        _wrap(module.Model, "save", "model.save", 1, "filepath")


def forget() -> None:
    """Another run begins."""
    global _figures
    _saved.clear()
    _noted.clear()
    _figures = 0
    _studio_modeldir.forget()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Saving within is studio's own."""
    _local.quiet = True
    try:
        yield
    finally:
        _local.quiet = False


def _wrap(owner: Any, name: str, how: str, position: int, keyword: str) -> None:
    original = getattr(owner, name)
    if getattr(original, "_studio", False):
        return

    @functools.wraps(original)
    def save(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if not getattr(_local, "quiet", False) and _studio_hooks.working():
            target = kwargs.get(keyword, args[position] if len(args) > position else None)
            _studio_hooks.guarded("saves", _note, how, target)
        return result

    if isinstance(owner, type):
        save._studio = True  # type: ignore[attr-defined]
        setattr(owner, name, save)
    else:
        _studio_hooks.replace(owner, name, save)


def _note(how: str, target: Any) -> None:
    if not isinstance(target, (str, os.PathLike)):
        return  # an open file: there is no name to copy it by
    path = os.path.abspath(os.fsdecode(os.fspath(target)))
    if path not in _noted and len(_noted) < NOTED:
        _noted.add(path)
        _studio_track.event("figure" if how == "savefig" else "model", path=path, how=how)
    if how == "savefig":
        _keep_figure(path)
        return
    _saved.pop(path, None)
    _saved[path] = how
    _studio_end.at_end("saves", _copy_all)


def _keep_figure(path: str) -> None:
    """A picture of the run under the file's name; each time it is saved is a step."""
    global _figures
    name, ending = os.path.splitext(os.path.basename(path))
    if ending[1:].lower() not in FIGURE_TYPES or _figures >= FIGURES:
        return
    _figures += 1
    import _studio_media  # type: ignore[import-not-found]

    _studio_media.log_image(name, path)


def _copy_all() -> None:
    """Copies models that were saved elsewhere into `modeldir`, the newest first, if the script does not use it."""
    modeldir = _studio_modeldir.folder()
    if modeldir is None or _studio_modeldir.is_the_scripts(modeldir):
        return
    room = COPY_BYTES
    chosen: list[str] = []
    left_out: list[str] = []
    for path in reversed(list(_saved)):
        if _studio_modeldir.holds(modeldir, path) or not os.path.isfile(path):
            continue
        size = os.path.getsize(path)
        if size <= room and os.path.basename(path) not in {os.path.basename(other) for other in chosen}:
            room -= size
            chosen.append(path)
        else:
            left_out.append(path)
    for path in reversed(chosen):  # the newest is written last and so is the newest there
        copy = _studio_modeldir.put_copy(modeldir, path)
        _studio_track.event("model", path=copy, how="copy", of=path)
    if left_out:
        names = ", ".join(left_out[:5])
        _studio_track.warning("saves.size", f"not copied into modeldir (over 1 GiB in all, or a name twice): {names}")
