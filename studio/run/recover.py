"""Closes runs of this machine whose supervisor died: what they left in the spool is delivered, the record is ended."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from ..config import Config
from ..errors import Conflict, NotFound, StoreError, StudioError
from ..experiment import Exit, Experiment, Times
from ..tracking import Notify, Tracking
from .delivery import Delivery, mutable_artifacts
from .spool import Spool, open_runs


def recover(tracking: Tracking, *, config: Config, notify: Notify) -> None:
    """Recovers every run of this store that no process of this machine holds any more, and says so."""
    for spool in open_runs(tracking.home):
        if spool.alive():
            continue
        kept = spool.kept_record()
        url, mapping, stored = spool.kept_context()
        if kept is None:  # it ended before there was anything to keep
            spool.open_mark.unlink(missing_ok=True)
            if not spool.output.exists():
                spool.remove()
        elif url == tracking.url:
            with contextlib.suppress(Conflict):
                spool.lock()
                try:
                    ended = _close(spool, kept, mapping, stored, tracking=tracking, config=config, notify=notify)
                    if ended is not None:
                        how = "was lost; what it left is recovered" if ended.status == "lost" else "is delivered"
                        notify(f"experiment {spool.key} {how}")
                except OSError as exc:
                    notify(f"experiment {spool.key} waits to be delivered: {exc}")
                finally:
                    spool.unlock()


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
    delivery = Delivery(tracking, spool, config=config, notify=notify, mutable=mutable)
    try:
        tracking.records.get(kept.key)
    except NotFound:
        if stored:
            spool.release()  # deleted while it ran
            return None
        try:
            tracking.records.create(kept)
        except StudioError as exc:
            notify(f"experiment {kept.key} waits to be delivered: {exc}")
            return None
    except StoreError as exc:
        notify(f"experiment {kept.key} waits to be delivered: {exc}")
        return None
    complete = delivery.finish()
    last: list[Experiment] = []

    def end(experiment: Experiment) -> Experiment:
        last.append(delivery.final(kept if kept.ended else _ended(experiment, spool)))
        return last[-1]

    if delivery.update(end) and complete:
        spool.release()
        return last[-1]
    return None


def _ended(experiment: Experiment, spool: Spool) -> Experiment:
    """As its supervisor ended it, if that came so far; as lost otherwise."""
    if experiment.ended and experiment.status != "lost":
        return experiment
    status = spool.exit_status() or {}
    code, number, at = status.get("code"), status.get("signal"), status.get("at")
    started = experiment.times.started or experiment.times.added
    finished = float(at) if isinstance(at, int | float) else time.time()
    return experiment.with_changes(
        status="lost",
        exit=Exit(code if isinstance(code, int) else None, number if isinstance(number, int) else None, "lost"),
        times=Times(experiment.times.added, experiment.times.started, max(started, finished), experiment.times.extra),
    )
