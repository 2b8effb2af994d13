"""The mark of an open run: locked from its first moment, so that nobody takes a new run for a dead one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from studio.errors import Conflict
from studio.run.spool import PROBE_S, Spool, open_runs


def test_a_new_run_is_never_taken_for_a_dead_one(tmp_path: Path) -> None:
    """As recovery does, another thread claims each run that it finds without a lock, and keeps it for a while."""
    over = threading.Event()
    taken: list[str] = []

    def recover() -> None:
        while not over.is_set():
            for spool in open_runs(tmp_path):
                try:
                    spool.lock(make=False)
                except Conflict:
                    continue
                taken.append(spool.key)
                time.sleep(2 * PROBE_S)
                spool.unlock()

    threads = [threading.Thread(target=recover) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(300):
            spool = Spool(tmp_path, f"k{number}")
            spool.lock()
            spool.release()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert taken == []
    assert [path.name for path in tmp_path.iterdir()] == ["open"]
