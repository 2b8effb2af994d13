"""Lets a model that refers to modules of its training script find them in the code that the run kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from .. import config
from ..experiment import SCRIPT, Experiment, kept_script
from ..tracking import Tracking


def told_of_code(experiment: Experiment) -> dict[str, object] | None:
    """What the server process has to know of an experiment's code: the manifest, and the folders on its path then."""
    ref = experiment.artifacts.get("workspace" if kept_script(experiment) is None else SCRIPT)
    if ref is None or ref.manifest is None:
        return None
    folders = [""]
    target = experiment.command.target
    if experiment.command.kind == "script" and not os.path.isabs(target) and ".." not in target.split("/"):
        folders.insert(0, os.path.dirname(target))
    return {"manifest": ref.manifest, "folders": list(dict.fromkeys(folders))}


class KeptCode(MetaPathFinder):
    """Finds modules that nothing else has in the kept code; in the current folder only where that lacks them.

    The current folder may hold another version of the same module, with which the model answers wrongly: so it leaves
    the path, and what comes from it is told in `notes`. The code is fetched when it is first needed.

    Args:
        told: What `told_of_code` said.
        url: The store.
        target: Where the code goes.
    """

    def __init__(self, told: Mapping[str, object], url: str, target: Path) -> None:
        folders = told.get("folders")
        self._manifest = str(told.get("manifest"))
        self._folders = [str(folder) for folder in folders] if isinstance(folders, list) else [""]
        self._tracking, self._target = Tracking(url, config.home()), target
        self._names: frozenset[str] | None = None
        self._fetched = False
        self._here = ""
        self.notes: list[str] = []

    def install(self) -> None:
        """From here on imports look there last."""
        if sys.path and sys.path[0] in ("", os.getcwd()):
            self._here = os.getcwd()
            del sys.path[0]
        sys.meta_path.append(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module in the kept code; those within packages are found by their package."""
        if path is not None:
            return None
        if fullname in self._known():
            return PathFinder.find_spec(fullname, self._kept())
        spec = PathFinder.find_spec(fullname, [self._here]) if self._here else None
        if spec is not None and spec.origin is not None:
            self.notes.append(f"the run's kept code has no module {fullname}: it is taken from {self._here}")
            return spec
        return None

    def _known(self) -> frozenset[str]:
        """The names of the modules that lie in the folders."""
        if self._names is None:
            self._names = frozenset()  # what is imported while the store is read is not looked for in the store
            paths = [entry.path for entry in self._tracking.artifacts.manifest(self._manifest).files]
            leads = [f"{folder}/" if folder else "" for folder in self._folders]
            inside = [p.removeprefix(lead) for lead in leads for p in paths if p.startswith(lead) and p.endswith(".py")]
            self._names = frozenset(path.partition("/")[0].removesuffix(".py") for path in inside)
        return self._names

    def _kept(self) -> list[str]:
        if not self._fetched:
            self._fetched = True
            self._target.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tracking.artifacts.materialise(self._manifest, self._target)
        return [os.path.join(self._target, folder) if folder else str(self._target) for folder in self._folders]
