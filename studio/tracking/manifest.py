"""The list of files that an artifact is: its JSON form, and the names that are refused in it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from ..errors import ConfigError, StoreError

SCHEMA = 1
MOST_BYTES = 1 << 53
MOST_PACKED = 64 << 20
LONGEST_PATH = 16_384
LATEST_S = 9.2e9
MOST_OBJECTS = 10_000_000
"""So many files and parts of files has an artifact at most: more would not fit into a machine's memory."""
LONGEST = 1 << 30
"""Bytes of a manifest; one with so many files is shorter, unless their names are very long."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a large file, stored as a blob of its own. `size` in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One member of an artifact: a file, a symbolic link (`link` is its text) or an empty folder.

    `size` in bytes, `mode` the nine permission bits, `mtime` in seconds since 1970 to the microsecond.
    The bytes are the blob `sha256`, or `size` bytes at offset `at` of the pack `pack`, or the `parts` in a row.
    A name that is no UTF-8 carries its odd bytes as lone surrogates, as Python's `os.fsdecode` gives them.
    """

    path: str
    size: int = 0
    mode: int = 0o644
    mtime: float = 0.0
    sha256: str = ""
    pack: str | None = None
    at: int = 0
    parts: tuple[Part, ...] = ()
    link: str | None = None
    folder: bool = False

    @property
    def regular(self) -> bool:
        """Whether it is a file with bytes."""
        return self.link is None and not self.folder


@dataclass(frozen=True, slots=True)
class Manifest:
    """An artifact's members, sorted by path; `single` if a file was captured and not a folder."""

    files: tuple[FileEntry, ...]
    single: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(f.size for f in self.files)

    def entry(self, path: str) -> FileEntry | None:
        """The member of this name, None if there is none."""
        return next((f for f in self.files if f.path == path), None)

    def encode(self) -> bytes:
        """The JSON form of `contracts.md`; equal manifests give equal bytes."""
        form: dict[str, object] = {"schema": SCHEMA, "files": [_as_json(f) for f in self.files]}
        if self.single:
            form["single"] = True
        data = json.dumps(form, separators=(",", ":")).encode("ascii")
        if _too_large(data):  # better no artifact than one that nobody can read
            raise ConfigError(
                f"{len(self.files):,} files are too many for one artifact",
                hint="leave some out by a .studioml_ignore, or pack them into archives",
            )
        return data


def decode_manifest(data: bytes, what: str) -> Manifest:
    """The manifest that `data` is the JSON form of; `what` names it in errors.

    Raises:
        StoreError: it is none, a newer studio wrote it, or a member's name could leave the target folder.
    """
    if _too_large(data):
        raise StoreError(
            f"{what} is not an artifact's manifest: it is too large", hint="no capture of studio makes such a manifest"
        )
    try:
        form = json.loads(data)
        schema = int(form["schema"])
        if schema <= SCHEMA:
            manifest = Manifest(tuple(_from_json(f) for f in form["files"]), bool(form.get("single")))
            _check_members(manifest, what)
            return manifest
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as exc:
        raise StoreError(f"{what} is not an artifact's manifest: {_cut(str(exc))}", hint="studio store check") from exc
    raise StoreError(
        f"{what} has schema {schema}, this studio knows up to {SCHEMA}", hint="pip install --upgrade studio"
    )


def _too_large(data: bytes) -> bool:
    """Whether what it takes to hold what JSON text describes has no bound; known without reading it."""
    return len(data) > LONGEST or data.count(b"{") > MOST_OBJECTS or data.count(b"[") > MOST_OBJECTS


def _as_json(entry: FileEntry) -> dict[str, object]:
    if entry.link is not None:
        return {"path": entry.path, "link": entry.link}
    if entry.folder:
        return {"path": entry.path, "folder": True}
    form: dict[str, object] = {
        "path": entry.path,
        "size": entry.size,
        "mode": entry.mode,
        "mtime": entry.mtime,
        "sha256": entry.sha256,
    }
    if entry.pack is not None:
        form["pack"] = entry.pack
        form["at"] = entry.at
    if entry.parts:
        form["parts"] = [{"sha256": p.sha256, "size": p.size} for p in entry.parts]
    return form


def _from_json(form: dict[str, object]) -> FileEntry:
    path = str(form["path"])
    if "link" in form:
        return FileEntry(path, link=str(form["link"]))
    if form.get("folder"):
        return FileEntry(path, folder=True)
    parts = form.get("parts") or []
    if not isinstance(parts, list):
        raise TypeError("parts")
    pack = form.get("pack")
    entry = FileEntry(
        path,
        size=_whole(form["size"]),
        mode=_whole(form["mode"]) & 0o777,
        mtime=_moment(form["mtime"]),
        sha256=_digest(form["sha256"]),
        pack=None if pack is None else _digest(pack),
        at=_whole(form.get("at", 0)),
        parts=tuple(Part(_digest(p["sha256"]), _whole(p["size"])) for p in parts),
    )
    if pack is not None and entry.size > MOST_PACKED:
        raise ValueError(f"{_cut(repr(path))} is too large for a pack")
    if parts and sum(p.size for p in entry.parts) != entry.size:
        raise ValueError(f"the parts of {path!r} do not add up")
    return entry


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_BYTES:
        raise ValueError(f"{_cut(repr(value))} is no size")
    return value


def _moment(value: object) -> float:
    """A file's time, as far as a file system can have it in nanoseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LATEST_S:
        raise ValueError(f"{_cut(repr(value))} is no time of a file")
    return float(value)


def _cut(text: str) -> str:
    return text if len(text) <= 100 else text[:99] + "…"


def _digest(value: object) -> str:
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"{_cut(repr(value))} is no digest")
    return value


def _check_members(manifest: Manifest, what: str) -> None:
    """No absolute name, no `..`, no name twice, nothing below a file or a link; a single file is one."""
    if manifest.single and (len(manifest.files) > 1 or any("/" in entry.path for entry in manifest.files)):
        raise ValueError("it is of a single file and has others")
    kinds: dict[str, bool] = {}
    for entry in manifest.files:
        parts = entry.path.split("/")
        if len(entry.path) > LONGEST_PATH or len(entry.link or "") > LONGEST_PATH:
            raise ValueError(f"{_cut(repr(entry.path))} is too long a name")
        os.fsencode(entry.path + (entry.link or ""))  # ValueError: half a character, which no file's name has
        if any(p in ("", ".", "..") or "\0" in p for p in parts) or (entry.link is not None and "\0" in entry.link):
            raise StoreError(
                f"{what} has the member {_cut(repr(entry.path))}, which would leave its folder",
                hint="do not use this artifact: no capture of studio makes such a name",
            )
        if entry.path in kinds:
            raise ValueError(f"{_cut(repr(entry.path))} is there twice")
        kinds[entry.path] = entry.folder
    for path in kinds:
        above, _, _ = path.rpartition("/")
        while above:
            if kinds.get(above) is False:
                raise ValueError(f"{path!r} lies below {above!r}, which is no folder")
            above, _, _ = above.rpartition("/")
