"""Reads a file that may be written to meanwhile, so that the digest is always that of the bytes that are kept."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .manifest import Part
from .scan import Seen, seen_of

PART_BYTES = 64 << 20
ATTEMPTS = 4

Keep = Callable[[bytes, str], None]
"""Called with bytes and their sha256: they are to be stored."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A file as it was read.

    Attributes:
        seen: What `fstat` said before the read that counts.
        sha256: Digest of the whole.
        size: Bytes that were read.
        parts: The pieces of a file over the part size, else empty.
        changed: It was written to meanwhile, so `seen` must not stand for these bytes.
        settled: Whether the bytes are certainly those that the file had at one moment.
    """

    seen: Seen
    sha256: str
    size: int
    parts: tuple[Part, ...] = ()
    changed: bool = False
    settled: bool = True


def take_file(path: Path | str, keep: Keep, *, part_bytes: int = PART_BYTES) -> Taken:
    """Reads `path` and hands its bytes to `keep`, at most `part_bytes` at once.

    A file that changes meanwhile is read again. Two reads in a row of the same front part that agree are
    a state that the file had (a log that grows settles so); after `ATTEMPTS` reads the last one counts.

    Raises:
        OSError: it is gone, unreadable, or no regular file any more.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        last: _Pass | None = None
        for attempt in range(1, ATTEMPTS + 1):
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise FileNotFoundError(2, "no regular file any more", str(path))
            size = before.st_size if last is None else min(last.size, before.st_size)
            now = _read_once(fd, size, part_bytes, keep, before if attempt == 1 else None)
            unchanged = now is not None and now.size == before.st_size and _same(before, os.fstat(fd))
            agrees = now is not None and last is not None and (now.size, now.sha256) == (last.size, last.sha256)
            if now is not None and (unchanged or agrees or attempt == ATTEMPTS):
                if now.held is not None:
                    keep(now.held, now.sha256)
                settled = unchanged or agrees
                return Taken(seen_of(before), now.sha256, now.size, now.parts, not unchanged, settled)
            last = now if last is None else None  # a state and its confirmation, then anew
        raise AssertionError("the last attempt returns")
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class _Pass:
    """One read of the first `size` bytes; `held` are the bytes that were not handed on yet."""

    size: int
    sha256: str
    parts: tuple[Part, ...] = ()
    held: bytes | None = None


def _read_once(fd: int, size: int, part_bytes: int, keep: Keep, before: os.stat_result | None) -> _Pass | None:
    """Reads once; a large file's parts are kept on the way, unless it changed since `before`: then None."""
    if size <= part_bytes:
        data = _read(fd, 0, size)
        return _Pass(len(data), hashlib.sha256(data).hexdigest(), held=data)
    whole = hashlib.sha256()
    parts: list[Part] = []
    done = 0
    while done < size:
        data = _read(fd, done, min(part_bytes, size - done))
        if before is not None and not _same(before, os.fstat(fd)):
            return None
        if not data:
            break
        parts.append(Part(hashlib.sha256(data).hexdigest(), len(data)))
        keep(data, parts[-1].sha256)
        whole.update(data)
        done += len(data)
    if not parts:
        return _Pass(0, whole.hexdigest(), held=b"")
    return _Pass(done, whole.hexdigest(), tuple(parts))


def _same(a: os.stat_result, b: os.stat_result) -> bool:
    return (a.st_size, a.st_mtime_ns, a.st_ctime_ns) == (b.st_size, b.st_mtime_ns, b.st_ctime_ns)


def _read(fd: int, at: int, count: int) -> bytes:
    pieces = []
    while count > 0:
        piece = os.pread(fd, count, at)
        if not piece:
            break
        pieces.append(piece)
        at, count = at + len(piece), count - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
