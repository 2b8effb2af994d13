"""studio: from an unchanged training script to a tracked experiment and a served model.

    import studio

    with studio.start(project="digits") as run:      # or no line at all under `studio run`
        studio.params(lr=0.01)
        studio.log({"loss": 0.5}, step=1)

Importing it loads nothing heavy; each name is loaded at its first use.
"""

from __future__ import annotations

import os
from _thread import RLock

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
_ELSEWHERE = {"StudioError": "errors", **dict.fromkeys(("artifact", "experiments", "sql", "start"), "script")}


_LOADING = RLock()
_FORK_WAIT_S = 5.0

if hasattr(os, "register_at_fork"):
    # A child that is forked while another thread loads a name would wait for that import for ever.
    _held: list[bool] = []

    def _release() -> None:
        if _held.pop():
            _LOADING.release()

    os.register_at_fork(
        before=lambda: _held.append(_LOADING.acquire(timeout=_FORK_WAIT_S)),
        after_in_parent=_release,
        after_in_child=_release,
    )


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    home = _ELSEWHERE.get(name, "api")
    with _LOADING:
        value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def load_ipython_extension(ipython: object) -> None:
    """What `%load_ext studio` calls, in a notebook: makes `%%studio_run` known."""
    import importlib

    importlib.import_module(f"{__name__}.magics").load_ipython_extension(ipython)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
