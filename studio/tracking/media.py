"""Pictures, tables, texts, sounds and histograms of a run, as its script logged them: hides the index and the names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NotFound, nearest

if TYPE_CHECKING:
    from ..stores.base import Store

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}/-?[0-9]{1,19}\.[a-z0-9]{1,8}")


@dataclass(frozen=True, slots=True)
class MediaEntry:
    """One thing that was logged.

    `time` in seconds since 1970, `size` in bytes of all its files, `file` and `also` below `runs/<key>/media/`,
    `extra` what the index says besides: width, height, rate, columns, …
    """

    name: str
    step: int
    time: float
    kind: str
    file: str
    size: int
    also: tuple[str, ...] = ()
    caption: str = ""
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """All its files, the main one first."""
        return (self.file, *self.also)

    def as_json(self) -> dict[str, object]:
        """As its line in the index."""
        known: dict[str, object] = {"name": self.name, "step": self.step, "time": self.time, "kind": self.kind}
        known |= {"file": self.file, "size": self.size}
        if self.also:
            known["also"] = list(self.also)
        if self.caption:
            known["caption"] = self.caption
        return known | dict(self.extra)


class Media:
    """All media of one run.

    Args:
        store: Where they are.
        key: The experiment's key.
        index: The bytes of `runs/<key>/media/index`.
    """

    def __init__(self, store: Store, key: str, index: bytes) -> None:
        self._store = store
        self._key = key
        found: dict[tuple[str, int, str], MediaEntry] = {}
        for line in index.splitlines():
            entry = _entry(line)
            if entry is not None:
                found[entry.name, entry.step, entry.kind] = entry
        self._entries = sorted(found.values(), key=lambda e: (e.name, e.step, e.kind))

    @classmethod
    def from_store(cls, store: Store, key: str) -> Media:
        """The media of an experiment; none if it logged none."""
        try:
            index = bytes(store.read(f"runs/{key}/media/index")[0])
        except NotFound:
            index = b""
        return cls(store, key, index)

    def entries(self, name: str | None = None, *, step: int | None = None) -> list[MediaEntry]:
        """Sorted by name and step; of what was logged twice under one name and step the later one.

        Args:
            name: Those of this name alone.
            step: Those of this step alone.
        """
        return [e for e in self._entries if name in (None, e.name) and step in (None, e.step)]

    def names(self) -> list[str]:
        """The names, sorted."""
        return list(dict.fromkeys(entry.name for entry in self._entries))

    def read(self, entry: MediaEntry, file: str | None = None) -> bytes:
        """The bytes of an entry's main file, or of another one of its files.

        Raises:
            NotFound: the file did not reach the store.
        """
        return bytes(self._store.read(f"runs/{self._key}/media/{file or entry.file}")[0])

    def save(self, entries: Iterable[MediaEntry], folder: Path) -> list[Path]:
        """Copies the files of entries to `folder/<name>/<step>.<ending>`; returns their paths."""
        paths = []
        for file in (file for entry in entries for file in entry.files):
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.download(f"runs/{self._key}/media/{file}", path)
            paths.append(path)
        return paths

    def check(self, name: str | None, step: int | None) -> None:
        """Asks whether there is something of this name and step.

        Raises:
            NotFound: there is nothing.
        """
        if name is not None and name not in self.names():
            raise NotFound(
                f"experiment {self._key} has no media {name!r}",
                hint=nearest(name, self.names()) or f"list them with: studio runs media {self._key}",
            )
        if step is not None and not self.entries(name, step=step):
            of = f" of {name!r}" if name else ""
            raise NotFound(
                f"experiment {self._key} has no media{of} at step {step}",
                hint=f"list them with: studio runs media {self._key}",
            )


def files_of_line(line: bytes) -> tuple[str, ...]:
    """The files that a line of the index names; none for a line that is torn, or that names what is no media file."""
    entry = _entry(line)
    return entry.files if entry is not None else ()


def _entry(line: bytes) -> MediaEntry | None:
    try:
        match json.loads(line):
            case {
                "name": str(name), "step": int(step), "time": int() | float() as time, "kind": str(kind),
                "file": str(file), "size": int(size), **extra,
            }:  # fmt: skip
                also, caption = extra.pop("also", []), str(extra.pop("caption", ""))
                files = (file, *(also if isinstance(also, list) else ()))
                if not all(isinstance(part, str) and _FILE.fullmatch(part) for part in files):
                    return None
                more = {str(key): value for key, value in extra.items()}
                return MediaEntry(name, step, float(time), kind, file, size, files[1:], caption, more)
    except (ValueError, OverflowError, RecursionError):
        pass  # half a line of a process that was killed
    return None
