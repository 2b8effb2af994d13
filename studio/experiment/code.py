"""What a record says of code that its workspace is without: the script's own folder, and modules that were not kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .records import Experiment

SCRIPT = "script"
"""Artifact of a script that lies outside of the workspace: its folder, or the script alone."""

WORD, RUN = "word", "run"
"""Fields of that artifact in the record: how the command names the script, and the script's name in its folder.

The workspace has them where a command (`-- python /home/ada/digits/train.py`) names a script in it by a path that leads
elsewhere when the workspace is restored."""

MODULES = "modules"
"""Field of the record: `[{"name": "lib.net", "path": "/…/lib/net.py", "sha256": "…"}, …]`, for each module that was
imported and that no artifact has; `sha256` is missing where the file is a secret or cannot be read."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module that no artifact has; `sha256` is that of its text without secrets."""

    name: str
    path: str
    sha256: str | None = None


def kept_script(experiment: Experiment) -> tuple[str, str] | None:
    """How the command names the script that was kept in an artifact of its own, and its name there; None without."""
    ref = experiment.artifacts.get(SCRIPT)
    if ref is None or ref.manifest is None:
        return None
    word, name = ref.extra.get(WORD), ref.extra.get(RUN)
    return (word, name) if isinstance(word, str) and isinstance(name, str) and "/" not in name else None


def named_script(experiment: Experiment) -> tuple[str, str, str] | None:
    """Which word of the command a rerun replaces by the path of a kept file: artifact, word and path; None if none."""
    for name in (SCRIPT, "workspace"):
        ref = experiment.artifacts.get(name)
        word, path = (ref.extra.get(WORD), ref.extra.get(RUN)) if ref is not None and ref.manifest else (None, None)
        if isinstance(word, str) and isinstance(path, str) and path[:1] != "/" and ".." not in path.split("/"):
            return name, word, path
    return None


def modules_of(experiment: Experiment) -> tuple[Module, ...]:
    """The modules that were imported and are in no artifact; none also where that was not recorded."""
    listed = experiment.extra.get(MODULES)
    found = []
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("path"), str):
            digest = one.get("sha256")
            found.append(Module(one["name"], one["path"], digest if isinstance(digest, str) else None))
    return tuple(found)


def with_modules(experiment: Experiment, modules: Iterable[Module]) -> Experiment:
    """The record with these modules too; of two with one name, the later."""
    known = {one.name: one for one in (*modules_of(experiment), *modules)}
    fields: list[dict[str, Any]] = [
        {"name": one.name, "path": one.path} | ({"sha256": one.sha256} if one.sha256 else {})
        for _, one in sorted(known.items())
    ]
    return experiment.with_changes(extra={**experiment.extra, MODULES: fields})
