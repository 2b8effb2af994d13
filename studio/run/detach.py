"""Leaves a run in the background: a process of its own session supervises it, the caller gets the key at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from ..errors import RunFailed
from ..experiment import new_key
from ..tracking import Notify
from .plan import Plan


def detach(plan: Plan, run: Callable[[Plan, Notify], int]) -> str:
    """Starts `run(plan, notify)` in a process of its own and returns the key once the experiment is stored.

    Args:
        run: Runs the plan to its end; called in the new process, must open the store there.

    Raises:
        RunFailed: it ended before the experiment was submitted; its messages are in the error.
    """
    plan = replace(plan, key=plan.key or new_key())
    listen, say = os.pipe()
    if os.fork() == 0:
        os.close(listen)
        _supervise(plan, run, say)
    os.close(say)
    said = b""
    while b"submitted experiment" not in said:
        data = os.read(listen, 4096)
        if not data:
            lines = said.decode(errors="replace").strip().splitlines() or ["the run did not start"]
            raise RunFailed(lines[-1], hint="run it without --detach to see more")
        said += data
    os.close(listen)
    return str(plan.key)


def _supervise(plan: Plan, run: Callable[[Plan, Notify], int], say: int) -> None:
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)

        def notify(line: str) -> None:
            try:
                os.write(say, line.encode(errors="replace") + b"\n")
            except OSError:  # the caller has its key and is gone
                pass

        try:
            code = run(plan, notify)
        except Exception as exc:  # noqa: BLE001 - the last chance to tell the caller
            notify(str(exc))
    finally:
        os._exit(code)
