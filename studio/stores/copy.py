"""Moves bytes between descriptors: short writes, sparse memory, and the kernel's own copy where it has one."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from ..errors import StoreError
from .base import Progress

CHUNK = 1 << 22
_FICLONE = 0x40049409


def unreadable(path: Path, exc: OSError) -> StoreError:
    """The error for a file outside the store that cannot be read."""
    return StoreError(f"cannot read {path}: {exc.strerror or exc}", hint=f"look at: ls -ld {path}")


def unwritable(path: Path, exc: OSError) -> StoreError:
    """The error for a file outside the store that cannot be written."""
    hint = f"look at: ls -ld {path.parent}; df -h {path.parent}"
    return StoreError(f"cannot write {path}: {exc.strerror or exc}", hint=hint)


def fill_file(fd: int, data: bytes, at: int = 0) -> None:
    """Writes all of `data` at offset `at`."""
    rest = memoryview(data)
    while rest:
        done = os.pwrite(fd, rest, at)
        rest, at = rest[done:], at + done


def read_exactly(fd: int, start: int, stop: int) -> bytes:
    """The bytes [start, stop) of a file, fewer if it ends before."""
    start = max(start, 0)
    pieces = []
    while start < stop:
        piece = os.pread(fd, stop - start, start)
        if not piece:
            break
        pieces.append(piece)
        start += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def copy_bytes(source: int, target: int, progress: Progress | None = None) -> int:
    """Copies all of `source` to the empty file `target`: shared extents, else in the kernel, else by hand."""
    size = os.fstat(source).st_size
    done = 0
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        done = size
    while done < size:
        step = _copy_some(source, target, done, min(CHUNK, size - done))
        if not step:
            raise StoreError("a file became shorter while it was copied", hint="repeat when nobody writes to it")
        done += step
        if progress is not None and done < size:
            progress(done, size)
    if progress is not None:
        progress(size, size)
    return size


def _copy_some(source: int, target: int, at: int, count: int) -> int:
    with contextlib.suppress(OSError):  # not between these two: by hand, which says why
        return os.copy_file_range(source, target, count, at, at)
    piece = os.pread(source, count, at)
    fill_file(target, piece, at)
    return len(piece)
