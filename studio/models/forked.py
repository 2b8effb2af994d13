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


class Damaged(Exception):
    """A trial found what would crash the library later."""


def survive(name: str, library: str, trial: Callable[[], None]) -> None:
    """Refuses a file that crashes its library. Nothing is tried where the system is not made for forks (macOS).

    Args:
        name: Of the file.
        library: What `trial` calls.
        trial: Loads the file; `Damaged` refuses it. Other errors are left to the real load.

    Raises:
        ModelLoadError: the library crashed, or the file is damaged.
    """
    if sys.platform != "linux":
        return
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the copy uses none of theirs
        pid = os.fork()
    if not pid:
        _in_the_copy(trial, writes)
    os.close(writes)
    try:
        told, status = _told(pid, reads)
    finally:
        os.close(reads)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        number = signal.Signals(os.WTERMSIG(status)).name
        raise ModelLoadError(f"{name} crashes {library} ({number})", hint="the file is damaged: save the model again")
    if told:
        raise ModelLoadError(f"{name} is damaged: {told}", hint="save the model again")


def _told(pid: int, reads: int) -> tuple[str, int]:
    """What the copy wrote, and how it ended; it is ended if it takes too long."""
    until = time.monotonic() + LONGEST_S
    told = b""
    while select.select([reads], [], [], max(0.0, until - time.monotonic()))[0]:
        part = os.read(reads, 4096)
        told += part
        if not part:
            break
    else:
        os.kill(pid, signal.SIGKILL)
    return told.decode("utf-8", "replace"), os.waitpid(pid, 0)[1]


def _in_the_copy(trial: Callable[[], None], writes: int) -> None:
    """Never returns: nothing of this process may happen twice."""
    try:
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
