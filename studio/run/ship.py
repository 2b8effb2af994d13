"""Brings what is new in a spool's streams and media to the store, by offset: it may stop and go on anywhere."""

from __future__ import annotations

import stat
from pathlib import Path

from ..errors import Conflict, NotFound
from ..tracking import Tracking
from .spool import Spool

CHUNK_BYTES = 8 << 20
LINES_BYTES = 1 << 18


class Streams:
    """Appends what is new in the spool's output and metric files to the store's streams."""

    def __init__(self, tracking: Tracking, spool: Spool) -> None:
        self.tracking = tracking
        self.spool = spool
        self._ends: dict[str, int] = {}

    def ship(self) -> None:
        """One pass over all files.

        Raises:
            StoreError: the store cannot be written; what was shipped stays known.
        """
        self._ship(self.spool.output, f"runs/{self.spool.key}/output")
        if self.spool.metrics.is_dir():
            for path in sorted(self.spool.metrics.iterdir()):
                self._ship(path, f"runs/{self.spool.key}/metrics/{path.name}")

    def _ship(self, path: Path, name: str) -> None:
        if name not in self._ends:
            self._ends[name] = _end(self.tracking, name)
        if not path.exists():
            return
        with open(path, "rb") as file:
            file.seek(self._ends[name])
            while data := file.read(CHUNK_BYTES):
                try:
                    self._ends[name] = self.tracking.store.append(name, self._ends[name], data)
                except Conflict:
                    self._ends[name] = _end(self.tracking, name)
                    file.seek(self._ends[name])


class MediaFiles:
    """Uploads the files that the spool's media index names, and appends its lines to the store's index after them.

    So the store's index never names a file that is not there yet, unless it went away before it could be sent.
    """

    def __init__(self, tracking: Tracking, spool: Spool) -> None:
        self.tracking = tracking
        self.spool = spool
        self._at = -1
        self._sent: dict[str, tuple[int, int, int]] = {}

    def waiting(self) -> bool:
        """Whether there are lines that the store may not have; does not ask the store."""
        try:
            return (self.spool.media / "index").stat().st_size > self._at
        except OSError:
            return False

    def ship(self) -> None:
        """One pass over the lines that the store does not have yet.

        Raises:
            StoreError: the store cannot be written; the next pass goes on with what is left.
        """
        if not self.waiting():
            return
        from ..tracking.media import files_of_line

        index, name = self.spool.media / "index", f"runs/{self.spool.key}/media/index"
        if self._at < 0:
            self._at = _end(self.tracking, name)
        with open(index, "rb") as file:
            file.seek(self._at)
            while lines := file.readlines(LINES_BYTES):
                if not lines[-1].endswith(b"\n"):
                    lines.pop()  # it is being written
                for line in lines:
                    for part in files_of_line(line):
                        self._send(part)
                if not lines:
                    return
                try:
                    self._at = self.tracking.store.append(name, self._at, b"".join(lines))
                except Conflict:
                    self._at = _end(self.tracking, name)
                file.seek(self._at)

    def _send(self, part: str) -> None:
        path = self.spool.media / part
        try:
            found = path.lstat()
        except OSError:
            return
        version = (found.st_size, found.st_mtime_ns, found.st_ino)
        if stat.S_ISREG(found.st_mode) and self._sent.get(part) != version:
            self.tracking.store.upload(path, f"runs/{self.spool.key}/media/{part}")
            self._sent[part] = version


def _end(tracking: Tracking, name: str) -> int:
    try:
        return tracking.store.stat(name).size
    except NotFound:
        return 0
