"""One folder tree reached by descriptors only, never through a link; says in one line what the system refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import ConfigError, StoreError

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
PATIENCE = 100

T = TypeVar("T")


class RootMissing(OSError):
    """The root folder itself does not exist."""


class Tree:
    """The folders below `root`. Modes: private (0700, 0600), unless the root is group-writable: then the root's own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def folder(self, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder `parts` below the root; `make` makes the root only if it alone is asked for.

        Raises:
            RootMissing: there is no root and it is not made.
            FileNotFoundError: there is no such folder and `make` is off.
            NotADirectoryError: a part is a file or a symbolic link.
        """
        fd = self._open_root(make and not parts)
        try:
            for part in parts:
                below = self._enter(fd, part, make)
                above, fd = fd, below
                os.close(above)
            yield fd
        finally:
            os.close(fd)

    def within(self, parts: Sequence[str], act: Callable[[int], T]) -> T:
        """What `act` gives for the folder `parts`, made if it is missing; again if others prune it meanwhile."""
        for _ in range(PATIENCE):
            with contextlib.suppress(FileNotFoundError), self.folder(parts, make=True) as fd:
                return act(fd)
        with self.folder(parts, make=True) as fd:
            return act(fd)

    def file_mode(self, folder: int) -> int:
        """The mode of a new file in this folder."""
        mode = os.fstat(folder).st_mode
        return mode & 0o666 if mode & stat.S_IWGRP else 0o600

    def create(self, name: str, folder: int, flags: int = os.O_EXCL | os.O_WRONLY) -> int:
        """A descriptor of a new file of the right mode; without O_EXCL in `flags` it may exist already."""
        mode = self.file_mode(folder)
        fd = os.open(name, flags | os.O_CREAT | NO_LINK, mode, dir_fd=folder)
        if mode != 0o600:
            with contextlib.suppress(PermissionError):  # somebody else's file: its owner set the mode
                os.fchmod(fd, mode)
        return fd

    def _open_root(self, make: bool) -> int:
        try:
            return os.open(self.root, FOLDER)
        except FileNotFoundError as exc:
            if not make:
                raise RootMissing(errno.ENOENT, "no such folder", str(self.root)) from exc
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.root, 0o700)
            with contextlib.suppress(OSError):  # a parent that only lets us pass cannot be synced
                sync_folder(self.root.parent)
        return os.open(self.root, FOLDER)

    def _enter(self, fd: int, part: str, make: bool) -> int:
        try:
            return os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                raise
        above = os.fstat(fd).st_mode
        shared = bool(above & stat.S_IWGRP)
        try:
            os.mkdir(part, 0o700, dir_fd=fd)
        except FileExistsError:
            return os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        if shared:
            os.chmod(part, above & 0o2777, dir_fd=fd)
        os.fsync(fd)
        return os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=fd)


def sync_folder(path: Path) -> None:
    """Makes the entries of a folder survive a power cut."""
    fd = os.open(path, FOLDER)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def refusal(exc: OSError, root: Path, what: str, name: str) -> StoreError | ConfigError:
    """The error to raise for what the system refused while we tried to `what` (write, read …) object `name`."""
    here = f"store file://{root}"
    if isinstance(exc, RootMissing) or (exc.errno == errno.ENOENT and not root.exists()):
        if root.parent.is_dir():
            return StoreError(f"{here}: there is no such folder", hint=f"studio store init file://{root}")
        return StoreError(
            f"{here}: there is no folder {root.parent}",
            hint=f"is the disk mounted? else: mkdir -p {root.parent}",
        )
    if exc.errno == errno.ENOTDIR:
        if not root.is_dir():
            return StoreError(f"{here}: that is a file, not a folder", hint="give a folder: --store file:///FOLDER")
        return _in_the_way(here, root, name)
    if exc.errno in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
        return ConfigError(f"{here}: {name} is a folder of other objects", hint="choose another name")
    reason, hint = _REASONS.get(exc.errno or 0, (exc.strerror or str(exc), f"look at: ls -la {root}"))
    return StoreError(f"{here}: cannot {what} {name or 'it'}: {reason}", hint=hint.format(root=root))


_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space (df -h {root}), then repeat"),
    errno.EDQUOT: ("your quota on the disk is used up", "free some space (quota -s), then repeat"),
    errno.EFBIG: ("the file would be larger than allowed here", "look at: ulimit -f"),
    errno.EROFS: ("the file system is read-only", "remount it for writing, or choose another store: --store URL"),
    errno.EACCES: ("no permission", "look at: ls -ld {root} and ask its owner, or choose another store: --store URL"),
    errno.EPERM: ("no permission", "look at: ls -ld {root} and ask its owner, or choose another store: --store URL"),
    errno.EIO: ("the disk reports an error", "look at: dmesg | tail"),
    errno.EXDEV: (
        "a folder inside the store lies on another file system",
        "mount or link the whole store there, not a part of it",
    ),
    errno.ENOLCK: ("the file system has no locks", "on NFS, mount with locks (nfsvers=4), or choose another store"),
    errno.ENOSYS: ("the file system has no locks", "choose one with flock, or another store: --store URL"),
    errno.EOPNOTSUPP: ("the file system has no locks", "choose one with flock, or another store: --store URL"),
    errno.EMFILE: ("this process has too many open files", "look at: ulimit -n"),
    errno.ELOOP: ("a symbolic link stands in its place", "remove the link: a store holds plain files only"),
}


def _in_the_way(here: str, root: Path, name: str) -> StoreError | ConfigError:
    path = root
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            return StoreError(
                f"{here}: {path} is a symbolic link", hint="remove the link: a store holds plain files and folders only"
            )
        if path.is_file():
            break
    return ConfigError(f"{here}: {name} would lie below the object {path.name}", hint="choose another name")
