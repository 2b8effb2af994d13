"""`multipart/form-data` (RFC 7578): one value a part, named by the field.

Hides the framing. A part is an image, an `.npy` file or JSON, by its type or else by its first bytes.
"""

from __future__ import annotations

import re

from .images import read_image
from .json_numbers import about, list_to_array
from .json_read import parse
from .limits import Budget, Malformed
from .media import is_image, split
from .npy import MAGIC, read_npy

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]\Z")
_NAME = re.compile(r'form-data\s*;(?:.*;)?\s*name="([^"\r\n]{1,256})"', re.IGNORECASE)
_MAX_HEAD = 4096


def read_form(body: bytes | bytearray, content_type: str, budget: Budget, *, arrays: bool) -> dict[str, object]:
    """The values of all parts by their fields' names.

    Raises:
        Malformed: no such form, a name twice, a part that is none of the three.
    """
    boundary = split(content_type)[1].get("boundary", "")
    if not _BOUNDARY.match(boundary):
        raise Malformed("bad-boundary", "a multipart Content-Type has a boundary")
    values: dict[str, object] = {}
    for head, data in _parts(bytes(body), boundary.encode(), budget.limits.max_members):
        name, kind = _described(head)
        if name in values:
            raise Malformed("duplicate-key", repr(name[:40]))
        try:
            values[name] = _value(data, kind, budget, arrays=arrays)
        except Malformed as exc:
            raise about(name, exc) from None
    return values


def _parts(body: bytes, boundary: bytes, most: int) -> list[tuple[bytes, bytes]]:
    """Head and data of each part."""
    delimiter = b"\r\n--" + boundary
    at = 0 if body.startswith(delimiter[2:]) else body.find(delimiter)
    if at < 0:
        raise Malformed("bad-form", "the boundary is not in the body")
    at += len(delimiter) - (2 if at == 0 else 0)
    parts: list[tuple[bytes, bytes]] = []
    while body[at : at + 2] != b"--":
        start = body.find(b"\r\n", at, at + 80)
        if start < 0 or body[at:start].strip(b" \t"):
            raise Malformed("bad-form", "after a boundary")
        stop = body.find(delimiter, start)
        middle = body.find(b"\r\n\r\n", start, start + _MAX_HEAD)
        if stop < 0 or middle < 0 or middle + 4 > stop + 2:
            raise Malformed("bad-form", "a part is not whole")
        parts.append((body[start:middle], body[middle + 4 : stop]))
        if len(parts) > most:
            raise Malformed("bad-members", f"more than {most} parts")
        at = stop + len(delimiter)
    return parts


def _described(head: bytes) -> tuple[str, str]:
    """The field's name and the content type of a part."""
    name, kind = "", ""
    try:
        lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise Malformed("bad-form", "a part's head is not UTF-8") from None
    for line in lines:
        field, _, value = line.partition(":")
        field = field.strip().lower()
        if field == "content-disposition":
            found = _NAME.match(value.strip())
            name = found[1] if found else ""
        elif field == "content-type":
            kind = split(value)[0]
        elif field == "content-transfer-encoding" and value.strip().lower() not in ("binary", "8bit", "7bit"):
            raise Malformed("bad-form", "Content-Transfer-Encoding")
    if not name:
        raise Malformed("bad-form", "a part has no name")
    return name, kind


def _value(data: bytes, kind: str, budget: Budget, *, arrays: bool) -> object:
    if is_image(data[:16]):
        return read_image(data, budget)
    if data[:6] == MAGIC:
        return read_npy(data, budget)
    if kind in ("", "application/json", "text/plain"):
        value = parse(data, budget)
        return list_to_array(value, budget) if arrays and type(value) is list else value
    raise Malformed("bad-form", f"neither an image, an .npy file nor JSON, but {kind[:40]!r}")
