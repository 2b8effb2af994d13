"""How tables, texts, sounds and histograms become files: JSON and WAV by the standard library.

Arrays are turned by the numpy that made them; nothing here imports it for a script that has none.
"""

from __future__ import annotations

import json
import os
from math import isfinite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from . import _studio_arrays, _studio_pictures, _studio_track
    from ._studio_media import Part

    Made = tuple[list[Part], dict[str, object]]  # files, and what the index says about them
else:
    import _studio_arrays
    import _studio_pictures
    import _studio_track

SOUNDS = {"wav": "wav", "mp3": "mp3", "flac": "flac", "ogg": "ogg", "m4a": "m4a"}
BINS = 512
CHANNELS = 32


def table(rows: Any, columns: Sequence[str] | None) -> Made:
    """The JSON of a table: columns, and rows of scalars."""
    if hasattr(rows, "itertuples") and hasattr(rows, "columns"):  # a DataFrame
        if type(rows.index).__name__ != "RangeIndex":
            rows = rows.reset_index()
        if columns is not None:
            rows = rows[list(columns)]
        names = [_text(column) for column in rows.columns]
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
        path, ending = _studio_pictures.media_file(audio, SOUNDS, "log_audio")
        return [(ending, path)], {}
    if not _studio_arrays.is_array(audio):
        raise TypeError(f"studio.log_audio takes an array or a path, not {type(audio).__name__}")
    if isinstance(rate, bool) or not hasattr(rate, "__index__") or not 0 < rate < 1 << 31:
        raise TypeError(f"studio.log_audio: rate is the number of samples a second, not {rate!r}")
    io, wave = _studio_track.load("io"), _studio_track.load("wave")
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
    if _studio_arrays.is_array(values):
        found = _distribution_of_array(_studio_arrays.numpy_array(values), bins)
    elif hasattr(values, "__iter__") and not isinstance(values, (str, bytes)) and not hasattr(values, "keys"):
        found = _distribution(values, bins)
    else:
        raise TypeError(f"studio.log_histogram takes numbers, not {type(values).__name__}")
    return [("json", json.dumps(found, allow_nan=False).encode())], {"values": found["values"], "bins": bins}


MAKE = {
    "image": _studio_pictures.image,
    "figure": _studio_pictures.figure,
    "table": table,
    "text": text,
    "audio": audio,
    "histogram": histogram,
}


def _samples(audio: Any) -> Any:
    """Samples × channels, as numbers that fit 16 bits."""
    import numpy

    array = _studio_arrays.numpy_array(audio)
    if array.ndim == 1:
        array = array[:, None]
    elif array.ndim == 2 and _studio_arrays.is_tensor(audio) and array.shape[0] <= CHANNELS < array.shape[1]:
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
    names = None if columns is None else [_text(column) for column in columns]
    if rows and all(hasattr(row, "keys") and hasattr(row, "__getitem__") for row in rows):
        known = [dict(row) for row in rows]
        found = list(dict.fromkeys(key for row in known for key in row)) if columns is None else list(columns)
        return [_text(key) for key in found], [[row.get(key) for key in found] for row in known]
    if names is None:
        raise TypeError("studio.log_table: rows that are no mappings need columns=[…]")
    for row in rows:
        if isinstance(row, (str, bytes)) or not hasattr(row, "__len__") or len(row) != len(names):
            shown = _studio_track.load("_studio_text").spelled(row, 60)
            raise TypeError(f"studio.log_table: each row has {len(names)} cells, one for each column; not {shown}")
    return names, [list(row) for row in rows]


def _text(value: Any) -> str:
    return value if type(value) is str else str(_studio_track.load("_studio_text").of(value))


def _cell(value: Any) -> Any:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, float) and value - value != 0:
        return "Infinity" if value > 0 else "-Infinity"
    return _studio_track.load("_studio_params").scalar(value)
