"""studio: from an unchanged training script to a tracked experiment and a served model.

    import studio

    with studio.start(project="digits") as run:      # or no line at all under `studio run`
        studio.params(lr=0.01)
        studio.log({"loss": 0.5}, step=1)

Importing it loads nothing heavy; each name is loaded at its first use.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock, get_ident

TYPE_CHECKING = False  # what typing calls so, without the time that importing typing takes
__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import (
        Experiment,
        Studio,
        log,
        log_audio,
        log_figure,
        log_histogram,
        log_image,
        log_many,
        log_table,
        log_text,
        note,
        open_studio,
        params,
        tags,
    )  # fmt: skip
    from .errors import StudioError
    from .script import artifact, experiments, sql, start

__all__ = [
    "Experiment", "Studio", "StudioError", "__version__", "artifact", "experiments", "log", "log_audio", "log_figure",
    "log_histogram", "log_image", "log_many", "log_table", "log_text", "note", "open_studio", "params", "sql", "start",
    "tags",
]  # fmt: skip
_SCRIPT = dict.fromkeys(("artifact", "experiments", "sql", "start"), "script")
_TRACK = dict.fromkeys(("log", "log_many", "note", "params", "tags"), "run.inject._studio_track")
_MEDIA = dict.fromkeys((name for name in __all__ if name.startswith("log_")), "run.inject._studio_media")
_HOMES = {"StudioError": "errors", **_SCRIPT, **_MEDIA, **_TRACK}  # all others are in `api`

_LOADING = RLock()
_FORK_WAIT_S = 60.0

if hasattr(os, "register_at_fork"):
    # A child that is forked while another thread loads a name would wait for that import for ever: the lock of the
    # import is copied, the thread that would release it is not. So a fork waits until the name is loaded. The limit is
    # for a thread that cannot go on before the fork is done.
    _held: set[int] = set()  # threads that fork and hold the lock

    # These modules take a lock before a fork and release it after. One that is imported while a fork waits here would
    # release a lock that it did not take, and Python prints the error. So it is taken here. The name that comes last
    # is of what a module defines once it has registered.
    _LOCKED_BY_FORKS = (
        ("logging", "_lock", "LogRecord"),
        ("concurrent.futures.thread", "_global_shutdown_lock", "_WorkItem"),
    )

    def _registered() -> set[str]:
        return {name for name, _, late in _LOCKED_BY_FORKS if hasattr(sys.modules.get(name), late)}

    def _forking() -> None:
        before = _registered()
        if _LOADING.acquire(timeout=_FORK_WAIT_S):
            _held.add(get_ident())
        new = _registered() - before
        for name, lock, _ in _LOCKED_BY_FORKS:
            if name in new:
                getattr(sys.modules[name], lock).acquire()

    def _forked_parent() -> None:
        if get_ident() in _held:
            _held.discard(get_ident())
            _LOADING.release()

    def _forked_child() -> None:
        global _LOADING
        _held.clear()
        _LOADING = RLock()

    os.register_at_fork(before=_forking, after_in_parent=_forked_parent, after_in_child=_forked_child)


def loading() -> RLock:
    """The lock to hold around imports that a script's first calls cause: a fork of another thread waits for it."""
    return _LOADING


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _LOADING:  # also around the import of importlib: another thread may fork in the midst of it
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'api')}"), name)
    globals()[name] = value
    return value


def load_ipython_extension(ipython: object) -> None:
    """What `%load_ext studio` calls, in a notebook: makes `%%studio_run` known."""
    import importlib

    importlib.import_module(f"{__name__}.magics").load_ipython_extension(ipython)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
