"""Metric streams as the script's processes wrote them: hides their blocks, torn ends, and how writers are merged."""

from __future__ import annotations

import math
import os
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import lt
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..experiment import Summary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..stores.base import Store

MAGIC = b"SMB1"
HEADER = struct.Struct("<4sIII")  # magic, crc32 of all that follows it, points, bytes of the name
MAX_POINTS = 1 << 20
MAX_NAME = 1024
EXACT_BYTES = 32 << 20


class Block(NamedTuple):
    """Points of one name as one flush wrote them: steps i64[n], times f64[n] (seconds since 1970), values f64[n]."""

    name: str
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]


class Span(NamedTuple):
    """Where a whole block lies: its name, number of points, offset of the first step, offset after the block."""

    name: str
    points: int
    start: int
    end: int


def scan(data: bytes | memoryview, *, at: int = 0) -> Iterator[Span]:
    """The whole blocks of `data` from offset `at` on; bytes between them that are no block are passed over.

    A block that reaches beyond the end is taken for one that is still being written unless a whole block follows it.
    """
    view = memoryview(data)
    while (found := _next_magic(view, at)) >= 0:
        span = _block_at(view, found)
        if span is None:
            at = found + 1
            continue
        yield span
        at = span.end


def _next_magic(view: memoryview, at: int) -> int:
    if bytes(view[at : at + 4]) == MAGIC:
        return at
    step = 1 << 16
    while at < len(view):
        near = bytes(view[at : at + step + 3]).find(MAGIC)
        if near >= 0:
            return at + near
        at += step
    return -1


def _block_at(view: memoryview, at: int) -> Span | None:
    if len(view) - at < HEADER.size:
        return None
    _, crc, count, length = HEADER.unpack_from(view, at)
    start = at + HEADER.size + length + -length % 8
    end = start + 24 * count
    if not 0 < count <= MAX_POINTS or length > MAX_NAME or end > len(view) or zlib.crc32(view[at + 8 : end]) != crc:
        return None
    name = bytes(view[at + HEADER.size : at + HEADER.size + length]).decode("utf-8", "replace")
    return Span(name, count, start, end)


def read_blocks(data: bytes | memoryview) -> Iterator[Block]:
    """Every whole block of a stream, in the order written; a torn one alone is missing."""
    import numpy as np

    for span in scan(data):
        n, at = span.points, span.start
        yield Block(
            span.name,
            np.frombuffer(data, "<i8", n, at),
            np.frombuffer(data, "<f8", n, at + 8 * n),
            np.frombuffer(data, "<f8", n, at + 16 * n),
        )


def encode(name: str, steps: Sequence[int], times: Sequence[float], values: Sequence[float]) -> bytes:
    """One block, as the script's own writer makes it (`studio/run/inject/_studio_points.py`)."""
    n, label = len(steps), name.encode()[:MAX_NAME]
    points = struct.pack(f"<{n}q{2 * n}d", *steps, *times, *values)
    body = struct.pack("<II", n, len(label)) + label + bytes(-len(label) % 8) + points
    return MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


class Curves:
    """All curves of one run: every writer merged, sorted by step; of equal steps the one written last.

    Args:
        streams: Writer → bytes of its stream.
    """

    def __init__(self, streams: Mapping[str, bytes]) -> None:
        self._streams = dict(streams)
        self._blocks: dict[str, list[Block]] | None = None
        self._merged: dict[str, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = {}

    @classmethod
    def from_folder(cls, folder: Path) -> Curves:
        """The curves of a spool's `metrics` folder; none if it does not exist."""
        if not folder.is_dir():
            return cls({})
        return cls({file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()})

    @classmethod
    def from_store(cls, store: Store, key: str) -> Curves:
        """The curves of `runs/<key>/metrics/` in a store."""
        prefix = f"runs/{key}/metrics/"
        names = [entry[0] for entry in store.list(prefix)]
        return cls({name.removeprefix(prefix): bytes(store.read(name)[0]) for name in names})

    def names(self) -> list[str]:
        """The names of all curves, sorted."""
        return sorted(self._by_name())

    def curve(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Steps (strictly rising), times and values of one curve; empty arrays for a name that has none."""
        merged = self._merged.get(name)
        if merged is None:
            merged = self._merged[name] = _merge(self._by_name().get(name, []))
        return merged

    def count(self, name: str) -> int:
        """How many points a curve has, as `Summariser` counts them: of large streams, repeated steps included."""
        if sum(map(len, self._streams.values())) > EXACT_BYTES:
            return sum(len(block.steps) for block in self._by_name().get(name, []))
        return len(self.curve(name)[0])

    def summary(self) -> dict[str, Summary]:
        """Each curve in short. `min` and `max` pass over NaN; all values NaN leave NaN."""
        return {name: _summary(*self.curve(name)) for name in self.names()}

    def _by_name(self) -> dict[str, list[Block]]:
        if self._blocks is None:
            self._blocks = {}
            for data in self._streams.values():
                for block in read_blocks(data):
                    self._blocks.setdefault(block.name, []).append(block)
        return self._blocks


def _merge(blocks: list[Block]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    if not blocks:
        return np.empty(0, np.int64), np.empty(0), np.empty(0)
    steps = np.concatenate([block.steps for block in blocks]).astype(np.int64, copy=False)
    times = np.concatenate([block.times for block in blocks]).astype(np.float64, copy=False)
    values = np.concatenate([block.values for block in blocks]).astype(np.float64, copy=False)
    if not bool(np.all(steps[1:] > steps[:-1])):
        order = np.lexsort((times, steps))  # stable: of equal times the one further on in its stream is last
        steps, times, values = steps[order], times[order], values[order]
        last = np.append(steps[1:] != steps[:-1], True)
        steps, times, values = steps[last], times[last], values[last]
    return steps, times, values


def _summary(steps: NDArray[np.int64], times: NDArray[np.float64], values: NDArray[np.float64]) -> Summary:
    import numpy as np

    real = values[~np.isnan(values)]
    return Summary(
        last=float(values[-1]),
        min=float(real.min()) if len(real) else math.nan,
        max=float(real.max()) if len(real) else math.nan,
        step=int(steps[-1]),
        count=len(values),
        first=float(values[0]),
    )


@dataclass(slots=True)
class Running:
    """The summary of one curve so far.

    Attributes:
        count: Points written, repeated steps included.
        rises: Whether every step was beyond the one before; if not, steps may have been written again.
    """

    last: float = math.nan
    min: float = math.nan
    max: float = math.nan
    first: float = math.nan
    step: int = -(1 << 63)
    first_step: int = (1 << 63) - 1
    count: int = 0
    rises: bool = True

    def add(self, steps: array[int], values: array[float]) -> None:
        """Takes in points in the order written."""
        self.rises = self.rises and (not self.count or steps[0] > self.step) and all(map(lt, steps, steps[1:]))
        self.count += len(values)
        low, high = (values[0], values[0]) if len(values) == 1 else (min(values), max(values))
        if low != low or high != high or (len(values) > 1 and math.isnan(sum(values))):
            real = [value for value in values if value == value]
            low, high = (min(real), max(real)) if real else (math.nan, math.nan)
        if low == low and high == high:
            self.min = self.min if self.min <= low else low
            self.max = self.max if self.max >= high else high
        top = steps[0] if len(steps) == 1 else max(steps)
        if top >= self.step:
            at = len(steps) - 1
            while steps[at] != top:
                at -= 1
            self.step, self.last = top, values[at]
        bottom = steps[0] if len(steps) == 1 else min(steps)
        if bottom <= self.first_step:
            at = len(steps) - 1
            while steps[at] != bottom:
                at -= 1
            self.first_step, self.first = bottom, values[at]

    def summary(self) -> Summary:
        """As the record keeps it."""
        return Summary(self.last, self.min, self.max, self.step, self.count, self.first)


class Summariser:
    """Every curve of a growing `metrics` folder in short; a call costs as much as was written since the one before.

    Needs no numpy, unless steps are written again or out of order: those curves are then read whole, so that only the
    points that count are in `min`, `max` and `count`; up to `exact_bytes` of streams, beyond that these three are of
    all that was written.

    Args:
        folder: The `metrics` folder of a run's spool; it need not exist yet.
        exact_bytes: The size of all streams up to which curves are read again.
    """

    def __init__(self, folder: Path, *, exact_bytes: int = EXACT_BYTES) -> None:
        self._folder = folder
        self._exact_bytes = exact_bytes
        self._offsets: dict[str, int] = {}
        self._curves: dict[str, Running] = {}
        self._exact: dict[str, Summary] = {}

    def read(self) -> dict[str, Summary]:
        """Takes in what is new and returns the summary of each curve by name."""
        try:
            entries = sorted(os.scandir(self._folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            entries = []
        touched: set[str] = set()
        size = 0
        for entry in entries:
            done = self._offsets.get(entry.name, 0)
            size += entry.stat().st_size
            if entry.stat().st_size > done:
                with open(entry.path, "rb") as file:
                    file.seek(done)
                    data = file.read()
                self._offsets[entry.name] = done + self._take(data, touched)
        self._read_again({name for name in touched if not self._curves[name].rises}, size)
        return {name: self._exact.get(name) or curve.summary() for name, curve in self._curves.items()}

    def _read_again(self, names: set[str], size: int) -> None:
        if size > self._exact_bytes:
            self._exact.clear()
        elif names:
            curves = Curves.from_folder(self._folder)
            self._exact.update({name: _summary(*curves.curve(name)) for name in names})

    def _take(self, data: bytes, touched: set[str]) -> int:
        end = 0
        for span in scan(data):
            n, at = span.points, span.start
            steps, values = array("q", data[at : at + 8 * n]), array("d", data[at + 16 * n : at + 24 * n])
            if sys.byteorder == "big":
                steps.byteswap()
                values.byteswap()
            running = self._curves.get(span.name)
            if running is None:
                running = self._curves[span.name] = Running()
            running.add(steps, values)
            touched.add(span.name)
            end = span.end
        return end


def whole_blocks(data: bytes | memoryview) -> int:
    """The offset after the last whole block of `data`: what a supervisor may ship by now."""
    end = 0
    for span in scan(data):
        end = span.end
    return end
