"""Exclusion between threads and processes by flock'ed files, which the kernel releases when a process dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterator

from .folder import Tree

LOCKS = "+locks"
BUCKETS = 256

# Per process too: where flock is emulated by record locks (NFS), threads would not exclude each other.
_threads: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
_guard = threading.Lock()


def _forget() -> None:
    """A forked child must not wait for threads that it does not have."""
    global _guard
    _guard = threading.Lock()
    _threads.clear()


os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def locked(tree: Tree, name: str) -> Iterator[None]:
    """Holds the lock that `name` falls under, among all threads and processes that use this tree."""
    bucket = f"{zlib.crc32(name.encode()) % BUCKETS:02x}"
    with _guard:
        mine = _threads[str(tree.root), bucket]
    with mine, tree.folder((LOCKS,), make=True) as folder:
        fd = _acquire(tree, folder, bucket)
        try:
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile holds the same description open
            os.close(fd)


def _acquire(tree: Tree, folder: int, bucket: str) -> int:
    while True:
        fd = tree.create(bucket, folder, os.O_RDWR)
        held = False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            held = _still_there(fd, bucket, folder)
            if held:
                return fd
        finally:
            if not held:
                os.close(fd)


def _still_there(fd: int, bucket: str, folder: int) -> bool:
    """Whether the file that we locked is the one that others will open: somebody may have cleaned the folder."""
    try:
        return os.stat(bucket, dir_fd=folder).st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False
