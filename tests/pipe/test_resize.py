"""Pictures of every kind in the shape of a model's input."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from studio.errors import BadInput, ConfigError, TooLarge
from studio.model_util import resize_to_model_input


def model(*shape: int | None, **attributes: object) -> SimpleNamespace:
    return SimpleNamespace(inputs=[SimpleNamespace(shape=(None, *shape))], **attributes)


def coded(picture: Image.Image, form: str = "PNG", **options: object) -> Image.Image:
    """The picture as it comes from a file."""
    file = BytesIO()
    picture.save(file, form, **options)
    return Image.open(BytesIO(file.getvalue()))


def gradient(mode: str = "RGB") -> Image.Image:
    """16 wide, 8 high; red grows to the right, green downwards, blue is 40."""
    y, x = np.mgrid[0:8, 0:16]
    return Image.fromarray(np.stack([x * 16, y * 32, np.full_like(x, 40)], -1).astype(np.uint8)).convert(mode)


def test_a_colour_picture_is_resized_and_scaled() -> None:
    answer = resize_to_model_input(model(4, 6, 3))(gradient())
    assert (answer.shape, answer.dtype) == ((1, 4, 6, 3), np.float32)
    expected = np.asarray(gradient().resize((6, 4), Image.Resampling.LANCZOS), np.float32) / 255
    assert np.allclose(answer[0], expected)


def test_height_and_width_are_not_mixed_up_in_either_format() -> None:
    last = resize_to_model_input(model(8, 16, 3))(gradient())
    first = resize_to_model_input(model(3, 8, 16))(gradient())
    assert first.shape == (1, 3, 8, 16)
    assert np.array_equal(np.moveaxis(first[0], 0, -1), last[0])
    assert np.array_equal(last[0], np.asarray(gradient(), np.float32) / 255)


@pytest.mark.parametrize("shape", [(8, 16, 1), (1, 8, 16), (8, 16)])
def test_a_grey_model_gets_the_mean_of_the_colours(shape: tuple[int, ...]) -> None:
    answer = resize_to_model_input(model(*shape))(gradient())
    assert answer.shape == (1, *shape)
    assert np.allclose(answer.reshape(8, 16), np.asarray(gradient(), np.float32).mean(-1) / 255, atol=1e-6)
    grey = resize_to_model_input(model(*shape))(gradient("L"))
    assert np.array_equal(grey.reshape(8, 16), np.asarray(gradient("L"), np.float32) / 255)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_a_grey_picture_fills_a_colour_model(mode: str) -> None:
    picture = gradient(mode)
    answer = resize_to_model_input(model(8, 16, 3))(picture)
    for channel in range(3):
        assert np.array_equal(answer[0, ..., channel], np.asarray(picture.convert("L"), np.float32) / 255)


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"])
def test_other_modes_become_colours(mode: str) -> None:
    picture = gradient("P") if mode == "P" else Image.new(mode, (16, 8), 0)
    answer = resize_to_model_input(model(8, 16, 3))(picture)
    assert np.array_equal(answer[0], np.asarray(picture.convert("RGB"), np.float32) / 255)
    assert resize_to_model_input(model(8, 16, 1))(picture).shape == (1, 8, 16, 1)


def test_a_palette_is_not_taken_for_brightness() -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    answer = resize_to_model_input(model(2, 2, 3))(coded(picture))
    assert np.array_equal(answer, np.broadcast_to(np.float32([1, 0, 0]), (1, 2, 2, 3)))


@pytest.mark.parametrize("form", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white(form: str) -> None:
    if form == "P":
        picture = Image.new("P", (2, 2), 0)
        picture.putpalette([0, 0, 0, 10, 10, 10])
        picture.putpixel((1, 0), 1)
        picture = coded(picture, transparency=0)
    else:
        picture = Image.new(form, (2, 2), (0, 0) if form == "LA" else (0, 0, 0, 0))
        picture.putpixel((1, 0), (10, 255) if form == "LA" else (10, 10, 10, 255))
    answer = resize_to_model_input(model(2, 2, 3))(picture)
    assert np.allclose(answer[0, 0], [[1, 1, 1], [10 / 255] * 3])
    assert np.allclose(resize_to_model_input(model(2, 2, 1))(picture)[0, 0, :, 0], [1, 10 / 255])


def test_a_model_of_four_channels_gets_the_alpha() -> None:
    picture = Image.new("RGBA", (2, 2), (255, 0, 0, 51))
    assert np.allclose(resize_to_model_input(model(2, 2, 4))(picture)[0, 0, 0], [1, 0, 0, 0.2])
    assert np.allclose(resize_to_model_input(model(2, 2, 4))(gradient().resize((2, 2)))[..., 3], 1)
    assert np.allclose(resize_to_model_input(model(4, 2, 2))(Image.new("L", (2, 2), 255))[0], 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_photo_is_applied(orientation: int) -> None:
    upright = Image.new("RGB", (4, 6), (0, 0, 0))
    upright.putpixel((0, 0), (255, 255, 255))
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turned[orientation]) if orientation in turned else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    answer = resize_to_model_input(model(6, 4, 3))(coded(stored, exif=exif))
    assert np.array_equal(answer[0], np.asarray(upright, np.float32) / 255)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_keep_their_depth(form: str) -> None:
    values = np.linspace(0, 65535, 64).round().reshape(8, 8).astype(np.uint16)
    picture = coded(Image.fromarray(values), form)
    answer = resize_to_model_input(model(8, 8, 1))(picture)
    assert np.allclose(answer[0, ..., 0], values / 65535, atol=1e-6)
    colour = resize_to_model_input(model(4, 4, 3))(picture)
    assert colour.shape == (1, 4, 4, 3)
    assert 0.4 < colour.mean() < 0.6


def test_open_sides_keep_the_pictures() -> None:
    assert resize_to_model_input(model(None, None, 3))(gradient()).shape == (1, 8, 16, 3)
    assert resize_to_model_input(model(3, None, None))(gradient()).shape == (1, 3, 8, 16)
    assert resize_to_model_input(model(4, None, 3))(gradient()).shape == (1, 4, 8, 3)
    assert resize_to_model_input(model(None, 4, 3))(gradient()).shape == (1, 2, 4, 3)
    assert resize_to_model_input(model(-1, -1, 3))(gradient()).shape == (1, 8, 16, 3)


def test_none_stays_none() -> None:
    assert resize_to_model_input(model(4, 4, 3))(None) is None


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # Pillow's own check is off, as wrappers often have it
    picture = Image.open(BytesIO(bomb(60_000, 60_000)))
    with pytest.raises(TooLarge, match="60000x60000") as caught:
        resize_to_model_input(model(28, 28, 1))(picture)
    assert caught.value.http_status == 413
    with pytest.raises(TooLarge):
        resize_to_model_input(model(4, 4, 3), max_pixels=127)(gradient())
    assert resize_to_model_input(model(4, 4, 3), max_pixels=128)(gradient()) is not None


def test_a_broken_file_is_an_error() -> None:
    file = BytesIO()
    gradient().save(file, "JPEG")
    with pytest.raises(OSError):
        resize_to_model_input(model(4, 4, 3))(Image.open(BytesIO(file.getvalue()[:-200])))


@pytest.mark.parametrize(
    "pixels",
    [
        np.asarray(gradient()),
        np.asarray(gradient())[np.newaxis],
        np.asarray(gradient(), np.float32) / 255,
        np.asarray(gradient(), np.float64) / 255,
        np.asarray(gradient()).astype(np.uint16) * 257,
        np.asarray(gradient()).tolist(),
    ],
    ids=["uint8", "batch-of-one", "float32", "float64", "uint16", "list"],
)
def test_arrays_are_pictures_too(pixels: object) -> None:
    if isinstance(pixels, list):
        pixels = np.array(pixels, np.uint8)
    for shape in ((8, 16, 3), (3, 8, 16)):
        answer = resize_to_model_input(model(*shape))(pixels)
        assert answer.shape == (1, *shape)
        assert answer.dtype == np.float32
        rows = answer[0] if shape[2] == 3 else np.moveaxis(answer[0], 0, -1)
        assert np.allclose(rows, np.asarray(gradient()) / 255, atol=1e-6)
    small = resize_to_model_input(model(4, 6, 3))(pixels)
    assert np.allclose(small, resize_to_model_input(model(4, 6, 3))(gradient()), atol=3 / 255)


def test_arrays_with_their_channels_first_fit_such_a_model() -> None:
    pixels = np.moveaxis(np.asarray(gradient()), -1, 0)
    assert np.allclose(resize_to_model_input(model(3, 8, 16))(pixels)[0], pixels / 255, atol=1e-6)
    assert np.array_equal(resize_to_model_input(model(2, 2))(np.array([[True, False], [False, True]]))[0], np.eye(2))


@pytest.mark.parametrize(
    "wrong",
    ["a.png", 3, np.zeros((2, 2, 2)), np.zeros((0, 3)), np.zeros((2, 8, 8, 3)), np.array([["a"]]), [[1], [1, 2]]],
)
def test_what_is_no_picture_is_refused(wrong: object) -> None:
    with pytest.raises(BadInput, match="no picture"):
        resize_to_model_input(model(4, 4, 3))(wrong)


@pytest.mark.parametrize("shape", [(784,), (8, 8, 2), (8, 8, None), (2, 8, 8, 3), ()])
def test_an_input_that_takes_no_pictures_is_refused(shape: tuple[int | None, ...]) -> None:
    with pytest.raises(ConfigError, match="takes no pictures"):
        resize_to_model_input(model(*shape))


def test_the_shape_is_found_wherever_a_model_keeps_it() -> None:
    for one in (
        SimpleNamespace(input_shape=(None, 4, 6, 3)),
        SimpleNamespace(input_shape=[(None, 4, 6, 3)]),
        SimpleNamespace(input_shape={"x": (None, 4, 6, 3)}),
        SimpleNamespace(inputs=(SimpleNamespace(shape=("batch", 4, 6, 3)),)),
    ):
        assert resize_to_model_input(one)(gradient()).shape == (1, 4, 6, 3)
    two = SimpleNamespace(inputs=[SimpleNamespace(shape=(None, 7)), SimpleNamespace(shape=(None, 4, 6, 1))])
    assert resize_to_model_input(two, 1)(gradient()).shape == (1, 4, 6, 1)
    with pytest.raises(ConfigError, match="no input 2"):
        resize_to_model_input(two, 2)
    with pytest.raises(ConfigError, match="takes no pictures"):
        resize_to_model_input(object())


def test_three_channels_are_likelier_than_four() -> None:
    assert resize_to_model_input(model(4, 16, 3))(gradient()).shape == (1, 4, 16, 3)
    assert resize_to_model_input(model(3, 16, 4))(gradient())[0, 2].mean() == pytest.approx(40 / 255)


def test_layers_tell_an_ambiguous_format() -> None:
    last = model(3, 16, 3, layers=[SimpleNamespace(), SimpleNamespace(data_format="channels_last")])
    first = model(3, 16, 3, layers=[SimpleNamespace(data_format="channels_first")])
    assert resize_to_model_input(last)(Image.new("RGB", (16, 3), (255, 0, 0)))[0, 0, 0].tolist() == [1, 0, 0]
    assert resize_to_model_input(first)(Image.new("RGB", (3, 16), (255, 0, 0)))[0, 0, 0].tolist() == [1, 1, 1]


def test_a_premultiplied_grey_picture_shows_white_where_it_is_transparent() -> None:
    plain = Image.new("LA", (4, 4), (100, 0))
    plain.paste((100, 255), (0, 0, 2, 4))
    wanted = resize_to_model_input(model(4, 4, 1))(plain)
    found = resize_to_model_input(model(4, 4, 1))(plain.convert("La"))
    assert np.array_equal(found, wanted) and found[0, 0, 3, 0] == 1
    assert resize_to_model_input(model(4, 4, 4))(plain.convert("La")).shape == (1, 4, 4, 4)


@pytest.mark.parametrize("size", [(0, 0), (0, 3), (3, 0)])
@pytest.mark.parametrize("mode", ["RGB", "I;16", "LA"])
def test_a_picture_without_pixels_is_bad_input(size: tuple[int, int], mode: str) -> None:
    with pytest.raises(BadInput, match="no pixels"):
        resize_to_model_input(model(4, 4, 3))(Image.new(mode, size))
