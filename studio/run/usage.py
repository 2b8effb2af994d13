"""What a run uses, each second: CPU, memory, disk, network of its processes, and the GPUs, as metrics `system/…`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

from .guard import descendants
from .inject._studio_metrics import encode_block

log = logging.getLogger(__name__)

PREFIX = "system/"
WHOLE_TREE_S = 5.0
BATCH = 10


class Usage:
    """Samples the processes below one of ours. Called by one thread, once a second.

    `cpu` is in cores, `memory` the resident bytes of all processes (shared pages counted in each), `disk_read`,
    `disk_written`, `net_received`, `net_sent` in bytes a second (the network's are the whole machine's), `gpu<i>` in
    0 to 1 and `gpu<i>_memory` in bytes (the whole device's).
    """

    def __init__(self, root: int, stream: Path) -> None:
        import psutil

        self._psutil = psutil
        self._root = root
        self._stream = stream
        self._processes: dict[int, Any] = {}
        self._looked = 0.0
        self._before: tuple[float, dict[str, float]] | None = None
        self._step = 0
        self._waiting: dict[str, list[bytes]] = {}
        self._gpus = _open_gpus()
        self.latest: dict[str, float] = {}

    def sample(self) -> None:
        """Takes one sample; every tenth writes what has gathered."""
        now, levels, counters = time.monotonic(), *self._look()
        if self._before is not None:
            elapsed = max(now - self._before[0], 1e-3)
            last = self._before[1]
            rates = {name: max(0.0, value - last.get(name, value)) / elapsed for name, value in counters.items()}
            self.latest = {**rates, **levels}
            self._keep()
        self._before = (now, counters)

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
        if self._step % BATCH == 0:
            self.flush()

    def _look(self) -> tuple[dict[str, float], dict[str, float]]:
        """Levels (memory, GPUs) and counters (CPU seconds, bytes) of this moment."""
        levels: dict[str, float] = {"memory": 0.0}
        counters: dict[str, float] = {"cpu": 0.0, "disk_read": 0.0, "disk_written": 0.0}
        for process in self._tree():
            try:
                with process.oneshot():
                    spent = process.cpu_times()
                    counters["cpu"] += spent.user + spent.system
                    levels["memory"] += process.memory_info().rss
                    if hasattr(process, "io_counters"):
                        moved = process.io_counters()
                        counters["disk_read"] += moved.read_bytes
                        counters["disk_written"] += moved.write_bytes
            except (self._psutil.Error, OSError):
                self._processes.pop(process.pid, None)
        net = self._psutil.net_io_counters()
        if net is not None:
            counters |= {"net_received": float(net.bytes_recv), "net_sent": float(net.bytes_sent)}
        for number, read in enumerate(self._gpus):
            levels[f"gpu{number}"], levels[f"gpu{number}_memory"] = read()
        return levels, counters

    def _tree(self) -> list[Any]:
        if time.monotonic() - self._looked > WHOLE_TREE_S or not self._processes:
            self._looked = time.monotonic()
            known = self._processes
            self._processes = {}
            for pid in descendants(self._root):
                try:
                    self._processes[pid] = known.get(pid) or self._psutil.Process(pid)
                except self._psutil.Error:
                    continue
        return list(self._processes.values())


def _open_gpus() -> list[Callable[[], tuple[float, float]]]:
    """A reader of (use, memory in bytes) for each NVIDIA GPU; none without the driver or its Python binding."""
    if not Path("/proc/driver/nvidia").exists():
        return []
    try:
        import pynvml  # type: ignore[import-not-found]
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        log.debug("NVML cannot be used", exc_info=True)
        return []

    def reader(handle: Any) -> Callable[[], tuple[float, float]]:
        def read() -> tuple[float, float]:
            used = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
            return used, float(pynvml.nvmlDeviceGetMemoryInfo(handle).used)

        return read

    return [reader(handle) for handle in handles]
