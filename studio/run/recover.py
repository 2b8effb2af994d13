"""Closes runs of this machine whose supervisor died: what they left in the spool is delivered, the record is ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..config import Config
from ..errors import Conflict, NotFound, StoreError
from ..experiment import Exit, Experiment, Failure, Times
from ..tracking import Notify, Tracking
from .delivery import Delivery, mutable_artifacts
from .held import remove_dead
from .spool import Spool, open_runs
from .strays import end_strays


def recover(tracking: Tracking, *, config: Config, notify: Notify) -> None:
    """Recovers every run of this store that no process of this machine holds any more, and says so.

    The tokens that dead servers left go too.
    """
    remove_dead(tracking.home / "serving", "token-*")
    for spool in open_runs(tracking.home):
        if spool.alive():
            continue
        try:
            spool.lock(make=False)
        except Conflict:  # somebody else does it
            continue
        except StoreError as exc:
            notify(f"experiment {spool.key} waits to be delivered: {exc}")
            continue
        try:
            _recover(spool, tracking=tracking, config=config, notify=notify)
        except (OSError, StoreError) as exc:
            hint = f" ({exc.hint})" if isinstance(exc, StoreError) and exc.hint else ""
            notify(f"experiment {spool.key} waits to be delivered: {exc}{hint}")
        finally:
            spool.unlock()


def _recover(spool: Spool, *, tracking: Tracking, config: Config, notify: Notify) -> None:
    """One run, which this process holds."""
    end_strays(spool.folder)
    remove_dead(spool.folder, "token-*")
    kept = spool.kept_record()
    url, mapping, stored = spool.kept_context()
    if kept is None:
        url = url or tracking.url
        kept, stored = _of_this_machine(spool.key, tracking), True
        if kept is None:  # it ended before there was anything to keep
            if spool.output.exists():
                spool.release()
            else:
                spool.discard()
            return
    if url != tracking.url:
        return
    ended = _close(spool, kept, mapping, stored, tracking=tracking, config=config, notify=notify)
    if ended is not None:
        how = "was lost; what it left is recovered" if ended.status == "lost" else "is delivered"
        notify(f"experiment {spool.key} {how}")


def _of_this_machine(key: str, tracking: Tracking) -> Experiment | None:
    """The store's record, where a power cut tore the one in the spool; None if it is none of a run of this machine."""
    try:
        found = tracking.records.get(key)
    except NotFound:
        return None
    here = found.host is not None and found.host.name == os.uname().nodename
    return found if here and not found.ended else None


def _close(
    spool: Spool,
    kept: Experiment,
    mapping: dict[str, Path],
    stored: bool,
    *,
    tracking: Tracking,
    config: Config,
    notify: Notify,
) -> Experiment | None:
    """The record as it stands in the store at the end; None if it is gone or waits for the store."""
    mutable = mutable_artifacts(kept, mapping)
    delivery = Delivery(tracking, spool, config=config, notify=notify, mutable=mutable, refs=kept.artifacts)
    delivery.typed, delivery.roots = kept.given, mapping
    delivery.waits = f"experiment {kept.key} waits to be delivered"
    delivery.check_store()
    try:
        tracking.records.get(kept.key)
    except NotFound:
        if stored:
            spool.release()  # deleted while it ran
            return None
        tracking.records.create(kept)
    complete = delivery.finish()
    last: list[Experiment] = []

    def end(experiment: Experiment) -> Experiment:
        last.append(
            delivery.final(
                _as_kept(experiment, kept)
                if kept.ended
                else _with_parent(_ended(experiment, spool, delivery.failure), tracking)
            )
        )
        return last[-1]

    if delivery.update(end) and complete:
        tracking.index.forget_owed()
        spool.release()
        return last[-1]
    return None


def _with_parent(experiment: Experiment, tracking: Tracking) -> Experiment:
    """A child that was open when its run was stopped, or failed, has ended with it."""
    if experiment.status != "lost" or experiment.child_of is None:
        return experiment
    try:
        parent = tracking.records.get(experiment.child_of)
    except NotFound:
        return experiment
    end = parent.exit
    if end is None or parent.status not in ("stopped", "failed"):
        return experiment
    return experiment.with_changes(status=parent.status, exit=Exit(end.code, end.signal, end.reason, end.by, end.error))


def _as_kept(experiment: Experiment, kept: Experiment) -> Experiment:
    """As its supervisor ended it; what only others change, tags and notes, stays as the store has it."""
    return experiment.with_changes(
        status=kept.status, exit=kept.exit, times=kept.times, summary=kept.summary or experiment.summary,
        params={**experiment.params, **kept.params}, digests={**experiment.digests, **kept.digests},
        artifacts={**experiment.artifacts, **kept.artifacts},
    )  # fmt: skip


def _ended(experiment: Experiment, spool: Spool, failure: Failure | None) -> Experiment:
    """As its supervisor ended it, if that came so far; as lost otherwise."""
    status = spool.exit_status() or {}
    if experiment.ended and (experiment.status != "lost" or not status):
        return experiment
    code, number, at = status.get("code"), status.get("signal"), status.get("at")
    started = experiment.times.started or experiment.times.added
    finished = float(at) if isinstance(at, int | float) else time.time()
    return experiment.with_changes(
        status="lost",
        exit=Exit(
            code if isinstance(code, int) else None,
            number if isinstance(number, int) else None,
            "lost",
            error=failure if code else None,
        ),
        times=Times(experiment.times.added, experiment.times.started, max(started, finished), experiment.times.extra),
    )
