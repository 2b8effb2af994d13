"""PNG, JPEG and WebP to arrays of pixels, upright.

Hides Pillow: palettes become colours, EXIF orientation is applied, and the size is checked before a pixel is decoded.
"""

from __future__ import annotations

import io
import warnings

import numpy as np

from .arrays import Array
from .limits import Budget, Malformed


def read_image(data: bytes | bytearray | memoryview, budget: Budget) -> Array:
    """The pixels as (height, width, channels): 1 grey, 3 colour, 4 with alpha; `uint8`, 16-bit grey `uint16`.

    Raises:
        Malformed: not a whole PNG, JPEG or WebP file, or more pixels than the limits allow.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
                pixels = image.width * image.height
                budget.output -= 4 * pixels
                if pixels > budget.limits.max_pixels or budget.output < 0:
                    raise Malformed("too-large", f"{image.width} x {image.height} pixels")
                upright = ImageOps.exif_transpose(image)
                mode = _mode(upright)
                array: Array = np.array(upright if upright.mode == mode else upright.convert(mode))
    except Malformed:
        raise
    except Image.DecompressionBombError as exc:
        raise Malformed("too-large", str(exc)[:120]) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError,
            ArithmeticError, MemoryError) as exc:  # fmt: skip
        raise Malformed("bad-image", str(exc)[:120] if not isinstance(exc, UnidentifiedImageError) else "") from None
    if array.dtype == np.int32:  # Pillow's 32-bit grey holds the 16 bits of older files
        array = np.clip(array, 0, 65535).astype(np.uint16)
    return array[:, :, np.newaxis] if array.ndim == 2 else array


def _mode(image: object) -> str:
    """The mode to decode to, by what the file holds."""
    mode: str = getattr(image, "mode", "RGB")
    info: dict[str, object] = getattr(image, "info", {})
    if mode.startswith("I"):
        return mode
    if mode in ("1", "L"):
        return "RGBA" if "transparency" in info else "L"
    if mode in ("LA", "La", "RGBA", "RGBa", "PA") or (mode in ("P", "RGB") and "transparency" in info):
        return "RGBA"
    return "RGB"
