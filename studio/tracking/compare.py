"""Why do experiments differ: outcome, code, environment, parameters, data, machine, metrics, and where curves part."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import ArtifactNotFound, ConfigError, NotFound, StoreError
from ..experiment import CLOCK, SAMPLED, Experiment, Summary
from . import Tracking
from .metrics import Curves

TOLERANCE = 1e-6
MISSING = "-"
UNREADABLE = "unreadable"
DIFF_BYTES = 1 << 20
"""Larger files are not shown line by line."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. `values` has one text for each experiment, in order; `-` where one has none."""

    section: str
    name: str
    values: tuple[str, ...]


def compare(experiments: Sequence[Experiment], tracking: Tracking, *, tolerance: float = TOLERANCE) -> list[Difference]:
    """Everything that is not the same in all experiments, by section.

    Args:
        tolerance: Relative difference up to which two values of a metric count as equal.

    Raises:
        ConfigError: the tolerance is negative or no number.
    """
    check_tolerance(tolerance)
    return [
        *_rows("outcome", [_outcome(e) for e in experiments]),
        *_rows("command", [_command(e) for e in experiments]),
        *_rows("code", [_code(e) for e in experiments]),
        *_rows("files", _files(experiments, tracking)),
        *_rows("environment", _environments(experiments)),
        *_rows("parameters", [{n: _text(v) for n, v in e.params.items()} for e in experiments]),
        *_rows("data", [_data(e) for e in experiments]),
        *_rows("machine", [_machine(e) for e in experiments]),
        *_metrics(experiments, tolerance),
        *_parting(experiments, tracking, tolerance),
    ]


def check_tolerance(tolerance: float) -> None:
    """Raises ConfigError for a tolerance that is negative or no number."""
    if not tolerance >= 0:
        raise ConfigError(f"a tolerance of {tolerance} is not possible", hint="0 or more, such as 1e-6")


def own_metrics(experiment: Experiment) -> Mapping[str, Summary]:
    """What the script logged: all metrics but those of the machine."""
    return {name: s for name, s in experiment.summary.items() if not name.startswith("system/")}


def clocked(experiment: Experiment, name: str) -> bool:
    """Whether a metric is sampled by the clock, such as Keras' `batch/loss`: which steps it has is then by chance."""
    found = experiment.summary.get(name)
    return found is not None and found.extra.get(SAMPLED) == CLOCK


def _comparable(experiments: Sequence[Experiment]) -> list[str]:
    """The names of metrics that are not left to chance."""
    names = {name for e in experiments for name in own_metrics(e)}
    return sorted(name for name in names if not any(clocked(e, name) for e in experiments))


def code_diff(one: Experiment, other: Experiment, tracking: Tracking) -> Iterator[str]:
    """The captured files that differ, as lines of a unified diff; other files than texts up to 1 MiB in one line each.

    Raises:
        ArtifactNotFound: the workspace of one was not captured, or is not in the store any more.
    """
    manifests = []
    for experiment in (one, other):
        ref = experiment.artifacts.get("workspace")
        if ref is None or ref.manifest is None:
            raise ArtifactNotFound(f"the code of {experiment.key} was not captured", hint="compare them without --diff")
        manifests.append(ref.manifest)
    entries = [{f.path: f for f in tracking.artifacts.manifest(m).files if f.regular} for m in manifests]
    for path in sorted({*entries[0], *entries[1]}):
        pair = [sheet.get(path) for sheet in entries]
        if pair[0] and pair[1] and pair[0].sha256 == pair[1].sha256:
            continue
        names = [_quoted(f"{e.key}/{path}") if f else "/dev/null" for e, f in zip((one, other), pair, strict=True)]
        if max(f.size for f in pair if f) > DIFF_BYTES:
            yield f"{' and '.join(names)} differ\n"
            continue
        data = [tracking.artifacts.read_member(f) if f else b"" for f in pair]
        try:
            texts = [_lines(d.decode()) for d in data]
        except UnicodeDecodeError:
            yield f"{' and '.join(names)} differ\n"
            continue
        yield from difflib.unified_diff(texts[0], texts[1], names[0], names[1])


def _lines(text: str) -> list[str]:
    """The lines as `diff` sees them: only a line feed ends one; that the last one has none is told below it."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()
    return lines if last == "\n" else [*lines, last + "\\ No newline at end of file\n"]


def _quoted(name: str) -> str:
    """The name as git writes it in a diff: in quotes if it has what would break the line."""
    if name.isprintable() and not set(name) & set('"\\'):
        return name
    octal = (f"\\{byte:03o}" if byte < 32 or byte in b'"\\' or byte > 126 else chr(byte) for byte in os.fsencode(name))
    return '"' + "".join(octal) + '"'


def _rows(section: str, sheets: Sequence[Mapping[str, str]]) -> Iterable[Difference]:
    for name in sorted({name for sheet in sheets for name in sheet}):
        values = tuple(sheet.get(name, MISSING) for sheet in sheets)
        if len(set(values)) > 1:
            yield Difference(section, name, values)


def _outcome(experiment: Experiment) -> dict[str, str]:
    end = experiment.exit
    why = "" if end is None or end.reason == experiment.status else end.reason
    code = "" if end is None or not end.code else f"code {end.code}"
    return {"status": ", ".join(filter(None, [experiment.status, why, code]))}


def _command(experiment: Experiment) -> dict[str, str]:
    command = experiment.command
    return {"kind": command.kind, "target": command.target, "arguments": " ".join(command.args)}


def _code(experiment: Experiment) -> dict[str, str]:
    git = experiment.git
    if git is None:
        return {}
    patch = git.patch.removeprefix("sha256:")[:12] if git.patch else "not kept" if git.dirty else "none"
    return {"commit": (git.commit or MISSING)[:12], "branch": git.branch or MISSING, "uncommitted changes": patch}


def _files(experiments: Sequence[Experiment], tracking: Tracking) -> list[dict[str, str]]:
    """Digest of each file of the workspaces; one row for all where one was not captured or cannot be read."""
    manifests = [ref.manifest if (ref := e.artifacts.get("workspace")) else None for e in experiments]
    if len(set(manifests)) == 1:
        return [{} for _ in experiments]
    sheets: list[dict[str, str] | str] = []
    for manifest in manifests:
        if manifest is None:
            sheets.append("not captured")
            continue
        try:
            files = tracking.artifacts.manifest(manifest).files
            sheets.append({entry.path: entry.sha256[:12] for entry in files if entry.regular})
        except (NotFound, StoreError, ConfigError):
            sheets.append(UNREADABLE)
    if any(isinstance(sheet, str) for sheet in sheets):
        return [{"all": s if isinstance(s, str) else f"captured: {len(s)}"} for s in sheets]
    return [sheet for sheet in sheets if isinstance(sheet, dict)]


def _environments(experiments: Sequence[Experiment]) -> list[dict[str, str]]:
    """Each package; their number alone where those of one are not known."""
    known = all(e.packages for e in experiments)
    sheets = []
    for experiment in experiments:
        packages = dict(p.split("==", 1) for p in experiment.packages if "==" in p)
        if not known:
            packages = {"packages": str(len(packages)) if packages else MISSING}
        command = experiment.command
        sheets.append({**packages, "python": command.python or MISSING, "interpreter": command.interpreter or MISSING})
    return sheets


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


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _metrics(experiments: Sequence[Experiment], tolerance: float) -> Iterator[Difference]:
    """Last values that are further apart than the tolerance."""
    sheets = [own_metrics(e) for e in experiments]
    for name in _comparable(experiments):
        found = [sheet[name].last if name in sheet else None for sheet in sheets]
        if any(not same(found[0], value, tolerance) for value in found[1:]):
            yield Difference("metrics", name, numbers(found))


def same(one: float | None, other: float | None, tolerance: float) -> bool:
    """Whether two values are no further apart than the tolerance; None equals None, NaN equals NaN."""
    if one is None or other is None:
        return one is other
    if math.isfinite(one) and math.isfinite(other):
        return abs(one - other) <= tolerance * max(abs(one), abs(other))
    return one == other or (math.isnan(one) and math.isnan(other))


def numbers(values: Sequence[float | None]) -> tuple[str, ...]:
    """In six digits, or in as many as it takes to tell them apart."""
    distinct = len({v for v in values if v is not None and v == v})
    for digits in (6, 9, 12, 17):
        texts = [MISSING if v is None else f"{v:.{digits}g}" for v in values]
        if len({t for t, v in zip(texts, values, strict=True) if v is not None and v == v}) == distinct:
            break
    return tuple(texts)


def _parting(experiments: Sequence[Experiment], tracking: Tracking, tolerance: float) -> Iterable[Difference]:
    """The step at which each curve leaves that of the first experiment that has one."""
    curves = [curves_of(e, tracking) for e in experiments]
    for name in _comparable(experiments):
        having = [i for i, one in enumerate(curves) if len(one.curve(name)[0])]
        if len(having) < 2:
            continue
        found = {i: _leaves(curves[having[0]], curves[i], name, tolerance) for i in having[1:]}
        if any(step != "never" for step in found.values()):
            yield Difference("curves part at", name, tuple(found.get(i, MISSING) for i in range(len(experiments))))


def curves_of(experiment: Experiment, tracking: Tracking) -> Curves:
    """All points that it logged; none if they are not there."""
    try:
        return Curves.from_store(tracking.store, experiment.key)
    except NotFound:
        return Curves({})


def _leaves(one: Curves, other: Curves, name: str, tolerance: float) -> str:
    """The first step both have whose values differ; else where the shorter curve ends."""
    import numpy as np

    found = apart(one, other, name, tolerance)
    if found:
        return found
    only = np.setxor1d(one.curve(name)[0], other.curve(name)[0])
    return f"step {only[0]}, which one lacks" if len(only) else "never"


def apart(one: Curves, other: Curves, name: str, tolerance: float) -> str:
    """The first step both have whose values differ, or that they have no step in common; "" if they agree."""
    import numpy as np

    steps, _, values = one.curve(name)
    other_steps, _, other_values = other.curve(name)
    common, mine, its = np.intersect1d(steps, other_steps, return_indices=True)
    if not len(common):
        return "no common step"
    a, b = values[mine], other_values[its]
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.isfinite(a - b) & (np.abs(a - b) <= tolerance * np.maximum(np.abs(a), np.abs(b)))
    differ = common[~(near | (a == b) | (np.isnan(a) & np.isnan(b)))]
    return f"step {differ[0]}" if len(differ) else ""
