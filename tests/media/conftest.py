"""A spool that this process logs into, and what a reader of a store then finds."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.run.inject import _studio_track
from studio.stores.memory import MemoryStore
from studio.tracking.media import Media


class Logged:
    """The media of the spool, read as from a store."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.folder = spool / "media"

    @property
    def media(self) -> Media:
        store = MemoryStore(f"memory://{uuid.uuid4()}")
        for path in self.folder.rglob("*") if self.folder.is_dir() else ():
            if path.is_file():
                store.write(f"runs/k/media/{path.relative_to(self.folder)}", path.read_bytes())
        return Media.from_store(store, "k")

    def only(self) -> tuple[object, bytes]:
        """The one entry there is, and the bytes of its file."""
        media = self.media
        (entry,) = media.entries()
        return entry, media.read(entry)

    @property
    def warnings(self) -> list[str]:
        events = self.spool / "events"
        lines = events.read_text().splitlines() if events.exists() else []
        return [event["text"] for event in map(json.loads, lines) if event["type"] == "warning"]


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Logged]:
    spool = tmp_path / "spool"
    spool.mkdir()
    _studio_track.attach(str(spool))
    yield Logged(spool)
    _studio_track.detach()
