"""Files that only the user may read and that end with the process that made them, also one that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from .spool import unwritable


@contextlib.contextmanager
def held_file(path: Path, text: str) -> Iterator[Path]:
    """A private file with this text, until the block ends; `remove_dead` removes it if this process is killed.

    Raises:
        StoreError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise unwritable(exc, path) from exc
    try:
        try:
            with contextlib.suppress(OSError):  # a file system without locks: then nobody can tell, and it stays
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before it has the name by which others find it
            os.write(fd, text.encode())
            os.replace(fresh, path)
        except OSError as exc:
            fresh.unlink(missing_ok=True)
            raise unwritable(exc, path) from exc
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(fd)


def remove_dead(folder: Path, pattern: str) -> None:
    """Removes the files of `held_file` whose process is dead; the locks of those that live say so."""
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # somebody else's, gone already, or held
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(fd), path.lstat()):
                    path.unlink()
            finally:
                os.close(fd)
