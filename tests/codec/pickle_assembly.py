"""Small pieces of pickle opcodes, to put hostile streams together."""

from __future__ import annotations

import struct


def text(value: str) -> bytes:
    """BINUNICODE."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def short(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    data = value.encode()
    return b"\x8c" + bytes((len(data),)) + data


def blob(value: bytes) -> bytes:
    """BINBYTES."""
    return b"B" + struct.pack("<I", len(value)) + value


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{attribute}\n".encode()


def stack_name(module: str, attribute: str) -> bytes:
    """STACK_GLOBAL, which resolves dots."""
    return short(module) + short(attribute) + b"\x93"


def call(function: bytes, *args: bytes) -> bytes:
    """REDUCE of `function` with `args`."""
    return function + b"(" + b"".join(args) + b"tR"


def p(body: bytes, protocol: int = 4) -> bytes:
    """A whole pickle of `body`."""
    return b"\x80" + bytes((protocol,)) + body + b"."


def integer(value: int) -> bytes:
    """LONG1, whatever the size."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes((len(data),)) + data


def shape(*lengths: int) -> bytes:
    """A tuple of integers."""
    return b"(" + b"".join(map(integer, lengths)) + b"t"


def dtype(
    typestr: str = "f8",
    *,
    state: bytes | None = None,
    args: bytes = b"\x89\x88",
    order: str = "<",
    size: int = -1,
    align: int = -1,
    flags: int = 0,
    module: str = "numpy",
) -> bytes:
    """A dtype call with its state."""
    if state is None:
        state = b"(K\x03" + short(order) + b"NNN" + integer(size) + integer(align) + integer(flags) + b"t"
    return call(name(module, "dtype"), short(typestr), args) + (state + b"b" if state else b"")


RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct")
NDARRAY = name("numpy", "ndarray")
EMPTY_ARRAY = call(RECONSTRUCT, NDARRAY, b"K\x00\x85", b"C\x01b")


def array(
    raw: bytes, dimensions: bytes, kind: bytes | None = None, *, fortran: bytes = b"\x89", version: bytes = b"K\x01"
) -> bytes:
    """An array by `_reconstruct` and BUILD; `raw` is opcodes that push the data."""
    return EMPTY_ARRAY + b"(" + version + dimensions + (kind or dtype()) + fortran + raw + b"tb"
