"""Many small contents in one object: their bytes in a row, then an index, so that a pack explains itself."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping

from ..errors import StoreError

PACK_BYTES = 16 << 20
SMALL_BYTES = 256 << 10
_TAIL = struct.Struct("<Q8s")
_MAGIC = b"studiopk"
TAIL_BYTES = _TAIL.size


def pack_name(pack: str) -> str:
    """The object that holds the pack of this id."""
    return f"packs/{pack}"


def encode_pack(contents: Mapping[str, bytes]) -> tuple[dict[str, tuple[int, int]], str, bytes]:
    """A pack of digest → content: where each lies as (offset, size); its id, the sha256 of its bytes; the bytes."""
    places: dict[str, tuple[int, int]] = {}
    at = 0
    for digest, content in contents.items():
        places[digest] = (at, len(content))
        at += len(content)
    rows = [[digest, start, size] for digest, (start, size) in places.items()]
    index = json.dumps({"schema": 1, "files": rows}, separators=(",", ":")).encode("ascii")
    data = b"".join([*contents.values(), index, _TAIL.pack(len(index), _MAGIC)])
    return places, hashlib.sha256(data).hexdigest(), data


def index_span(tail: bytes, size: int) -> tuple[int, int]:
    """Where in a pack of `size` bytes its index lies, from its last `TAIL_BYTES` bytes.

    Raises:
        StoreError: it is no pack.
    """
    if len(tail) == TAIL_BYTES:
        length, magic = _TAIL.unpack(tail)
        if magic == _MAGIC and length <= size - TAIL_BYTES:
            return size - TAIL_BYTES - length, size - TAIL_BYTES
    raise StoreError("not a pack", hint="studio store check")


def decode_index(data: bytes) -> dict[str, tuple[int, int]]:
    """Digest → (offset, size) of everything in a pack.

    Raises:
        StoreError: the index is damaged.
    """
    try:
        return {str(digest): (int(at), int(size)) for digest, at, size in json.loads(data)["files"]}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as exc:
        raise StoreError("a pack's index is damaged", hint="studio store check") from exc
