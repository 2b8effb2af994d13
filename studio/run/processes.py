"""What the processes below one of ours have used so far: hides /proc, psutil, and children that come and go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .guard import descendants

TICKS_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Used(NamedTuple):
    """Of one process: CPU seconds and bytes read and written since it began at `born` (seconds; only differences mean
    anything), with those of the children that it has waited for; resident memory in bytes now."""

    born: float
    cpu: float
    memory: float
    read: float
    written: float


class Reader(Protocol):
    """Reads a tree of processes. Called by one thread."""

    heirs: bool
    """Whether a process that waits for a child inherits what the child has used."""

    def look(self) -> None:
        """Finds out which processes there are; `read` knows no newer ones. The dear part on a machine with many."""

    def read(self) -> dict[int, Used]:
        """Process id → what it has used; the root is among them, those that ended are not."""

    def clock(self) -> float:
        """Now, in the seconds that `Used.born` is in."""


def open_reader(root: int) -> Reader:
    """The reader for this platform."""
    return ProcReader(root) if os.path.exists("/proc/self/stat") else PsutilReader(root)


class ProcReader:
    """Linux: two small files for each process, an eighth of what psutil takes for the same."""

    heirs = True

    def __init__(self, root: int) -> None:
        self._root = root
        self._pids: list[int] = [root]
        self._fresh: dict[int, list[bytes]] = {}
        self._moved: dict[int, tuple[float, float]] = {}

    def look(self) -> None:
        """Goes through /proc once; what it reads there of the tree, the next `read` need not read again."""
        seen: dict[int, list[bytes]] = {}
        children: dict[int, list[int]] = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    words = _words(name)
                except OSError:
                    continue
                seen[int(name)] = words
                children.setdefault(int(words[1]), []).append(int(name))
        self._pids = [self._root]
        for pid in self._pids:  # the list grows below the loop: children after their parents
            self._pids += children.get(pid, [])
        self._fresh = {pid: seen[pid] for pid in self._pids if pid in seen}

    def read(self) -> dict[int, Used]:
        """From `stat` and `io`."""
        found: dict[int, Used] = {}
        moved: dict[int, tuple[float, float]] = {}
        for pid in self._pids:
            try:
                words = self._fresh.get(pid) or _words(pid)
                moved[pid] = self._read_io(pid)
            except OSError:
                continue
            spent = sum(map(int, words[11:15])) / TICKS_S  # its own and its children's, user and system
            found[pid] = Used(int(words[19]) / TICKS_S, spent, int(words[21]) * PAGE, *moved[pid])
        self._pids, self._moved, self._fresh = list(found), moved, {}
        return found

    def _read_io(self, pid: int) -> tuple[float, float]:
        try:
            lines = _content(f"/proc/{pid}/io").split()
        except PermissionError:  # one that changed its user, or has ended and waits for its parent
            return self._moved.get(pid, (0.0, 0.0))
        return float(lines[9]), float(lines[11])

    def clock(self) -> float:
        """Seconds since the machine started, as `stat` has them."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


def _words(pid: int | str) -> list[bytes]:
    """`stat` behind the program's name: state, parent, …"""
    return _content(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _content(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


class PsutilReader:
    """Where there is no /proc; correct on Linux too."""

    def __init__(self, root: int) -> None:
        import psutil

        self._psutil = psutil
        self._root = root
        self._processes: dict[int, Any] = {}
        self.heirs = psutil.LINUX

    def look(self) -> None:
        """Asks the system for every process."""
        found = {}
        for pid in [self._root, *descendants(self._root)]:
            try:
                found[pid] = self._processes.get(pid) or self._psutil.Process(pid)
            except self._psutil.Error:
                continue
        self._processes = found

    def read(self) -> dict[int, Used]:
        """By psutil's calls."""
        found = {}
        for pid, process in list(self._processes.items()):
            try:
                with process.oneshot():
                    spent, memory = process.cpu_times(), process.memory_info().rss
                    moved = process.io_counters() if hasattr(process, "io_counters") else None
                    total = spent.user + spent.system + spent.children_user + spent.children_system
                    read, written = (moved.read_bytes, moved.write_bytes) if moved is not None else (0, 0)
                    found[pid] = Used(process.create_time(), total, memory, read, written)
            except (self._psutil.Error, OSError):
                del self._processes[pid]
        return found

    def clock(self) -> float:
        """Seconds since 1970."""
        return time.time()


class Tree:
    """What a whole tree uses, from one look to the next.

    A process that ends takes its counters along, and its parent inherits them: its last reading is taken off what the
    others have gained. One that is found late counts only with the share of its life since the look before.

    Args:
        root: Its children are measured, also those that it has waited for.
        itself: Whether the root is measured too.
        reader: How its processes are read.
    """

    def __init__(self, root: int, *, itself: bool = False, reader: Reader | None = None) -> None:
        self._left_out = frozenset[int]() if itself else frozenset((root,))
        self._reader = reader or open_reader(root)
        self._before: dict[int, Used] = {}
        self._at = 0.0
        self.pids: frozenset[int] = frozenset()

    def look(self) -> None:
        """Looks for new processes with the next `measure`."""
        self._reader.look()

    def measure(self) -> dict[str, float]:
        """`cpu` in cores, `memory` in bytes, `disk_read` and `disk_written` in bytes a second.

        The first call has nothing to compare with: all are zero but `memory`.
        """
        now, reading = self._reader.clock(), self._reader.read()
        before, elapsed = self._before, max(now - self._at, 1e-3)
        self._before, self._at = reading, now
        self.pids = frozenset(reading) - self._left_out
        memory = sum(reading[pid].memory for pid in self.pids)
        if not before:
            return {"cpu": 0.0, "memory": memory, "disk_read": 0.0, "disk_written": 0.0}

        def rate(value: Callable[[Used], float]) -> float:
            gained = 0.0
            for pid, used in reading.items():
                last = before.get(pid)
                if last is not None and last.born == used.born:
                    gained += value(used) - value(last)
                elif pid not in self._left_out:
                    gained += value(used) * min(1.0, elapsed / max(now - used.born, 1e-3))
            if self._reader.heirs:
                ended = [last for pid, last in before.items() if pid not in reading or reading[pid].born != last.born]
                gained -= sum(map(value, ended))
            return max(0.0, gained) / elapsed

        return {
            "cpu": rate(lambda used: used.cpu),
            "memory": memory,
            "disk_read": rate(lambda used: used.read),
            "disk_written": rate(lambda used: used.written),
        }
