"""Writes a tree of files below a folder and nowhere else: by descriptors, never through a link, verified first."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import StoreError
from ..stores import Progress
from .manifest import FileEntry, Manifest

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PARTIAL = ".studio-partial-"
PARTIAL_AGE_S = 86400.0

Fetch = Callable[[FileEntry], Iterable[bytes]]


def write_tree(manifest: Manifest, fetch: Fetch, target: Path, progress: Progress | None) -> tuple[str, ...]:
    """Makes the members of `manifest` in `target`; see `Artifacts.materialise`.

    The tree is made in a folder `.studio-partial-…` first: beside `target` if that does not exist, inside it
    if it does. What a killed process left of those is removed once it is a day old.
    """
    target = Path(os.path.abspath(target))
    try:
        fresh = not os.path.lexists(target)
        home = target.parent if fresh else target
        home.mkdir(parents=True, exist_ok=True)
        _sweep(home)
        partial = home / f"{PARTIAL}{secrets.token_hex(8)}"
        os.mkdir(partial, 0o777 if fresh else 0o700)
        try:
            skipped = _fill(manifest, fetch, partial, progress)
            if fresh:
                os.rename(partial, target)
            else:
                _put_each(manifest, partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as exc:
        raise StoreError(
            f"cannot write {target}: {exc.strerror or exc}",
            hint=f"look at: ls -la {target.parent}; df -h {target.parent}",
        ) from exc
    return skipped


def differing(manifest: Manifest, target: Path) -> list[str]:
    """Members of `manifest` in whose place `target` holds something else: what writing the tree would replace."""
    return [entry.path for entry in manifest.files if _differs(entry, Path(os.path.abspath(target)))]


def _differs(entry: FileEntry, target: Path) -> bool:
    place = target
    for part in entry.path.split("/")[:-1]:
        place /= part
        if not os.path.lexists(place):
            return False
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            return True  # said for what would be below: the file or link itself would go
    place /= entry.path.rpartition("/")[2]
    try:
        mode = os.lstat(place).st_mode
    except FileNotFoundError:
        return False
    if entry.folder:
        return not stat.S_ISDIR(mode)
    if entry.link is not None:
        return link_stays_inside(entry.path, entry.link) and not (
            stat.S_ISLNK(mode) and os.readlink(place) == entry.link
        )
    if not stat.S_ISREG(mode) or os.lstat(place).st_size != entry.size:
        return True
    digest = hashlib.sha256()
    with open(place, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest() != entry.sha256


def link_stays_inside(path: str, text: str) -> bool:
    """Whether a link at `path` with this text can only lead to something inside the tree.

    Relative, `..` only in front, and no more of them than there are folders above it: then it cannot leave,
    whichever other such links it leads through.
    """
    parts = [p for p in text.split("/") if p not in ("", ".")]
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    return bool(text) and not text.startswith("/") and ups <= path.count("/") and ".." not in parts[ups:]


def _fill(manifest: Manifest, fetch: Fetch, partial: Path, progress: Progress | None) -> tuple[str, ...]:
    skipped = []
    total, done = max(manifest.size, 1), 0
    root = os.open(partial, FOLDER)
    try:
        for entry in sorted(manifest.files, key=lambda e: (e.pack or "", e.at)):  # each pack is read once
            above, _, name = entry.path.rpartition("/")
            if entry.link is not None and not link_stays_inside(entry.path, entry.link):
                skipped.append(f"{entry.path}: is a link that leads out of the folder, to {entry.link}")
                continue
            with _inside(root, above) as folder:
                if entry.link is not None:
                    os.symlink(entry.link, name, dir_fd=folder)
                elif entry.folder:
                    _make(folder, name)
                else:
                    for size in _write_file(folder, name, entry, fetch):
                        done += size
                        if progress is not None and done < total:
                            progress(done, total)
    finally:
        os.close(root)
    if progress is not None:
        progress(total, total)
    return tuple(skipped)


def _write_file(folder: int, name: str, entry: FileEntry, fetch: Fetch) -> Iterator[int]:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with os.fdopen(fd, "wb", buffering=0) as file:
        for piece in fetch(entry):
            rest = memoryview(piece)
            while rest:
                rest = rest[file.write(rest) :]
            yield len(piece)
        os.fchmod(fd, entry.mode & 0o777)
        mtime_ns = round(entry.mtime * 1e6) * 1000
        os.utime(fd, ns=(mtime_ns, mtime_ns))


@contextlib.contextmanager
def _inside(root: int, path: str, *, replace: bool = False) -> Iterator[int]:
    """The folder `path` below the descriptor `root`, made where it is missing."""
    fd = os.dup(root)
    try:
        for part in path.split("/") if path else []:
            _make(fd, part, replace=replace)
            below = os.open(part, FOLDER, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _make(folder: int, name: str, *, replace: bool = False) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        if replace and not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)  # a file or a link where the artifact has a folder
            os.mkdir(name, dir_fd=folder)


def _put_each(manifest: Manifest, partial: Path, target: Path) -> None:
    """Moves every member from `partial` to its place in `target`, a folder that exists."""
    source, goal = os.open(partial, FOLDER), os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for entry in manifest.files:
            above, _, name = entry.path.rpartition("/")
            with _inside(goal, above, replace=True) as into:
                if entry.folder:
                    _make(into, name, replace=True)
                    continue
                with _inside(source, above) as out_of, contextlib.suppress(FileNotFoundError):
                    os.stat(name, dir_fd=out_of, follow_symlinks=False)  # a link that was left out is not there
                    _move(out_of, into, name)
    finally:
        os.close(source)
        os.close(goal)


def _move(out_of: int, into: int, name: str) -> None:
    try:
        os.rename(name, name, src_dir_fd=out_of, dst_dir_fd=into)
    except IsADirectoryError:  # a folder where the artifact has a file: it goes where all is removed at the end
        os.rename(name, secrets.token_hex(16), src_dir_fd=into, dst_dir_fd=out_of)
        os.rename(name, name, src_dir_fd=out_of, dst_dir_fd=into)


def _sweep(folder: Path) -> None:
    limit = time.time() - PARTIAL_AGE_S
    with os.scandir(folder) as entries:
        old = [e.path for e in entries if e.name.startswith(PARTIAL) and e.stat(follow_symlinks=False).st_mtime < limit]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
