"""What a run uses, each second: CPU, memory, disk, network of its processes, and the GPUs, as metrics `system/…`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

from .gpus import Gpus
from .inject._studio_points import encode_block
from .processes import Tree

PREFIX = "system/"
BATCH_S = 10.0
SHARE = 0.005  # of one core, for looking for new processes; as much again for the rest


class Usage:
    """Samples the processes below one of ours. Called by one thread, once a second.

    `cpu` is in cores, `memory` the resident bytes of all processes (shared pages counted in each), `disk_read`,
    `disk_written`, `net_received`, `net_sent` in bytes a second (the network's are the whole machine's); the GPUs' are
    those of `Gpus.read`. On a machine, or in a tree, of so many processes that this takes more than a hundredth of one
    core, samples and looks for new processes become rarer.

    Args:
        root: The process.
        itself: Whether it is measured too.
        stream: The metric stream that the samples are appended to.
    """

    def __init__(self, root: int, stream: Path, *, itself: bool = False) -> None:
        import psutil

        self._net: Callable[[], Any] = psutil.net_io_counters
        self._stream = stream
        self._tree = Tree(root, itself=itself)
        self._gpus = Gpus()
        self._said = False
        self._due = self._look_due = self._written = 0.0
        self._before: tuple[float, dict[str, float]] | None = None
        self._step = 0
        self._waiting: dict[str, list[bytes]] = {}
        self.latest: dict[str, float] = {}

    def sample(self) -> None:
        """Takes one sample if its time has come; what has gathered is written every ten seconds.

        Raises:
            OSError: the samples cannot be written; or, once, the GPUs cannot be read any more.
        """
        now, began = time.monotonic(), time.thread_time()
        if now < self._due:
            return
        if now >= self._look_due:
            self._tree.look()
            self._look_due = now + (time.thread_time() - began) / SHARE - 0.1  # the caller's seconds are not exact
            began = time.thread_time()
        self._take(now)
        self._due = now + (time.thread_time() - began) / SHARE - 0.1
        if self._gpus.broken and not self._said:
            self._said = True
            raise OSError(f"the use of GPUs is not recorded: {self._gpus.broken}")

    def _take(self, now: float) -> None:
        used = self._tree.measure()
        counters = self._counters()
        if self._before is not None:
            elapsed = max(now - self._before[0], 1e-3)
            last = self._before[1]
            rates = {name: max(0.0, value - last.get(name, value)) / elapsed for name, value in counters.items()}
            self.latest = {**used, **rates, **self._gpus.read(self._tree.pids)}
            self._keep()
        self._before = (now, counters)
        if now - self._written >= BATCH_S:
            self._written = now
            self.flush()

    def flush(self) -> None:
        """Writes the samples that wait, as blocks of a metric stream."""
        blocks = b"".join(encode_block(PREFIX + name, b"".join(points)) for name, points in self._waiting.items())
        self._waiting.clear()
        if blocks:
            fd = os.open(self._stream, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with open(fd, "ab", buffering=0) as file:
                file.write(blocks)

    def _keep(self) -> None:
        at = time.time()
        for name, value in self.latest.items():
            self._waiting.setdefault(name, []).append(pack("<qdd", self._step, at, value))
        self._step += 1

    def _counters(self) -> dict[str, float]:
        net = self._net()
        if net is None:  # no network at all
            return {}
        return {"net_received": float(net.bytes_recv), "net_sent": float(net.bytes_sent)}
