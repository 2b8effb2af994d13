# ruff: noqa: E501
"""Hostile arguments and states for the admitted names: what crashes or confuses numpy's own readers."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .pickle_assembly import (
    EMPTY_ARRAY,
    NDARRAY,
    RECONSTRUCT,
    array,
    blob,
    call,
    dtype,
    integer,
    name,
    p,
    shape,
    short,
    text,
)

Attack = tuple[str, bytes]
EIGHT = blob(bytes(8))
SCALAR = name("numpy.core.multiarray", "scalar")
FROMBUFFER = name("numpy._core.numeric", "_frombuffer")
ENCODE = name("_codecs", "encode")
BUILTIN = {word: name("builtins", word) for word in ("bytes", "bytearray", "set", "frozenset", "complex")}


def arguments() -> Iterator[Attack]:
    """Admitted names called with what no pickler writes."""
    os_system = name("os", "system")
    wrong = {
        "reconstruct-evil-subtype": call(RECONSTRUCT, name("numpy", "matrix"), b"K\x00\x85", b"C\x01b"),
        "reconstruct-dtype-as-subtype": call(RECONSTRUCT, name("numpy", "dtype"), b"K\x00\x85", b"C\x01b"),
        "reconstruct-huge": call(RECONSTRUCT, NDARRAY, shape(1 << 40), b"C\x01b"),
        "reconstruct-object": call(RECONSTRUCT, NDARRAY, b"K\x08\x85", b"C\x01O"),
        "reconstruct-negative": call(RECONSTRUCT, NDARRAY, shape(-1), b"C\x01b"),
        "reconstruct-no-state": EMPTY_ARRAY,
        "reconstruct-list-shape": call(RECONSTRUCT, NDARRAY, b"]", b"C\x01b"),
        "reconstruct-dims": call(RECONSTRUCT, NDARRAY, shape(*[0] * 100), b"C\x01b"),
        "ndarray-called": call(NDARRAY, shape(1 << 30)),
        "ndarray-called-object": call(NDARRAY, b"K\x01\x85", short("O")),
        "ndarray-newobj": NDARRAY + shape(3) + b"\x81",
        "scalar-object": call(SCALAR, dtype("O8", order="|", flags=63), call(os_system, short("true"))),
        "scalar-object-bytes": call(SCALAR, dtype("O8", order="|", flags=63), EIGHT),
        "scalar-short": call(SCALAR, dtype("f8"), blob(b"1234")),
        "scalar-no-dtype": call(SCALAR, short("f8"), EIGHT),
        "scalar-void": call(SCALAR, dtype("V1000000"), EIGHT),
        "scalar-text": call(SCALAR, dtype("U2"), short("ab")),
        "frombuffer-object": call(FROMBUFFER, EIGHT, dtype("O8", flags=63), shape(1), short("C")),
        "frombuffer-lies": call(FROMBUFFER, EIGHT, dtype("f8"), shape(1 << 20), short("C")),
        "frombuffer-order": call(FROMBUFFER, EIGHT, dtype("f8"), shape(1), short("K")),
        "frombuffer-axis": call(FROMBUFFER, EIGHT, dtype("f8"), shape(1), short("C"), shape(5)),
        "frombuffer-text": call(FROMBUFFER, short("abcdefgh"), dtype("f8"), shape(1), short("C")),
        "frombuffer-list": call(FROMBUFFER, b"]", dtype("f8"), shape(0), short("C")),
        "frombuffer-array": call(FROMBUFFER, array(EIGHT, shape(1)), dtype("f8"), shape(1), short("C")),
        "encode-import": call(ENCODE, short("x"), short("studio.errors")),
        "encode-zlib": call(ENCODE, short("x"), short("zlib")),
        "encode-zlib-bytes": call(ENCODE, blob(b"x" * 100), short("zlib_codec")),
        "encode-idna": call(ENCODE, short("\u0130" * 40), short("idna")),
        "encode-punycode": call(ENCODE, short("\u0130" * 40), short("punycode")),
        "encode-rot13": call(ENCODE, short("bf"), short("rot13")),
        "encode-utf16": call(ENCODE, short("x"), short("utf-16")),
        "encode-surrogate": call(ENCODE, text("\ud800"), short("latin1")),
        "encode-errors": call(ENCODE, short("x"), short("latin1"), short("ignore")),
        "encode-one-argument": call(ENCODE, short("x")),
        "encode-beyond": call(ENCODE, short("\u0100"), short("latin1")),
        "bytes-count": call(BUILTIN["bytes"], integer(1 << 40)),
        "bytes-list": call(BUILTIN["bytes"], b"(K\x01K\x02l"),
        "bytes-encoding": call(BUILTIN["bytes"], short("x"), short("utf-8")),
        "bytearray-count": call(BUILTIN["bytearray"], integer(1 << 40)),
        "bytearray-zlib": call(BUILTIN["bytearray"], short("x"), short("zlib")),
        "set-of-text": call(BUILTIN["set"], short("abc")),
        "set-of-global": call(BUILTIN["set"], b"(" + os_system + b"l"),
        "set-of-set": call(BUILTIN["set"], b"(" + call(BUILTIN["frozenset"], b"]") + b"l"),
        "set-of-arrays": call(BUILTIN["set"], b"(" + array(EIGHT, shape(1)) + b"l"),
        "frozenset-of-dict": call(BUILTIN["frozenset"], b"}"),
        "complex-text": call(BUILTIN["complex"], short("1j")),
        "complex-bool": call(BUILTIN["complex"], b"\x88", b"\x88"),
        "complex-huge": call(BUILTIN["complex"], integer(1 << 200), b"K\x00"),
        "dtype-text-only": call(name("numpy", "dtype"), short("f8")),
        "dtype-four": call(name("numpy", "dtype"), short("f8"), b"\x89\x88", b"}"),
        "dtype-list": call(name("numpy", "dtype"), b"(" + short("a") + short("f8") + b"\x86l", b"\x89\x88"),
        "dtype-comma": array(EIGHT, shape(1), dtype("f4,f4")),
        "dtype-dict": call(name("numpy", "dtype"), b"}", b"\x89\x88"),
        "dtype-bare": dtype("f8"),
        "reduce-result": call(array(EIGHT, shape(1)), b"N"),
        "reduce-text": call(short("os.system"), b"N"),
        "reduce-none": call(b"N", b"N"),
        "reduce-bytes": call(b"C\x01x", b"N"),
        "reduce-list-arguments": BUILTIN["bytes"] + b"]R",
        "reduce-dict-arguments": BUILTIN["bytes"] + b"}R",
        "global-as-value": b"}" + short("x") + NDARRAY + b"s",
        "global-in-list": b"(" + NDARRAY + b"l",
        "global-in-tuple": NDARRAY + b"\x85",
        "global-as-key": b"}" + BUILTIN["bytes"] + b"Ns",
        "array-as-key": b"}" + array(EIGHT, shape(1)) + b"Ns",
        "tuple-as-key": b"}" + b"K\x01\x85" + b"Ns",
        "float-as-key": b"}" + b"G" + bytes(8) + b"Ns",
        "none-as-key": b"}NNs",
    }
    for label, body in wrong.items():
        yield f"argument-{label}", p(body)


MINUS = integer(-1)
SECONDS = b"}(" + short("s") + b"K\x01K\x01K\x01t\x86"
GOOD = (b"K\x03", short("<"), b"N", b"N", b"N", MINUS, MINUS, b"K\x00")


def state() -> Iterator[Attack]:
    """States that numpy's `__setstate__` crashes on, or that build other things than they say."""
    for group in (_units, _dtype_states, _sizes, _builds, _array_states, _dtypes):
        for label, body in group().items():
            yield f"state-{label}", p(body)


def _dates(meta: bytes, typestr: str = "M8") -> bytes:
    made = b"(K\x04" + short("<") + b"NNN" + MINUS * 2 + b"K\x00" + meta + b"t"
    return array(EIGHT, shape(1), dtype(typestr, state=made))


def _stated(*fields: bytes, typestr: str = "f8") -> bytes:
    return array(EIGHT, shape(1), dtype(typestr, state=b"(" + b"".join(fields) + b"t"))


def _units() -> dict[str, bytes]:
    """Units of dates that are missing, wrong or of something else."""
    return {
        "no-unit": array(EIGHT, shape(1), dtype("M8")),
        "unit-none": _dates(b"N"),
        "unit-empty": _dates(b")"),
        "unit-short": _dates(b"}" + short("s") + b"\x85\x86"),
        "unit-unknown": _dates(b"}(" + short("zz") + b"K\x01K\x01K\x01t\x86"),
        "unit-zero": _dates(b"}(" + short("s") + b"K\x00K\x01K\x01t\x86"),
        "unit-huge": _dates(b"}(" + short("s") + integer(1 << 62) + b"K\x01K\x01t\x86"),
        "unit-divisor-zero": _dates(b"}(" + short("s") + b"K\x01K\x00K\x01t\x86"),
        "unit-object": _dates(b"}(" + array(EIGHT, shape(1)) + b"K\x01K\x01K\x01t\x86"),
        "unit-metadata": _dates(b"}" + short("a") + b"K\x01s(" + short("s") + b"K\x01K\x01K\x01t\x86"),
        "unit-on-float": _dates(SECONDS, "f8"),
        "unit-in-name": array(EIGHT, shape(1), dtype("M8[s]")),
    }  # fmt: skip


def _dtype_states() -> dict[str, bytes]:
    """States of a dtype with fields missing, too many, or lying."""
    return {
        "version": _stated(b"K\x09", *GOOD[1:]),
        "version-text": _stated(short("3"), *GOOD[1:]),
        "empty": _stated(),
        "five": _stated(*GOOD[:5]),
        "ten": _stated(*GOOD, b"N", b"N"),
        "not-a-tuple": array(EIGHT, shape(1), dtype("f8", state=b"]")),
        "none": array(EIGHT, shape(1), dtype("f8", state=b"N")),
        "order-integer": _stated(b"K\x03", b"K\x3c", *GOOD[2:]),
        "order-long": _stated(b"K\x03", short("<>"), *GOOD[2:]),
        "order-unknown": _stated(b"K\x03", short("!"), *GOOD[2:]),
        "subarray": _stated(b"K\x03", short("<"), dtype("f8") + shape(1 << 20) + b"\x86", *GOOD[3:]),
        "names": _stated(b"K\x03", short("<"), b"N", short("a") + b"\x85", b"}", *GOOD[5:]),
        "fields": _stated(b"K\x03", short("<"), b"N", short("a") + b"\x85", b"}" + short("a") + dtype("f8") + integer(1 << 30) + b"\x86s", *GOOD[5:]),
        "fields-negative": _stated(b"K\x03", short("|"), b"N", short("a") + b"\x85", b"}" + short("a") + dtype("O8") + integer(-8) + b"\x86s", integer(8), b"K\x01", b"K\x10", typestr="V8"),
        "size-lie": _stated(*GOOD[:5], integer(1 << 20), MINUS, b"K\x00"),
        "size-zero": _stated(*GOOD[:5], b"K\x00", MINUS, b"K\x00"),
        "size-huge": _stated(*GOOD[:5], integer(1 << 60), MINUS, b"K\x00"),
        "align-huge": _stated(*GOOD[:6], integer(1 << 60), b"K\x00"),
        "flags-object": _stated(*GOOD[:7], b"K\x3f"),
        "flags-huge": _stated(*GOOD[:7], integer(1 << 70)),
    }  # fmt: skip


def _sizes() -> dict[str, bytes]:
    """Texts whose length is none or lies."""
    return {
        "string-size-lie": array(EIGHT, shape(8), dtype("S1", order="|", size=1 << 20, align=1)),
        "string-zero": array(blob(b""), shape(1 << 40), dtype("S0", order="|", size=0, align=1)),
        "text-zero": array(blob(b""), shape(1 << 40), dtype("U0", size=0, align=4)),
        "text-not-code-points": array(blob(b"\xff" * 8), shape(1), dtype("U2", size=8, align=4, flags=8)),
        "text-big-endian-code-points": array(blob(b"\xff" * 8), shape(1), dtype("U2", order=">", size=8, align=4, flags=8)),
        "string-huge": array(EIGHT, shape(1), dtype("S99999999999", order="|")),
        "string-eight-million": array(EIGHT, shape(1), dtype("S8000000", order="|")),
    }  # fmt: skip


def _builds() -> dict[str, bytes]:
    """BUILD upon what has no state, or has had one."""
    return {
        "double-build": array(EIGHT, shape(1)) + b"(K\x01" + shape(2) + dtype() + b"\x89" + EIGHT + b"tb",
        "double-build-dtype": array(EIGHT, shape(1), dtype() + b"(K\x03" + short(">") + b"NNN" + MINUS * 2 + b"K\x00tb"),
        "build-list": b"]" + short("x") + b"b",
        "build-dict": b"}}b",
        "build-text": short("x") + b"}b",
        "build-none": b"N}b",
        "build-global": NDARRAY + b"}" + short("x") + b"K\x01sb",
        "build-scalar": call(SCALAR, dtype(), EIGHT) + b"}b",
        "build-frombuffer": call(FROMBUFFER, EIGHT, dtype("f8"), shape(1), short("C")) + b"(K\x01" + shape(1) + dtype() + b"\x89" + EIGHT + b"tb",
    }  # fmt: skip


def _array_states() -> dict[str, bytes]:
    """States of an array with other types than a pickler writes."""
    return {
        "array-state-dict": EMPTY_ARRAY + b"}b",
        "array-state-short": EMPTY_ARRAY + b"(K\x01" + shape(1) + b"tb",
        "array-state-version": array(EIGHT, shape(1), version=b"K\x63"),
        "array-object-list": array(b"(K\x01l", shape(1), dtype("O8", order="|", flags=63)),
        "array-object-bytes": array(EIGHT, shape(1), dtype("O8", order="|", flags=63)),
        "array-object-pointer": array(blob(struct.pack("<Q", 0xDEADBEEF)), shape(1), dtype("O8", order="|", size=8, align=8, flags=63)),
        "array-float-list": array(b"(G" + bytes(8) + b"l", shape(1)),
        "array-text-data": array(short("abcdefgh"), shape(1)),
        "array-none-data": array(b"N", shape(1)),
        "array-shape-list": array(EIGHT, b"(K\x01l"),
        "array-shape-none": array(EIGHT, b"N"),
        "array-shape-float": array(EIGHT, b"G" + struct.pack(">d", 1.0) + b"\x85"),
        "array-shape-text": array(EIGHT, short("1") + b"\x85"),
        "array-shape-bool": array(EIGHT, b"\x88\x85"),
        "array-fortran-text": array(EIGHT, shape(1), fortran=short("F")),
        "array-dtype-text": array(EIGHT, shape(1), short("f8")),
        "array-dtype-self": EMPTY_ARRAY + b"\x94" + b"(K\x01" + shape(1) + b"h\x00\x89" + EIGHT + b"tb",
    }  # fmt: skip


def _dtypes() -> dict[str, bytes]:
    """Dtypes that are none of plain numbers."""
    return {
        "dtype-copy-false": array(EIGHT, shape(1), dtype("f8", args=b"\x89\x89")),
        "dtype-long-double": array(blob(bytes(16)), shape(1), dtype("f16")),
        "dtype-void": array(EIGHT, shape(1), dtype("V8", order="|")),
        "dtype-void-zero": array(blob(b""), shape(1 << 40), dtype("V0", order="|")),
        "dtype-name": array(EIGHT, shape(1), dtype("float64")),
        "dtype-type": array(EIGHT, shape(1), call(name("numpy", "dtype"), name("builtins", "complex"), b"\x89\x88")),
        "dtype-newline": array(EIGHT, shape(1), dtype("f8\n")),
        "dtype-arabic-digit": array(EIGHT, shape(1), dtype("f\u0668")),
        "dtype-plus": array(EIGHT, shape(1), dtype("f+8")),
        "dtype-string-dtype": array(blob(bytes(16)), shape(1), dtype("T16", order="|")),
    }  # fmt: skip


def allocation() -> Iterator[Attack]:
    """Small streams that claim much."""
    huge = {
        "elements": shape(1 << 40), "overflow": shape(1 << 32, 1 << 32), "overflow-to-one": shape(1 << 63, 2, 1),
        "beyond-int64": shape(1 << 64), "negative": shape(-1), "two-negatives": shape(-1, -1), "dims": shape(*[1] * 65),
        "many-dims": shape(*[1] * 5000), "wrap-to-one": shape((1 << 61) + 1), "one-more": shape(2), "none": shape(0),
    }  # fmt: skip
    for label, dimensions in huge.items():
        yield f"allocation-{label}", p(array(EIGHT, dimensions))
    yield "allocation-empty-huge", p(array(blob(b""), shape(0, 1 << 40)))
    yield "allocation-empty-huge-many", p(array(blob(b""), shape(0, *[1 << 20] * 20)))
    yield "allocation-empty-huge-fortran", p(array(blob(b""), shape(1 << 40, 0), fortran=b"\x88"))
    lengths = {"binbytes": b"B", "binunicode": b"X", "binstring": b"T", "long4": b"\x8b"}
    for label, code in lengths.items():
        for size in (0x7FFFFFFF, 0xFFFFFFFF):
            yield f"allocation-{label}-{size:x}", p(code + struct.pack("<I", size) + b"abc")
    for label, code in {"binbytes8": b"\x8e", "binunicode8": b"\x8d", "bytearray8": b"\x96"}.items():
        for length in (1 << 40, 1 << 62, (1 << 64) - 1):
            yield f"allocation-{label}-{length:x}", p(code + struct.pack("<Q", length) + b"abc", 5)
    yield "allocation-frame", b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N."
    for index in (1 << 20, 0x7FFFFFFF, 0xFFFFFFFF):
        yield f"allocation-long-binput-{index:x}", p(b"Nr" + struct.pack("<I", index))
    yield "allocation-put-text", b"Np99999999999999999999\n."
    yield "allocation-put-huge", b"Np" + b"9" * 5000 + b"\n."


def framing() -> Iterator[Attack]:
    """Streams that two readers would read in two ways."""
    good = array(EIGHT, shape(1))
    bodies = {
        "empty": b"", "stop": b".", "proto-only": b"\x80\x04", "proto-stop": b"\x80\x04.", "proto-6": b"\x80\x06N.",
        "proto-255": b"\x80\xffN.", "proto-twice": b"\x80\x04\x80\x04N.", "late-proto": b"N0\x80\x04N.",
        "no-stop": b"\x80\x04N", "trailing": p(good) + b"x", "trailing-stop": p(good) + b".", "trailing-zero": p(b"N") + b"\0",
        "two-pickles": p(b"N") + p(b"N"), "leading-zero": b"\0" + p(b"N"), "leading-bom": b"\xef\xbb\xbf" + p(b"N"),
        "leading-newline": b"\n" + p(b"N"), "leftover": p(b"NN"), "leftover-mark": p(b"(N"), "mark-only": p(b"("),
        "underflow-pop": p(b"0N"), "underflow-tuple": p(b"\x86"), "underflow-reduce": p(b"R"), "underflow-build": p(b"b"),
        "underflow-append": p(b"Na"), "underflow-setitem": p(b"}Ns"), "append-below-mark": p(b"](Na"), "no-mark": p(b"t"),
        "odd-items": p(b"}(Nu"), "odd-dict": p(b"(Nd"), "append-to-tuple": p(b")Na"), "append-to-none": p(b"NNa"),
        "setitem-list": p(b"]NNs"), "additems-list": p(b"](N\x90"), "frame-skew": b"\x80\x04\x95\x01\0\0\0\0\0\0\0\x8c\x02ab.",
        "frame-overlap": b"\x80\x04\x95\xff\0\0\0\0\0\0\0N.", "crlf-global": b"cnumpy\r\nndarray\r\n.",
        "int-octal": b"I0100\n.", "int-underscore": b"I1_0\n.", "int-plus": b"I+1\n.", "int-space": b"I 1\n.", "int-hex": b"I0x10\n.",
        "int-empty": b"I\n.", "int-minus": b"I-\n.", "int-crlf": b"I1\r\n.", "int-arabic": "I\u0661\n.".encode(), "int-null": b"I1\0\n.",
        "long-octal": b"L010L\n.", "long-two-l": b"L1LL\n.", "float-underscore": b"F1_0\n.", "float-hex": b"F0x1p3\n.",
        "float-space": b"F 1\n.", "float-text": b"Fnine\n.", "float-null": b"F1\0\n.", "float-empty": b"F\n.",
        "string-unquoted": b"Sabc\n.", "string-half": b"S'abc\n.", "string-one-quote": b"S'\n.", "string-mixed": b"S'abc\"\n.",
        "string-bad-escape": b"S'\\xg1'\n.", "string-odd-escape": b"S'\\q'\n.", "string-octal": b"S'\\400'\n.",
        "unicode-escape": b"V\\ud8\n.", "unicode-beyond": b"V\\Uffffffff\n.", "unicode-surrogate": b"V\\ud800\n.",
        "utf8-bad": p(b"\x8c\x02\xff\xfe"), "utf8-overlong": p(b"\x8c\x02\xc0\x80"), "utf8-surrogate": p(text("\ud800")),
        "memo-missing": p(b"h\x07"), "memo-missing-long": p(b"j\xff\xff\xff\xff"), "memo-text": b"gx\n.", "memo-negative": b"Np-1\n.",
        "memo-get-negative": b"g-1\n.", "put-nothing": p(b"q\x00N"), "memoize-nothing": p(b"\x94N"), "put-mark": p(b"(q\x00tN"),
        "line-unended": b"cnumpy\nndarray", "global-one-line": b"cnumpy\n.", "global-empty": b"c\n\n.", "global-long": b"c" + b"a" * 5000 + b"\nb\n.",
        "opcode-unknown": p(b"\xff"), "opcode-zero": p(b"\0"), "opcode-high": p(b"\x99"), "next-buffer": p(b"\x97", 5), "readonly-buffer": p(b"N\x98", 5),
        "gzip": b"\x1f\x8b\x08\0" + bytes(20) + b".", "zip": b"PK\x03\x04" + bytes(30) + b".", "npy": b"\x93NUMPY\x01\0" + bytes(20) + b".",
        "json": b'{"a": 1}', "text": b"hello.", "html": b"<html>.", "pickle-in-text": text("x") + b".",
    }  # fmt: skip
    for label, data in bodies.items():
        yield f"framing-{label}", data
