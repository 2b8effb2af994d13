"""TensorBoard's event files: hides records, checksums and protocol buffers, for scalars alone.

Format: github.com/tensorflow/tensorboard, `compat/proto/event.proto`; records as in TFRecord.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

from ..tracking.tfrecord import masked_crc32c


class EventFile:
    """Appends scalars to one event file of its own; each is on its way to the disk when `add` returns.

    Args:
        folder: Made when the first scalar comes.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._paths: dict[int, Path] = {}  # process -> its file; threads share one

    def add(self, step: int, tag: str, value: float) -> None:
        """One point."""
        name = tag.encode()
        point = b"\x0a" + _varint(len(name)) + name + b"\x15" + struct.pack("<f", _float32(value))
        summary = b"\x0a" + _varint(len(point)) + point
        self._append(b"\x10" + _varint(step) + b"\x2a" + _varint(len(summary)) + summary)

    def _append(self, event: bytes) -> None:
        data, process = b"", os.getpid()
        path = self._paths.get(process)
        if path is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            host = socket.gethostname() or "host"
            name = f"events.out.tfevents.{time.time():.0f}.{host}.{process}.{id(self):x}"
            path = self._paths.setdefault(process, self._folder / name)
            data = _record(_now() + b"\x1a\x0dbrain.Event:2")
        with open(path, "ab") as file:
            file.write(data + _record(_now() + event))


def _now() -> bytes:
    return b"\x09" + struct.pack("<d", time.time())


def _record(event: bytes) -> bytes:
    length = struct.pack("<Q", len(event))
    return length + _checksum(length) + event + _checksum(event)


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _float32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
