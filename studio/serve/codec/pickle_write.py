"""Pickles that any Python from 2.7 on and any numpy from 1.9 on reads, written without the pickle module.

Hides the differences of protocols 0 to 5. Stock pickle under numpy 2 names `numpy._core`, which numpy 1 does not
have; `numpy.core.multiarray` is known to both. Everything before and after an array's bytes is cached by dtype and
shape, so an answer costs little more than a copy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from .arrays import Array, plain, raw_bytes

_MAX_DEPTH = 64
Part = bytes | memoryview


def dumps(value: object, protocol: int = 4) -> bytes:
    """A pickle of `value` in `protocol`.

    Raises:
        TypeError: `value` holds something that is neither a plain value nor an array of `biufcSUmM`.
        ValueError: nested deeper than 64.
    """
    writer = Writer(protocol)
    writer.write(value)
    return writer.finish()


class Writer:
    """One pickle under construction."""

    __slots__ = ("depth", "parts", "protocol")

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.depth = 0
        self.parts: list[Part] = [bytes((0x80, protocol))] if protocol >= 2 else []

    def finish(self) -> bytes:
        """The whole pickle."""
        self.parts.append(b".")
        return b"".join(self.parts)

    def write(self, value: object) -> None:
        """Appends the opcodes of `value`."""
        add = self.parts.append
        if value is None:
            add(b"N")
        elif value is True or value is False:
            add((b"\x88" if value else b"\x89") if self.protocol >= 2 else (b"I01\n" if value else b"I00\n"))
        elif isinstance(value, np.ndarray):
            self._array(plain(value))  # type: ignore[arg-type]
        elif isinstance(value, str):
            add(_text(str(value), self.protocol))
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self._bytes(value)
        elif isinstance(value, np.generic):
            self._scalar(value)
        elif isinstance(value, int):
            add(_integer(int(value), self.protocol))
        elif isinstance(value, float):
            add(b"G" + struct.pack(">d", value) if self.protocol else b"F" + repr(float(value)).encode() + b"\n")
        elif isinstance(value, complex):
            self._call(self._builtin("complex"), (value.real, value.imag))
        else:
            self._container(value)

    def _container(self, value: object) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH}")
        if isinstance(value, dict):
            self.parts.append(b"}(" if self.protocol else b"(d(")
            for key, item in value.items():
                self.write(key)
                self.write(item)
            self.parts.append(b"u")
        elif isinstance(value, list):
            self.parts.append(b"](" if self.protocol else b"(l(")
            self._all(value)
            self.parts.append(b"e")
        elif isinstance(value, tuple):
            self._tuple(value)
        elif isinstance(value, (set, frozenset)):
            name = self._builtin("set" if isinstance(value, set) else "frozenset")
            self._call(name, (list(value),))
        else:
            made = plain(value)
            if made is value:
                raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__}")
            self.write(made)
        self.depth -= 1

    def _all(self, items: Iterable[object]) -> None:
        for item in items:
            self.write(item)

    def _tuple(self, items: tuple[object, ...]) -> None:
        if not items and self.protocol:
            self.parts.append(b")")
        elif self.protocol >= 2 and len(items) <= 3:
            self._all(items)
            self.parts.append((b"\x85", b"\x86", b"\x87")[len(items) - 1])
        else:
            self.parts.append(b"(")
            self._all(items)
            self.parts.append(b"t")

    def _call(self, name: bytes, args: tuple[object, ...]) -> None:
        self.parts.append(name)
        self._tuple(args)
        self.parts.append(b"R")

    def _builtin(self, name: str) -> bytes:
        """The global's name in the Python that reads this protocol."""
        return f"c{'builtins' if self.protocol >= 3 else '__builtin__'}\n{name}\n".encode()

    def _bytes(self, value: bytes | bytearray | memoryview) -> None:
        size = len(value)
        if self.protocol >= 3:
            if size < 256:
                self.parts.append(b"C" + bytes((size,)))
            elif size < 1 << 32:
                self.parts.append(b"B" + struct.pack("<I", size))
            else:
                self.parts.append(b"\x8e" + struct.pack("<Q", size))
            self.parts.append(value if isinstance(value, memoryview) else bytes(value))
        elif size == 0:
            self._call(self._builtin("bytes"), ())
        else:
            self._call(b"c_codecs\nencode\n", (str(value, "latin-1"), "latin1"))

    def _scalar(self, value: np.generic) -> None:
        if isinstance(value, np.str_ | np.bytes_):
            self.write(value.item())
            return
        array: Array = plain(np.asarray(value))  # type: ignore[assignment]
        self.parts.append(b"cnumpy.core.multiarray\nscalar\n")
        self.parts.append(b"" if self.protocol >= 2 else b"(")
        self._dtype(array.dtype)
        self._bytes(raw_bytes(array))
        self.parts.append(b"\x86R" if self.protocol >= 2 else b"tR")

    def _dtype(self, dtype: np.dtype[np.generic]) -> None:
        _, args, state = dtype.newbyteorder("<").__reduce__()
        self._call(b"cnumpy\ndtype\n", args)
        self._tuple(state)
        self.parts.append(b"b")

    def _array(self, array: Array) -> None:
        fortran = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
        self.parts.append(_array_head(array.dtype, array.shape, fortran, self.protocol))
        self._bytes(raw_bytes(array.T if fortran else array))
        self.parts.append(b"tb")


@lru_cache(maxsize=256)
def _array_head(dtype: np.dtype[np.generic], shape: tuple[int, ...], fortran: bool, protocol: int) -> bytes:
    """The opcodes up to the array's bytes: its call, and its state but for the last item."""
    head = Writer(protocol)
    head.parts = [b"cnumpy.core.multiarray\n_reconstruct\n", b"" if protocol >= 2 else b"(", b"cnumpy\nndarray\n"]
    head.write((0,))
    head.write(b"b")
    head.parts.append(b"\x87R(" if protocol >= 2 else b"tR(")
    head.write(1)
    head.write(shape)
    head._dtype(dtype)
    head.write(fortran)
    return b"".join(head.parts)


def _text(value: str, protocol: int) -> bytes:
    if not protocol:
        for character in "\\\0\n\r\x1a":
            value = value.replace(character, f"\\u{ord(character):04x}")
        return b"V" + value.encode("raw-unicode-escape") + b"\n"
    data = value.encode("utf-8", "surrogatepass")
    if protocol >= 4 and len(data) < 256:
        return b"\x8c" + bytes((len(data),)) + data
    if len(data) >= 1 << 32:
        return b"\x8d" + struct.pack("<Q", len(data)) + data
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(value: int, protocol: int) -> bytes:
    small = -(1 << 31) <= value < 1 << 31
    if not protocol:
        return b"I%d\n" % value if small else b"L%dL\n" % value
    if 0 <= value < 256:
        return b"K" + bytes((value,))
    if small:
        return b"J" + struct.pack("<i", value)
    if protocol == 1:
        return b"L%dL\n" % value
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return (b"\x8a" + bytes((len(data),)) if len(data) < 256 else b"\x8b" + struct.pack("<i", len(data))) + data
