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
                    if _close(spool, kept, mapping, stored, tracking=tracking, config=config, notify=notify):
                        how = "is delivered" if kept.ended else "was lost; what it left is recovered"
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
) -> bool:
    mutable = mutable_artifacts(kept, mapping)
    delivery = Delivery(tracking, spool, config=config, notify=notify, mutable=mutable)
    try:
        tracking.records.get(kept.key)
    except NotFound:
        if stored:
            spool.release()  # deleted while it ran
            return False
        try:
            tracking.records.create(kept)
        except StudioError as exc:
            notify(f"experiment {kept.key} waits to be delivered: {exc}")
            return False
    except StoreError as exc:
        notify(f"experiment {kept.key} waits to be delivered: {exc}")
        return False
    complete = delivery.finish()
    if delivery.update(lambda e: delivery.final(kept if kept.ended else _lost(e, spool))) and complete:
        spool.release()
        return True
    return False


def _lost(experiment: Experiment, spool: Spool) -> Experiment:
    status = spool.exit_status() or {}
    code, number, at = status.get("code"), status.get("signal"), status.get("at")
    started = experiment.times.started or experiment.times.added
    finished = float(at) if isinstance(at, int | float) else time.time()
    return experiment.with_changes(
        status="lost",
        exit=Exit(code if isinstance(code, int) else None, number if isinstance(number, int) else None, "lost"),
        times=Times(experiment.times.added, experiment.times.started, max(started, finished), experiment.times.extra),
    )
