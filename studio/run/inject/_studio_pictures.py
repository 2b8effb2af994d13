"""How pictures and figures become files: PNG by the standard library, files as they are."""

from __future__ import annotations

import os
import struct
import sys
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import _studio_arrays
    from ._studio_media import Part
    from ._studio_media_forms import Made
else:
    import _studio_arrays

PICTURES = {"png": "png", "jpg": "jpg", "jpeg": "jpg", "gif": "gif", "webp": "webp", "bmp": "bmp", "svg": "svg"}
PNG_COLOUR = {1: 0, 3: 2, 4: 6}  # channels -> PNG's colour type


def image(image: Any) -> Made:
    """The file of a picture, and its width and height where they are known."""
    if isinstance(image, (str, os.PathLike)):
        path, ending = media_file(image, PICTURES, "log_image")
        return [(ending, path)], _size_of(path)
    if hasattr(image, "mode") and hasattr(image, "getbands") and hasattr(image, "save"):
        import io

        if image.mode not in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"):
            image = image.convert("RGB")
        file = io.BytesIO()
        image.save(file, "PNG")
        return [("png", file.getvalue())], {"width": image.size[0], "height": image.size[1]}
    if not _studio_arrays.is_array(image):
        raise TypeError(f"studio.log_image takes an array, a PIL image or a path, not {type(image).__name__}")
    pixels = _pixels(image)
    return [("png", _png(pixels))], {"width": pixels.shape[1], "height": pixels.shape[0]}


def figure(figure: Any, svg: bool) -> Made:
    """The PNG of a figure, and its SVG if wanted."""
    import io

    if figure is None:
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None or not pyplot.get_fignums():
            raise TypeError("studio.log_figure: there is no current figure, give one")
        figure = pyplot.gcf()
    if not hasattr(figure, "savefig"):
        figure = getattr(figure, "figure", figure)  # an axes
    if not hasattr(figure, "savefig"):
        raise TypeError(f"studio.log_figure takes a matplotlib figure, not {type(figure).__name__}")
    parts: list[Part] = []
    for ending in ("png", "svg") if svg else ("png",):
        file = io.BytesIO()
        figure.savefig(file, format=ending)
        parts.append((ending, file.getvalue()))
    width, height = struct.unpack(">II", bytes(parts[0][1][16:24]))  # type: ignore[arg-type]
    return parts, {"width": width, "height": height}


def _pixels(image: Any) -> Any:
    """H×W×C of uint8."""
    import numpy

    array = _studio_arrays.numpy_array(image)
    shape = array.shape
    if _studio_arrays.is_tensor(image) and len(shape) == 3 and shape[0] in PNG_COLOUR and shape[2] not in PNG_COLOUR:
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in PNG_COLOUR or 0 in array.shape:
        raise TypeError(f"a picture has the shape H×W, H×W×1, H×W×3 or H×W×4, not {'×'.join(map(str, shape))}")
    kind = array.dtype.kind
    if kind == "b":
        return array.astype("uint8") * 255
    if kind == "f":
        return numpy.rint(numpy.clip(numpy.nan_to_num(array, nan=0.0), 0, 1) * 255).astype("uint8")
    if array.dtype != numpy.uint8 and (array.min() < 0 or array.max() > 255):
        raise TypeError(f"a picture of {array.dtype} has values from 0 to 255, not {array.min()} to {array.max()}")
    return array.astype("uint8")


def _png(pixels: Any) -> bytes:
    """A PNG whose rows are differences to the row above (filter 2): small for plots, harmless for noise."""
    import numpy

    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width * channels)
    lines = numpy.empty((height, width * channels + 1), "uint8")
    lines[:, 0] = 2
    lines[0, 1:] = rows[0]
    lines[1:, 1:] = rows[1:] - rows[:-1]
    head = struct.pack(">IIBBBBB", width, height, 8, PNG_COLOUR[channels], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 4)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def media_file(given: Any, endings: dict[str, str], what: str) -> tuple[str, str]:
    """The path of a file that is kept as it is, and the ending it gets."""
    path = os.fspath(given)
    path = os.fsdecode(path)
    ending = os.path.splitext(path)[1][1:].lower()
    if ending not in endings:
        raise TypeError(f"studio.{what} takes files of the types {', '.join(endings)}, not {path!r}")
    return path, endings[ending]


def _size_of(path: str) -> dict[str, object]:
    """Width and height of a PNG, GIF or JPEG; nothing for another file, or one that cannot be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(1 << 16)
        if head[:4] == b"\x89PNG":
            width, height = struct.unpack(">II", head[16:24])
        elif head[:4] == b"GIF8":
            width, height = struct.unpack("<HH", head[6:10])
        elif head[:2] == b"\xff\xd8":
            at = 2
            while not (0xC0 <= head[at + 1] <= 0xCF and head[at + 1] not in (0xC4, 0xC8, 0xCC)):
                at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
        else:
            return {}
    except (OSError, struct.error, IndexError):
        return {}
    return {"width": width, "height": height}
