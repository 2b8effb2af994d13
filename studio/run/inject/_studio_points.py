"""What a point is and how points become bytes: hides numbers of all libraries, and the blocks of a metric stream.

The format of a block is in docs/explanation/metrics.md; the reader is `studio/tracking/metrics.py`.
"""

from __future__ import annotations

import sys
from array import array
from operator import index
from struct import Struct
from zlib import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

BLOCK_POINTS = 1 << 20
NAME_BYTES = 1024
LEAST_SECRET_CHARS = 20
"""Shorter names are never tokens of a known kind: most scripts need not load what knows them."""

_labels: dict[str, bytes] = {}

MAGIC = b"SMB1"
_TAIL = Struct("<II")  # points, bytes of the name
POINT = Struct("<qdd")  # step, time, value: three of eight bytes


def blocks(name: str, points: bytes) -> list[bytes]:
    """The points of one name as blocks that are not too long."""
    size = 24 * BLOCK_POINTS
    return [encode_block(name, points[start : start + size]) for start in range(0, len(points), size)]


def encode_block(name: str, points: bytes) -> bytes:
    """One block; `points` are step, time, value of eight bytes each, point after point."""
    label = _labels.get(name) or _labels.setdefault(name, _label(name))
    n = len(points) // 24
    if n > 1:
        mixed = array("q")
        mixed.frombytes(points)
        points = mixed[0::3].tobytes() + mixed[1::3].tobytes() + mixed[2::3].tobytes()
    body = _TAIL.pack(n, len(label)) + label + bytes(-len(label) % 8) + points
    return MAGIC + crc32(body).to_bytes(4, "little") + body


def _label(name: str) -> bytes:
    if len(name) >= LEAST_SECRET_CHARS:
        name = sys.modules["_studio_track"].load("_studio_secrets").clean_text(name)
    return name.encode("utf-8", "replace")[:NAME_BYTES]


def checked(values: Mapping[str, Any]) -> dict[str, float]:
    """Every value as a number; TypeError if a name is no str or a value not one number."""
    out: dict[str, float] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a metric is a str, not {type(name).__name__}")
        out[name] = number(name, value)
    return out


def number(name: str, value: Any) -> float:
    """The number of a Python, numpy, PyTorch, TensorFlow or JAX scalar."""
    if value.__class__ is float:
        return value
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    alone = getattr(value, "ndim", 0) == 0 or getattr(value, "size", None) == 1
    if alone and not isinstance(value, (str, bytes, bytearray)) and hasattr(value, "__float__"):
        if hasattr(value, "detach"):
            value = value.detach()  # torch warns when a tensor with a gradient becomes a number
        try:
            return float(value.item() if getattr(value, "ndim", 0) and hasattr(value, "item") else value)
        except (TypeError, ValueError):
            pass
    raise TypeError(f"the value of metric {name!r} must be one number, not {_described(value)}")


def too_large(name: str, step: object) -> TypeError:
    """What to raise for a step beyond 64 bits."""
    return TypeError(f"step {step!r} of metric {name!r} does not fit 64 bits")


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of shape {tuple(shape)}" if isinstance(shape, tuple) else "")


def whole_step(step: Any) -> int:
    """The step as an int; TypeError if it is no whole number."""
    try:
        return index(step)
    except TypeError:
        pass
    try:
        whole = int(step)
        if whole == step:
            return whole
    except (TypeError, ValueError, OverflowError):
        pass
    import _studio_text  # type: ignore[import-not-found]

    raise TypeError(f"a step is a whole number, not {_studio_text.spelled(step)}")


def numbers(code: str, values: Iterable[Any], name: str) -> array[Any]:
    """An array of steps (`q`) or of values (`d`)."""
    listed = values.tolist() if hasattr(values, "tolist") else values
    try:
        if code == "q":
            return array("q", listed)
        return array("d", listed)
    except (TypeError, OverflowError):
        pass
    if code == "q":
        try:
            return array("q", [whole_step(step) for step in listed])
        except OverflowError:
            raise TypeError(f"a step of metric {name!r} does not fit 64 bits") from None
    return array("d", [number(name, value) for value in listed])


def bits(values: array[Any]) -> array[int]:
    """The same eight bytes each, as integers."""
    found = array("q")
    found.frombytes(values.tobytes())
    return found
