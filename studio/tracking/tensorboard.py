"""Scalars in TensorBoard's event files, read while they grow: hides records, checksums, both encodings, restarts."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .metrics import encode
from .tfrecord import masked_crc32c

LARGEST_EVENT = 4 << 20  # a larger one holds a graph or images and is passed over
POINTS_A_CALL = 200_000
_LENGTH = struct.Struct("<QI")
# TensorProto: type -> (format of an element in tensor_content, field of the repeated values, how those are packed)
_NUMBERS = {
    1: ("f", 5, "f"), 2: ("d", 6, "d"), 3: ("i", 7, "varint"), 4: ("B", 7, "varint"), 5: ("h", 7, "varint"),
    6: ("b", 7, "varint"), 9: ("q", 10, "varint"), 10: ("?", 11, "varint"), 19: ("e", 13, "half"),
    22: ("I", 16, "varint"), 23: ("Q", 17, "varint"),
}  # fmt: skip


class Point(NamedTuple):
    """One scalar; `time` in seconds since 1970, by the writer's clock."""

    name: str
    step: int
    time: float
    value: float


@dataclass(slots=True)
class _File:
    offset: int = 0
    damaged: bool = False
    others: set[str] = field(default_factory=set)  # tags whose plugin is not the one for scalars


class TensorBoardTail:
    """Follows every event file below a folder. Needs neither TensorFlow nor TensorBoard.

    Scalars under `train/` keep their tag, those under `validation/` get the prefix `val_`; other folders are part of
    the name (`run1/loss`). A file that became shorter is read from its start again.

    Args:
        folder: Where event files are or will be.
        prefix: Put before every name.
        since: Files that were last written before this moment (seconds since 1970) belong to something else, and so do
            folders below this one; None: all are read, at any depth.
    """

    def __init__(self, folder: Path, *, prefix: str = "", since: float | None = None) -> None:
        self._folder, self._own_prefix, self._since = folder, prefix, since
        self._files: dict[str, _File] = {}
        self._known: frozenset[Point] | None = None

    def new_points(self) -> list[Point]:
        """What was written since the last call, at most 200,000 points; the rest comes with the next calls."""
        found: list[Point] = []
        for path, prefix in _event_files(self._folder, deep=self._since is None):
            state = self._files.setdefault(str(path), _File())
            try:
                status = path.stat()
                size = status.st_size
                if self._since is not None and status.st_mtime < self._since:
                    continue
                if size < state.offset:
                    state = self._files[str(path)] = _File()
                if size > state.offset and not state.damaged:
                    with open(path, "rb") as file:
                        found += _read(file, size, state, self._own_prefix + prefix, POINTS_A_CALL - len(found))
            except OSError:
                continue  # it vanished, or may be read later
            if len(found) >= POINTS_A_CALL:
                break
        return found

    def append_to(self, stream: Path) -> int:
        """Appends what is new to a metric stream as blocks; returns how many points there were.

        Points that the stream has already, from the supervisor of an earlier part of the run, are not new.
        """
        if self._known is None:
            self._known = _points_of(stream)
        found = self.new_points()
        if self._known:
            found = [point for point in found if point not in self._known]
        by_name: dict[str, list[Point]] = {}
        for point in found:
            by_name.setdefault(point.name, []).append(point)
        if found:
            blocks = [
                encode(name, [p.step for p in points], [p.time for p in points], [p.value for p in points])
                for name, points in by_name.items()
            ]
            fd = os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with open(fd, "ab", buffering=0) as file:
                file.write(b"".join(blocks))
        return len(found)


def _points_of(stream: Path) -> frozenset[Point]:
    if not stream.exists():
        return frozenset()
    from .metrics import read_blocks

    blocks = read_blocks(stream.read_bytes())
    return frozenset(
        Point(block.name, int(step), float(at), float(value))
        for block in blocks
        for step, at, value in zip(block.steps, block.times, block.values, strict=True)
    )


def _event_files(folder: Path, *, deep: bool) -> list[tuple[Path, str]]:
    """Every event file, in the order of their names (which begin with the time they were made), and its name prefix."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(folders) if deep else []
        parts = Path(root).relative_to(folder).parts
        for name in sorted(files):
            if "tfevents" in name:
                found.append((Path(root, name), _prefix(parts)))
    return found


def _prefix(parts: tuple[str, ...]) -> str:
    kind = parts[-1] if parts else ""
    named = parts[:-1] if kind in ("train", "validation") else parts
    return "".join(part + "/" for part in named) + ("val_" if kind == "validation" else "")


def _read(file: BinaryIO, size: int, state: _File, prefix: str, room: int) -> list[Point]:
    found: list[Point] = []
    file.seek(state.offset)
    while len(found) < room and state.offset + 16 <= size:
        length, crc = _LENGTH.unpack(file.read(12))
        if crc != masked_crc32c(struct.pack("<Q", length)):
            state.damaged = True  # where the next record begins cannot be known
            break
        if state.offset + 16 + length > size:
            break  # still being written, or cut off
        if length > LARGEST_EVENT:
            file.seek(length + 4, os.SEEK_CUR)
        else:
            data = file.read(length + 4)
            found += _points(data[:length], int.from_bytes(data[length:], "little"), state, prefix)
        state.offset += 16 + length
    return found


def _points(data: bytes, crc: int, state: _File, prefix: str) -> list[Point]:
    if len(data) <= 4096 and masked_crc32c(data) != crc:
        return []
    try:
        event = dict(_fields(data))
        summary = event.get(5)
        if not isinstance(summary, bytes):
            return []
        step = _signed(event.get(2, 0))
        stamp = event.get(1)
        when = float(struct.unpack("<d", stamp)[0]) if isinstance(stamp, bytes) else 0.0
        found = [
            _scalar(value, state) for number, value in _fields(summary) if number == 1 and isinstance(value, bytes)
        ]
    except (ValueError, IndexError, struct.error):
        return []
    return [Point(prefix + tag, step, when, value) for tag, value in (pair for pair in found if pair is not None)]


def _scalar(data: bytes, state: _File) -> tuple[str, float] | None:
    tag, value, plugin = "", None, None
    for number, content in _fields(data):
        if not isinstance(content, bytes):
            continue
        if number == 1:
            tag = content.decode("utf-8", "replace")
        elif number == 2:
            value = float(struct.unpack("<f", content)[0])
        elif number == 8:
            value = _tensor(content)
        elif number == 9:
            plugin = next((c for n, c in _fields(content) if n == 1), b"")
            plugin = next((c for n, c in _fields(plugin) if n == 1), b"") if isinstance(plugin, bytes) else b""
    if plugin not in (None, b"", b"scalars"):
        state.others.add(tag)  # said with the first value of a tag only
    if value is None or tag in state.others:
        return None
    return tag, value


def _tensor(data: bytes) -> float | None:
    """The number in a tensor of one element, None for any other tensor."""
    fields: dict[int, list[int | bytes]] = {}
    for number, content in _fields(data):
        fields.setdefault(number, []).append(content)
    kind = fields.get(1, [0])[0]
    if not isinstance(kind, int) or kind not in _NUMBERS:
        return None
    element, values, packing = _NUMBERS[kind]
    whole = fields.get(4, [b""])[0]
    if isinstance(whole, bytes) and whole:
        return float(struct.unpack("<" + element, whole)[0]) if len(whole) == struct.calcsize(element) else None
    repeated = fields.get(values, [])
    if len(repeated) != 1:
        return None
    return _one(repeated[0], packing, signed=kind in (3, 5, 6, 9))


def _one(content: int | bytes, packing: str, *, signed: bool) -> float | None:
    if isinstance(content, bytes) and packing in ("f", "d"):
        return float(struct.unpack("<" + packing, content)[0]) if len(content) == struct.calcsize(packing) else None
    if isinstance(content, bytes):  # packed
        packed, (content, end) = content, _varint(content, 0)
        if end != len(packed):
            return None
    if packing == "half":
        return float(struct.unpack("<e", struct.pack("<H", content & 0xFFFF))[0])
    return float(_signed(content) if signed else content)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and content of each field of a protobuf message: an int for a varint, else the bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")


def _signed(value: int | bytes) -> int:
    if isinstance(value, bytes):
        return 0
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
