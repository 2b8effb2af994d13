"""Which format a body is in: content types, `Accept`, and the first bytes of bodies that do not say.

Hides the names under which the formats travel.
"""

from __future__ import annotations

from studio.errors import UnsupportedType

_KINDS = {
    "application/json": "json",
    "text/json": "json",
    "application/x-pickle": "pickle",
    "application/python-pickle": "pickle",
    "application/x-npy": "npy",
    "application/x-npz": "npz",
    "application/vnd.safetensors": "safetensors",
    "image/png": "image",
    "image/jpeg": "image",
    "image/jpg": "image",
    "image/webp": "image",
    "multipart/form-data": "multipart",
}
CONTENT_TYPES = {
    "json": "application/json",
    "pickle": "application/x-pickle",
    "npy": "application/x-npy",
    "npz": "application/x-npz",
    "safetensors": "application/vnd.safetensors",
}
_FORM = "application/x-www-form-urlencoded"
_HINT = (
    "send application/json, application/x-pickle, application/x-npy, application/x-npz, application/vnd.safetensors, "
    "image/png, image/jpeg, image/webp or multipart/form-data"
)


def split(content_type: str) -> tuple[str, dict[str, str]]:
    """The type, lower-case, and its parameters."""
    kind, *rest = content_type.split(";")
    parameters: dict[str, str] = {}
    for part in rest:
        name, _, value = part.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    return kind.strip().lower(), parameters


def kind_of(content_type: str | None, body: bytes | bytearray) -> str:
    """`json`, `pickle`, `npy`, `npz`, `safetensors`, `image` or `multipart`.

    Raises:
        UnsupportedType: a content type that is not one of the wire's, or none and a body that shows none.
    """
    if content_type is not None:
        known = _KINDS.get(content_type)
        if known is not None:
            return known
        kind, parameters = split(content_type)
        if kind and kind != _FORM:
            found = _KINDS.get(kind)
            if found is None:
                raise UnsupportedType(f"Content-Type {kind[:80]!r} is not one of the wire's", hint=_HINT)
            if parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
                raise UnsupportedType(f"charset {parameters['charset'][:40]!r} is not read", hint="send UTF-8")
            return found
    return _sniff(body)


def _sniff(body: bytes | bytearray) -> str:
    """The format that the first bytes show, for a plain `curl -d`."""
    head = bytes(body[:64])
    if head.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in (b"{", b"["):
        return "json"
    if head[:1] == b"\x80" or head[:2] in (b"(d", b"}q", b"}(", b"}.") or head[:3] == b"(dp":
        return "pickle"
    if head[:6] == b"\x93NUMPY":
        return "npy"
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "npz"
    if is_image(head):
        return "image"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= len(body) - 8:
        return "safetensors"
    raise UnsupportedType(
        "no Content-Type, and the body shows none",
        hint="curl -H 'Content-Type: application/json' -d '{\"x\": [1, 2]}' …",
    )


def is_image(head: bytes) -> bool:
    """Whether the first bytes are those of a PNG, JPEG or WebP file."""
    if head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff":
        return True
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def accepted(accept: str | None) -> str | None:
    """The kind that `Accept` likes best among those that answers are written in; None: as the request."""
    if not accept or accept == "*/*":
        return None
    best, weight = None, 0.0
    for part in accept.split(","):
        kind, parameters = split(part)
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            continue
        if quality > weight and (kind == "*/*" or _KINDS.get(kind) in CONTENT_TYPES):
            best, weight = _KINDS.get(kind), quality
    return best
