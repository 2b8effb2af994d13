"""Streams that cost time or memory: bombs by sharing, depth, marks, integers, hashes and repeated work."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .attacks_state import EIGHT, ENCODE, FROMBUFFER, Attack
from .pickle_assembly import NDARRAY, RECONSTRUCT, array, blob, call, dtype, integer, name, p, shape, short, text

MEGABYTE = 1 << 20


def work() -> Iterator[Attack]:
    """All of them; each ends in a refusal, or in a value that was cheap."""
    yield from _sharing()
    yield from _depth()
    yield from _numbers()
    yield from _repeated()
    yield from _hashes()


def _sharing() -> Iterator[Attack]:
    for levels in (10, 20, 30, 60):
        yield f"work-laughs-list-{levels}", p(_wrapped(b"(", b"l", levels))
        yield f"work-laughs-tuple-{levels}", p(_wrapped(b"(", b"t", levels))
    yield (
        "work-laughs-dict",
        p(
            b"("
            + b"}\x94"
            + b"".join(b"}(K\x00h" + bytes((i,)) + b"K\x01h" + bytes((i,)) + b"u\x94" for i in range(40))
            + b"l"
        ),
    )
    yield (
        "work-laughs-frozenset",
        p(b"(" + b"(K\x01\x91\x94" + b"".join(b"(h" + bytes((i,)) + b"\x91\x94" for i in range(40)) + b"l"),
    )
    one = array(blob(bytes(MEGABYTE)), shape(MEGABYTE // 8)) + b"\x94"
    yield "work-one-array-20000-times", p(b"(" + one + b"h\x00" * 20_000 + b"l")
    yield "work-one-text-20000-times", p(b"(" + text("x" * MEGABYTE) + b"\x94" + b"h\x00" * 20_000 + b"l")
    yield "work-one-bytes-20000-times", p(b"(" + blob(bytes(MEGABYTE)) + b"\x94" + b"h\x00" * 20_000 + b"l")
    yield (
        "work-one-bytearray-20000-times",
        p(b"(\x96" + struct.pack("<Q", MEGABYTE) + bytes(MEGABYTE) + b"\x94" + b"h\x00" * 20_000 + b"l", 5),
    )
    again = call(FROMBUFFER, b"h\x00", dtype(), shape(MEGABYTE // 8), short("C"))
    yield "work-arrays-over-one-buffer", p(b"(" + blob(bytes(MEGABYTE)) + b"\x94" + again * 1000 + b"l")
    yield (
        "work-scalars-of-one-buffer",
        p(
            b"("
            + blob(b"a" * MEGABYTE)
            + b"\x94"
            + call(name("numpy.core.multiarray", "scalar"), dtype(f"S{MEGABYTE}", order="|"), b"h\x00") * 1000
            + b"l"
        ),
    )
    yield (
        "work-nested-pickles-shared",
        p(
            b"}("
            + b"".join(short(str(i)) + (blob(p(one)) + b"\x94" if i == 0 else b"h\x00") for i in range(5000))
            + b"u"
        ),
    )
    yield "work-list-in-itself", p(b"]\x94h\x00a")
    yield "work-dict-in-itself", p(b"}\x94K\x01h\x00s")
    yield "work-tuple-in-itself", p(b"]\x94h\x00\x85\x94a0h\x01")
    yield "work-set-in-itself", p(b"\x8f\x94(h\x00\x90")
    yield "work-two-lists-in-each-other", p(b"]\x94]\x94h\x00ah\x00h\x01a0")
    yield "work-array-state-in-itself", p(b"]\x94" + call(RECONSTRUCT, NDARRAY, b"K\x00\x85", b"C\x01b") + b"h\x00b")


def _wrapped(opened: bytes, close: bytes, levels: int) -> bytes:
    """Billion laughs: all levels lie in one list, so that nothing has to be popped."""
    body = b"(" + opened + close + b"\x94"
    for level in range(levels):
        body += opened + (b"h" + bytes((level,))) * 2 + close + b"\x94"
    return body + b"l"


def _depth() -> Iterator[Attack]:
    for count in (33, 1000, 100_000, 199_990):
        yield f"work-marks-{count}", p(b"(" * count + b"t" * count)
        yield f"work-tuples-{count}", p(b")" + b"\x85" * count)
        yield f"work-lists-{count}", p(b"]" * count + b"a" * (count - 1))
        yield f"work-dicts-{count}", p(b"}" * 1 + b"K\x01}" * count + b"s" * count)
    yield "work-ops", p(b"(" + b"N" * 300_000 + b"t")
    yield "work-million-ops", p(b"(" + b"N" * 1_000_000 + b"t")
    yield "work-nodes", p(b"(" + b"(" + b"N" * 1000 + b"t\x94" + b"h\x00" * 5000 + b"t")
    yield "work-key-depth", p(b"}" + b")" + b"\x85" * 1000 + b"Ns")


def _numbers() -> Iterator[Attack]:
    yield "work-long1", p(b"\x8a\xff" + b"\xff" * 254 + b"\x7f")
    yield "work-long4", p(b"\x8b" + struct.pack("<I", MEGABYTE) + b"\x7f" * MEGABYTE)
    yield "work-int-digits", b"I" + b"9" * 4000 + b"\n."
    yield "work-long-digits", b"L" + b"9" * MEGABYTE + b"L\n."
    yield "work-float-digits", b"F" + b"9" * MEGABYTE + b"\n."
    yield "work-int-many", p(b"(" + (b"L" + b"9" * 79 + b"L\n") * 50_000 + b"l")
    yield "work-float-exponent", b"F1e999999999\n."
    yield "work-shape-integer", p(array(EIGHT, integer(1 << 250) + b"\x85"))


def _repeated() -> Iterator[Attack]:
    big = text("\xe9" * MEGABYTE) + b"\x94"
    yield "work-encode-again", p(b"(" + big + (ENCODE + b"(h\x00" + short("latin1") + b"tR") * 20_000 + b"l")
    yield (
        "work-bytearray-again",
        p(b"(" + big + (name("builtins", "bytearray") + b"(h\x00" + short("latin1") + b"tR") * 20_000 + b"l"),
    )
    many = b"(" + b"N" * 50_000 + b"l\x94"
    yield "work-set-of-list-again", p(b"(" + many + (name("builtins", "set") + b"(h\x00tR") * 20_000 + b"l")
    yield "work-frozenset-opcode-again", p(b"(" + (b"(" + b"K\x01" * 100 + b"\x91") * 900 + b"l")
    yield (
        "work-encoding-name-again",
        p(b"(" + blob(b"l" * MEGABYTE) + b"\x94" + (ENCODE + b"(" + short("x") + b"h\x00tR") * 100 + b"l"),
    )
    lines = b"(" + b"V\n" * 190_000 + b"l."
    yield "work-empty-lines", lines
    yield "work-empty-lines-long-tail", b"(" + b"V\n" * 190_000 + b"V" + b"x" * (8 * MEGABYTE) + b"\nl."
    yield "work-string-lines", b"(" + b"S''\n" * 60_000 + b"S'" + b"\\x00" * MEGABYTE + b"'\nl."
    yield "work-string-backslashes", b"S'" + b"\\" * (2 * MEGABYTE + 1) + b"'\n."
    yield "work-globals", p(b"(" + NDARRAY * 99_000 + b"l")
    yield "work-global-no-newline", b"c" * 100_000 + b"."
    yield "work-reconstructs", p(b"(" + call(RECONSTRUCT, NDARRAY, b"K\x00\x85", b"C\x01b") * 20_000 + b"l")
    yield "work-small-arrays", p(b"(" + array(EIGHT, shape(1)) * 7_000 + b"l")
    yield "work-memo-churn", p(b"(" + b"N\x94" * 99_000 + b"l")
    yield (
        "work-code-points",
        p(array(blob(b"\xff\xff\x10\x00" * MEGABYTE), shape(MEGABYTE), dtype("U1", size=4, align=4, flags=8))),
    )


def _hashes() -> Iterator[Attack]:
    """Keys that fall on one slot."""
    modulus = (1 << 61) - 1
    yield "work-collide-modulus", p(b"}(" + b"".join(integer(i * modulus) + b"N" for i in range(1, 20_000)) + b"u")
    yield (
        "work-collide-powers",
        p(b"}(" + b"".join(integer((i << 16) & 0x7FFFFFFF) + b"N" for i in range(40_000)) + b"u"),
    )
    yield "work-collide-minus", p(b"}(" + b"J\xff\xff\xff\xffNJ\xfe\xff\xff\xffN" * 20_000 + b"u")
    yield "work-collide-set", p(b"(" + b"".join(integer(i * modulus) for i in range(1, 20_000)) + b"\x91")
    yield (
        "work-collide-floats",
        p(b"(" + b"".join(b"G" + struct.pack(">d", float(i * (1 << 40))) for i in range(20_000)) + b"\x91"),
    )
    yield "work-collide-tuples", p(b"}(" + b"".join(integer(i * modulus) + b"\x85N" for i in range(1, 20_000)) + b"u")
    deep = b")\x94" + b"".join(b"h" + bytes((i,)) + b"h" + bytes((i,)) + b"\x86\x94" for i in range(25))
    yield "work-tuple-hash-bomb", p(b"(" + deep + b"}h\x19Nsl")
    yield "work-nan-keys", p(b"}(" + (b"G\x7f\xf8\0\0\0\0\0\0N") * 20_000 + b"u")
    yield "work-nan-set", p(b"(" + (b"G\x7f\xf8\0\0\0\0\0\0") * 20_000 + b"\x91")
