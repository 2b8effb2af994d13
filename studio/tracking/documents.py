"""Reads and writes JSON: many objects by orjson, which costs more to import than it saves on a few."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

_MANY = 150
_read = 0


def reader(count: int) -> Callable[[bytes], dict[str, Any]]:
    """What reads `count` more objects quickest; takes all that `json.loads` takes, NaN too."""
    global _read
    _read += count
    if _read < _MANY and "orjson" not in sys.modules:
        return json.loads
    from orjson import JSONDecodeError, loads

    def read(raw: bytes) -> Any:
        try:
            return loads(raw)
        except JSONDecodeError:
            return json.loads(raw)

    return read


def writer(count: int) -> Callable[[object], bytes]:
    """What writes `count` objects quickest."""
    if count < _MANY and "orjson" not in sys.modules:
        return _write
    from orjson import JSONEncodeError, dumps

    def write(data: object) -> bytes:
        try:
            return dumps(data)
        except JSONEncodeError:  # integers over 64 bits, lone surrogates
            return _write(data)

    return write


def _write(data: object) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()
