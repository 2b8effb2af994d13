"""Pickles an estimator so that it loads without the script: code of the script's own modules goes along by value."""

from __future__ import annotations

import contextlib
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

    from . import _studio_keep, _studio_track
else:
    import _studio_keep
    import _studio_track

_SINGLE = (type(None), type(Ellipsis), type(NotImplemented))  # classes that cloudpickle writes in a way of its own
PIECE = 1 << 20  # bytes
_main = getattr(sys.modules.get("__main__"), "__file__", None)  # the script, while it runs
_folders: dict[str, bool] = {}  # folder -> whether packages are installed there
_pickler_class: list[Any] = []


def dump(thing: Any, path: str, *, until: float | None = None) -> str:
    """Writes a file for `joblib.load`; returns the version of Python that it needs, "" if any will do.

    Raises:
        _studio_keep.Busy: a part of it is being fitted by another thread.
        _studio_keep.TooLong: it is not written by `until`, on the monotonic clock.
    """

    def open_file() -> Any:
        return open(path, "wb") if until is None else Hurried(path, until)

    return _dump(thing, open_file)


def differs(thing: Any, path: str, until: float) -> bool | None:
    """Whether `dump` would write another file than this; None if that cannot be told by `until`."""
    files: list[Same] = []

    def open_file() -> Same:
        files.append(Same(path, until))
        return files[-1]

    try:
        _dump(thing, open_file, quiet=True)
        return not files[-1].whole
    except Differs:
        return True
    except (_studio_keep.Busy, _studio_keep.TooLong):
        return None


class Differs(Exception):
    """What is written is not what is there."""


class Same:
    """Takes the place of the file that is written, and compares with the one that is there."""

    def __init__(self, path: str, until: float) -> None:
        self._file, self._until = open(path, "rb"), until  # noqa: SIM115
        self.whole = False

    def write(self, data: Any) -> int:
        """Raises unless the file goes on with this."""
        view = memoryview(data).cast("B")
        for at in range(0, len(view), PIECE):
            if time.monotonic() > self._until:
                raise _studio_keep.TooLong
            piece = view[at : at + PIECE]
            if self._file.read(len(piece)) != piece:
                raise Differs
        return len(view)

    def tell(self) -> int:
        """As of the file that is there."""
        return self._file.tell()

    def __enter__(self) -> Same:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        self.whole = kind is None and not self._file.read(1)
        self._file.close()


class Hurried:
    """A file that is given up when the time is over."""

    def __init__(self, path: str, until: float) -> None:
        self._file, self._until = open(path, "wb"), until  # noqa: SIM115

    def write(self, data: Any) -> int:
        """Writes in pieces, so that a large array ends in time too."""
        view = memoryview(data).cast("B")
        for at in range(0, len(view), PIECE):
            if time.monotonic() > self._until:
                raise _studio_keep.TooLong("there is no time to save it when the script ends")
            self._file.write(view[at : at + PIECE])
        return len(view)

    def tell(self) -> int:
        """As of the file."""
        return self._file.tell()

    def __enter__(self) -> Hurried:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _dump(thing: Any, open_file: Callable[[], Any], *, quiet: bool = False) -> str:
    cloudpickle = _cloudpickle()
    if cloudpickle is None:
        return _plainly(thing, open_file)
    try:
        return _by_value(cloudpickle, thing, open_file)
    except (_studio_keep.Busy, _studio_keep.TooLong, Differs):
        raise
    except Exception as exc:  # noqa: BLE001  what the script's functions refer to may be anything
        why = f"{type(exc).__name__}: {exc}"
        _plainly(thing, open_file)
        text = f"the model {type(thing).__name__} is kept without the script's own code, which it may need: {why}"
        if not quiet:
            _studio_track.warning(f"pickle {type(thing).__name__}", text[:500])
        return ""


def _by_value(cloudpickle: Any, thing: Any, open_file: Callable[[], Any]) -> str:
    places = tuple(place + os.sep for place in _places())
    own = [module for module in list(sys.modules.values()) if _is_the_scripts(module, places)]
    registered = []
    for module in own:
        try:
            if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(module)
                registered.append(module)
        except (AttributeError, ValueError):  # an old cloudpickle, or a module that is gone from sys.modules
            pass
    try:
        with _main_file(), open_file() as file:
            pickler = _pickler(cloudpickle)(file)
            pickler.dump(thing)
        return "{}.{}".format(*sys.version_info[:2]) if pickler.by_value else ""
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _plainly(thing: Any, open_file: Callable[[], Any]) -> str:
    import joblib  # type: ignore[import-untyped,unused-ignore]

    if _studio_keep.BUSY:
        raise _studio_keep.Busy
    with open_file() as file:
        joblib.dump(thing, file)
    return ""


def _cloudpickle() -> Any:
    """joblib's: its own copy, or the package that it needs from 1.6 on."""
    import importlib

    for name in ("joblib.externals.cloudpickle", "cloudpickle"):
        try:
            found = importlib.import_module(name)
        except ImportError:
            continue
        if hasattr(found.CloudPickler, "reducer_override"):
            return found
    return None


@contextlib.contextmanager
def _main_file() -> Iterator[None]:
    """Python takes `__file__` from `__main__` when the script is over; functions are pickled with it."""
    about = vars(sys.modules["__main__"])
    missing = isinstance(_main, str) and "__file__" not in about
    if missing:
        about["__file__"] = _main
    try:
        yield
    finally:
        if missing:
            about.pop("__file__", None)


def _pickler(cloudpickle: Any) -> Any:
    if not _pickler_class:

        class Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
            """Gives up on what is being fitted, and notes whether code went along."""

            def __init__(self, file: Any) -> None:
                super().__init__(file)
                self.by_value = False

            def reducer_override(self, thing: Any) -> Any:
                if id(thing) in _studio_keep.BUSY:
                    raise _studio_keep.Busy
                found = super().reducer_override(thing)
                if found is not NotImplemented and thing not in _SINGLE:
                    self.by_value = True
                return found

        _pickler_class.append(Pickler)
    return _pickler_class[0]


def _is_the_scripts(module: ModuleType, places: tuple[str, ...]) -> bool:
    """Whether the module is the user's: below the script's folder or the current one, and not installed there."""
    about = getattr(module, "__dict__", {})  # asking a lazy module for its `__file__` would load it
    path, name = about.get("__file__"), about.get("__name__", "")
    if not isinstance(path, str) or not path.endswith(".py") or name in ("__main__", "__mp_main__"):
        return False
    if name.startswith("_studio_") or sys.modules.get(name) is not module:
        return False
    path = os.path.abspath(path)
    if not path.startswith(places):
        return False
    for _ in range(name.count(".") + path.endswith("__init__.py") + 1):
        path = os.path.dirname(path)
    return not _installed(path)


def _places() -> set[str]:
    main = getattr(sys.modules.get("__main__"), "__file__", _main)
    found = {os.path.dirname(os.path.abspath(main))} if isinstance(main, str) else set()
    try:
        found.add(os.getcwd())
    except OSError:
        pass
    return {*found, *map(os.path.realpath, found)} - {os.sep}


def _installed(folder: str) -> bool:
    """Whether packages are installed in this folder; one with `.egg-info` may be a project under work."""
    if folder not in _folders:
        parts = folder.split(os.sep)
        lib = os.path.dirname(os.path.abspath(os.__file__))
        try:
            _folders[folder] = (
                "site-packages" in parts or "dist-packages" in parts or (folder + os.sep).startswith(lib + os.sep)
                or any(name.endswith(".dist-info") for name in os.listdir(folder))
            )  # fmt: skip
        except OSError:
            _folders[folder] = True
    return _folders[folder]
