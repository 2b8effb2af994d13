"""A folder as a store: whole files put in place by rename, conditions checked under a lock file."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import ConfigError, Conflict, NotFound, StoreError, StudioError
from .base import Entry, Progress, check_condition, check_end, check_object_name, missing
from .copy import copy_bytes, fill_file, read_exactly, unreadable, unwritable
from .filelock import locked
from .folder import NO_LINK, RootMissing, Tree, refusal
from .layout import LAYOUT_NAME, new_layout, read_layout
from .listing import OBJECT_PART, walk
from .mounts import keeps_folder_times
from .stamp import entry_of, folder_token, scatter_time, set_later, tag_of

TEMP = "+temp"
TEMP_AGE_S = 24 * 3600.0


class LocalStore:
    """Objects as files below one folder; `url` is `file:///folder`, `file://~/folder` or a plain path.

    A missing folder reads as an empty store and is made by the first write, if its parent exists; one that goes away
    after it was used is not made anew: it was moved, or its disk is gone.
    Private (0700, 0600), unless the folder is group-writable: then what is made in it takes its
    permissions and (by its setgid bit) its group, so a team can share it.
    """

    def __init__(self, url: str) -> None:
        self.root = _root(url)
        self.url = f"file://{self.root}"
        self._tree = Tree(self.root)
        self._checked = False
        self._dated: dict[int, bool] = {}

    def read(self, name: str, span: tuple[int, int] | None = None) -> tuple[bytes, str]:
        with self._explained("read", name), self._opened(name) as fd:
            found = os.fstat(fd)
            start, stop = span if span is not None else (0, found.st_size)
            return read_exactly(fd, start, min(stop, found.st_size)), tag_of(found)

    def stat(self, name: str) -> Entry:
        with self._explained("look at", name):
            found = self._look(name)
            if found is None:
                raise self._missing(name)
            return entry_of(name, found)

    def write(self, name: str, data: bytes, *, if_absent: bool = False, if_tag: str | None = None) -> str:
        with self._explained("write", name):
            self._check(name, self._look(name), if_absent, if_tag)  # spares the bytes of most losers
            return self._put(name, lambda fd: fill_file(fd, data), if_absent, if_tag)

    def append(self, name: str, at: int, data: bytes) -> int:
        check_object_name(name)
        *above, leaf = name.split("/")

        def extend(folder: int) -> None:
            fd = self._tree.create(leaf, folder, os.O_WRONLY)
            try:
                _extend(fd, at, data)
            finally:
                os.close(fd)
            if at == 0:
                os.fsync(folder)

        with self._explained("append to", name):
            self._prepare()
            with locked(self._tree, name):
                found = self._look(name)
                check_end(self.url, name, 0 if found is None else found.st_size, at)
                self._tree.within(above, extend)
        return at + len(data)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        above, _, _ = prefix.rpartition("/")
        if above:
            check_object_name(above)
        with self._explained("list", prefix):
            self._check_layout()
            try:
                yield from walk(self._tree, above, prefix, after)
            except FileNotFoundError:
                return
            except RootMissing:
                self._refuse_orphan()

    def change_token(self, prefix: str) -> str | None:
        above = prefix.removesuffix("/")
        parts = check_object_name(above).split("/") if prefix else []
        with self._explained("look at", prefix):
            self._check_layout()
            try:
                with self._tree.folder(parts) as folder:
                    found = os.fstat(folder)
            except (FileNotFoundError, RootMissing):  # nothing there: a listing is as quick
                return None
        if found.st_dev not in self._dated:
            self._dated[found.st_dev] = keeps_folder_times(self.root / above)
        return folder_token(found) if self._dated[found.st_dev] else None

    def remove(self, name: str) -> None:
        check_object_name(name)
        with self._explained("remove", name):
            if self._look(name) is None:
                return
            above, _, leaf = name.rpartition("/")
            parts = above.split("/") if above else []
            with contextlib.suppress(FileNotFoundError), locked(self._tree, name), self._tree.folder(parts) as folder:
                os.unlink(leaf, dir_fd=folder)
                os.fsync(folder)
            self._prune(parts)

    def upload(self, path: Path, name: str, progress: Progress | None = None) -> str:
        check_object_name(name)
        source = _open_source(path)
        try:
            with self._explained("write", name):
                return self._put(name, lambda fd: copy_bytes(source, fd, progress), False, None)
        finally:
            os.close(source)

    def download(self, name: str, path: Path, progress: Progress | None = None) -> str:
        with self._explained("read", name), self._opened(name) as fd:
            beside = path.parent / f".studio-{secrets.token_hex(8)}"
            try:
                target = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    copy_bytes(fd, target, progress)
                    os.fsync(target)
                finally:
                    os.close(target)
                os.rename(beside, path)
            except OSError as exc:
                raise unwritable(path, exc) from exc
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(beside)
            return tag_of(os.fstat(fd))

    def presign(self, name: str, verb: str, expires_s: float) -> str | None:
        return None

    # what is there

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        self._check_layout()
        *above, leaf = check_object_name(name).split("/")
        try:
            with self._tree.folder(above) as folder:
                fd = os.open(leaf, os.O_RDONLY | os.O_NONBLOCK | NO_LINK, dir_fd=folder)
        except (FileNotFoundError, RootMissing) as exc:
            raise self._missing(name) from exc
        except NotADirectoryError as exc:
            raise self._below_a_file(exc, name) from exc
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise self._missing(name)
            yield fd
        finally:
            os.close(fd)

    def _look(self, name: str) -> os.stat_result | None:
        """What lies at `name`, None if nothing does or a folder of other objects."""
        *above, leaf = check_object_name(name).split("/")
        try:
            with self._tree.folder(above) as folder:
                found = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
        except RootMissing:
            self._refuse_orphan()
            return None
        except FileNotFoundError:
            return None
        except NotADirectoryError as exc:
            if isinstance(self._below_a_file(exc, name), NotFound):
                return None
            raise
        return found if stat.S_ISREG(found.st_mode) else None

    def _missing(self, name: str) -> NotFound:
        if not self.root.exists():
            self._refuse_orphan()
        return missing(self.url, name)

    def _below_a_file(self, exc: OSError, name: str) -> StudioError:
        """What it means that a part of the name is no folder: below an object there is nothing; a link is refused."""
        why = refusal(exc, self.root, "look at", name)
        return self._missing(name) if isinstance(why, ConfigError) else why

    def _refuse_orphan(self) -> None:
        """A root that is missing is an empty store; one whose parent is missing too is a mistake."""
        if not self.root.parent.is_dir():
            raise RootMissing(0, "no such folder", str(self.root))

    # putting in place

    def _put(self, name: str, fill: Callable[[int], object], if_absent: bool, if_tag: str | None) -> str:
        self._prepare()
        return self._place(name, fill, if_absent, if_tag)

    def _place(self, name: str, fill: Callable[[int], object], if_absent: bool, if_tag: str | None) -> str:
        with self._tree.folder((TEMP,), make=True) as temps:
            temp = f"{os.getpid()}-{secrets.token_hex(8)}"
            fd = self._tree.create(temp, temps)
            placed = False
            try:
                fill(fd)
                scatter_time(fd)
                os.fsync(fd)
                with locked(self._tree, name):
                    old = self._look(name)
                    self._check(name, old, if_absent, if_tag)
                    set_later(fd, old)
                    self._move(temps, temp, name)
                    placed = True
                return tag_of(os.fstat(fd))
            finally:
                os.close(fd)
                if not placed:
                    with contextlib.suppress(OSError):
                        os.unlink(temp, dir_fd=temps)

    def _move(self, temps: int, temp: str, name: str) -> None:
        *above, leaf = name.split("/")

        def rename(folder: int) -> None:
            try:
                os.rename(temp, leaf, src_dir_fd=temps, dst_dir_fd=folder)
            except IsADirectoryError:  # an empty folder that nobody pruned yet
                os.rmdir(leaf, dir_fd=folder)
                os.rename(temp, leaf, src_dir_fd=temps, dst_dir_fd=folder)
            os.fsync(folder)

        self._tree.within(above, rename)

    def _check(self, name: str, found: os.stat_result | None, if_absent: bool, if_tag: str | None) -> None:
        tag = None if found is None else tag_of(found)
        check_condition(self.url, name, tag, if_absent=if_absent, if_tag=if_tag)

    def _prune(self, parts: Sequence[str]) -> None:
        """Removes the folders that are empty now."""
        while parts:
            *parts, leaf = parts
            try:
                with self._tree.folder(parts) as folder:
                    os.rmdir(leaf, dir_fd=folder)
            except OSError:
                return

    # the root

    def _prepare(self) -> None:
        """Before a write: makes the root and its `store.json`, refuses a folder that is something else."""
        if self._checked:
            if self.root.exists():
                return
            raise RootMissing(0, "no such folder", str(self.root))
        self._refuse_orphan()
        with self._tree.folder((), make=True) as root:
            self._check_layout()
            if not self._checked:
                with os.scandir(root) as entries:
                    foreign = sorted(e.name for e in entries if OBJECT_PART.fullmatch(e.name) and e.name[0] != ".")
                self._check_layout()  # others may have made it, and more, meanwhile
                if foreign and not self._checked and LAYOUT_NAME not in foreign:
                    what = ", ".join(foreign[:3])
                    raise StoreError(
                        f"store {self.url}: the folder holds other things ({what}) and no {LAYOUT_NAME}",
                        hint=f"choose an empty or a new folder: --store {self.url}/store",
                    )
            if not self._checked:
                with contextlib.suppress(Conflict):
                    self._place(LAYOUT_NAME, lambda fd: fill_file(fd, new_layout()), True, None)
                self._checked = True  # not before it is there: other threads write at once then
        _sweep_temps(self._tree)

    def _check_layout(self) -> None:
        if self._checked:
            return
        try:
            with self._tree.folder(()) as root:
                fd = os.open(LAYOUT_NAME, os.O_RDONLY | NO_LINK, dir_fd=root)
        except FileNotFoundError:
            return
        except RootMissing:
            self._refuse_orphan()
            return
        try:
            read_layout(os.read(fd, 65536), self.url)
        finally:
            os.close(fd)
        self._checked = True

    @contextlib.contextmanager
    def _explained(self, what: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise refusal(exc, self.root, what, name) from exc


def _root(url: str) -> Path:
    path = url.removeprefix("file://")
    if not path or (path != url and not path.startswith(("/", "~"))):
        raise ConfigError(f"{url!r} names no folder", hint="write file:///FOLDER, file://~/FOLDER or a plain path")
    return Path(os.path.abspath(os.path.expanduser(path)))


def _open_source(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise unreadable(path, exc) from exc


def _extend(fd: int, at: int, data: bytes) -> None:
    try:
        fill_file(fd, data, at)
        os.fdatasync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, at)
        raise


def _sweep_temps(tree: Tree) -> None:
    """Removes what killed writers left, once it is a day old."""
    limit = time.time() - TEMP_AGE_S
    with contextlib.suppress(OSError), tree.folder((TEMP,)) as temps:
        for name in os.listdir(temps):
            with contextlib.suppress(OSError):
                if os.stat(name, dir_fd=temps, follow_symlinks=False).st_mtime < limit:
                    os.unlink(name, dir_fd=temps)
