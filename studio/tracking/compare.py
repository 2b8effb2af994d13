"""Why do experiments differ: outcome, code, environment, parameters, data, machine, metrics, and where curves part."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..errors import StudioError
from ..experiment import MODULES, SCRIPT, ArtifactRef, Experiment, kept_script, modules_of
from ..units import show_size
from . import Tracking
from .apart import TOLERANCE, all_same, check_tolerance, comparable, numbers, own_metrics, parting
from .cells import MISSING, Cell, Difference, Secret, Shown, Unknown, identity, rows
from .damage import curves_of
from .manifest import FileEntry
from .rows import text

MASK = "***"
"""What a secret is recorded as."""

UNREAD = "the rest not read"
"""In the note at the end of a value that was cut: its digest does not cover all of it."""

DIGITS = 12
"""Of a digest are shown."""

Sheet = Mapping[str, Cell]


def compare(experiments: Sequence[Experiment], tracking: Tracking, *, tolerance: float = TOLERANCE) -> list[Difference]:
    """Everything that is not the same in all experiments, by section; what cannot be compared counts as different.

    Args:
        tolerance: Relative difference up to which two values of a metric count as equal.

    Raises:
        ConfigError: the tolerance is negative, infinite or no number.
    """
    check_tolerance(tolerance)
    faults = tracking.index.faulty()
    return [
        *rows("unreadable", [{n: Unknown(why) for n, why in faults.get(e.key, {}).items()} for e in experiments]),
        *rows("about", [_about(e) for e in experiments]),
        *rows("outcome", [_outcome(e) for e in experiments]),
        *rows("command", [_command(e) for e in experiments]),
        *_variables(experiments),
        *rows("code", [_code(e) for e in experiments]),
        *_files(experiments, tracking),
        *_script(experiments, tracking),
        *_modules(experiments),
        *_environment(experiments),
        *rows("parameters", [parameters(e) for e in experiments]),
        *rows("data", _data(experiments, tracking)),
        *rows("machine", [_machine(e) for e in experiments]),
        *_metrics(experiments, tolerance),
        *parting(experiments, [curves_of(e, tracking) for e in experiments], tolerance),
    ]


def parameters(experiment: Experiment) -> Sheet:
    """The parameters; the digest of a secret tells it from others of the same salt.

    Secrets without one, and parameters that are not known to their end, are the same as nothing.
    """
    found: dict[str, Cell] = {}
    for name, value in experiment.params.items():
        digest, salt = experiment.digests.get(name, ("", ""))
        found[name] = Secret(text(value), digest, salt) if digest and salt else _known(value)
    return found


def variables(experiment: Experiment) -> Sheet:
    """The variables that the user gave; the digest of a secret tells it from others of the same salt."""
    found: dict[str, Cell] = {}
    for name, one in (experiment.env or {}).items():
        secret = one.digest is not None and one.salt is not None
        found[name] = Secret(one.value, str(one.digest), str(one.salt)) if secret else _known(one.value)
    return found


def _variables(experiments: Sequence[Experiment]) -> Iterator[Difference]:
    """Each variable; records from before they were kept say nothing of them."""
    if any(e.env is not None for e in experiments):
        found = [Unknown("not recorded") if e.env is None else variables(e) for e in experiments]
        yield from _beside("variables", "all", found, lambda sheet: f"recorded: {len(sheet)}")


def _known(value: object) -> Cell:
    if not isinstance(value, str):
        return value
    if MASK in value:
        return Unknown(f"{value} (secret)")
    return Unknown(value) if value.endswith(")") and UNREAD in value[-80:] else value


def _about(experiment: Experiment) -> Sheet:
    asked = experiment.resources
    wishes = {"cpus": asked.cpus, "gpus": asked.gpus, "ram": asked.ram, "hdd": asked.hdd}
    metric = experiment.metric
    return {
        "project": experiment.project, "owner": experiment.owner, "kind": experiment.kind,
        **({"tags": Shown(sorted(experiment.tags), ", ".join(sorted(experiment.tags)))} if experiment.tags else {}),
        **({"note": experiment.notes} if experiment.notes else {}),
        **({"ranking metric": Shown([metric.name, metric.mode], f"{metric.name}:{metric.mode}")} if metric else {}),
        **{f"asked {name}": value for name, value in wishes.items() if value is not None},
        **({"longest duration": experiment.max_duration} if experiment.max_duration else {}),
    }  # fmt: skip


def _outcome(experiment: Experiment) -> Sheet:
    end = experiment.exit
    if end is None:
        return {"status": experiment.status}
    why = "" if end.reason == experiment.status else end.reason
    code = f"code {end.code}" if end.code else ""
    signal = f"signal {end.signal}" if end.signal else ""
    whole = [experiment.status, end.reason, end.code or 0, end.signal or 0]
    found: dict[str, Cell] = {
        "status": Shown(whole, ", ".join(filter(None, [experiment.status, why, code, signal]))),
        **({"stopped by": end.by} if end.by else {}),
    }
    if end.error is not None:
        found["error"] = f"{end.error.type}: {end.error.message}" if end.error.message else end.error.type
        found["error at"] = end.error.frame
    return found


def _command(experiment: Experiment) -> Sheet:
    command = experiment.command
    typed = shlex.join(command.args)
    secret = any(MASK in arg for arg in command.args)
    arguments: Cell = Unknown(f"{typed} (secret)") if secret else Shown(list(command.args), typed)
    return {"kind": command.kind, "target": command.target, "arguments": arguments}


def _code(experiment: Experiment) -> Sheet:
    git = experiment.git
    if git is None:
        return {}
    patch: Cell = Shown(None, "none")
    if git.patch or git.dirty:
        patch = _digest(git.patch) if git.patch else Unknown("not kept")
    without = git.extra.get("without")
    lines = [str(line) for line in without] if isinstance(without, list) else []
    return {
        **({"remote": git.url} if git.url else {}),
        **({"commit": Shown(git.commit, git.commit[:DIGITS])} if git.commit else {}),
        **({"commit": Unknown("not known")} if git.unknown else {}),
        **({"branch": git.branch} if git.branch else {}),
        "uncommitted changes": patch,
        **({"not in the patch": Shown(lines, "; ".join(lines))} if lines else {}),
        **({"after --resume": Unknown("; ".join(git.resumed))} if git.resumed else {}),
    }


def _digest(spelled: str) -> Shown:
    return Shown(spelled, spelled.removeprefix("sha256:")[:DIGITS])


def _files(experiments: Sequence[Experiment], tracking: Tracking) -> Iterator[Difference]:
    """Each file of the workspaces, and what they are without. That one is not known has a row, unless git knows all."""
    refs = [e.artifacts.get("workspace") for e in experiments]
    found = _contents(refs, tracking)
    if not all(isinstance(sheet, Unknown) for sheet in found) or not all(map(_git_knows_all, experiments)):
        yield from _beside("files", "all", found, lambda sheet: f"captured: {len(sheet)}")


def _script(experiments: Sequence[Experiment], tracking: Tracking) -> Iterator[Difference]:
    """Each file beside scripts that lie outside of the workspace, if one of them does."""
    kept = [kept_script(e) for e in experiments]
    if any(kept):
        refs = [e.artifacts[SCRIPT] if one else None for e, one in zip(experiments, kept, strict=True)]
        found = [sheet if one else {} for sheet, one in zip(_contents(refs, tracking), kept, strict=True)]
        yield from _beside("script", "all", found, lambda sheet: f"captured: {len(sheet)}" if sheet else MISSING)


def _modules(experiments: Sequence[Experiment]) -> Iterator[Difference]:
    """Each module that was imported and is in no artifact."""
    known = [MODULES in e.extra for e in experiments]
    if any(known):
        found = [modules(e) if one else Unknown("not recorded") for e, one in zip(experiments, known, strict=True)]
        if any(found):
            yield from _beside("modules", "all", found, lambda sheet: f"recorded: {len(sheet)}")


def modules(experiment: Experiment) -> Sheet:
    """The modules that no artifact has; a copy of the code that ran has the same ones elsewhere."""
    listed = modules_of(experiment)
    return {one.name: _digest(one.sha256) if one.sha256 else Unknown(f"{one.path} (not read)") for one in listed}


def _git_knows_all(experiment: Experiment) -> bool:
    git = experiment.git
    return git is not None and git.commit is not None and (not git.dirty or git.patch is not None)


def _beside(
    section: str, name: str, found: Sequence[Sheet | Unknown], summed: Callable[[Sheet], str]
) -> Iterator[Difference]:
    """The rows of the sheets that are known, `?` for the others; and before them one row that says which are not."""
    if any(isinstance(sheet, Unknown) for sheet in found):
        texts = (sheet.text if isinstance(sheet, Unknown) else summed(sheet) for sheet in found)
        yield Difference(section, name, tuple(texts))
    for row in rows(section, [sheet for sheet in found if not isinstance(sheet, Unknown)]):
        values = iter(row.values)
        every = tuple("?" if isinstance(sheet, Unknown) else next(values) for sheet in found)
        yield Difference(section, row.name, every)


def _contents(refs: Sequence[ArtifactRef | None], tracking: Tracking) -> list[Sheet | Unknown]:
    """What stands in artifacts, but for times; the same manifest holds the same, and is not read."""
    manifests = [ref.manifest if ref is not None else None for ref in refs]
    same = len(set(manifests)) == 1
    found: list[Sheet | Unknown] = []
    for ref in refs:
        if ref is None or ref.manifest is None:
            found.append(Unknown("not captured"))
            continue
        if same:
            found.append({})
            continue
        try:
            manifest = tracking.artifacts.manifest(ref.manifest)
        except StudioError:
            found.append(Unknown("unreadable"))
            continue
        alone: Sheet = {".": Shown(["single"], "a file alone")} if manifest.single else {}
        found.append({**alone, **_left_out(ref), **{entry.path: _member(entry) for entry in manifest.files}})
    return found


def _member(entry: FileEntry) -> Shown:
    if entry.link is not None:
        return Shown(["link", entry.link], f"-> {entry.link}")
    if entry.folder:
        return Shown(["folder"], "empty folder")
    short = entry.sha256[:DIGITS]
    return Shown([entry.sha256, entry.mode], short, f"{short} mode {entry.mode:03o}")


def _left_out(ref: ArtifactRef) -> Sheet:
    """What the artifact is without, by the record; the content of that is not known."""
    listed = ref.extra.get("left_out")
    found: dict[str, Cell] = {}
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and isinstance(one.get("path"), str):
            size, reason = one.get("bytes"), one.get("reason")
            why = str(reason) if reason else show_size(size) if isinstance(size, int) and size >= 0 else "too much"
            found[one["path"]] = Shown(["left out", one.get("files"), size, reason], f"left out: {why}")
    return found


def _environment(experiments: Sequence[Experiment]) -> Iterator[Difference]:
    """Python, and each package; their number alone where those of one are not known."""
    commands = [e.command for e in experiments]
    named = [{"python": c.python, "interpreter": c.interpreter} for c in commands]
    yield from rows("environment", [{n: v for n, v in sheet.items() if v is not None} for sheet in named])
    yield from rows("environment", [{"studio": e.studio} if e.studio else {} for e in experiments])
    if any(e.packages for e in experiments):
        found = [_packages(e) if e.packages else Unknown(MISSING) for e in experiments]
        yield from _beside("environment", "packages", found, lambda sheet: str(len(sheet)))


def _packages(experiment: Experiment) -> Sheet:
    found: dict[str, list[str]] = {}
    for package in experiment.packages:
        name, _, version = package.partition("==")
        found.setdefault(name, []).append(version)
    return {name: Shown(versions, ", ".join(versions) or "installed") for name, versions in found.items()}


def _data(experiments: Sequence[Experiment], tracking: Tracking) -> list[Sheet]:
    """The content of each artifact that was captured once, but for the times of its files."""
    names = {name for e in experiments for name, ref in e.artifacts.items() if not ref.mutable and name != "workspace"}
    names -= {SCRIPT} if any(map(kept_script, experiments)) else set()
    sheets: list[dict[str, Cell]] = [{} for _ in experiments]
    for name in names:
        pairs = zip(sheets, experiments, strict=True)
        having = [(sheet, e.artifacts[name]) for sheet, e in pairs if name in e.artifacts]
        once = [(sheet, ref) for sheet, ref in having if not ref.mutable]
        same = len({ref.manifest for _, ref in once}) == 1
        for (sheet, ref), content in zip(once, _contents([ref for _, ref in once], tracking), strict=True):
            if isinstance(content, Unknown):
                sheet[name] = content
            else:
                sheet[name] = _digest(str(ref.manifest) if same else _sum(content))
        for sheet, ref in having:
            if ref.mutable:
                sheet[name] = Shown(["mutable"], "captured again and again")
    return list(sheets)


def _sum(content: Sheet) -> str:
    return hashlib.sha256(identity({path: identity(cell) for path, cell in content.items()}).encode()).hexdigest()


def _machine(experiment: Experiment) -> Sheet:
    host = experiment.host
    if host is None:
        return {}
    return {
        "name": host.name, "system": host.os, "processor": host.cpu, "cores": host.cores, "memory": host.memory,
        "GPUs": Shown(list(host.gpus), ", ".join(host.gpus) or "none"),
    }  # fmt: skip


def _metrics(experiments: Sequence[Experiment], tolerance: float) -> Iterator[Difference]:
    """Last values that are further apart than the tolerance."""
    sheets = [own_metrics(e) for e in experiments]
    for name in comparable(experiments):
        found = [sheet[name].last if name in sheet else None for sheet in sheets]
        if not all_same(found, tolerance):
            yield Difference("metrics", name, numbers(found))
