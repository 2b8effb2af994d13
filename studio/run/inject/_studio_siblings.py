"""Hides where the injected modules live: `import _studio_…` works although their folder is not on sys.path."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

FOLDER = os.path.dirname(os.path.abspath(__file__))


class Siblings:
    """A finder, last in `sys.meta_path`, for the modules of this folder and nothing else."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The spec of an injected module, None for any other name."""
        if not name.startswith("_studio_"):
            return None
        from importlib.util import spec_from_file_location

        file = os.path.join(FOLDER, name + ".py")
        return spec_from_file_location(name, file) if os.path.exists(file) else None


def install() -> None:
    """Makes the injected modules importable in this process; a second call does nothing."""
    if not any(getattr(finder, "__name__", "") == "Siblings" for finder in sys.meta_path):
        sys.meta_path.append(Siblings)
