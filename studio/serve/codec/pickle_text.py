"""The opcodes of protocol 0 that are lines of text.

Hides how strictly a line is read: nothing that Python or numpy does not write, for two readers may differ on it.
"""

from __future__ import annotations

import codecs
import re

import numpy as np

from .limits import Malformed
from .pickle_globals import OldString
from .pickle_machine import Machine

_INTEGER = re.compile(rb"(?:0|-?[1-9][0-9]{0,79})\Z")
_FLOAT = re.compile(rb"[-+0-9.eEinfaNI]{1,60}\Z")
_MAX_TEXT = 16 << 20
_SIMPLE = np.isin(np.arange(256), list(b"'\"nrtx"))
_HEX = np.isin(np.arange(256), list(b"0123456789abcdefABCDEF"))


def _decimal(text: bytes) -> int:
    if not _INTEGER.match(text):
        raise Malformed("bad-int")
    return int(text)


def index(m: Machine) -> int:
    """The number of a memo entry, on a line."""
    index = _decimal(m.line(44))
    if index < 0:
        raise Malformed("bad-memo", "index")
    return index


def integer(m: Machine) -> None:
    """INT, and the truth values of protocols 0 and 1."""
    text = m.line(84)
    m.stack.append(text == b"01" if text in (b"00", b"01") else _decimal(text))


def long_line(m: Machine) -> None:
    """LONG."""
    text = m.line(84)
    m.stack.append(_decimal(text[:-1] if text.endswith(b"L") else text))


def floating(m: Machine) -> None:
    """FLOAT."""
    text = m.line(64)
    try:
        m.stack.append(float(text) if _FLOAT.match(text) else _bad_float())
    except ValueError:
        _bad_float()


def _bad_float() -> float:
    raise Malformed("bad-float")


def string(m: Machine) -> None:
    """STRING: the repr of a `str` of Python 2."""
    text = m.line(_MAX_TEXT)
    if len(text) < 2 or text[0] != text[-1] or text[:1] not in (b"'", b'"'):
        raise Malformed("bad-string", "quotes")
    inner = text[1:-1]
    if b"\\" in inner:
        _check_escapes(inner)
        inner = codecs.escape_decode(inner)[0]
    m.stack.append(OldString(inner))


def _check_escapes(text: bytes) -> None:
    """Refuses escapes that Python 2 does not write; `codecs` would warn of some and guess at others."""
    codes = np.frombuffer(text.replace(b"\\\\", b"__") + b"   ", np.uint8)
    for start in range(0, len(text), 1 << 20):
        at = np.flatnonzero(codes[start : start + (1 << 20)] == 0x5C) + start
        kinds = codes[at + 1]
        hexes = at[kinds == 0x78]
        if not (_SIMPLE[kinds].all() and _HEX[codes[hexes + 2]].all() and _HEX[codes[hexes + 3]].all()):
            raise Malformed("bad-string", "escape")


def unicode_line(m: Machine) -> None:
    """UNICODE."""
    try:
        m.stack.append(str(m.line(_MAX_TEXT), "raw-unicode-escape"))
    except UnicodeDecodeError:
        raise Malformed("bad-unicode") from None
