"""This machine, as an experiment's record keeps it; read from files, no program is started."""

from __future__ import annotations

import os
from pathlib import Path

from ..experiment import Host


def read_host() -> Host:
    """Name, system, processor, cores, memory in bytes, GPUs by name."""
    machine = os.uname()
    return Host(
        name=machine.nodename,
        os=f"{machine.sysname} {machine.release}",
        cpu=_cpu() or machine.machine,
        cores=_cores(),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=_gpus(),
    )


def _cores() -> int:
    mine = getattr(os, "sched_getaffinity", None)  # Linux; elsewhere all of the machine's
    return len(mine(0)) if mine else os.cpu_count() or 1


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return ""


def _gpus() -> tuple[str, ...]:
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            text = path.read_text()
        except OSError:
            continue
        found += [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Model:")]
    return tuple(found)
