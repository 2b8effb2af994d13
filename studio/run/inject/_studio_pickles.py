"""Pickles an estimator so that it loads without the script: code of the script's own modules goes along by value."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from . import _studio_keep, _studio_track
else:
    import _studio_keep
    import _studio_track

_SINGLE = (type(None), type(Ellipsis), type(NotImplemented))  # classes that cloudpickle writes in a way of its own
_folders: dict[str, bool] = {}  # folder -> whether packages are installed there
_pickler_class: list[Any] = []


def dump(thing: Any, path: str) -> str:
    """Writes a file for `joblib.load`; returns the version of Python that it needs, "" if any will do.

    Raises:
        _studio_keep.Busy: a part of it is being fitted by another thread.
    """
    cloudpickle = _cloudpickle()
    if cloudpickle is None:
        return _plainly(thing, path)
    try:
        return _by_value(cloudpickle, thing, path)
    except _studio_keep.Busy:
        raise
    except Exception as exc:  # noqa: BLE001  what the script's functions refer to may be anything
        why = f"{type(exc).__name__}: {exc}"
        _plainly(thing, path)
        text = f"the model {type(thing).__name__} is kept without the script's own code, which it may need: {why}"
        _studio_track.warning(f"pickle {type(thing).__name__}", text[:500])
        return ""


def _by_value(cloudpickle: Any, thing: Any, path: str) -> str:
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
        with open(path, "wb") as file:
            pickler = _pickler(cloudpickle)(file)
            pickler.dump(thing)
        return "{}.{}".format(*sys.version_info[:2]) if pickler.by_value else ""
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _plainly(thing: Any, path: str) -> str:
    import joblib  # type: ignore[import-untyped,unused-ignore]

    if _studio_keep.BUSY:
        raise _studio_keep.Busy
    joblib.dump(thing, path)
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
    main = getattr(sys.modules.get("__main__"), "__file__", None)
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
