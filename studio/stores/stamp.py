"""Tags of a local store's files and folders, from what `stat` tells, and what makes any two writes differ in it."""

from __future__ import annotations

import os
import secrets

from .base import Entry


def tag_of(found: os.stat_result) -> str:
    """The tag of a file: when it was written, how long it is, which file it is."""
    return f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"


def entry_of(name: str, found: os.stat_result) -> Entry:
    """The listing's entry of a file."""
    return Entry(name, found.st_size, tag_of(found), found.st_mtime_ns / 1e9)


def folder_token(found: os.stat_result) -> str | None:
    """What differs once an entry of this folder was added, replaced or removed in another tick of the clock.

    None where times are kept in milliseconds or coarser: too many changes would share one.
    """
    if found.st_mtime_ns % 1_000_000 == 0:
        return None
    return f"{found.st_mtime_ns:x}-{found.st_ctime_ns:x}-{found.st_dev:x}-{found.st_ino:x}"


def scatter_time(fd: int) -> None:
    """Moves the time of a new file by less than a clock's tick: a name that is removed and written again differs."""
    mtime_ns = os.fstat(fd).st_mtime_ns + secrets.randbelow(1_000_000)
    os.utime(fd, ns=(mtime_ns, mtime_ns))


def set_later(fd: int, old: os.stat_result | None) -> None:
    """Makes the new file's time later than the old one's, unless a clock was set back by more than ten seconds.

    File systems differ in how finely they keep times, hence the growing steps.
    """
    if old is None:
        return
    now = os.fstat(fd).st_mtime_ns
    if now > old.st_mtime_ns or old.st_mtime_ns - now > 10 * 10**9:
        return
    for step in (1, 100, 10**3, 10**6, 10**9, 2 * 10**9):
        os.utime(fd, ns=(old.st_mtime_ns + step, old.st_mtime_ns + step))
        if os.fstat(fd).st_mtime_ns > old.st_mtime_ns:
            return
