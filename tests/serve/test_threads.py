"""Wrappers' threads: as many jobs at once as were promised, whichever of them hang."""

from __future__ import annotations

import contextlib
import threading
import time

from studio.serve.threads import Threads


def test_jobs_that_come_together_run_side_by_side() -> None:
    for _ in range(200):
        threads, met, together = Threads(4, "test"), [], threading.Barrier(5)

        def job(met: list[int] = met, together: threading.Barrier = together) -> None:
            with contextlib.suppress(threading.BrokenBarrierError):
                met.append(together.wait(120))

        for _ in range(4):
            threads.submit(job)
        with contextlib.suppress(threading.BrokenBarrierError):  # it breaks where one waits behind another
            together.wait(120)
        assert not together.broken
        threads.close()


def test_a_job_that_hangs_holds_up_none_but_itself_once_it_is_left_behind() -> None:
    threads, gate, ran = Threads(1, "test"), threading.Event(), threading.Event()
    began = threading.Event()
    threads.submit(lambda: (began.set(), gate.wait(120)))  # type: ignore[arg-type, return-value]
    threads.submit(ran.set)
    assert began.wait(120)
    assert not ran.is_set()
    threads.replace_hung(time.monotonic() + 1)
    assert ran.wait(120)
    gate.set()
    again = threading.Event()
    threads.submit(again.set)
    assert again.wait(120)
    threads.close()
