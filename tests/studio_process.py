"""The `studio` command as a process, and what it left in the store."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.api import Studio, open_studio
from studio.experiment import Experiment

ROOT = Path(__file__).resolve().parent.parent
STUDIO = (sys.executable, "-m", "studio")


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with the checkout importable and a short grace time."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "STUDIOML_STOP_GRACE": "2", **more}


def studio(
    *words: str, cwd: Path, env: dict[str, str] | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Runs `studio words…` to its end."""
    return subprocess.run(
        [*STUDIO, *words], cwd=cwd, env=environment(**(env or {})), input=stdin, capture_output=True, timeout=280
    )


_started: list[subprocess.Popen[bytes]] = []


def start(*words: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Starts `studio words…` in a session of its own; `end_started` ends it."""
    process = subprocess.Popen(
        [*STUDIO, *words], cwd=cwd, env=environment(**(env or {})), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    _started.append(process)
    return process


def end_started() -> None:
    """Kills what `start` started and is still alive, and closes its pipes."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(120)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def opened(store: str | None = None) -> Studio:
    """The store that those processes use, or another one."""
    return open_studio(store=store)


def record(key: str = "last") -> Experiment:
    """An experiment as the store has it."""
    return opened().experiment(key)


def until(happened: Callable[[], object], what: str, *, timeout_s: float = 280.0) -> None:
    """Waits for something.

    Raises:
        AssertionError: it did not happen in time.
    """
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def readable(file: Any, seconds: float) -> bool:
    """Whether something, or an end, comes within so many seconds; unlike `select` for descriptors over 1,023 too."""
    with selectors.DefaultSelector() as selector:
        selector.register(file, selectors.EVENT_READ)
        return bool(selector.select(seconds))
