"""One capture: reads only what changed since the last one, stores only what the store lacks."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..stores import Progress
from .blobs import Blobs, blob_name
from .locations import Location
from .manifest import FileEntry, Manifest, Part
from .named_secrets import NamedSecrets
from .packs import pack_name
from .reading import PART_BYTES, take_file
from .scan import Scan, Seen, never
from .selection import LeftOut
from .sensitive import SCAN_BYTES, secret_by_content
from .statcache import Content, Done, StatCache, racy

Redact = Callable[[str, bytes], tuple[bytes, str]]
"""From a file's path and content to what may be stored of it, and what was taken out ("" if nothing was)."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What a capture made.

    Attributes:
        manifest: Digest of the manifest, `sha256:…`.
        files: Number of files and links.
        bytes: Of all files together.
        sent_bytes: What was written to the store for it; 0 if nothing had changed.
        skipped: A line for each name that was left out or may be inconsistent, with the reason.
        left_out: What is not kept for its size or number.
        ignored: What the user's ignore files leave out.
    """

    manifest: str
    files: int
    bytes: int
    sent_bytes: int
    skipped: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    ignored: tuple[LeftOut, ...] = ()


def unchanged(found: Scan, cache: StatCache, blobs: Blobs) -> Capture | None:
    """The last capture once more, if the folder looks the same and the store still holds all of it."""
    if not cache.done or cache.seen != found.members:
        return None
    done = cache.done.get(blobs.identify())
    if done is None or not all(blobs.has_object(name, least) for name, least in done.objects):
        return None
    skipped = (*found.skipped, *done.skipped)
    return Capture(done.manifest, done.files, done.bytes, 0, skipped)


class Capturing:
    """One capture under way."""

    workspace = False
    part_bytes = PART_BYTES
    clock: Callable[[], int] = staticmethod(time.time_ns)
    redact: Redact | None = None
    named = NamedSecrets()

    def __init__(self, path: Path, found: Scan, cache: StatCache, blobs: Blobs) -> None:
        self.path = path
        self.found = found
        self.cache = cache
        self.blobs = blobs
        self.skipped: dict[str, str] = {}
        self.contents: dict[str, Content] = {}
        self.seen: dict[str, Seen] = {}
        self.taken: dict[str, tuple[Seen, int]] = {}

    def run(self, progress: Progress | None) -> Capture:
        """Reads what must be read, stores what is missing, remembers what was seen."""
        self._recall()
        total, done = max(self.found.size, 1), 0
        for path, seen in self.found.members.items():
            if seen.size >= 0:
                if path not in self.contents:
                    self._read(path)
                done += seen.size
                if progress is not None and done < total:
                    progress(done, total)
            else:
                self.seen[path] = seen
        self.blobs.flush()
        capture = self._finish()
        if progress is not None:
            progress(total, total)
        return capture

    def _recall(self) -> None:
        """Takes over what the stat cache knows and the store still has."""
        known = {p: c for p, s in self.found.members.items() if s.size >= 0 and (c := self.cache.known(p, s))}
        self.blobs.know({d for c in known.values() if not c.secret for d in _digests(c)})
        for path, content in known.items():
            if content.secret or all(self.blobs.place(d) for d in _digests(content)):
                self._take(path, content, self.found.members[path], self.found.members[path].size)
                self.seen[path] = self.found.members[path]

    def _read(self, path: str) -> None:
        """Reads one file and gives its bytes to the store."""
        secret = False
        why = ""
        redacted: Content | None = None

        def keep(data: bytes, digest: str) -> None:
            nonlocal secret, why, redacted
            why = self.named.why_content(data)
            secret = bool(why) or (self.workspace and len(data) <= SCAN_BYTES and secret_by_content(data))
            redacted = None
            if secret:
                return
            if self.redact is not None and len(data) <= SCAN_BYTES:
                kept, said = self.redact(path, data)
                if said:
                    data, digest = kept, hashlib.sha256(kept).hexdigest()
                    redacted = Content(digest, said=said, size=len(kept))
            self.blobs.put(data, digest)

        read_at = self.clock()
        try:
            taken = take_file(self._place(path), keep, part_bytes=self.part_bytes)
        except FileNotFoundError:
            self.skipped[path] = f"{path}: vanished while it was captured"
            return
        except OSError as exc:
            self.skipped[path] = f"{path}: cannot be read: {exc.strerror}"
            return
        if not taken.settled:
            self.skipped[path] = f"{path}: was written to all the time; kept as it was read"
        content = redacted or Content(taken.sha256, taken.parts, secret, why)
        self._take(path, content, taken.seen, taken.size)
        if not taken.changed and not racy(taken.seen, read_at):
            self.seen[path] = taken.seen

    def _take(self, path: str, content: Content, seen: Seen, size: int) -> None:
        self.contents[path] = content
        self.taken[path] = (seen, content.size if content.said and not content.secret else size)

    def _place(self, path: str) -> str:
        return os.path.realpath(self.path) if self.found.single else f"{self.path}/{path}"

    def _finish(self) -> Capture:
        if self.found.single and (why := [c.said for c in self.contents.values() if c.secret and c.said]):
            raise never(self.path, why[0])
        manifest = Manifest(
            tuple(e for p, s in self.found.members.items() if (e := self._entry(p, s))), self.found.single
        )
        data = manifest.encode()
        digest = self.blobs.put_blob(data)
        files = sum(not e.folder for e in manifest.files)
        objects = {blob_name(digest): len(data)}
        for entry in manifest.files:
            for name, least in _objects(entry):
                objects[name] = max(least, objects.get(name, 0))
        lines: list[str] = []
        secrets: list[str] = []  # while all stays
        for path in self.found.members:  # in their order, whatever was read now and what was known
            of_secrets = _secret_lines(path, self.contents[path]) if path in self.contents else []
            lines += [*([self.skipped[path]] if path in self.skipped else []), *of_secrets]
            secrets += of_secrets
        done = Done("sha256:" + digest, files, manifest.size, tuple(secrets), tuple(objects.items()))
        self.cache.seen, self.cache.contents = self.seen, self.contents
        self.cache.done = {self.blobs.identify(): done}
        self.cache.save()
        skipped = (*self.found.skipped, *lines)
        return Capture(done.manifest, files, manifest.size, self.blobs.sent, skipped)

    def _entry(self, path: str, seen: Seen) -> FileEntry | None:
        if seen.text is not None:
            return FileEntry(path, link=seen.text)
        if seen.size < 0:
            return FileEntry(path, folder=True)
        content = self.contents.get(path)
        if content is None or content.secret:
            return None
        stat, size = self.taken[path]
        place = Location(None, 0, 0) if content.parts else self.blobs.place(content.sha256)
        if place is None:
            raise AssertionError(f"{path} was read but not stored")
        return FileEntry(
            path,
            size=size,
            mode=stat.mode,
            mtime=stat.mtime_ns // 1000 / 1e6,
            sha256=content.sha256,
            pack=place.pack,
            at=place.at,
            parts=content.parts,
        )


def _secret_lines(path: str, content: Content) -> list[str]:
    """What is said of a file that is kept without its secrets, or not at all."""
    if content.secret:
        return [f"{path}: {content.said or 'holds a private key'}"]
    return [f"{path}: {content.said} (kept as ***)"] if content.said else []


def _digests(content: Content) -> tuple[str, ...]:
    return tuple(p.sha256 for p in content.parts) or (content.sha256,)


def _objects(entry: FileEntry) -> Iterable[tuple[str, int]]:
    """The objects that hold an entry's bytes, and how long each must be for that."""
    if not entry.regular:
        return []
    if entry.pack:
        return [(pack_name(entry.pack), entry.at + entry.size)]
    parts = entry.parts or (Part(entry.sha256, entry.size),)
    return [(blob_name(p.sha256), p.size) for p in parts]
