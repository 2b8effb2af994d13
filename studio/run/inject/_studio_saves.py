"""What a script saves by `model.save`, `torch.save`, `joblib.dump`, `savefig`: noted; models and figures are copied."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

    from . import (
        _studio_end,
        _studio_frames,
        _studio_hold,
        _studio_hooks,
        _studio_modeldir,
        _studio_models,
        _studio_stop,
        _studio_track,
    )
else:
    import _studio_end
    import _studio_frames
    import _studio_hold
    import _studio_hooks
    import _studio_modeldir
    import _studio_models
    import _studio_stop
    import _studio_track

COPY_BYTES = 1 << 30  # all copies together; the newest count
NOTED = 50  # paths that are told of; a script that saves each step to a name of its own has thousands
FIGURES = 1000  # that are copied
FIGURE_TYPES = ("png", "jpg", "jpeg", "svg", "webp")  # no PDF: browsers' pages show these
_local = threading.local()
_follows = False
_writing: list[Any] = []  # to where the script saves just now


class Seen:
    """What one run's script has saved.

    Attributes:
        saved: Path -> what is known of it, the newest last.
        copies: Path -> the copy's name within `modeldir`, of what it is, and what the file was.
        noted: Paths that the run was told of.
        figures: How many pictures are kept.
    """

    def __init__(self) -> None:
        self.saved: dict[str, _Saved] = {}
        self.copies: dict[str, tuple[str, _Saved, tuple[int, int, int]]] = {}
        self.noted: set[str] = set()
        self.figures = 0


def _seen() -> Seen:
    found: Seen = _studio_track.memory("saves", Seen)
    return found


def hook(module: ModuleType) -> None:
    """Wraps the function of this module that saves."""
    if module.__name__ == "joblib.numpy_pickle":
        _wrap(module, "dump", "joblib.dump", 1, "filename")
        _wrap_load(module)
    elif module.__name__ == "torch.serialization":
        _wrap(module, "save", "torch.save", 1, "f")
    elif module.__name__ == "matplotlib.figure":
        _wrap(module.Figure, "savefig", "savefig", 1, "fname")
    elif module.__name__ == "keras":
        _wrap(module.Model, "save", "model.save", 1, "filepath")


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

    def save(original: Any, *args: Any, **kwargs: Any) -> Any:
        target = kwargs.get(keyword, args[position] if len(args) > position else None)
        if _studio_stop.saving() and not getattr(_local, "quiet", False):  # the run is about to be stopped
            with _studio_modeldir.SAVING:
                pass
        _writing.append(target)
        try:
            result = original(*args, **kwargs)
        finally:
            _written(target)
        if not getattr(_local, "quiet", False) and _studio_hooks.working():
            thing = args[0] if args else kwargs.get("value", kwargs.get("obj"))
            _studio_hooks.guarded("saves", _note, how, target, thing)
        return result

    if isinstance(owner, type):
        setattr(owner, name, _studio_frames.around(original, save))
    else:
        _studio_hooks.replace(owner, name, _studio_frames.around(original, save))


def _written(target: Any) -> None:
    for at, one in enumerate(_writing):
        if one is target:
            del _writing[at]
            return


def _wrap_load(module: ModuleType) -> None:
    original = module.load
    if getattr(original, "_studio", False):
        return

    def load(original: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        last = sys.modules.get("_studio_last")
        if last is not None and _studio_hooks.working():
            _studio_hooks.guarded("models", last.loaded, found)
        return found

    _studio_hooks.replace(module, "load", _studio_frames.around(original, load))


def _note(how: str, target: Any, thing: Any) -> None:
    path = _path_of(target)
    if path is None:
        return
    if path not in _seen().noted and len(_seen().noted) < NOTED:
        _seen().noted.add(path)
        _studio_track.event("figure" if how == "savefig" else "model", path=path, how=how)
    if how == "savefig":
        _keep_figure(path)
        return
    _seen().saved.pop(path, None)
    _seen().saved[path] = saved = _Saved(how, thing)
    torch = sys.modules.get("_studio_torch")
    if torch is not None:
        saved.network = bool(_studio_hooks.guarded("torch", torch.saved, thing))
    last = sys.modules.get("_studio_last")
    if last is not None and saved.model is not None and (saved.model.python or not saved.itself):
        last.look_now(saved.model)  # its own file is the one that is served
        saved.fits = saved.model.fits
    modeldir = _studio_modeldir.folder()
    if modeldir is not None and _studio_modeldir.holds(modeldir, path):
        (_studio_modeldir.BESIDE.add if _seen().saved[path].role == "helper" else _studio_modeldir.BESIDE.discard)(path)
    _follow_renames()
    import _studio_keep  # type: ignore[import-not-found]  # it needs this module

    _studio_end.at_end("models", _studio_keep.finish)


def _path_of(target: Any) -> str | None:
    """The path that is written to; that of an open file, too. A buffer in memory has none."""
    name = target
    if not isinstance(target, (str, os.PathLike)):
        name = getattr(target, "name", None)
        if isinstance(name, int):
            name = os.readlink(f"/proc/self/fd/{name}") if os.path.isdir("/proc/self/fd") else None
        if not isinstance(name, (str, bytes)):
            return None
    path = os.path.abspath(os.fsdecode(os.fspath(name)))
    return path if isinstance(target, (str, os.PathLike)) or os.path.lexists(path) else None


class _Saved:
    """What is known of something that the script saved."""

    def __init__(self, how: str, thing: Any) -> None:
        self.how, self.when = how, time.time()
        inner = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, (list, tuple)) else ()
        models = [model for model in map(_studio_models.find, [thing, *list(inner)[:100]]) if model is not None]
        models.sort(key=lambda model: model.role != "predictor")
        self.model = models[0] if models else None
        self.itself = self.model is not None and self.model.ref() is thing
        self.fits = self.model.fits if self.model is not None else 0
        self.kind = type(thing).__name__
        self.library = {"torch.save": "torch", "model.save": "keras"}.get(how, type(thing).__module__.partition(".")[0])
        self.network = False  # of PyTorch, that the script has trained
        self.signature = self.model.signature if self.model is not None else None
        known = self.model is not None or hasattr(thing, "predict")
        self.plain = how == "joblib.dump" and not known  # no model, whatever it is
        beside = self.plain or (isinstance(thing, dict) and "param_groups" in thing)  # the state of an optimizer
        self.role = self.model.role if self.model is not None else "helper" if beside else "predictor"


def _follow_renames() -> None:
    """A file that is written under another name first, or whose folder is, is found under its last one.

    An audit hook hears of every rename, whatever function asked for it, and changes nothing that the script can see.
    """
    global _follows
    if not _follows and hasattr(sys, "addaudithook"):  # from Python 3.8 on
        _follows = True
        sys.addaudithook(_heard)


def _heard(event: str, args: Any) -> None:
    if event in ("os.rename", "shutil.move") and _studio_hooks.working() and _seen().saved:
        _studio_hold.call(_renamed, event, args)


def _renamed(event: str, args: Any) -> None:
    try:
        old, new = (os.path.abspath(os.fsdecode(os.fspath(name))) for name in args[:2])
        if event == "shutil.move" and os.path.isdir(new):
            new = os.path.join(new, os.path.basename(old))
        for path in list(_seen().saved):
            if path == old or path.startswith(old + os.sep):
                moved = new + path[len(old) :]
                _seen().saved.pop(moved, None)
                _seen().saved[moved] = _seen().saved[path]  # both are known: whether the rename works is not told
    except Exception:  # noqa: BLE001, S110  an exception here would keep the script from renaming
        pass


def _keep_figure(path: str) -> None:
    """A picture of the run under the file's name; each time it is saved is a step."""
    name, ending = os.path.splitext(os.path.basename(path))
    if ending[1:].lower() not in FIGURE_TYPES or _seen().figures >= FIGURES:
        return
    _seen().figures += 1
    import _studio_media  # type: ignore[import-not-found]

    _studio_media.log_image(name, path)


def copy_all() -> None:
    """Copies models that were saved elsewhere into `modeldir`, the newest first, if the script does not use it."""
    modeldir = _studio_modeldir.folder()
    if modeldir is None:
        return
    found = {path: saved for path, saved in _seen().saved.items() if os.path.exists(path)}
    if _studio_modeldir.is_the_scripts(modeldir):
        _studio_models.only(*_newest_own(modeldir, found))
        return
    paths, left_out = _with_room([path for path in reversed(list(found)) if not _studio_modeldir.holds(modeldir, path)])
    names = _names_of(paths)
    for path in reversed(paths):  # the newest is written last and so is the newest there
        _copy(modeldir, path, names[path], found[path])
    if left_out:
        shown = ", ".join(left_out[:5])
        _studio_track.warning("saves.size", f"not copied into modeldir (over 1 GiB in all): {shown}")


def _with_room(paths: list[str]) -> tuple[list[str], list[str]]:
    room = COPY_BYTES
    chosen, left_out = [], []
    seen: set[str] = set()
    for path in paths:
        real = os.path.realpath(path)
        size = _studio_modeldir.size(path)
        if real in seen:
            continue
        seen.add(real)
        if size <= room:
            room -= size
            chosen.append(path)
        else:
            left_out.append(path)
    return chosen, left_out


def _names_of(paths: list[str]) -> dict[str, str]:
    """Names within `modeldir`: the file's own, and with its folders where others have the same: `step-100/model.pt`."""
    alike: dict[str, list[str]] = {}
    for path in paths:
        alike.setdefault(os.path.basename(path), []).append(path)
    names = {}
    for name, same in alike.items():
        above = os.path.commonpath([os.path.dirname(path) for path in same])
        for path in same:
            names[path] = os.path.relpath(path, above) if len(same) > 1 else name
    return names


def _copy(modeldir: str, path: str, name: str, saved: _Saved) -> None:
    """Copies a file, unless that was done already, or the script writes it just now."""
    about = _identity(path)
    former = _seen().copies.get(path)
    if former == (name, saved, about):
        return
    while _is_written(path) and _studio_stop.has_patience():
        time.sleep(0.005)
    if _is_written(path):
        _studio_track.warning(
            f"copy {name}", f"{name} was being written when the run was stopped: no copy of it is kept"
        )
        return
    about = _identity(path)
    if former is not None and former[0] != name:  # there is another file of that name since
        _studio_models.discard(former[0])
        _studio_modeldir.remove_ours(os.path.join(modeldir, former[0]))

    def write(temporary: str) -> None:
        _studio_modeldir.copy(path, temporary)
        if _identity(path) != about:
            raise OSError(f"{path} was written while it was copied")

    copy = _studio_modeldir.put(modeldir, name, write)
    _seen().copies[path] = (name, saved, about)
    _studio_track.event("model", path=copy, how="copy", of=path)
    own = saved.model
    if saved.plain:
        return
    called = _studio_models.discard(name) or _studio_models.unique(os.path.splitext(name)[0])
    model = _studio_models.Model(called, saved.library, saved.kind, saved.role)
    model.trained, model.signature, model.fits = saved.when, saved.signature, 1
    if saved.how != "torch.save" or saved.network:
        model.further = {"dumped": round(saved.when, 6)}
        if own is not None and (own.python or not saved.itself) and own.fits == saved.fits and own.file:
            # The one that loads without the script, or is not within a container.
            own.further = {"dumped": round(saved.when, 6) + 1e-6}
    _studio_models.saved(model, name, copy=True)


def _is_written(path: str) -> bool:
    return path in [_path_of(target) for target in list(_writing)]


def _identity(path: str) -> tuple[int, int, int]:
    about = os.stat(path)
    return about.st_ino, about.st_size, about.st_mtime_ns


def newest_unknown(modeldir: str) -> float:
    """When the newest checkpoint in `modeldir` was written that came there in a way that is not watched; 0 = none."""
    found = [0.0]
    known = {os.path.realpath(path) for path in _seen().saved}
    for path in _studio_modeldir.scripts_own(modeldir):
        try:
            found.append(0.0 if os.path.realpath(path) in known else os.path.getmtime(path))
        except OSError:
            pass
    return max(found)


def _newest_own(modeldir: str, found: dict[str, _Saved]) -> tuple[str, float, _Saved | None]:
    """The newest checkpoint that the script put into `modeldir`, and what is known of it."""
    newest, when = "", 0.0
    for path in _studio_modeldir.scripts_own(modeldir):
        try:
            changed = os.path.getmtime(path)
        except OSError:
            continue
        if changed >= when:
            newest, when = path, changed
    folder = os.path.dirname(newest)
    while len(folder) > len(modeldir):  # a SavedModel is a folder
        if os.path.exists(os.path.join(folder, "saved_model.pb")):
            newest = folder
        folder = os.path.dirname(folder)
    real = {os.path.realpath(path): saved for path, saved in found.items()}
    return os.path.relpath(newest, modeldir), when, real.get(os.path.realpath(newest))
