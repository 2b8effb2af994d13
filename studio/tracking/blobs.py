"""Content by its digest, wherever in the store it lies: written once, verified on every read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ..errors import ArtifactNotFound, Conflict, NotFound, StoreError
from ..stores import Store
from ..stores.layout import store_id
from .locations import Location, Locations
from .packs import PACK_BYTES, SMALL_BYTES, TAIL_BYTES, decode_index, encode_pack, index_span, pack_name

MOST_PACKS_TO_LEARN = 256
_LARGEST_PACK = 4 * PACK_BYTES


def blob_name(digest: str) -> str:
    """The object that holds the content of this sha256."""
    return f"blobs/{digest[:2]}/{digest}"


class Blobs:
    """The contents of one store. Not for several threads at once: each capture makes one of its own.

    `put` collects small contents; `flush` writes them as one pack. `sent` counts the bytes written.
    """

    def __init__(self, store: Store, cache: Path) -> None:
        self.store = store
        self.sent = 0
        self._locations = Locations(cache / "locations.sqlite")
        self._id = ""
        self._places: dict[str, Location] = {}
        self._news: dict[str, Location] = {}
        self._waiting: dict[str, bytes] = {}
        self._waiting_bytes = 0
        self._sizes: dict[str, int] = {}
        self._open_pack: tuple[str, bytes] = ("", b"")

    def identify(self) -> str:
        """The id of the store, which tells it from another one at the same place."""
        if not self._id:
            self._id = store_id(self.store)
        return self._id

    def know(self, digests: Iterable[str]) -> None:
        """Looks up where these contents lie, as far as that is known here, and that they still do."""
        wanted = [d for d in digests if d not in self._places]
        if not wanted:
            return
        store = self.identify()
        found = self._locations.find(store, wanted)
        if len(found) < len(wanted) and not self._locations.knows(store):
            self._learn(store)
            found = self._locations.find(store, wanted)
        gone: set[tuple[str | None, str]] = set()
        for digest, place in found.items():
            if self.has_object(_holder(digest, place), place.at + place.size):
                self._places[digest] = place
            else:
                gone.add((place.pack, "" if place.pack else digest))
        if gone:
            self._locations.forget(store, gone)

    def place(self, digest: str) -> Location | None:
        """Where this content lies, if `know`, `put` and `flush` found or put it anywhere."""
        return self._places.get(digest)

    def put(self, data: bytes, digest: str) -> None:
        """Stores `data`, whose sha256 is `digest`, unless the store has it; small ones wait for `flush`."""
        if digest in self._places or digest in self._waiting:
            return
        if len(data) > SMALL_BYTES:
            self._write_blob(data, digest)
            return
        self._waiting[digest] = data
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= PACK_BYTES:
            self._write_waiting()

    def flush(self) -> None:
        """Writes what waits: a lone content as a blob, several as a pack; remembers where everything lies."""
        self._write_waiting()
        if self._news:
            self._locations.add(self.identify(), self._news)
            self._news = {}

    def put_blob(self, data: bytes) -> str:
        """Stores `data` as an object of its own, at once, and returns its sha256."""
        digest = hashlib.sha256(data).hexdigest()
        self.identify()
        self._write_once(blob_name(digest), data)
        return digest

    def has_object(self, name: str, least: int) -> bool:
        """Whether the store has the object `name` of at least `least` bytes; asks once for each name."""
        size = self._sizes.get(name)
        if size is None:
            try:
                size = self.store.stat(name).size
            except NotFound:
                size = -1
            self._sizes[name] = size
        return size >= least

    def read(self, digest: str, size: int, pack: str | None = None, at: int = 0) -> bytes:
        """The content `digest` of at most `size` bytes, verified; an object that holds more is not read whole.

        Raises:
            ArtifactNotFound: the store does not have it.
            StoreError: what it has is something else.
        """
        name = pack_name(pack) if pack else blob_name(digest)
        try:
            if pack:
                data = self._read_packed(name, at, size)
            else:
                data, _ = self.store.read(name, (0, size + 1))
        except NotFound as exc:
            raise ArtifactNotFound(
                f"store {self.store.url} has lost {name}", hint=f"studio store check {self.store.url}"
            ) from exc
        if len(data) > size:
            raise longer(self.store, name, size)
        if hashlib.sha256(data).hexdigest() != digest:
            raise damaged(self.store, name)
        return data

    def _read_packed(self, name: str, at: int, size: int) -> bytes:
        """A span of a pack; the second of the same pack in a row reads it whole and keeps it for the next."""
        last, data = self._open_pack
        if last != name:
            self._open_pack = (name, b"")
            return self.store.read(name, (at, at + size))[0]
        if not data:
            data, _ = self.store.read(name, (0, _LARGEST_PACK))
            self._open_pack = (name, data)
        if at + size > len(data):
            return self.store.read(name, (at, at + size))[0]
        return data[at : at + size]

    def _write_waiting(self) -> None:
        self.know(self._waiting)
        news = {digest: data for digest, data in self._waiting.items() if digest not in self._places}
        self._waiting, self._waiting_bytes = {}, 0
        if len(news) == 1:
            for digest, data in news.items():
                self._write_blob(data, digest)
        elif news:
            places, name, data = encode_pack(news)
            self._write_once(pack_name(name), data)
            for digest, (at, size) in places.items():
                self._remember(digest, Location(name, at, size))

    def _write_blob(self, data: bytes, digest: str) -> None:
        self._write_once(blob_name(digest), data)
        self._remember(digest, Location(None, 0, len(data)))

    def _remember(self, digest: str, place: Location) -> None:
        self._places[digest] = self._news[digest] = place

    def _write_once(self, name: str, data: bytes) -> None:
        """An object whose name is its content's digest: there already is as good, unless it is cut short."""
        if not self.has_object(name, len(data)):
            try:
                self.store.write(name, data, if_absent=self._sizes[name] < 0)
                self.sent += len(data)
            except Conflict:  # somebody else was quicker
                pass
            self._sizes[name] = len(data)

    def _learn(self, store: str) -> None:
        """Reads the indexes of the newest packs of a store that this machine does not know yet."""
        found: dict[str, Location] = {}
        newest = sorted(self.store.list("packs/"), key=lambda e: -e.modified)[:MOST_PACKS_TO_LEARN]
        for entry in newest:
            try:
                tail, _ = self.store.read(entry.name, (max(0, entry.size - TAIL_BYTES), entry.size))
                index, _ = self.store.read(entry.name, index_span(tail, entry.size))
                rows = decode_index(index)
            except (NotFound, StoreError):
                continue
            pack = entry.name.partition("/")[2]
            found.update({digest: Location(pack, at, size) for digest, (at, size) in rows.items()})
        self._locations.add(store, found, learnt=True)


def damaged(store: Store, name: str) -> StoreError:
    """The error for bytes that are not those of their digest."""
    return StoreError(
        f"store {store.url}: {name} is damaged: its bytes are not those of its digest",
        hint=f"capture the files again, or restore {name} from a backup",
    )


def longer(store: Store, name: str, size: int) -> StoreError:
    """The error for an object that has more bytes than it may have."""
    return StoreError(
        f"store {store.url}: {name} has more than {size} bytes, which studio did not store",
        hint=f"restore {name} from a backup",
    )


def _holder(digest: str, place: Location) -> str:
    return pack_name(place.pack) if place.pack else blob_name(digest)
