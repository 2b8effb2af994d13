"""Folders in, folders out: captures only what changed, stores only what is missing, gives back only what is right."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ..errors import ArtifactNotFound, ConfigError, Conflict, NotFound, StoreError
from ..stores import Progress, Store
from ..units import show_limit, show_size
from .blobs import Blobs, blob_name, damaged, longer
from .capturing import Capture, Capturing, Redact, unchanged
from .manifest import LONGEST, FileEntry, Manifest, decode_manifest
from .named_secrets import named_secrets
from .reading import PART_BYTES
from .scan import Scan, scan, scan_files
from .selection import MOST_FILES, LeftOut, Sized, ignored, listed, select
from .statcache import load_stat_cache

__all__ = ["Artifacts", "Capture"]


class Artifacts:
    """The artifacts of one store. Every method may be called from several threads at once.

    Args:
        store: Where contents and manifests go.
        cache: `<home>/cache`; may be emptied at any time. The home itself is never captured.
        part_bytes: Files over this size are stored in parts of it.
        clock: Nanoseconds since 1970; a file that was changed just before it was read is read again next time.
    """

    def __init__(
        self, store: Store, cache: Path, *, part_bytes: int = PART_BYTES, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.store = store
        self._cache = cache
        self._part_bytes = part_bytes
        self._clock = clock

    def capture(
        self,
        path: Path,
        *,
        rules: str = "plain",
        limit_bytes: int | None = None,
        progress: Progress | None = None,
        redact: Redact | None = None,
        redact_by: str = "",
        only: Iterable[Path] | None = None,
    ) -> Capture:
        """Stores a folder (or one file) as it is now.

        Args:
            path: Folder or file; a link to one is followed.
            rules: "plain" (`.studioml_ignore` applies) or "workspace" (also `.gitignore`, and no secrets).
            limit_bytes: More than this is not kept: `selection` says what is, `Capture.left_out` what is not. A single
                file that is larger is refused.
            progress: Called with the bytes done and in all.
            redact: Takes secrets out of the content of small files; the same content has to give the same again.
            redact_by: What else its result depends on.
            only: Files below `path`: they alone are captured, and nothing else is looked at; None = all.

        Raises:
            ArtifactNotFound: there is nothing at `path`.
            ConfigError: it cannot be read at all, or is a file that an option named as secret.
            StoreError: the store refuses.
        """
        path = Path(os.path.abspath(path))
        most = None if limit_bytes is None else MOST_FILES
        named = named_secrets(self._cache.parent)
        if only is None:
            found = scan(path, rules, self._avoided(), most=most, named=named)
        else:
            found = scan_files(path, only, named)
        if found.single and limit_bytes is not None and rules == "plain" and found.size > limit_bytes:
            raise ConfigError(
                f"{path} of {show_size(found.size)} is over the limit of an artifact, {show_limit(limit_bytes)}",
                hint="--capture-limit SIZE allows more; 0: no limit",
            )
        left_out = () if limit_bytes is None or found.single else _reduce(found, limit_bytes)
        ignored_ = tuple(ignored(found.ignored, found.more_ignored))
        blobs = Blobs(self.store, self._cache)
        key = (
            rules
            + ("" if redact is None else f", redacted {redact_by}")
            + ("" if only is None else ", some")
            + named.key
        )
        cache = load_stat_cache(self._cache / "stat", path, key)
        again = unchanged(found, cache, blobs)
        if again is not None:
            return replace(again, left_out=left_out, ignored=ignored_)
        work = Capturing(path, found, cache, blobs)
        work.workspace = rules == "workspace"
        work.redact, work.named = redact, named
        work.part_bytes, work.clock = self._part_bytes, self._clock
        return replace(work.run(progress), left_out=left_out, ignored=ignored_)

    def manifest(self, digest: str) -> Manifest:
        """The members of the artifact whose manifest is `digest` (`sha256:…`).

        Raises:
            ArtifactNotFound: the store does not have it.
            StoreError: it is damaged, or no manifest.
        """
        return decode_manifest(self.read_blob(digest), digest)

    def read(self, digest: str, path: str) -> bytes:
        """The bytes of one file of an artifact, verified.

        Raises:
            ArtifactNotFound: the artifact, or this file in it, is not there.
            StoreError: the bytes are damaged.
        """
        entry = self.manifest(digest).entry(path)
        if entry is None or not entry.regular:
            raise ArtifactNotFound(f"{digest[:19]}… has no file {path!r}", hint="look at its manifest for the names")
        return self.read_member(entry)

    def read_member(self, entry: FileEntry) -> bytes:
        """The bytes of a file of a manifest, verified; raises what `read` does."""
        return b"".join(self._pieces(entry, Blobs(self.store, self._cache)))

    def materialise(self, digest: str, target: Path, *, progress: Progress | None = None) -> tuple[str, ...]:
        """Puts the artifact's files into the folder `target`, which may exist.

        Every byte is verified before the first file appears in `target`; files of the same names are then
        replaced one by one, others stay. Times and modes are restored. Files are always copies.

        Returns:
            A line for each link that was left out because it leads out of the folder.

        Raises:
            ArtifactNotFound: the store does not have it, or has lost a part of it.
            StoreError: a content is damaged (it is named, and `target` is as it was), or `target` cannot be written.
        """
        from .materialise import write_tree

        blobs = Blobs(self.store, self._cache)
        return write_tree(self.manifest(digest), lambda entry: self._pieces(entry, blobs), target, progress)

    def check_target(self, digest: str, target: Path) -> None:
        """Refuses to replace what is somebody's own: files in `target` that `materialise` would write over.

        Raises:
            ArtifactNotFound: the store does not have the artifact.
            Conflict: `target` holds something else where the artifact has a file, a link or a folder.
            StoreError: `target` cannot be read.
        """
        from .materialise import differing

        try:
            found = differing(self.manifest(digest), target)
        except OSError as exc:
            raise StoreError(f"cannot read {target}: {exc.strerror or exc}", hint=f"look at: ls -la {target}") from exc
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise Conflict(
                f"{target} has {found[0]!r}{more} already, and not as captured: nothing was written",
                hint="name another TARGET, or add --overwrite",
            )

    def write_blob(self, data: bytes) -> str:
        """Stores bytes that are no file, such as a patch, and returns their digest, `sha256:…`."""
        return "sha256:" + Blobs(self.store, self._cache).put_blob(data)

    @staticmethod
    def digest_of(data: bytes) -> str:
        """What `write_blob` would return, with nothing stored."""
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def read_blob(self, digest: str) -> bytes:
        """The bytes of `write_blob`, verified.

        Raises:
            ArtifactNotFound: the store does not have them.
            StoreError: they are damaged.
        """
        kind, _, sha256 = digest.partition(":")
        if kind != "sha256" or len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ConfigError(f"{digest!r} is not a digest", hint="a digest is sha256: and 64 hexadecimal digits")
        try:
            data, _ = self.store.read(blob_name(sha256), (0, LONGEST + 1))
        except NotFound as exc:
            raise ArtifactNotFound(f"store {self.store.url} has no {digest}", hint="is it the right store?") from exc
        if len(data) > LONGEST:
            raise longer(self.store, blob_name(sha256), LONGEST)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise damaged(self.store, blob_name(sha256))
        return data

    def _pieces(self, entry: FileEntry, blobs: Blobs) -> Iterable[bytes]:
        """The verified bytes of a file, at most one part at a time."""
        if not entry.parts:
            data = blobs.read(entry.sha256, entry.size, entry.pack, entry.at)
            if len(data) != entry.size:
                raise StoreError(
                    f"store {self.store.url}: {entry.path!r} has {len(data)} bytes, its manifest says {entry.size}",
                    hint=f"studio store check {self.store.url}",
                )
            yield data
            return
        whole = hashlib.sha256()
        for part in entry.parts:
            data = blobs.read(part.sha256, part.size)
            whole.update(data)
            yield data
        if whole.hexdigest() != entry.sha256:
            raise StoreError(f"store {self.store.url}: the parts of {entry.path!r} are not those of its digest")

    def _avoided(self) -> frozenset[tuple[int, int]]:
        """(device, inode) of studio's home and of a store in a folder."""
        out = set()
        folders = [self._cache.parent, self._cache]
        if self.store.url.startswith("file://"):
            folders.append(Path(self.store.url.removeprefix("file://")))
        for folder in folders:
            try:
                found = os.stat(folder)
                out.add((found.st_dev, found.st_ino))
            except OSError:
                continue
        return frozenset(out)


def _reduce(found: Scan, limit_bytes: int) -> tuple[LeftOut, ...]:
    """Takes out of a scan what is too large or too much; what that was."""
    sizes = (Sized(path, max(seen.size, 0)) for path, seen in found.members.items())
    chosen = select(sizes, found.crowds, limit_bytes)
    if chosen.left_out:
        found.members = {path: seen for path, seen in found.members.items() if path in chosen.kept}
    return tuple(listed(chosen.left_out))
