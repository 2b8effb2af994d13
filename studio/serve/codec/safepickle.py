"""The safe decoder: numeric arrays and plain containers out of any pickle, nothing executed.

Hides that no unpickler is involved: `pickle_opcodes` interprets an allow-listed subset of the opcodes and
`pickle_values` builds arrays over the bytes that are present. See docs/explanation/safe-decoder.md.
"""

from __future__ import annotations

from studio.errors import RefusedPickle

from .limits import DEFAULT, Budget, Limits, Malformed
from .pickle_machine import Machine
from .pickle_opcodes import interpret
from .pickle_templates import again, remember
from .pickle_values import Values

__all__ = ["Limits", "loads", "read"]


def loads(data: bytes | bytearray | memoryview, limits: Limits = DEFAULT) -> object:
    """The value of a pickle: numbers, text, bytes, lists, tuples, dictionaries, sets and arrays of `biufcSUmM`.

    Arrays are writable, aligned, of native byte order; they share memory with a writable `data`.

    Raises:
        RefusedPickle: the pickle holds anything else, is not whole, or costs more than `limits`.
    """
    return read(data, Budget(limits))[0]


def read(data: bytes | bytearray | memoryview, budget: Budget) -> tuple[object, int]:
    """As `loads`, on a budget that several pickles may share; and the protocol it was written in.

    Raises:
        RefusedPickle: as `loads`.
    """
    if isinstance(data, memoryview):
        data = _flat(data)
    try:
        if len(data) > budget.limits.max_bytes:
            raise Malformed("too-large", f"{len(data)} bytes, at most {budget.limits.max_bytes}")
        known = again(data, budget.limits)
        if known is not None:
            return known
        machine = Machine(data, budget)
        part = interpret(machine)
        value = Values(budget).of(part)
    except Malformed as exc:
        raise RefusedPickle(exc.code, exc.detail) from None
    protocol = machine.proto or _old_protocol(data)
    remember(machine, part, value, protocol)
    return value, protocol


def _flat(view: memoryview) -> bytes | bytearray:
    """The object below a view of the whole of it, else a copy."""
    whole = view.obj
    if isinstance(whole, (bytes, bytearray)) and view.c_contiguous and view.nbytes == len(whole):
        return whole
    return bytes(view)


def _old_protocol(data: bytes | bytearray) -> int:
    """0 or 1 of a pickle that does not say: protocol 1 writes lengths in binary, so a zero byte comes early."""
    head = bytes(data[:64])
    if head[:1] in (b"V", b"S"):
        return 0
    return 1 if b"\0" in head or head[:1] in (b"}", b"]", b")", b"K", b"M", b"J", b"G", b"U", b"X", b"T") else 0
