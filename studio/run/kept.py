"""The output that is kept in the spool: appended in order; what the disk refuses waits for it in memory."""

from __future__ import annotations

import os
from pathlib import Path

from ..tracking import Notify

HELD_BYTES = 8 << 20


class KeptOutput:
    """Appends to one file until it is closed, or until more waits than `HELD_BYTES`; that it lost some is said once."""

    def __init__(self, path: Path, notify: Notify) -> None:
        self._path = path
        self._notify = notify
        self._fd = -1
        self._waiting = b""
        self._trouble = ""
        self._lost = False

    def append(self, data: bytes) -> None:
        """Writes what waits, then `data`; what the disk does not take now comes before what follows."""
        if self._lost:
            return
        left = memoryview(self._waiting + data if self._waiting else data)
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as exc:
            self._trouble = exc.strerror or str(exc)
        self._waiting = bytes(left)
        if len(self._waiting) > HELD_BYTES:
            self._lose()

    def close(self) -> None:
        """Tries a last time to write what waits."""
        self.append(b"")
        if self._waiting:
            self._lose()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lose(self) -> None:
        self._notify(f"output is not kept from here on: {self._trouble} ({self._path})")
        self._lost = True
        self._waiting = b""
