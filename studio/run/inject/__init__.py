"""The stdlib-only part that runs inside the user's interpreter; here it is reached from studio itself.

A script under `studio run` may load these modules through `sitecustomize` and again through `import studio`. They hold
state (the open metrics stream), so both ways must end at the same module: each lives once in `sys.modules`, under its
top-level name, and the names below this package are aliases.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import _studio_failure as _studio_failure
    from . import _studio_media as _studio_media
    from . import _studio_track as _studio_track
else:

    def _load(name):
        module = importlib.import_module(name)  # under the import system's locks: other threads wait until it is whole
        sys.modules[__name__ + "." + name] = module
        return module

    if "_studio_siblings" not in sys.modules:
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        try:
            importlib.import_module("_studio_siblings")
        finally:
            sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    sys.modules["_studio_siblings"].install()
    _studio_track = _load("_studio_track")
    _studio_media = _load("_studio_media")
    _studio_failure = _load("_studio_failure")

__all__ = ["_studio_failure", "_studio_media", "_studio_track", "begin_hooks", "finish_hooks"]


def begin_hooks() -> None:
    """Libraries are watched in this process from now on, unless STUDIOML_AUTOLOG=0; see docs/howto/autolog.md."""
    if os.environ.get("STUDIOML_AUTOLOG") != "0":
        import _studio_hooks  # type: ignore[import-not-found]

        _studio_hooks.begin()


def finish_hooks() -> None:
    """Ends `begin_hooks`: fitted models that wait for the end are written to `modeldir` now."""
    if "_studio_hooks" in sys.modules:
        sys.modules["_studio_hooks"].finish()
