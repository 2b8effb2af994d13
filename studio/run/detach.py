"""Leaves a run in the background: a process of its own session supervises it, the caller gets the key at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace

from .. import errors
from ..errors import RunFailed, StoreError, StudioError
from ..experiment import new_key
from ..tracking import Notify
from .plan import Plan

SUBMITTED = "studio run: submitted experiment "


Run = Callable[[Plan, Notify, Callable[[], None]], int]


def detach(plan: Plan, run: Run, notify: Notify) -> str:
    """Starts `run(plan, notify, started)` in a process of its own and returns the key once the script runs.

    Args:
        run: Runs the plan to its end and calls `started`; called in the new process, must open the store there.
        notify: Takes what is said until then.

    Raises:
        RunFailed: it ended without that, with the exit code that it would have had.
        StudioError: what `run` raised until then.
    """
    plan = replace(plan, key=plan.key or new_key())
    listen, say = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(listen)
        _supervise(plan, run, say)
    os.close(say)
    held = ""  # the newest line: of a run that ends without having begun, it is the reason
    with open(listen, "rb") as lines:
        for line in lines:
            if held:
                notify(held)
            told = json.loads(line)
            if "raised" in told:
                os.waitpid(process, 0)
                raise _raised(**told["raised"])
            if "started" in told:
                return str(plan.key)
            held = "" if told["said"].startswith(SUBMITTED) else told["said"]
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    how = f"code {code}" if code >= 0 else f"signal {-code}"
    raise RunFailed(
        held.removeprefix("studio run: ") or f"the run ended before it began, with {how}",
        hint="" if held else "run it without --detach to see more", exit_code=code if code > 0 else 1,
    )  # fmt: skip


def _supervise(plan: Plan, run: Run, say: int) -> None:
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)

        def tell(**told: object) -> None:
            try:
                os.write(say, json.dumps(told).encode() + b"\n")
            except OSError:  # the caller has its key and is gone
                pass

        try:
            code = run(plan, lambda line: tell(said=line), lambda: tell(started=True))
        except Exception as exc:  # noqa: BLE001 - the caller raises it
            tell(raised=_told(exc))
    finally:
        os._exit(code)


def _told(exc: Exception) -> dict[str, object]:
    if isinstance(exc, StudioError):
        return {**exc.as_json(), "code": exc.exit_code}
    if isinstance(exc, OSError):
        where = f"{exc.filename}: " if exc.filename else ""
        return {**StoreError(f"{where}{exc.strerror or exc}").as_json(), "code": StoreError.exit_code}
    return StudioError(f"internal error: {type(exc).__name__}: {exc}").as_json() | {"code": StudioError.exit_code}


def _raised(error: str, kind: str, hint: str, code: int) -> StudioError:
    """The error of the other process, of the same class where that has no more than a message and a hint."""
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, StudioError) and found.__init__ is StudioError.__init__:
        return found(error, hint=hint)
    return RunFailed(error, hint=hint, exit_code=code)
