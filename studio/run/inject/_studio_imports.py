"""Tells the run which modules of the user's were imported: of those that no artifact has, the record keeps digests."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import _studio_track
else:
    import _studio_track

INSTALLED = frozenset({"site-packages", "dist-packages"})
AT_ONCE = 200
MOST = 2000
_here = os.path.dirname(os.path.abspath(__file__))
_own = os.path.dirname(os.path.abspath(os.__file__))


def tell() -> None:
    """Notes the modules that came since the last call; those of the standard library and of packages are known."""
    told: set[str] = _studio_track.memory("imports", set)
    found = []
    for name, module in list(sys.modules.items()):
        path = _file(module)
        if path and name not in told and len(told) < MOST and not _is_known(path):
            told.add(name)
            found.append([name, path])
    for at in range(0, max(1, len(found)), AT_ONCE):  # also if there are none: then that is what is known
        _studio_track.event("modules", files=found[at : at + AT_ONCE])


def _file(module: Any) -> str:
    """Where a module comes from; asks nothing of a module that loads itself only when it is asked."""
    try:
        values = object.__getattribute__(module, "__dict__")
        known = values.get("__file__")
        if known is None and values.get("__name__") == "__main__":  # a script that is over has lost it
            known = getattr(values.get("__loader__"), "path", None)
    except Exception:  # noqa: BLE001  (anything may stand in sys.modules)
        return ""
    return os.path.abspath(known) if isinstance(known, str) and known else ""


def _is_known(path: str) -> bool:
    folder = os.path.dirname(path)
    if not INSTALLED.isdisjoint(folder.split(os.sep)):
        return True
    return any(folder == known or folder.startswith(known + os.sep) for known in (_here, _own))
