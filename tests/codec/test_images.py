# ruff: noqa: E501
"""Images and forms: pixels upright, in the channels that the file has; bombs and broken framing are refused."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from studio.errors import BadInput, TooLarge, UnsupportedType
from studio.serve.codec import Limits, decode, encode

from .equality import same

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 255, (6, 4, 3), np.uint8)


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def read(body: bytes, content_type: str | None = "image/png") -> np.ndarray:
    return decode(body, content_type, arrays=True)[0]["x"]  # type: ignore[return-value]


def test_colour_grey_alpha_and_truth() -> None:
    assert same(read(file(Image.fromarray(COLOUR))), COLOUR)
    assert same(read(file(Image.fromarray(COLOUR[:, :, 0]))), COLOUR[:, :, :1])
    alpha = np.dstack([COLOUR, COLOUR[:, :, 0]])
    assert same(read(file(Image.fromarray(alpha))), alpha)
    assert same(read(file(Image.fromarray(COLOUR[:, :, 0] > 99))), np.uint8(255) * (COLOUR[:, :, :1] > 99))
    grey_alpha = file(Image.merge("LA", [Image.fromarray(COLOUR[:, :, 0]), Image.fromarray(COLOUR[:, :, 1])]))
    assert same(read(grey_alpha), np.dstack([COLOUR[:, :, 0]] * 3 + [COLOUR[:, :, 1]]))


def test_sixteen_bits_are_kept() -> None:
    deep = RNG.integers(0, 65535, (5, 3), np.uint16)
    assert same(read(file(Image.fromarray(deep))), deep[:, :, None])


def test_palettes_become_colours() -> None:
    image = Image.fromarray(COLOUR).quantize(16)
    assert same(read(file(image)), np.asarray(image.convert("RGB")))
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert read(file(image, transparency=1)).tolist() == [[[10, 20, 30, 255], [40, 50, 60, 0]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = {
        1: COLOUR, 2: COLOUR[:, ::-1], 3: COLOUR[::-1, ::-1], 4: COLOUR[::-1], 5: COLOUR.transpose(1, 0, 2),
        6: COLOUR.transpose(1, 0, 2)[:, ::-1], 7: COLOUR.transpose(1, 0, 2)[::-1, ::-1], 8: COLOUR.transpose(1, 0, 2)[::-1],
    }[orientation]  # fmt: skip
    assert same(read(file(Image.fromarray(COLOUR), exif=exif)), np.ascontiguousarray(upright))


def test_jpeg_cmyk_and_webp() -> None:
    flat = np.full((16, 16, 3), 100, np.uint8)
    assert np.abs(read(file(Image.fromarray(flat), "JPEG"), "image/jpeg").astype(int) - 100).max() < 4
    assert read(file(Image.fromarray(flat).convert("CMYK"), "JPEG"), None).shape == (16, 16, 3)
    assert same(read(file(Image.fromarray(flat), "WEBP", lossless=True), "image/webp"), flat)


def test_an_image_is_answered_in_json_or_as_asked() -> None:
    inputs, form = decode(file(Image.fromarray(COLOUR)), "image/png", arrays=False)
    assert encode({"y": np.array([1])}, form)[1] == "application/json"
    assert encode(inputs, form, accept="application/x-npy")[1] == "application/x-npy"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_bombs_are_refused_by_their_head() -> None:
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(TooLarge):
        read(bomb)
    with pytest.raises(TooLarge):
        decode(file(Image.new("RGB", (200, 200))), None, arrays=True, limits=Limits(max_pixels=30_000))
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200 << 20)))
    png = file(Image.fromarray(COLOUR))
    with pytest.raises(BadInput):
        read(png[:33] + text + png[33:])


def test_other_formats_are_refused_whatever_they_say() -> None:
    for kind in ("GIF", "BMP", "TIFF", "PPM", "ICO"):
        with pytest.raises(BadInput):
            read(file(Image.fromarray(COLOUR), kind))
    for body in (b"", b"x", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"%!PS\n", b"<svg/>"):
        with pytest.raises(BadInput):
            read(body)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_mutated_images_are_refused_or_pixels(kind: str) -> None:
    random_ = random.Random(3)
    body = file(Image.fromarray(np.kron(COLOUR, np.ones((4, 4, 1), np.uint8))), kind)
    for _ in range(300):
        data = bytearray(body)
        for _ in range(random_.choice((1, 2, 8))):
            data[random_.randrange(len(data))] = random_.randrange(256)
        if random_.random() < 0.2:
            del data[random_.randrange(len(data)) :]
        try:
            assert read(bytes(data), "image/png").ndim == 3
        except (BadInput, TooLarge):
            pass


BOUNDARY = "multipart/form-data; boundary=abc"


def form(*parts: tuple[str, bytes], end: bytes = b"--abc--\r\n") -> bytes:
    return b"".join(b"--abc\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts) + end


def named(name: str, kind: str = "", filename: str = "") -> str:
    return (
        f'Content-Disposition: form-data; name="{name}"'
        + (f'; filename="{filename}"' if filename else "")
        + (f"\r\nContent-Type: {kind}" if kind else "")
    )


def test_a_form_of_images_arrays_and_values() -> None:
    npy = io.BytesIO()
    np.save(npy, np.arange(3))
    body = form(
        (named("photo", "image/png", "a;b.png"), file(Image.fromarray(COLOUR))),
        (named("w", "application/octet-stream", "w.npy"), npy.getvalue()),
        (named("list"), b"[1.5, 2]"),
        (named("n", "application/json"), b"3"),
    )
    values, answer = decode(body, BOUNDARY, arrays=True)
    assert same(values, {"photo": COLOUR, "w": np.arange(3), "list": np.array([1.5, 2]), "n": 3})
    assert answer.media == "json"
    assert decode(b"preamble\r\n" + body + b"epilogue", BOUNDARY, arrays=False)[0]["list"] == [1.5, 2]
    assert decode(form(), BOUNDARY, arrays=True)[0] == {}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"--abc", b"--abc\r\n", b"--abc--", form((named("a"), b"1"), end=b""), form((named("a"), b"1"), end=b"--abd--"), b"x" * 1000,
        form((named("a"), b"1"), (named("a"), b"2")), form(("Content-Disposition: form-data", b"1")), form(("Content-Type: text/plain", b"1")), form(("", b"1")),
        form((named("a", "image/gif"), b"GIF89a")), form((named("a", "application/octet-stream"), b"\0\1")), form((named("a"), b"text")), form((named("a", "image/png"), b"\x89PNG\r\n\x1a\n")),
        form((named("a") + "\r\nContent-Transfer-Encoding: base64", b"MQ==")), form((named("a") + "\r\nX: " + "y" * 5000, b"1")), form(*[(named(f"n{i}"), b"1") for i in range(300)]),
        form((named("a"), b"1")).replace(b"--abc\r\n", b"--abcX\r\n", 1), form((named("a"), b"cos\nsystem\n.")), form(("Content-Disposition: form-data; name=\"\xff\"", b"1")).replace(b"\xc3\xbf", b"\xff"),
    ],
)  # fmt: skip
def test_bad_forms_are_refused(body: bytes) -> None:
    if body == b"--abc--":
        assert decode(body, BOUNDARY, arrays=True)[0] == {}
        return
    with pytest.raises((BadInput, UnsupportedType)):
        decode(body, BOUNDARY, arrays=True)


@pytest.mark.parametrize("boundary", ["", "x" * 71, "a b ", 'a"b', "a\r\nb", "\u00e9"])
def test_bad_boundaries_are_refused(boundary: str) -> None:
    with pytest.raises(BadInput):
        decode(form(), f"multipart/form-data; boundary={boundary}", arrays=True)
    with pytest.raises(BadInput):
        decode(form(), "multipart/form-data", arrays=True)
