"""The `.npy` and `.npz` formats without pickles inside: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

Hides the header's grammar (read by a strict pattern, never evaluated) and the zip around an npz.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from .arrays import Array, build, parse_dtype, plain, raw_bytes
from .limits import Budget, Malformed

MAGIC = b"\x93NUMPY"
_MAX_HEADER = 4096
_HEADER = re.compile(
    r"\s*\{\s*'descr'\s*:\s*'([^']{2,40})'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,"
    r"\s*'shape'\s*:\s*\(([0-9L,\s]{0,512})\)\s*,?\s*\}\s*\Z"
)
_SHAPE = re.compile(r"\s*(?:(?:0|[1-9][0-9]{0,12})L?\s*,\s*)*(?:(?:0|[1-9][0-9]{0,12})L?\s*)?\Z")


def read_npy(data: bytes | bytearray | memoryview, budget: Budget) -> Array:
    """The array of one `.npy` file, over exactly its bytes.

    Raises:
        Malformed: no such file, an object or structured dtype, or bytes that do not fit the shape.
    """
    view = memoryview(data)
    head = bytes(view[:12])
    if len(head) < 10 or head[:6] != MAGIC:
        raise Malformed("not-npy", "no magic")
    if head[6:8] == b"\x01\x00":
        start, size = 10, struct.unpack_from("<H", head, 8)[0]
    elif head[6:8] in (b"\x02\x00", b"\x03\x00") and len(head) == 12:
        start, size = 12, struct.unpack_from("<I", head, 8)[0]
    else:
        raise Malformed("not-npy", "version")
    if size > min(_MAX_HEADER, len(view) - start):
        raise Malformed("bad-header", f"{size} bytes")
    found = _HEADER.match(str(view[start : start + size], "latin-1"))
    if not found or not _SHAPE.match(found[3]):
        raise Malformed("bad-header")
    lengths = tuple(int(part.strip().rstrip("L")) for part in found[3].split(",") if part.strip())
    if "," not in found[3] and lengths:
        raise Malformed("bad-header", "shape is no tuple")
    raw = view[start + size :]
    budget.output -= len(raw)
    if budget.output < 0:
        raise Malformed("too-large", f"more than {budget.limits.output_bytes} bytes")
    return build(raw, parse_dtype(found[1]), lengths, fortran=found[2] == "True", limits=budget.limits)


def write_npy(array: Array) -> bytes:
    """One `.npy` file, version 1.0 (3.0 is never needed: no field names)."""
    return b"".join(_npy_parts(array))


def _npy_parts(array: Array) -> list[bytes | memoryview]:
    fortran = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
    dtype = array.dtype.newbyteorder("<")
    text = f"{{'descr': '{dtype.str}', 'fortran_order': {fortran}, 'shape': {array.shape!r}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return [MAGIC, b"\x01\x00", struct.pack("<H", len(text)), text, raw_bytes(array.T if fortran else array)]


def read_npz(data: bytes | bytearray | memoryview, budget: Budget) -> dict[str, Array]:
    """The arrays of an `.npz` file by name. Decompressed bytes are counted while they are read.

    Raises:
        Malformed: no zip, members that are no plain `.npy` files, or more than the limits allow.
    """
    limits = budget.limits
    whole = bytes(data) if isinstance(data, memoryview) else data
    _check_directory(whole, limits.max_members)
    try:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            members = archive.infolist()
            if len(members) > limits.max_members or len({m.filename for m in members}) != len(members):
                raise Malformed("bad-members", f"{len(members)}, or a name twice")
            if sum(member.file_size for member in members) > budget.output:
                raise Malformed("too-large", f"more than {limits.output_bytes} bytes unpacked")
            return {_member_name(m): _read_member(archive, m, budget) for m in members}
    except Malformed:
        raise
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError, struct.error,
        OverflowError,
    ) as exc:  # fmt: skip
        raise Malformed("bad-zip", str(exc)[:80]) from None


def _check_directory(data: bytes | bytearray, max_members: int) -> None:
    """Refuses a directory that would cost much to parse, before the zip reader sees it."""
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - (1 << 16) - 22))
    if end < 0 or len(data) < end + 22:
        raise Malformed("bad-zip", "no directory")
    count, size = struct.unpack_from("<HI", data, end + 10)
    if count > max_members or size > max_members * 1024 or data[max(0, end - 20) : end].startswith(b"PK\x06\x07"):
        raise Malformed("bad-members", f"more than {max_members}")


def _member_name(member: zipfile.ZipInfo) -> str:
    name = member.filename
    if not name.endswith(".npy") or any(part in name for part in ("\\", "..", "\0")) or name.startswith("/"):
        raise Malformed("bad-members", repr(name[:40]))
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 0x1:
        raise Malformed("bad-members", "compression or encryption")
    return name[:-4]


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> Array:
    most = budget.output
    pieces = bytearray()
    with archive.open(member) as file:
        while piece := file.read(1 << 16):
            pieces += piece
            if len(pieces) > most:  # what the directory claims is not believed
                raise Malformed("too-large", f"more than {budget.limits.output_bytes} bytes unpacked")
    return read_npy(pieces, budget)


def write_npz(arrays: Mapping[str, Array]) -> bytes:
    """An `.npz` file, stored without compression: on a local network that is the quicker one."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(info, write_npy(array))
    return target.getvalue()


def as_arrays(outputs: Mapping[str, object]) -> dict[str, Array]:
    """`outputs` as arrays, for the formats that hold nothing else; a model's several outputs are called `key.output`.

    Raises:
        TypeError: one is no array of `biufcSUmM`; the message begins with its key.
    """
    arrays: dict[str, Array] = {}
    for key, value in outputs.items():
        if isinstance(value, dict):
            arrays |= as_arrays({f"{key}.{name}": part for name, part in value.items()})
            continue
        try:
            arrays[key] = plain(np.asarray(plain(value)))  # type: ignore[assignment]
        except (TypeError, ValueError) as exc:
            raise TypeError(f"{key!r} is {exc}") from None
    return arrays
