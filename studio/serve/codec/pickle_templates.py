"""Pickles that differ from one already read in nothing but the bytes of their arrays.

Hides a small cache of shapes of pickles. When a pickle was read safely and is an array, or a dictionary of arrays,
whose data came out of it verbatim, everything else in it is kept; a later pickle of the same length that agrees with
all of that has the same meaning, opcode by opcode, and only its arrays have to be built. Nothing of it is interpreted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Array, build
from .limits import Limits
from .pickle_globals import Made, Pairs
from .pickle_machine import Machine

_MOST = 64
_HEAD = 64
_MAX_FRAME = 16 << 10
_MAX_ARRAYS = 32


@dataclass(frozen=True, slots=True)
class _Piece:
    """One array: where its bytes lie, and what they are."""

    key: str
    start: int
    stop: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran: bool


@dataclass(frozen=True, slots=True)
class _Template:
    """All but the arrays' bytes: `fixed[i]` lies before piece i, the last of them at the end."""

    limits: Limits
    protocol: int
    bare: bool
    fixed: tuple[bytes, ...]
    pieces: tuple[_Piece, ...]


_templates: dict[tuple[int, bytes], _Template] = {}


def again(data: bytes | bytearray, limits: Limits) -> tuple[dict[str, Array] | Array, int] | None:
    """The value and protocol of a pickle that is known but for its arrays' bytes; None for any other."""
    found = _find(data, limits)
    if found is None:
        return None
    values = {piece.key: _array(data, piece, limits) for piece in found.pieces}
    return (values[""] if found.bare else values), found.protocol


def known(data: bytes | bytearray, limits: Limits) -> bool:
    """Whether `again` reads this pickle."""
    return _find(data, limits) is not None


def _find(data: bytes | bytearray, limits: Limits) -> _Template | None:
    found = _templates.get((len(data), bytes(data[:_HEAD])))
    if found is None or found.limits is not limits:
        return None
    at = 0
    for fixed, piece in zip(found.fixed, found.pieces, strict=False):
        if data[at : piece.start] != fixed:
            return None
        at = piece.stop
    return found if data.endswith(found.fixed[-1]) else None


def _array(data: bytes | bytearray, piece: _Piece, limits: Limits) -> Array:
    dtype, shape = piece.dtype, piece.shape
    if dtype.kind == "b" or not dtype.isnative:
        raw = memoryview(data)[piece.start : piece.stop]
        return build(raw, dtype, shape, fortran=piece.fortran, limits=limits)
    # As `build` does, without its checks: they held for the first, of the same dtype, shape and length.
    array: Array = np.ndarray(shape, dtype, data, piece.start, order="F" if piece.fortran else "C")
    if type(data) is bytes or not array.flags.aligned:
        array = array.copy(order="K")
    return array


def remember(machine: Machine, part: object, value: object, protocol: int) -> None:
    """Keeps the shape of a pickle that was read, if it is one that `again` can read.

    Args:
        machine: The machine that read it; it knows where bytes came from, and whether any were referred to twice.
        part: What it left.
        value: What that became.
        protocol: Of the pickle.
    """
    if machine.reused:
        return
    if type(part) is Pairs and type(value) is dict and 0 < len(value) == len(part) <= _MAX_ARRAYS:
        parts = list(zip(value, (item for _, item in part), value.values(), strict=True))
    elif type(part) is Made:
        parts = [("", part, value)]
    else:
        return
    pieces = [_piece(machine, *one) for one in parts]
    if None in pieces:
        return
    ordered = sorted((piece for piece in pieces if piece), key=lambda piece: piece.start)
    data, at, fixed = machine.data, 0, []
    for piece in ordered:
        if piece.start < at:  # one array under two names
            return
        fixed.append(bytes(data[at : piece.start]))
        at = piece.stop
    fixed.append(bytes(data[at:]))
    if ordered[0].start < _HEAD or sum(map(len, fixed)) > _MAX_FRAME:
        return
    if [piece.key for piece in ordered] != [key for key, _, _ in parts]:
        return
    if len(_templates) >= _MOST:
        _templates.clear()
    template = _Template(machine.budget.limits, protocol, type(part) is Made, tuple(fixed), tuple(ordered))
    _templates[len(data), bytes(data[:_HEAD])] = template


def _piece(machine: Machine, key: object, part: object, value: object) -> _Piece | None:
    """Where the array's bytes lie; None if it is none, or they do not lie there verbatim and for it alone."""
    if type(key) is not str or type(part) is not Made or type(value) is not np.ndarray or not value.size:
        return None
    span = machine.payloads.get(id(part.raw))
    if span is None or part.dtype is None or part.dtype.kind == "U":  # text has code points to be checked
        return None
    return _Piece(key, *span, part.dtype, value.shape, part.fortran)
