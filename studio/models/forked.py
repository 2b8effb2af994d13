"""Tries in a copy of this process what a damaged file could make a library do to it: crash, or never return."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import re
import resource
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from ..errors import ModelLoadError

LONGEST_S = 20.0
"""A trial that takes longer ends without a verdict: the model is large, and its calls are watched later."""


_PR_SET_PDEATHSIG = 1


class Damaged(Exception):
    """A trial found what would crash the library later."""


def survive(name: str, library: str, trial: Callable[[], None]) -> tuple[str, ...]:
    """Refuses a file that crashes its library. Nothing is tried where the system is not made for forks (macOS).

    Args:
        name: Of the file.
        library: What `trial` calls.
        trial: Loads the file; `Damaged` refuses it. Other errors are left to the real load.

    Returns:
        A warning if the system has no room for a copy of this process: that says nothing against the file.

    Raises:
        ModelLoadError: the library crashed, or the file is damaged.
    """
    if sys.platform != "linux":
        return ()
    try:
        told, status = _tried(trial)
    except OSError as exc:
        return (f"{name} was loaded untried, since no copy of this process could be made: {exc}; if {library} crashes "
                "with it, the server ends",)  # fmt: skip
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        number = signal.Signals(os.WTERMSIG(status)).name
        raise ModelLoadError(f"{name} crashes {library} ({number})", hint="the file is damaged: save the model again")
    if told:
        raise ModelLoadError(f"{name} is damaged: {told}", hint="save the model again")
    return ()


def _tried(trial: Callable[[], None]) -> tuple[str, int]:
    """What the copy wrote, and how it ended."""
    reads, writes = os.pipe()
    try:
        try:
            pid = _forked(trial, writes)
        finally:
            os.close(writes)
        return _told(pid, reads)
    finally:
        os.close(reads)


def _forked(trial: Callable[[], None], writes: int) -> int:
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the copy uses none of theirs
        pid = os.fork()
    if not pid:
        _in_the_copy(trial, writes, parent)
    return pid


def _told(pid: int, reads: int) -> tuple[str, int]:
    """What the copy wrote, and how it ended; it is ended if it takes too long, or nobody waits for it any more."""
    until = time.monotonic() + LONGEST_S
    told, ended = b"", False
    try:
        while not ended and select.select([reads], [], [], max(0.0, until - time.monotonic()))[0]:
            part = os.read(reads, 4096)
            told += part
            ended = not part
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    return told.decode("utf-8", "replace"), status


def _in_the_copy(trial: Callable[[], None], writes: int, parent: int) -> None:
    """Never returns: nothing of this process may happen twice. Ends with the process that waits for it."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        faulthandler.disable()
        _one_thread()
        with contextlib.suppress(Exception):
            try:
                trial()
            except Damaged as exc:
                os.write(writes, str(exc).encode())
    finally:
        os._exit(0)


def _one_thread() -> None:
    """OpenMP's threads are not in the copy, and it would wait for them."""
    with contextlib.suppress(OSError):
        maps = Path("/proc/self/maps").read_text("utf-8", "replace")
        for path in set(re.findall(r"/\S*lib(?:gomp|omp|iomp)\S*", maps)):
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(path).omp_set_num_threads(1)
