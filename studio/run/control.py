"""What others do to a run that exists: follow its output, ask it to stop, wait for its end, delete it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ..errors import Conflict, NotFound, StoreError
from ..experiment import Exit, Experiment
from ..tracking import Tracking
from .spool import Spool

TAIL_S = 0.2
READ_BYTES = 8 << 20

Look = Callable[[str], None]
"""Looks whether the run of this key died meanwhile."""


def output(tracking: Tracking, key: str, *, follow: bool, start: int, look: Look) -> Iterator[bytes]:
    """The output's bytes from offset `start`; with `follow` until the experiment ends."""
    name, at = f"runs/{key}/output", start
    while True:
        ended = not follow or tracking.records.get(key).ended
        try:
            data, _ = tracking.store.read(name, (at, at + READ_BYTES))
        except NotFound:
            data = b""
        if data:
            at += len(data)
            yield data
        elif ended:
            return
        else:
            time.sleep(TAIL_S)
            look(key)


def stop(tracking: Tracking, experiment: Experiment, by: str) -> bool:
    """Asks a running experiment to stop, in the name of `by`; False if it is over, or lost, already."""
    if experiment.ended:
        return False
    if experiment.status == "waiting":
        end = Exit(None, None, "stopped", by)
        tracking.records.update(experiment.key, lambda e: e.with_changes(status="stopped", exit=end))
        return True
    tracking.records.request_stop(experiment.key, by)
    return True


def wait(tracking: Tracking, key: str, *, timeout_s: float, look: Look) -> Experiment:
    """The record once the experiment has ended, or as it is when the time is over."""
    until = time.monotonic() + timeout_s
    while True:
        experiment = tracking.records.get(key)
        if experiment.ended or time.monotonic() > until:
            return experiment
        time.sleep(TAIL_S)
        look(key)


def delete(tracking: Tracking, key: str, *, running: bool, more: bool = False) -> None:
    """Removes an experiment's record, streams and local folder.

    Args:
        running: Whether it runs, as far as its record and its heartbeat tell.
        more: Others are deleted at once after it.

    Raises:
        Conflict: it is running; stop it first.
        StoreError: its local folder cannot be removed; nothing else is then.
    """
    spool = Spool(tracking.home, key)
    if running or spool.alive():
        raise Conflict(f"experiment {key} is running", hint=f"studio runs stop {key}")
    try:
        spool.remove()  # the record last: a delete that was interrupted can be repeated
    except OSError as exc:
        raise StoreError(
            f"cannot delete {key}: {exc.filename or spool.run_folder} cannot be removed: {exc.strerror or exc}",
            hint=f"rm -r {spool.run_folder}, then again",
        ) from exc
    tracking.records.delete(key, more=more)
    spool.release()
