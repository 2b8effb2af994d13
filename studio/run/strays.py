"""Ends what a script had started when its guard, which would have done so, was killed: found by their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "STUDIOML_SUPERVISOR"
"""Only processes below a guard have this variable; those of a notebook that tracks itself are the user's own."""

GRACE_S = 1.0


def end_strays(spool: Path) -> int:
    """Ends the processes of the run with this spool folder, and returns how many they were; 0 where /proc is missing.

    The caller and those above it are left out: a script may call a command that recovers the script's own run.
    """
    ours = _line_above()
    seen: set[int] = set()
    number, until = signal.SIGTERM, time.monotonic() + GRACE_S
    while True:
        found = _processes_of(spool) - ours
        if not found:
            return len(seen)
        for pid in found if number == signal.SIGKILL else found - seen:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if number == signal.SIGKILL and time.monotonic() > until + GRACE_S:
            return len(seen)  # one that the kernel does not let go of
        seen |= found
        time.sleep(0.02)
        if time.monotonic() > until:
            number = signal.SIGKILL


def _processes_of(spool: Path) -> set[int]:
    wanted = f"STUDIOML_SPOOL={spool}".encode()
    found = set()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            with contextlib.suppress(OSError):
                words = Path("/proc", name, "environ").read_bytes().split(b"\0")
                if wanted in words and any(word.startswith(MARK.encode() + b"=") for word in words):
                    found.add(int(name))
    return found


def _line_above() -> set[int]:
    """This process, its parent, and so on."""
    pid, found = os.getpid(), set[int]()
    with contextlib.suppress(OSError, IndexError):
        while pid > 0 and pid not in found:
            found.add(pid)
            pid = int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    return found
