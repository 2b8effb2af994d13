"""Why do two experiments differ: code, environment, parameters, data, machine, and the step where their curves part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import NotFound
from ..experiment import Experiment, Summary
from . import Tracking
from .metrics import Curves

TOLERANCE = 1e-6
MISSING = "-"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. `values` has one text for each experiment, in order; `-` where one has none."""

    section: str
    name: str
    values: tuple[str, ...]


def compare(experiments: Sequence[Experiment], tracking: Tracking, *, tolerance: float = TOLERANCE) -> list[Difference]:
    """Everything that is not the same in all experiments, by section.

    Args:
        tolerance: Relative difference up to which two values of a curve count as equal.
    """
    return [
        *_rows("command", [_command(e) for e in experiments]),
        *_rows("code", [_code(e) for e in experiments]),
        *_rows("files", _files(experiments, tracking)),
        *_rows("environment", [_environment(e) for e in experiments]),
        *_rows("parameters", [{n: _text(v) for n, v in e.params.items()} for e in experiments]),
        *_rows("data", [_data(e) for e in experiments]),
        *_rows("machine", [_machine(e) for e in experiments]),
        *_rows("metrics", [{n: f"{s.last:.6g}" for n, s in _own(e).items()} for e in experiments]),
        *_parting(experiments, tracking, tolerance),
    ]


def _rows(section: str, sheets: Sequence[Mapping[str, str]]) -> Iterable[Difference]:
    for name in sorted({name for sheet in sheets for name in sheet}):
        values = tuple(sheet.get(name, MISSING) for sheet in sheets)
        if len(set(values)) > 1:
            yield Difference(section, name, values)


def _command(experiment: Experiment) -> dict[str, str]:
    command = experiment.command
    return {"kind": command.kind, "target": command.target, "arguments": " ".join(command.args)}


def _code(experiment: Experiment) -> dict[str, str]:
    git = experiment.git
    if git is None:
        return {}
    patch = git.patch.removeprefix("sha256:")[:12] if git.patch else "none"
    return {"commit": (git.commit or MISSING)[:12], "branch": git.branch or MISSING, "uncommitted changes": patch}


def _files(experiments: Sequence[Experiment], tracking: Tracking) -> list[dict[str, str]]:
    """Digest of each file of the workspaces; empty where they are the same as a whole."""
    manifests = [ref.manifest if (ref := e.artifacts.get("workspace")) else None for e in experiments]
    if len(set(manifests)) == 1:
        return [{} for _ in experiments]
    sheets: list[dict[str, str]] = []
    for manifest in manifests:
        sheet: dict[str, str] = {}
        if manifest is not None:
            for entry in tracking.artifacts.manifest(manifest).files:
                if entry.regular:
                    sheet[entry.path] = entry.sha256[:12]
        sheets.append(sheet)
    return sheets


def _environment(experiment: Experiment) -> dict[str, str]:
    packages = dict(package.split("==", 1) for package in experiment.packages if "==" in package)
    command = experiment.command
    return {**packages, "python": command.python or MISSING, "interpreter": command.interpreter or MISSING}


def _data(experiment: Experiment) -> dict[str, str]:
    return {
        name: ref.manifest.removeprefix("sha256:")[:12]
        for name, ref in experiment.artifacts.items()
        if ref.manifest and not ref.mutable and name != "workspace"
    }


def _machine(experiment: Experiment) -> dict[str, str]:
    host = experiment.host
    if host is None:
        return {}
    return {
        "name": host.name, "system": host.os, "processor": host.cpu, "cores": str(host.cores),
        "memory": str(host.memory), "GPUs": ", ".join(host.gpus) or "none",
    }  # fmt: skip


def _own(experiment: Experiment) -> Mapping[str, Summary]:
    return {name: s for name, s in experiment.summary.items() if not name.startswith("system/")}


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _parting(experiments: Sequence[Experiment], tracking: Tracking, tolerance: float) -> Iterable[Difference]:
    """The first step at which each curve of the others leaves that of the first experiment."""
    import numpy as np

    curves = []
    for experiment in experiments:
        try:
            curves.append(Curves.from_store(tracking.store, experiment.key))
        except NotFound:
            curves.append(Curves({}))
    for name in sorted(set(_own(experiments[0])).intersection(*(_own(e) for e in experiments[1:]))):
        steps, _, values = curves[0].curve(name)
        found = []
        for other in curves[1:]:
            other_steps, _, other_values = other.curve(name)
            common, mine, its = np.intersect1d(steps, other_steps, return_indices=True)
            same = np.isclose(values[mine], other_values[its], rtol=tolerance, atol=0, equal_nan=True)
            apart = common[~same]
            found.append(f"step {apart[0]}" if len(apart) else "never")
        if any(step != "never" for step in found):
            yield Difference("curves part at", name, (MISSING, *found))
