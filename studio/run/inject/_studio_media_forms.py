"""How pictures, figures, tables, sounds and histograms become files: PNG, JSON and WAV by the standard library.

Arrays are turned by the numpy that made them; nothing here imports it for a script that has none.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zlib
from math import isfinite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from . import _studio_track
    from ._studio_media import Part

    Made = tuple[list[Part], dict[str, object]]  # files, and what the index says about them
else:
    import _studio_track

PICTURES = {"png": "png", "jpg": "jpg", "jpeg": "jpg", "gif": "gif", "webp": "webp", "bmp": "bmp", "svg": "svg"}
SOUNDS = {"wav": "wav", "mp3": "mp3", "flac": "flac", "ogg": "ogg", "m4a": "m4a"}
PNG_COLOUR = {1: 0, 3: 2, 4: 6}  # channels -> PNG's colour type
BINS = 512
CHANNELS = 32


def image(image: Any) -> Made:
    """The file of a picture, and its width and height where they are known."""
    if isinstance(image, (str, os.PathLike)):
        path, ending = _file(image, PICTURES, "log_image")
        return [(ending, path)], _size_of(path)
    if hasattr(image, "mode") and hasattr(image, "getbands") and hasattr(image, "save"):
        import io

        if image.mode not in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"):
            image = image.convert("RGB")
        file = io.BytesIO()
        image.save(file, "PNG")
        return [("png", file.getvalue())], {"width": image.size[0], "height": image.size[1]}
    if not _is_array(image):
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


def table(rows: Any, columns: Sequence[str] | None) -> Made:
    """The JSON of a table: columns, and rows of scalars."""
    if hasattr(rows, "itertuples") and hasattr(rows, "columns"):  # a DataFrame
        if type(rows.index).__name__ != "RangeIndex":
            rows = rows.reset_index()
        if columns is not None:
            rows = rows[list(columns)]
        names = [str(column) for column in rows.columns]
        cells = [list(row) for row in rows.itertuples(index=False, name=None)]
    elif isinstance(rows, (str, bytes)) or not hasattr(rows, "__iter__") or hasattr(rows, "keys"):
        raise TypeError(f"studio.log_table takes rows or a DataFrame, not {type(rows).__name__}")
    else:
        names, cells = _rows(list(rows), columns)
    document = {"columns": names, "rows": [[_cell(value) for value in row] for row in cells]}
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return [("json", data.encode("utf-8", "replace"))], {"columns": len(names), "rows": len(cells)}


def text(text: Any) -> Made:
    """The text as UTF-8."""
    if not isinstance(text, str):
        raise TypeError(f"studio.log_text takes a str, not {type(text).__name__}")
    return [("txt", text.encode("utf-8", "replace"))], {"chars": len(text)}


def audio(audio: Any, rate: Any) -> Made:
    """The file of a sound, and its rate, channels and duration where they are known."""
    if isinstance(audio, (str, os.PathLike)):
        path, ending = _file(audio, SOUNDS, "log_audio")
        return [(ending, path)], {}
    if not _is_array(audio):
        raise TypeError(f"studio.log_audio takes an array or a path, not {type(audio).__name__}")
    if isinstance(rate, bool) or not hasattr(rate, "__index__") or not 0 < rate < 1 << 31:
        raise TypeError(f"studio.log_audio: rate is the number of samples a second, not {rate!r}")
    import io
    import wave

    samples = _samples(audio)
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(samples.shape[1])
        sound.setsampwidth(2)
        sound.setframerate(int(rate))
        sound.writeframes(samples.astype("<i2").tobytes())
    facts = {"rate": int(rate), "channels": samples.shape[1], "duration": round(len(samples) / int(rate), 6)}
    return [("wav", file.getvalue())], facts


def histogram(values: Any, bins: Any) -> Made:
    """The JSON of a histogram: counts and edges, min, max, mean, how many numbers, how many that were none."""
    if isinstance(bins, bool) or not hasattr(bins, "__index__") or not 0 < bins <= BINS:
        raise TypeError(f"studio.log_histogram: bins is a number from 1 to {BINS}, not {bins!r}")
    bins = int(bins)
    if _is_array(values):
        found = _distribution_of_array(_array(values), bins)
    elif hasattr(values, "__iter__") and not isinstance(values, (str, bytes)) and not hasattr(values, "keys"):
        found = _distribution(values, bins)
    else:
        raise TypeError(f"studio.log_histogram takes numbers, not {type(values).__name__}")
    return [("json", json.dumps(found, allow_nan=False).encode())], {"values": found["values"], "bins": bins}


MAKE = {"image": image, "figure": figure, "table": table, "text": text, "audio": audio, "histogram": histogram}


# -- arrays -------------------------------------------------------------------------------------------------------


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _array(value: Any) -> Any:
    """The numbers as a numpy array; tensors of torch leave their device and their gradient."""
    import numpy

    if _is_tensor(value):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    array = numpy.asarray(value)
    if array.dtype.kind == "V" or str(array.dtype) in ("bfloat16", "float16"):
        array = array.astype("float32")
    if array.dtype.kind not in "buif":
        raise TypeError(f"an array of real numbers is needed, not of {array.dtype}")
    return array


def _pixels(image: Any) -> Any:
    """H×W×C of uint8."""
    import numpy

    array = _array(image)
    shape = array.shape
    if _is_tensor(image) and len(shape) == 3 and shape[0] in PNG_COLOUR and shape[2] not in PNG_COLOUR:
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


def _samples(audio: Any) -> Any:
    """Samples × channels, as numbers that fit 16 bits."""
    import numpy

    array = _array(audio)
    if array.ndim == 1:
        array = array[:, None]
    elif array.ndim == 2 and _is_tensor(audio) and array.shape[0] <= CHANNELS < array.shape[1]:
        array = array.T
    if array.ndim != 2 or not 0 < array.shape[1] <= CHANNELS:
        raise TypeError(f"a sound has the shape samples, or samples × channels, not {tuple(audio.shape)}")
    if array.dtype.kind == "f":
        return numpy.rint(numpy.clip(numpy.nan_to_num(array, nan=0.0), -1, 1) * 32767)
    if array.dtype == numpy.int32:
        return array >> 16
    if array.dtype == numpy.uint8:
        return (array.astype("int16") - 128) * 256
    if array.dtype != numpy.int16:
        raise TypeError(f"a sound is of float, int16, int32 or uint8, not {array.dtype}")
    return array


def _distribution_of_array(array: Any, bins: int) -> dict[str, object]:
    import numpy

    flat = array.astype("float64").ravel()
    real = flat[numpy.isfinite(flat)]
    if not real.size:
        return _histogram([0] * bins, 0.0, 0.0, 0.0, len(flat))
    low, high = float(real.min()), float(real.max())
    start, width = _span(low, high)
    at = ((real / 4 - start) / width * bins).astype("int64").clip(0, bins - 1)
    mean = float((real / real.size).sum())
    return _histogram(numpy.bincount(at, minlength=bins).tolist(), low, high, mean, len(flat) - len(real))


def _distribution(values: Iterable[Any], bins: int) -> dict[str, object]:
    try:
        flat = [float(value) for value in values]
    except (TypeError, ValueError):
        raise TypeError("studio.log_histogram takes real numbers") from None
    real = [value for value in flat if isfinite(value)]
    if not real:
        return _histogram([0] * bins, 0.0, 0.0, 0.0, len(flat))
    low, high = min(real), max(real)
    start, width = _span(low, high)
    counts = [0] * bins
    for value in real:
        counts[min(int((value / 4 - start) / width * bins), bins - 1)] += 1
    mean = sum(value / len(real) for value in real)
    return _histogram(counts, low, high, mean, len(flat) - len(real))


def _span(low: float, high: float) -> tuple[float, float]:
    """A quarter of where bins begin and of how wide they are together: of any range that is a number."""
    if low == high:
        return low / 4 - 0.125, 0.25
    return low / 4, high / 4 - low / 4 or 5e-324


def _histogram(counts: list[int], low: float, high: float, mean: float, left_out: int) -> dict[str, object]:
    first, last = (low, high) if low != high else (low - 0.5, high + 0.5)
    share = [i / len(counts) for i in range(len(counts) + 1)]
    edges = sorted(first * (1 - part) + last * part for part in share)  # rounding may swap two that are equal, nearly
    return {
        "counts": counts, "edges": edges, "min": low, "max": high, "mean": mean,
        "values": sum(counts), "not_finite": left_out,
    }  # fmt: skip


# -- rows and files -----------------------------------------------------------------------------------------------


def _rows(rows: list[Any], columns: Sequence[str] | None) -> tuple[list[str], list[list[Any]]]:
    names = None if columns is None else [str(column) for column in columns]
    if rows and all(hasattr(row, "keys") and hasattr(row, "__getitem__") for row in rows):
        known = [dict(row) for row in rows]
        found = list(dict.fromkeys(key for row in known for key in row)) if columns is None else list(columns)
        return [str(key) for key in found], [[row.get(key) for key in found] for row in known]
    if names is None:
        raise TypeError("studio.log_table: rows that are no mappings need columns=[…]")
    for row in rows:
        if isinstance(row, (str, bytes)) or not hasattr(row, "__len__") or len(row) != len(names):
            raise TypeError(f"studio.log_table: each row has {len(names)} cells, one for each column; not {row!r:.60}")
    return names, [list(row) for row in rows]


def _cell(value: Any) -> Any:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return None
    return _studio_track.scalar(value)


def _file(given: Any, endings: dict[str, str], what: str) -> tuple[str, str]:
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
