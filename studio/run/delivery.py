"""Brings what a run writes from its spool to the store while it runs: streams, heartbeat, artifacts, events."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Config
from ..errors import ExperimentNotFound, StoreError, StudioError
from ..experiment import CLOCK, SAMPLED, ArtifactRef, Experiment, Failure, Module, Summary, with_modules
from ..stores.layout import known_id
from ..tracking import Notify, Tracking
from ..tracking.selection import LeftOut
from ..units import show_size
from .events import hear
from .imported import unkept
from .left_out import as_field, capture_line, limit_of, limited, places_of
from .report import with_models
from .ship import MediaFiles, Streams
from .spool import Spool

if TYPE_CHECKING:
    from ..tracking.tensorboard import TensorBoardTail
    from .code import Code
    from .usage import Usage

log = logging.getLogger(__name__)

TICK_S = 1.0


class Delivery:
    """The thread beside a run; a store that cannot be reached is said once and tried again, the run goes on."""

    def __init__(
        self, tracking: Tracking, spool: Spool, *, config: Config, notify: Notify, mutable: Mapping[str, Path],
        refs: Mapping[str, ArtifactRef],
    ) -> None:  # fmt: skip
        self.tracking = tracking
        self.spool = spool
        self.notify = notify
        self.mutable = dict(mutable)
        self._begun_with = refs
        self._told = {(name, one.path) for name, ref in refs.items() for one in places_of(ref)}
        self.stop_requested: Callable[[str | None], None] = lambda by: None
        self.waits = f"the store cannot be written, going on in {spool.folder}"
        self.reachable = not spool.store_is_away
        self._heartbeat_s = float(config["heartbeat"])
        self._capture_s = float(config["save_workspace_frequency"])
        self._streams = Streams(tracking, spool)
        self._media = MediaFiles(tracking, spool)
        self._store_id = spool.kept_store_id()
        self._events_at = 0
        self._refs: dict[str, ArtifactRef] = {}
        self._summary: Mapping[str, Summary] = {}
        self._sampled: set[str] = set()
        self._summariser: object | None = None
        self._warned: set[str] = set()
        self._local_trouble = False
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._tick_until_over, name="studio-delivery", daemon=True),
            threading.Thread(target=self._capture_until_over, name="studio-capture", daemon=True),
            threading.Thread(target=self._send_media_until_over, name="studio-media", daemon=True),
        ]
        self._change = threading.Lock()
        self._pending: list[Callable[[Experiment], Experiment]] = []
        self._usage: Usage | None = None
        self._tensorboard: dict[str, TensorBoardTail] = {}
        self.code: Code | None = None  # what git still has to say
        self._modules: list[Module] | None = None
        self.roots: Mapping[str, Path] = {}  # where the artifacts are
        self.typed: Collection[str] = ()  # parameters that the user had typed before the script began
        self.memory_error = False
        self.failure: Failure | None = None
        self.take_python: Callable[[str, str, list[str]], None] = lambda version, executable, folders: None
        self.root = 0  # the process below which usage is measured; 0 = not at all
        self.root_itself = False  # whether that process is measured too

    def start(self) -> None:
        """Begins; until the first heartbeat, after a second, the new record says as much."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> bool:
        """Ends the threads, then delivers everything that is left; whether the store has all of it now."""
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._locally(self._take_all_events)
        self._locally(lambda: self._take_code(last=True))
        self._locally(self._gather)
        if self._usage is not None:
            self._locally(self._usage.flush)
        complete = [self._attempt(self._streams.ship), self._attempt(self._media.ship), self._capture()]
        for name, path in self.mutable.items():
            self._tell_gone(name, path)
        self._attempt(lambda: self.tracking.records.remove_live(self.spool.key))
        return all(complete)

    def check_store(self) -> None:
        """Asks whether the store is still the one that has the record.

        Raises:
            StoreError: none, or another one, is in its place; to write there would lose what the run's own has.
        """
        found = known_id(self.tracking.store)
        if self._store_id and found != self._store_id:
            what = "another store stands" if found else "there is no store any more"
            raise StoreError(
                f"{what} at {self.tracking.url}", hint=f"bring it back; to give it up: rm -r {self.spool.run_folder}"
            )

    def final(self, experiment: Experiment) -> Experiment:
        """The record with the last known artifacts and metrics, as they have to stand at the end."""
        self._summarise()
        marked = self._sampled | {n for n, s in experiment.summary.items() if s.extra.get(SAMPLED) == CLOCK}
        summary = {n: replace(s, extra={SAMPLED: CLOCK}) if n in marked else s for n, s in self._summary.items()}
        if self._modules is not None:
            experiment = with_modules(experiment, self._modules)
        return with_models(experiment, self.mutable.get("modeldir")).with_changes(
            artifacts={**experiment.artifacts, **self._refs}, summary=summary or experiment.summary
        )

    def update(self, change: Callable[[Experiment], Experiment]) -> bool:
        """Changes the record in the spool and, if it can be reached, in the store; whether the store has it.

        What the store could not take is kept and comes before the next change: a change may be applied twice.
        """
        with self._change:
            kept = self.spool.kept_record()
            if kept is not None:
                self._locally(lambda: self.spool.keep_record(change(kept)))
            self._pending.append(change)
            if not self._attempt(self._write_pending, proves=True):
                self._locally(self.spool.sync)
                return False
            self._pending.clear()
            return True

    def _write_pending(self) -> None:
        """Applies every change that the store does not have yet; makes the record if it never got there."""
        changes = tuple(self._pending)
        try:
            self.tracking.records.update(
                self.spool.key, lambda e: reduce(lambda found, change: change(found), changes, e)
            )
        except ExperimentNotFound:
            url, mapping, stored = self.spool.kept_context()
            kept = self.spool.kept_record()
            if stored or kept is None:
                raise
            self.tracking.records.create(kept)
            self._store_id = known_id(self.tracking.store)
            self.spool.keep_context(url, mapping, stored=True, store_id=self._store_id)

    def _tick_until_over(self) -> None:
        beat = time.monotonic() + TICK_S / 2
        while True:
            self._locally(self._gather)
            self._attempt(self._streams.ship)
            self._locally(self._take_events)
            self._locally(self._take_code)
            if time.monotonic() >= beat:
                beat = time.monotonic() + self._heartbeat_s
                self._attempt(self._beat, proves=True)
            if self._over.wait(TICK_S):
                return
            self._attempt(self._look_for_stop)
            if self.root:
                self._locally(self._sample)

    def _sample(self) -> None:
        if self._usage is None:
            from .usage import Usage

            self._usage = Usage(self.root, self.spool.metrics / "system", itself=self.root_itself)
        self._usage.sample()

    def _gather(self) -> None:
        """Makes metrics of what the script wrote for TensorBoard."""
        folder = self.mutable.get("tb")
        if "tb" not in self._tensorboard and folder is not None and folder.is_dir() and any(folder.iterdir()):
            self._follow("tb", folder, "", None)
        for tail in self._tensorboard.values():
            tail.append_to(self.spool.metrics / "tensorboard")

    def _follow(self, name: str, folder: Path, prefix: str, since: float | None) -> None:
        from ..tracking.tensorboard import TensorBoardTail

        self._tensorboard.setdefault(name, TensorBoardTail(folder, prefix=prefix, since=since))

    def _capture_until_over(self) -> None:
        while not self._over.wait(self._capture_s):
            self._capture()

    def _send_media_until_over(self) -> None:
        while not self._over.wait(TICK_S):
            if self._media.waiting():
                self._attempt(self._media.ship)

    def _beat(self) -> None:
        self._summarise()
        live: dict[str, object] = {
            "pid": os.getpid(),
            "host": os.uname().nodename,
            "summary": {name: {"last": s.last, "step": s.step} for name, s in self._summary.items()},
            "usage": self._usage.latest if self._usage is not None else {},
            "output_end": self.spool.output.stat().st_size if self.spool.output.exists() else 0,
        }
        if self._pending:
            self.update(lambda e: e)
        self.tracking.records.write_live(self.spool.key, live)
        if self.spool.kept_context()[2] and self.tracking.records.get(self.spool.key).status == "lost":
            self.update(lambda e: e.with_changes(status="running", exit=None) if e.status == "lost" else e)

    def _look_for_stop(self) -> None:
        if self.tracking.records.stop_requested(self.spool.key):
            self.stop_requested(self.tracking.records.stop_asked_by(self.spool.key))

    def _summarise(self) -> None:
        if not self.spool.metrics.is_dir() or not any(self.spool.metrics.iterdir()):
            return
        from ..tracking.metrics import Summariser

        if not isinstance(self._summariser, Summariser):
            self._summariser = Summariser(self.spool.metrics)
        self._summary = self._summariser.read()

    def _take_all_events(self) -> None:
        before = -1
        while before != self._events_at:  # a pass reads some megabytes at most
            before = self._events_at
            self._take_events()

    def _take_events(self) -> None:
        heard, offset = hear(self.spool, self._events_at)
        for text in heard.warnings:
            self._warn(text)
        for folder, prefix, since in heard.tensorboard:
            self._follow(str(folder), folder, prefix, since)
        if heard.fresh or heard.failure is not None:
            self.memory_error, self.failure = bool(heard.memory_error), heard.failure
        self._sampled |= heard.sampled
        if heard.python is not None:
            self.take_python(*heard.python)
        if heard.changes_record():
            self.update(lambda experiment: heard.merge(experiment, typed=self.typed))
        if heard.modules is not None:
            self._take_modules(heard.modules)
        self._events_at = offset

    def _take_modules(self, files: Sequence[tuple[str, str]]) -> None:
        """Finds which modules of the script's no artifact has, for the record at the end."""
        kept = self.spool.kept_record()
        if kept is not None:
            self._modules = [*(self._modules or ()), *unkept(files, kept, self.roots, self.tracking)]

    def _take_code(self, *, last: bool = False) -> None:
        change = self.code.follow(last=last) if self.code is not None else None
        if change is not None:
            self.update(change)

    def _capture(self) -> bool:
        """Captures the mutable artifacts; False if the store could not take one."""
        complete = True
        for name, path in self.mutable.items():
            try:
                if not path.exists() or (path.is_dir() and not any(path.iterdir())):
                    continue
                self.check_store()
                limit = limit_of(self._begun_with[name]) if name in self._begun_with else None
                found = self.tracking.artifacts.capture(path, limit_bytes=limit)
            except (StudioError, OSError) as exc:
                if self.reachable or not isinstance(exc, StoreError):  # else it was said
                    self._warn(f"artifact {name} could not be captured: {exc}")
                complete = complete and not isinstance(exc, StoreError)
                continue
            for text in found.skipped:
                self._warn(f"artifact {name}: {text}")
            self._tell_left_out(name, found.left_out, limit or 0)
            extra = {**limited(limit), **(as_field(found.left_out) if found.left_out else {})}
            ref = ArtifactRef(True, found.manifest, found.files, found.bytes, extra)
            if self._refs.get(name) != ref:
                self._refs[name] = ref
                self.update(lambda e, name=name, ref=ref: e.with_changes(artifacts={**e.artifacts, name: ref}))  # type: ignore[misc]
        return complete

    def _tell_left_out(self, name: str, left_out: Sequence[LeftOut], limit: int) -> None:
        """Says of each place once that it is too large or too much."""
        new = [one for one in left_out if (name, one.path) not in self._told]
        self._told.update((name, one.path) for one in new)
        if new:
            self.notify(capture_line(f"artifact {name}", (), new, limit))

    def _tell_gone(self, name: str, path: Path) -> None:
        """Says what the record has of an artifact that is not there any more when the run ends."""
        exists = path.exists()
        if exists and not (path.is_dir() and not any(path.iterdir())):
            return
        ref = self._refs.get(name) or self._begun_with.get(name)
        if ref is not None and ref.manifest is not None and ref.files:
            now = "is empty now" if exists else "no longer exists"
            files = f"{ref.files:,} file{'s' if ref.files != 1 else ''}"
            self._warn(f"artifact {name}: {path} {now}; the last capture is kept ({files}, {show_size(ref.bytes)})")
        elif not exists:
            self._warn(f"artifact {name}: {path} does not exist")

    def _attempt(self, action: Callable[[], object], *, proves: bool = False) -> bool:
        """Whether it went well; a store that fails is said once, until something that `proves` it went well."""
        try:
            self.check_store()
            try:
                action()
            except ExperimentNotFound:
                self.check_store()  # a store that was moved away has no experiments
                raise
        except ExperimentNotFound:
            self._warn(f"experiment {self.spool.key} was deleted; the script goes on")
            return True
        except (StudioError, OSError) as exc:
            if self.reachable:
                self.notify(f"{self.waits}: {exc}")
            self.reachable = False
            log.debug("delivery of %s failed", self.spool.key, exc_info=True)
            return False
        if proves and not self.reachable:
            self.reachable = True
            self.notify("the store can be written again")
        return True

    def _locally(self, action: Callable[[], object]) -> None:
        """Does what needs no store; a disk that fails is said once."""
        try:
            action()
        except (StudioError, OSError) as exc:
            if self._local_trouble:
                log.debug("%s: %s", self.spool.key, exc)
                return
            self._local_trouble = True
            where = "" if isinstance(exc, StudioError) or exc.filename is None else f": {exc.filename}"
            self.notify(f"{exc if isinstance(exc, StudioError) else exc.strerror or exc}{where}")

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.notify(text)


def mutable_artifacts(experiment: Experiment, mapping: Mapping[str, Path]) -> dict[str, Path]:
    """Name → path of the artifacts that are captured again and again."""
    return {name: mapping[name] for name, ref in experiment.artifacts.items() if ref.mutable and name in mapping}
