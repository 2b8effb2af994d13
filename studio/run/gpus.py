"""NVIDIA's management library: hides its C calls. Needs the driver, which brings the library, and no package."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
UNSUPPORTED = (3, 4, 6)  # not supported (a GPU that is split by MIG), no permission, nothing found
TOO_SMALL = 7
UNKNOWN = (1 << 64) - 1
PROCESSES = 4096


class _Use(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint), ("memory", ctypes.c_ulonglong), ("instance", ctypes.c_uint), ("compute", ctypes.c_uint),
    ]  # fmt: skip


class Gpus:
    """All GPUs of this machine.

    Attributes:
        broken: Why nothing is read any more, once NVML has failed.
    """

    def __init__(self) -> None:
        self.broken = ""
        self._library: Any = None
        self._devices: list[ctypes.c_void_p] = []
        self._ours: set[int] = set()
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError:
            return  # no driver, no GPU
        try:
            count = ctypes.c_uint()
            if not (self._call("nvmlInit_v2") and self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))):
                return
            for number in range(count.value):
                device = ctypes.c_void_p()
                if self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(number), ctypes.byref(device)):
                    self._devices.append(device)
        except OSError as exc:
            self._devices, self.broken = [], str(exc)

    def read(self, pids: Collection[int]) -> dict[str, float]:
        """`gpu<i>`, 0 to 1, and `gpu<i>_memory` in bytes, of the whole device.

        Once one of `pids` computes there also `gpu<i>_process_memory`, theirs alone: where NVML knows it, so not in a
        container with process numbers of its own, nor under WSL.

        Figures that NVML does not have for a device are left out. If it fails, there are none from then on.
        """
        found: dict[str, float] = {}
        try:
            for number, device in enumerate(self._devices):
                use, memory = _Use(), _Memory()
                if self._call("nvmlDeviceGetUtilizationRates", device, ctypes.byref(use)):
                    found[f"gpu{number}"] = use.gpu / 100
                if self._call("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory)):
                    found[f"gpu{number}_memory"] = float(memory.used)
                own = [known for pid, known in self._computing(device) if pid in pids]
                if own or number in self._ours:
                    self._ours.add(number)
                    found[f"gpu{number}_process_memory"] = float(sum(own))
        except OSError as exc:
            self._devices, self.broken = [], str(exc)
        return found

    def _computing(self, device: ctypes.c_void_p) -> list[tuple[int, int]]:
        """(process, bytes) of those that compute on a device; those whose memory is not known are left out."""
        count = ctypes.c_uint(64)
        while count.value <= PROCESSES:
            room = (_Process * count.value)()
            code = self._code("nvmlDeviceGetComputeRunningProcesses_v3", device, ctypes.byref(count), room)
            if code != TOO_SMALL:
                break
            count.value = max(2 * len(room), count.value)
        if not self._is_right("nvmlDeviceGetComputeRunningProcesses_v3", code):
            return []
        return [(entry.pid, entry.memory) for entry in room[: count.value] if entry.memory != UNKNOWN]

    def _call(self, name: str, *args: Any) -> bool:
        return self._is_right(name, self._code(name, *args))

    def _code(self, name: str, *args: Any) -> int:
        function = getattr(self._library, name, None)
        return int(function(*args)) if function is not None else UNSUPPORTED[0]  # an older driver

    def _is_right(self, name: str, code: int) -> bool:
        """False if NVML does not have this.

        Raises:
            OSError: it failed.
        """
        if code == 0 or code in UNSUPPORTED:
            return code == 0
        describe = getattr(self._library, "nvmlErrorString", None)
        text = f"error {code}"
        if describe is not None:
            describe.restype = ctypes.c_char_p
            text = (describe(ctypes.c_int(code)) or text.encode()).decode(errors="replace")
        raise OSError(f"NVML's {name}: {text}")
