"""Remembers what a captured folder looked like, so that only files that changed are read again. May be lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from .manifest import Part
from .scan import Seen

VERSION = 3
RACY_NS = 2_500_000_000
KEEP_S = 90 * 86400.0


@dataclass(frozen=True, slots=True)
class Content:
    """What a file's bytes are: digest and parts; `secret` if they must not be stored.

    If secrets were taken out of them, `said` tells which, and digest and `size` are those of what is stored. With
    `secret`, `said` is the reason, if it is not a private key.
    """

    sha256: str
    parts: tuple[Part, ...] = ()
    secret: bool = False
    said: str = ""
    size: int = -1


@dataclass(frozen=True, slots=True)
class Done:
    """The last capture into one store: its result, and the objects (with the least size of each) that hold it."""

    manifest: str
    files: int
    bytes: int
    skipped: tuple[str, ...]
    objects: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class StatCache:
    """One captured folder under one set of rules. `seen` and `contents` by path, `done` by store id."""

    path: Path
    seen: dict[str, Seen] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)

    def known(self, path: str, now: Seen) -> Content | None:
        """The content of a file that still looks as it did when it was read, else None."""
        return self.contents.get(path) if self.seen.get(path) == now else None

    def save(self) -> None:
        """Writes the file, whole or not at all; a cache that cannot be written is none."""
        form = {
            "version": VERSION,
            "seen": self.seen,
            "contents": {p: _row(c) for p, c in self.contents.items()},
            "done": {s: [d.manifest, d.files, d.bytes, d.skipped, d.objects] for s, d in self.done.items()},
        }
        body = json.dumps(form, separators=(",", ":")).encode("ascii")
        beside = self.path.parent / f"{secrets.token_hex(8)}.temp"
        with contextlib.suppress(OSError):
            if not self.path.exists():
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sweep(self.path.parent)
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(b"%08x\n" % zlib.crc32(body) + body)
            os.replace(beside, self.path)
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def load_stat_cache(folder: Path, captured: Path, rules: str) -> StatCache:
    """The cache for captures of the folder or file `captured` under `rules`; empty if none can be used."""
    who = hashlib.sha256(f"{rules}\0{os.path.realpath(captured)}".encode(errors="surrogateescape")).hexdigest()
    cache = StatCache(folder / f"{who[:40]}.json")
    try:
        crc, _, body = cache.path.read_bytes().partition(b"\n")
        if crc != b"%08x" % zlib.crc32(body):
            return cache
        form = json.loads(body)
        if form["version"] == VERSION:
            contents = {p: _content(row) for p, row in form["contents"].items()}
            done = {store: _done(*row) for store, row in form["done"].items()}
            seen = {p: Seen(*row) for p, row in form["seen"].items()}
            return StatCache(cache.path, seen, contents, done)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return cache


def racy(seen: Seen, read_at_ns: int) -> bool:
    """Whether a later change could leave size and times as they are: it was changed just before it was read.

    Times of files move in ticks, of two seconds on some file systems; the change time cannot be set back.
    git's answer to the same: https://git-scm.com/docs/racy-git
    """
    return seen.ctime_ns + RACY_NS > read_at_ns


def _row(content: Content) -> object:
    if content.parts or content.secret or content.said:
        parts = [[p.sha256, p.size] for p in content.parts]
        return [content.sha256, parts, content.secret, content.said, content.size]
    return content.sha256


def _content(row: object) -> Content:
    if isinstance(row, str):
        return Content(row)
    if not isinstance(row, list):
        raise TypeError("content")
    return Content(row[0], tuple(Part(sha, size) for sha, size in row[1]), bool(row[2]), str(row[3]), int(row[4]))


def _done(manifest: str, files: int, size: int, skipped: list[str], objects: list[tuple[str, int]]) -> Done:
    return Done(manifest, files, size, tuple(skipped), tuple((name, least) for name, least in objects))


def _sweep(folder: Path) -> None:
    """Removes the caches of folders that were not captured for a long time."""
    limit = time.time() - KEEP_S
    for entry in list(os.scandir(folder)):
        with contextlib.suppress(OSError):
            if entry.stat().st_mtime < limit:
                os.unlink(entry.path)
