"""A store in this process's memory, for tests: everything that `LocalStore` promises but durability."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import NotFound
from .base import Entry, Progress, check_condition, check_end, check_object_name, missing
from .copy import unreadable, unwritable


class _Object(NamedTuple):
    data: bytes | bytearray
    tag: str
    modified: float


class _Shelf:
    """The objects of one `memory://name`, shared by all who open that name in this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[str, _Object] = {}
        self.changed: dict[str, int] = {}
        """The number of the last change of an object directly below a prefix."""
        self.numbers = itertools.count(1)


_shelves: dict[str, _Shelf] = {}
_shelves_lock = threading.Lock()


def _forked() -> None:
    """A child has the objects as they were, and not the threads that hold the locks."""
    global _shelves_lock
    _shelves_lock = threading.Lock()
    for shelf in _shelves.values():
        shelf.lock = threading.RLock()


os.register_at_fork(after_in_child=_forked)


class MemoryStore:
    """Objects in memory; `url` is `memory://name`, and equal names are one store within a process."""

    def __init__(self, url: str) -> None:
        name = url.removeprefix("memory://")
        self.url = f"memory://{name}"
        with _shelves_lock:
            self._shelf = _shelves.setdefault(name, _Shelf())

    def read(self, name: str, span: tuple[int, int] | None = None) -> tuple[bytes, str]:
        found = self._get(name)
        start, stop = span if span is not None else (0, len(found.data))
        return bytes(found.data[max(start, 0) : max(stop, 0)]), found.tag

    def stat(self, name: str) -> Entry:
        found = self._get(name)
        return Entry(name, len(found.data), found.tag, found.modified)

    def write(self, name: str, data: bytes, *, if_absent: bool = False, if_tag: str | None = None) -> str:
        check_object_name(name)
        with self._shelf.lock:
            found = self._shelf.objects.get(name)
            check_condition(self.url, name, found.tag if found else None, if_absent=if_absent, if_tag=if_tag)
            return self._put(name, bytes(data))

    def append(self, name: str, at: int, data: bytes) -> int:
        check_object_name(name)
        with self._shelf.lock:
            found = self._shelf.objects.get(name)
            before = found.data if found else b""
            check_end(self.url, name, len(before), at)
            grown = before if isinstance(before, bytearray) else bytearray(before)
            grown += data
            self._put(name, grown)
            return at + len(data)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        above, _, _ = prefix.rpartition("/")
        if above:
            check_object_name(above)
        with self._shelf.lock:
            names = sorted(n for n in self._shelf.objects if n > after and n.startswith(prefix))
        for name in names:
            with contextlib.suppress(NotFound):
                yield self.stat(name)

    def change_token(self, prefix: str) -> str | None:
        above = prefix.removesuffix("/")
        if prefix:
            check_object_name(above)
        with self._shelf.lock:
            return str(self._shelf.changed.get(prefix, 0))

    def remove(self, name: str) -> None:
        check_object_name(name)
        with self._shelf.lock:
            if self._shelf.objects.pop(name, None) is not None:
                self._shelf.changed[_above(name)] = next(self._shelf.numbers)

    def upload(self, path: Path, name: str, progress: Progress | None = None) -> str:
        check_object_name(name)
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise unreadable(path, exc) from exc
        tag = self.write(name, data)
        if progress is not None:
            progress(len(data), len(data))
        return tag

    def download(self, name: str, path: Path, progress: Progress | None = None) -> str:
        data, tag = self.read(name)
        beside = path.parent / f".studio-{secrets.token_hex(8)}"
        try:
            beside.write_bytes(data)
            os.replace(beside, path)
        except OSError as exc:
            raise unwritable(path, exc) from exc
        finally:
            beside.unlink(missing_ok=True)
        if progress is not None:
            progress(len(data), len(data))
        return tag

    def presign(self, name: str, verb: str, expires_s: float) -> str | None:
        return None

    def _get(self, name: str) -> _Object:
        check_object_name(name)
        with self._shelf.lock:
            found = self._shelf.objects.get(name)
            if found is None:
                raise missing(self.url, name)
            return found._replace(data=bytes(found.data)) if isinstance(found.data, bytearray) else found

    def _put(self, name: str, data: bytes | bytearray) -> str:
        number = next(self._shelf.numbers)
        self._shelf.objects[name] = _Object(data, str(number), time.time())
        self._shelf.changed[_above(name)] = number
        return str(number)


def _above(name: str) -> str:
    return name[: name.rfind("/") + 1]
