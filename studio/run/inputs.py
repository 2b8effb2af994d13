"""Brings a run's artifacts in place: captured from the user's folders, fetched, restored, or reused from other runs."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..config import Config
from ..errors import ArtifactNotFound, ConfigError, StoreError
from ..experiment import CHILD, RUN, SCRIPT, WORD, ArtifactRef, Experiment
from ..stores import Progress
from ..tracking import Notify, Tracking
from ..units import show_size
from .left_out import as_field, capture_line, left_out_of, limited, shown, spelled
from .plan import Capture, Plan
from .redact import clean, redact_source
from .script import Script
from .spool import Spool

FOLDERS = ("modeldir", "tb")
"""Artifacts that every run has: folders below the run's own, captured as long as it lives."""

SILENCE_S = 2.0


class Inputs:
    """The artifacts of a run that begins.

    Attributes:
        refs: Name → what the record says of it.
        mapping: Name → where it is on this machine.
        told: Paths that the line on the workspace, or on the script's own folder, names, or counts; folders end with
            `/`.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        tracking: Tracking,
        config: Config,
        spool: Spool,
        notify: Notify,
        script: Script | None = None,
    ) -> None:
        self.plan = plan
        self.script = script
        self.tracking = tracking
        self.config = config
        self.spool = spool
        self.notify = notify
        self.refs: dict[str, ArtifactRef] = {}
        self.mapping: dict[str, Path] = {}
        self.told: set[str] = set()

    def place(self) -> None:
        """Captures, fetches, restores and reuses everything that the plan names.

        Raises:
            ConfigError: something cannot be captured.
            ArtifactNotFound: an artifact to reuse is not there.
            StoreError: what the run needs cannot be read from the store.
        """
        if self.plan.restore is not None:
            self._restore(self.plan.restore)
        named = {c.name for c in self.plan.captures} | {r.name for r in self.plan.reuses}
        if self.plan.workspace and "workspace" not in {*named, *self.refs}:  # first: it may be refused for its size
            self.refs["workspace"] = self._workspace()
            self.mapping["workspace"] = self.plan.code[0].parent if self.plan.code else self.plan.folder
        if self.plan.workspace and SCRIPT not in self.refs:
            self._script(taken=SCRIPT in named)
        for reuse in self.plan.reuses:
            self._reuse(reuse.key, reuse.artifact, reuse.name)
        for capture in self.plan.captures:
            self._capture(capture)
        for name in FOLDERS:
            if name not in self.refs:
                self.mapping[name] = self.spool.run_folder / name
                self.mapping[name].mkdir(mode=0o700, exist_ok=True)
                self.refs[name] = ArtifactRef(mutable=True)
        self.mapping["output"] = self.spool.output

    def _restore(self, again: Experiment) -> None:
        """Brings back what an experiment started from: its workspace and captured inputs, not its checkpoints."""
        for name, ref in again.artifacts.items():
            if ref.manifest is not None and name not in FOLDERS:
                self.mapping[name] = bring(self.tracking, ref.manifest, self.spool.run_folder / name, self.notify)
                self.refs[name] = ref
        for name in again.artifacts:
            if name in self.refs and name != "workspace" and (left_out := left_out_of(again, name)):
                self.notify(f"artifact {name} is restored without what was not captured: {spelled(left_out)}")
        left_out = left_out_of(again)
        if left_out:
            self.notify(f"not restored, as {again.key} did not capture it: {spelled(left_out)}")

    def _reuse(self, key: str, artifact: str, name: str) -> None:
        target = self.spool.run_folder / name
        if artifact == "output":
            target.write_bytes(self.tracking.store.read(f"runs/{key}/output")[0])
            self.mapping[name], self.refs[name] = target, self._store(target, name, mutable=False)
            return
        ref = find_artifact(self.tracking.records.get(key), artifact)
        self.mapping[name] = bring(self.tracking, str(ref.manifest), target, self.notify)
        self.refs[name] = ArtifactRef(False, ref.manifest, ref.files, ref.bytes)

    def _capture(self, capture: Capture) -> None:
        path = capture.path
        if capture.url:
            from .download import download

            path = self.spool.run_folder / capture.name
            self.notify(f"fetching {clean(capture.url)}")
            download(capture.url, path)
        self.mapping[capture.name] = path
        limit = None if capture.name in FOLDERS else self.plan.capture_limit  # a server needs them whole
        self.refs[capture.name] = ArtifactRef(mutable=True, extra=limited(limit))
        if not capture.mutable or path.exists():
            rules = "workspace" if capture.name == "workspace" else "plain"
            ref = self._store(path, capture.name, mutable=capture.mutable, rules=rules, limit=limit)
            self.refs[capture.name] = replace(ref, extra={**limited(limit), **ref.extra})

    def _workspace(self) -> ArtifactRef:
        path = self.plan.folder
        if self.plan.code:
            root = self.plan.code[0].parent
            try:
                return self._store(root, "workspace", mutable=False, rules="workspace", only=self.plan.code)
            except StoreError as exc:
                self.notify(f"the wrapper could not be captured: {exc}")
                return ArtifactRef()
        if path in self._too_much():
            self.notify(f"the workspace is not captured: {path} is too much; run from the project's folder")
            return ArtifactRef()
        return self._code(path, "workspace")

    def _script(self, *, taken: bool) -> None:
        """Captures the folder of a script that the workspace is without; of a large one, the script alone."""
        script = self.script
        workspace = self.refs.get("workspace")
        kept = workspace is not None and workspace.manifest is not None
        if script is None or not script.word:
            return
        if workspace is not None and kept and script.lies_in(self.mapping["workspace"]):
            if self.plan.command.kind == "exec" and os.path.normpath(script.word).startswith(("/", "../", "~")):
                inside = str(script.file.relative_to(os.path.realpath(self.mapping["workspace"])))
                named = {WORD: clean(script.word), RUN: clean(inside)}
                self.refs["workspace"] = replace(workspace, extra={**workspace.extra, **named})
            return
        if taken:
            self.notify(
                f"{shown(script.word)} lies outside of the workspace; {SCRIPT} is another artifact: not captured"
            )
            return
        path = script.file.parent
        alone = path in self._too_much(temporary=True)
        ref = self._code(script.file if alone else path, SCRIPT)
        if ref.manifest is None:
            return
        if self.plan.relation != CHILD:
            place = shown(str(path))
            what = f"captured without the rest of {place}" if alone else f"its folder {place} is captured too"
            self.notify(f"{shown(script.word)} lies outside of the workspace: {what}, as artifact {SCRIPT}")
        word = clean(script.word)
        self.refs[SCRIPT] = replace(ref, extra={**ref.extra, WORD: word, RUN: script.file.name})
        self.mapping[SCRIPT] = script.file if alone else path

    def _too_much(self, *, temporary: bool = False) -> set[Path]:
        """Folders that are no project's."""
        places = [Path.home(), Path("/"), self.tracking.home]
        if temporary:
            places += [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
        return {*places, *(Path(os.path.realpath(place)) for place in places)}

    def _code(self, path: Path, name: str) -> ArtifactRef:
        try:
            return self._store(path, name, mutable=False, rules="workspace", limit=self.config["artifact_limit"])
        except ConfigError as exc:
            _ = self.tracking.store  # one that does not exist says so itself, with a hint of its own
            raise ConfigError(exc.message, hint=f"{exc.hint}; or run with --no-workspace") from exc
        except StoreError as exc:
            self.notify(f"the {name} could not be captured: {exc}")
            return ArtifactRef()

    def _store(
        self,
        path: Path,
        name: str,
        *,
        mutable: bool,
        rules: str = "plain",
        limit: int | None = None,
        only: Sequence[Path] | None = None,
    ) -> ArtifactRef:
        progress = spoken_progress(f"capturing {name}", self.notify)
        redact = redact_source if rules == "workspace" else None
        found = self.tracking.artifacts.capture(
            path, rules=rules, limit_bytes=limit, progress=progress, redact=redact, only=only,
            redact_by=",".join(self.config["secret_names"]),
        )  # fmt: skip
        ref = ArtifactRef(mutable, found.manifest, found.files, found.bytes)
        left_out = found.left_out if limit is not None else ()
        line = capture_line(name if name == "workspace" else f"artifact {name}", found.skipped, left_out, limit or 0)
        if rules == "workspace":
            self.told = {text.partition(": ")[0] for text in found.skipped} | {one.path for one in left_out}
        if line and self.plan.relation != CHILD:  # the run around it said so
            self.notify(line)
        places = (*left_out, *found.ignored) if rules == "workspace" else left_out
        return replace(ref, extra=as_field(places)) if places else ref


def bring(tracking: Tracking, manifest: str, target: Path, notify: Notify) -> Path:
    """Puts an artifact's files into the folder `target`; the path of what was captured, a folder or one file."""
    for line in tracking.artifacts.materialise(manifest, target, progress=spoken_progress("fetching", notify)):
        notify(line)
    found = tracking.artifacts.manifest(manifest)
    return target / found.files[0].path if found.single and found.files else target


def find_artifact(experiment: Experiment, name: str) -> ArtifactRef:
    """The captured artifact of this name.

    Raises:
        ArtifactNotFound: there is none; the hint names those that are.
    """
    ref = experiment.artifacts.get(name)
    if ref is None or ref.manifest is None:
        known = ", ".join(sorted(n for n, r in experiment.artifacts.items() if r.manifest))
        raise ArtifactNotFound(
            f"experiment {experiment.key} has no artifact {name!r}", hint=f"it has: {known or 'none'}"
        )
    return ref


def spoken_progress(what: str, notify: Notify) -> Progress:
    """Says how far a long transfer is, in a line every two seconds; short ones stay silent."""
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= SILENCE_S:
            last = time.monotonic()
            notify(f"{what}: {show_size(done)} of {show_size(total)}")

    return progress
