"""What wrappers import: the pipe, and pictures in a model's own shape. Imports no framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from .errors import BadInput, ConfigError, TooLarge
from .pipe import ModelPipe, Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Floats = NDArray[np.float32]

__all__ = ["MAX_PIXELS", "BufferedPipe", "ModelPipe", "Outcome", "resize_to_model_input"]

MAX_PIXELS = 89_478_485
"""A picture with more pixels is refused before it is decoded; Pillow's own warning level."""

_CHANNELS = (1, 3, 4)
_DEEP = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}


class BufferedPipe(ModelPipe):
    """The original's inner pipe: an iterable in, a generator of bare answers out, as they come."""

    def __call__(self, data: Iterable[object]) -> Iterator[object]:  # type: ignore[override]
        """The answers without their indices."""
        for _, answer in self.apply_unordered(iter(data)):
            yield answer


def resize_to_model_input(
    model: object, input_index: int = 0, *, max_pixels: int = MAX_PIXELS
) -> Callable[[object], Floats | None]:
    """A function that turns a picture into a batch of one in the shape of the model's input.

    The picture may be a Pillow image of any mode, or an array of shape (H, W), (H, W, C) or
    (1, H, W, C). Its EXIF orientation is applied, transparent parts show white unless the model takes
    four channels, a grey picture fills three channels, and a model with one channel gets the mean of
    the colours. It is resized with Lanczos (a side that the model leaves open keeps the picture's).
    Values are scaled to 0…1: by 255, with 16 bits by 65535; floating-point arrays are taken as they are.

    Args:
        model: A Keras model, or anything whose `inputs` have a `shape`, or with an `input_shape`.
            (H, W, C) or (C, H, W) with 1, 3 or 4 channels, or (H, W), each behind the batch axis.
        input_index: Which input, if the model has several.
        max_pixels: Larger pictures are refused from their header, before they are decoded.

    Returns:
        picture → float32 array of shape (1, H, W, C), (1, C, H, W) or (1, H, W); None → None.
        It raises TooLarge, BadInput for what is no picture, and Pillow's errors for broken files.

    Raises:
        ConfigError: the input is not a picture's.
    """
    target = _target(model, _input_shape(model, input_index))

    def resize(picture: object) -> Floats | None:
        return None if picture is None else _fit(picture, target, max_pixels)

    return resize


@dataclass(frozen=True, slots=True)
class _Target:
    """What the model takes; a side of None is open; `channels` 0 stands for no such axis."""

    height: int | None
    width: int | None
    channels: int
    first: bool

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) that a picture of this size gets."""
        if self.width is not None and self.height is not None:
            return self.width, self.height
        if self.width is not None:
            return self.width, max(1, round(height * self.width / width))
        if self.height is not None:
            return max(1, round(width * self.height / height)), self.height
        return width, height


def _input_shape(model: object, index: int) -> tuple[int | None, ...]:
    """The shape of one input without its batch axis; None for open sizes."""
    inputs = getattr(model, "inputs", None)
    try:
        if inputs:
            shape = inputs[index].shape
        else:
            shape = getattr(model, "input_shape", None)
            if isinstance(shape, Mapping):
                shape = list(shape.values())[index]
            elif isinstance(shape, Sequence) and shape and isinstance(shape[0], Sequence):
                shape = shape[index]
        sizes = tuple(shape or ())[1:]
    except (IndexError, KeyError, TypeError, ValueError) as exc:
        raise ConfigError(f"the model has no input {index} with a known shape") from exc
    return tuple([int(size) if isinstance(size, int) and size > 0 else None for size in sizes])


def _target(model: object, shape: tuple[int | None, ...]) -> _Target:
    if len(shape) == 2:
        return _Target(shape[0], shape[1], 0, first=False)
    if len(shape) == 3:
        first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
        if first and last:  # as the original: first, unless a layer or the rarer four channels say otherwise
            told = _data_format(model)
            first = told == "channels_first" if told else shape[0] != 4 or shape[2] == 4
        if first:
            return _Target(shape[1], shape[2], cast("int", shape[0]), first=True)
        if last:
            return _Target(shape[0], shape[1], cast("int", shape[2]), first=False)
    raise ConfigError(
        f"an input of shape {(None, *shape)} takes no pictures",
        hint="it must be (batch, height, width, channels) or (batch, channels, height, width) with 1, 3 or 4 channels",
    )


def _data_format(model: object) -> object:
    """What the first layer that cares says."""
    for layer in getattr(model, "layers", None) or ():
        found = getattr(layer, "data_format", None)
        if found is not None:
            return cast("object", found)
    return None


def _fit(picture: object, target: _Target, max_pixels: int) -> Floats:
    import numpy as np
    from PIL import Image as module

    bands = _bands(picture, target, max_pixels) if isinstance(picture, module.Image) else _array_bands(picture, target)
    planes = [np.asarray(band, np.float32) for band in bands]
    if target.channels <= 1 and len(planes) > 1:
        planes = [np.mean(planes[:3], axis=0, dtype=np.float32)]
    elif target.channels > 1 and len(planes) == 1:
        planes *= 3
    if target.channels == 4 and len(planes) == 3:
        planes.append(np.ones_like(planes[0]))
    if target.channels == 0:
        return planes[0][np.newaxis]
    return np.stack(planes, axis=0 if target.first else -1)[np.newaxis]


def _bands(picture: Image, target: _Target, max_pixels: int) -> list[Floats]:
    """A Pillow image resized, as planes of 0…1."""
    import numpy as np
    from PIL import Image as module
    from PIL import ImageOps

    if not picture.width or not picture.height:
        raise BadInput(f"a picture of {picture.width}x{picture.height} has no pixels")
    if picture.width * picture.height > max_pixels:
        raise TooLarge(
            f"a picture of {picture.width}x{picture.height} has more than {max_pixels} pixels",
            hint="resize_to_model_input(model, max_pixels=…) sets the limit",
        )
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in _DEEP:
        scale = 255.0 if picture.mode == "F" else 65535.0
        return [_resize_plane(np.asarray(picture, np.float32) / np.float32(scale), target)]
    picture = _plain(picture, alpha=target.channels == 4)
    size = target.size(picture.width, picture.height)
    if picture.size != size:
        picture = picture.resize(size, module.Resampling.LANCZOS)
    pixels = np.asarray(picture, np.float32) / np.float32(255)
    return [pixels] if pixels.ndim == 2 else list(np.moveaxis(pixels, -1, 0))


def _plain(picture: Image, *, alpha: bool) -> Image:
    """The picture in mode L, RGB or (for `alpha`) RGBA; transparent parts over white."""
    transparent = picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info
    if not transparent:
        return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    grey = picture.mode in ("1", "L", "LA", "La")
    if picture.mode == "La":  # Pillow goes from here to LA only
        picture = picture.convert("LA")
    picture = picture.convert("RGBA")
    if alpha:
        return picture
    from PIL import Image as module

    over = module.new("RGBA", picture.size, (255, 255, 255, 255))
    over.alpha_composite(picture)
    return over.convert("L" if grey else "RGB")


def _array_bands(picture: object, target: _Target) -> list[Floats]:
    """An array resized, as planes; integers are scaled by the largest value of their type."""
    import numpy as np

    try:
        pixels = np.asarray(picture)
    except ValueError as exc:
        raise BadInput(f"a {type(picture).__name__} is no picture") from exc
    if pixels.ndim == 4 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim == 3 and target.first and pixels.shape[0] in _CHANNELS and pixels.shape[2] not in _CHANNELS:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[2] not in _CHANNELS or 0 in pixels.shape or pixels.dtype.kind not in "biuf":
        raise BadInput(
            f"{type(picture).__name__} of shape {pixels.shape} and type {pixels.dtype} is no picture",
            hint="give a Pillow image or a numeric array (height, width) or (height, width, channels)",
        )
    scale = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1
    return [
        _resize_plane(pixels[..., band].astype(np.float32) / np.float32(scale), target)
        for band in range(pixels.shape[2])
    ]


def _resize_plane(plane: Floats, target: _Target) -> Floats:
    import numpy as np
    from PIL import Image as module

    size = target.size(plane.shape[1], plane.shape[0])
    if size == (plane.shape[1], plane.shape[0]):
        return plane
    return np.asarray(module.fromarray(plane).resize(size, module.Resampling.LANCZOS), np.float32)
