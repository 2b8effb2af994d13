"""`studio.log_image`, `log_figure`, `log_table`, `log_text`, `log_audio`, `log_histogram`: hides where media are kept.

A file `<spool>/media/<folder of the name>/<step>.<ending>`, written beside its place and moved there, then one line in
`<spool>/media/index`. The forms of both are in docs/reference/media.md; the reader is `studio/tracking/media.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from . import _studio_track

    Part = tuple[str, bytes | str]  # ending, and the bytes or the path of a file that has them
else:
    import _studio_track

ITEM_BYTES = 64 << 20
RUN_BYTES = 4 << 30
CAPTION_CHARS = 2000
_PLAIN = re.compile(r"(?!index\Z)[a-z0-9][A-Za-z0-9._-]{0,99}\Z")
_counter = itertools.count()
_lock = threading.RLock()
_indexes: dict[str, Index] = {}


def log_image(name: str, image: object, *, step: int | None = None, caption: str = "") -> None:
    """Keeps a picture of the run.

    Args:
        name: What it shows; pictures of one name form a row over the steps.
        image: An array H×W, H×W×1, ×3 or ×4 of uint8, bool, or float from 0 to 1 (what is beyond is clipped); a tensor
            of those shapes or C×H×W; a PIL image; or the path of a PNG, JPEG, GIF, WebP, BMP or SVG file.
        step: Any whole number; by default the next one of that name. Of two of one name and step the later counts.
        caption: A line below it.

    Raises:
        TypeError: none of these, or the name is not a str. Whatever the disk refuses is a warning of the run instead.
    """
    _keep("image", name, step, caption, image)


def log_figure(
    name: str, figure: object = None, *, step: int | None = None, caption: str = "", svg: bool = False
) -> None:
    """Keeps a matplotlib figure (or the figure of an axes; default: the current one) as PNG; with `svg` as SVG too.

    Raises:
        TypeError: it is none, or the name is not a str.
    """
    _keep("figure", name, step, caption, figure, svg)


def log_table(
    name: str, rows: object, *, columns: Sequence[str] | None = None, step: int | None = None, caption: str = ""
) -> None:
    """Keeps a table.

    Args:
        name: As for `log_image`.
        rows: Mappings of column to cell; or sequences of cells, with `columns`; or a pandas DataFrame, whose index
            becomes columns unless it only counts. Cells are kept as JSON scalars, NaN as null, all else by its str().
        columns: The names of the columns, or those to keep.
        step: As for `log_image`.
        caption: A line below it.

    Raises:
        TypeError: rows of another form, or not as many cells as columns.
    """
    _keep("table", name, step, caption, rows, columns)


def log_text(name: str, text: str, *, step: int | None = None, caption: str = "") -> None:
    """Keeps a text, such as what a model generated.

    Raises:
        TypeError: it is not a str.
    """
    _keep("text", name, step, caption, text)


def log_audio(name: str, audio: object, *, rate: int | None = None, step: int | None = None, caption: str = "") -> None:
    """Keeps a sound.

    Args:
        name: As for `log_image`.
        audio: An array of samples, or samples × channels, of float from -1 to 1, int16, int32 or uint8 (a tensor may be
            channels × samples); kept as WAV of 16 bits. Or the path of a WAV, MP3, FLAC, OGG or M4A file.
        rate: Samples a second; needed for an array.
        step: As for `log_image`.
        caption: A line below it.

    Raises:
        TypeError: none of these, or an array without a rate.
    """
    _keep("audio", name, step, caption, audio, rate)


def log_histogram(name: str, values: object, *, bins: int = 64, step: int | None = None, caption: str = "") -> None:
    """Keeps how numbers are distributed: counts and edges of equally wide bins, not the numbers themselves.

    Args:
        name: As for `log_image`.
        values: An array, a tensor or any iterable of real numbers; NaN and infinities are counted apart.
        bins: How many, from 1 to 512.
        step: As for `log_image`.
        caption: A line below it.

    Raises:
        TypeError: other values, or another number of bins.
    """
    _keep("histogram", name, step, caption, values, bins)


class Index:
    """What all processes of the run have kept so far, as far as this one has read it."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "index")
        self._at = 0
        self._torn = False
        self.bytes = 0
        self.next: dict[str, int] = {}

    def catch_up(self) -> None:
        """Reads what was appended since the last call."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            return
        whole = data.rfind(b"\n") + 1
        for line in data[:whole].splitlines():
            try:
                entry = json.loads(line)
                self.bytes += entry["size"]
                self.next[entry["name"]] = max(self.next.get(entry["name"], 0), entry["step"] + 1)
            except (ValueError, KeyError, TypeError):
                continue  # half a line of a process that was killed
        self._at += whole
        self._torn = whole < len(data)

    def append(self, entry: Mapping[str, object]) -> None:
        """Adds one line by one write."""
        line = ("\n" if self._torn else "") + json.dumps(entry, ensure_ascii=True) + "\n"
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.write(fd, line.encode()) < len(line):
                raise OSError("the disk is full")
        finally:
            os.close(fd)


def _keep(kind: str, name: str, step: int | None, caption: str, *given: object) -> None:
    """Makes the files of one thing, writes them and their line; what cannot be kept is said once for each name."""
    spool = _studio_track.spool()
    if spool is None:
        return
    if not isinstance(name, str) or not name:
        shown = _studio_track.load("_studio_text").spelled(name)
        raise TypeError(f"the name of what is logged is a str that is not empty, not {shown}")
    at = None if step is None else _whole(step)
    _studio_track.load("_studio_hold").call(_keep_whole, spool, kind, name, at, caption, *given)


def _keep_whole(spool: str, kind: str, name: str, at: int | None, caption: str, *given: object) -> None:
    name = _studio_track.load("_studio_secrets").clean_text(name)
    try:
        parts, fields = _studio_track.load("_studio_media_forms").MAKE[kind](*given)
        if kind in ("text", "table"):
            _size(parts)  # before what is too large is searched for secrets
            parts = [(ending, _cleaned(data)) for ending, data in parts]
        _write(os.path.join(spool, "media"), kind, name, at, parts, {"caption": caption, **fields})
    except TypeError:
        raise
    except Exception as exc:  # noqa: BLE001  (a full disk, a file that went away: the script must not notice)
        reason = getattr(exc, "strerror", None) or exc
        _studio_track.warning(f"media.{name}", f"{kind} {name!r} could not be kept: {reason}")


def _cleaned(data: bytes | str) -> bytes | str:
    """What was made of a text, without tokens and the like; a path of a file as it is."""
    if not isinstance(data, bytes):
        return data
    text: str = _studio_track.load("_studio_secrets").clean_text(data.decode("utf-8"))
    return text.encode("utf-8")


def _size(parts: list[Part]) -> int:
    size = sum(len(data) if isinstance(data, bytes) else os.path.getsize(data) for _, data in parts)
    if size > ITEM_BYTES:
        raise OSError(f"it has {size} bytes, the limit is {ITEM_BYTES}")
    return size


def _write(folder: str, kind: str, name: str, step: int | None, parts: list[Part], fields: dict[str, object]) -> None:
    size = _size(parts)
    own = folder_of(name)
    target = os.path.join(folder, own)
    os.makedirs(target, mode=0o700, exist_ok=True)
    temps: list[tuple[str, str]] = []
    try:
        for ending, data in parts:
            temps.append((ending, _write_aside(target, data)))
        with _lock:
            index = _indexes.get(folder) or _indexes.setdefault(folder, Index(folder))
            index.catch_up()
            if index.bytes + size > RUN_BYTES:
                raise OSError(f"the media of this run have reached the limit of {RUN_BYTES} bytes")
            at = _place(target, temps, step, index.next.get(name, 0))
            files = [f"{own}/{at}.{ending}" for ending, _ in temps]
            index.append(_entry(kind, name, at, files, size, fields))
    finally:
        for _, temp in temps:
            with contextlib.suppress(OSError):  # moved to its place, mostly
                os.unlink(temp)


def _entry(
    kind: str, name: str, step: int, files: list[str], size: int, fields: dict[str, object]
) -> dict[str, object]:
    caption = _studio_track.load("_studio_secrets").clean(_studio_track._text(fields.pop("caption")))[:CAPTION_CHARS]
    entry = {"name": name, "step": step, "time": round(time.time(), 6), "kind": kind, "file": files[0], "size": size}
    if len(files) > 1:
        entry["also"] = files[1:]
    if caption:
        entry["caption"] = caption
    return {**entry, **fields}


def folder_of(name: str) -> str:
    """The folder for a name: itself where that is safe, else its letters and a digest of it."""
    if _PLAIN.match(name):
        return name
    hashlib = _studio_track.load("hashlib")
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:80]
    return f"{readable or 'name'}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _whole(step: Any) -> int:
    try:
        whole = int(step)
        if whole == step and -(1 << 63) <= whole < 1 << 63:
            return whole
    except (TypeError, ValueError, OverflowError):
        pass
    shown = _studio_track.load("_studio_text").spelled(step)
    raise TypeError(f"a step is a whole number of 64 bits, not {shown}")


def _write_aside(folder: str, data: bytes | str) -> str:
    """Writes a file beside its place; its name is no media's, so that a leftover of a killed process harms nobody."""
    temp = os.path.join(folder, f".{os.getpid()}-{threading.get_ident():x}-{next(_counter)}.part")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                with open(data, "rb") as source:
                    _studio_track.load("shutil").copyfileobj(source, file, 1 << 20)
    except BaseException:
        os.unlink(temp)
        raise
    return temp


def _place(folder: str, temps: list[tuple[str, str]], step: int | None, nearest: int) -> int:
    """Moves the files to their names; without a step, to the first from `nearest` on that no other process has."""
    (ending, first), *others = temps
    at = nearest if step is None else step
    while True:
        target = os.path.join(folder, f"{at}.{ending}")
        if step is not None:
            os.replace(first, target)
            break
        try:
            os.link(first, target)
            os.unlink(first)
            break
        except FileExistsError:
            at += 1
        except OSError:  # a file system without links
            os.replace(first, target)
            break
    for ending, temp in others:
        os.replace(temp, os.path.join(folder, f"{at}.{ending}"))
    return at


def _forked() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it
    _indexes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
