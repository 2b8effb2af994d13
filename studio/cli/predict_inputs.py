"""What `studio predict` sends: files, folders of files and stdin, read one at a time, each under a key of its own."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..errors import BadInput, ConfigError, ServeError, TooLarge
from ..units import counted

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
LARGEST_SIDE = 16384
Refuse = Callable[[str, ServeError], None]
KINDS = (".npy", ".npz", ".json", ".csv", *IMAGES)


class ImageFile:
    """An image file that gets its size when the model's contract is known."""

    dtype = "uint8"

    def __init__(self, path: Path) -> None:
        self.path = path


class CsvFile:
    """Rows of a file whose columns have names: ordered when the model's own names are known.

    Attributes:
        names: Those in its first line.
        rows: Below it.
        sure: Whether the line can be nothing but names; else it holds numbers, and `rows` has them too.
    """

    dtype = "float64"

    def __init__(self, path: Path, names: list[str], rows: Any, *, sure: bool) -> None:
        self.path, self.names, self.rows, self.sure = path, names, rows, sure

    def ordered(self, wanted: Sequence[str]) -> object:
        """The rows with the model's columns; as they are where the model does not tell names."""
        from ..serve.columns import places

        if not self.sure:
            if sorted(self.names) != sorted(wanted):
                return self.rows
            self.rows = self.rows[1:]
        order = places(self.names, wanted, f"the first line of {self.path}") if wanted else None
        return self.rows if order is None else self.rows[:, order]


def list_files(inputs: Sequence[str]) -> list[tuple[str, str]]:
    """(key or "", file or `-`) of every input; a folder stands for its files, whose keys are their paths below it.

    Raises:
        ConfigError: something is not there, or a folder holds nothing that can be read.
    """
    found: list[tuple[str, str]] = []
    for text in inputs:
        key, equals, name = text.partition("=")
        if not equals or Path(text).exists():
            key, name = "", text
        path = Path(name)
        if not path.is_dir():
            if name != "-" and not path.is_file():
                raise ConfigError(f"no file {name}", hint="--input takes files and folders, or - for JSON from stdin")
            found.append((key, name))
            continue
        below = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in KINDS)
        if not below:
            raise ConfigError(f"nothing to send in {name}", hint="it takes " + " ".join(KINDS))
        stem = f"{key}/" if key else ""
        found += [(stem + p.relative_to(path).with_suffix("").as_posix(), str(p)) for p in below]
    return found


def read_values(files: Sequence[tuple[str, str]], refuse: Refuse | None = None) -> Iterator[tuple[str, object]]:
    """(key, value) of every value in the files, each read when it is asked for.

    Args:
        refuse: Told of each file that cannot be read as what it is, which is then left out; None = an error.

    Raises:
        ConfigError: two values have one key, or a file's kind is not known.
        BadInput, TooLarge: a file cannot be read as what it is.
    """
    seen: set[str] = set()
    for key, name in files:
        try:
            found = _read(name, key)
        except (BadInput, TooLarge) as exc:
            if refuse is None:
                raise
            refuse(key or name, exc)
            continue
        for label, value in found.items():
            if label in seen:
                raise ConfigError(f"two inputs are called {label!r}", hint="name them: --input first=a.npy")
            seen.add(label)
            yield label, value


def fit_files(
    values: Mapping[str, object], about: Mapping[str, Any], refuse: Refuse | None = None
) -> dict[str, object]:
    """Pictures and named columns as the model's input wants them; as they are without a contract.

    Pictures: size, channels, values from 0 to 1. Columns: their order.

    Args:
        refuse: As of `read_values`.

    Raises:
        BadInput: a picture cannot be read, or a table has other columns than the model.
        ServeError: the contract in `about` is none.
    """
    from ..serve.columns import columns_in

    try:
        specs = {str(spec["name"]): _sides(spec["shape"]) for spec in about.get("inputs") or []}
    except (TypeError, KeyError, ValueError) as exc:
        raise ServeError("the inputs in the server's metadata cannot be read", hint="is it a studio server?") from exc
    first = next(iter(specs.values()), None)
    fitted: dict[str, object] = {}
    for key, value in values.items():
        try:
            if isinstance(value, CsvFile):
                value = value.ordered(columns_in(about, key))
            fitted[key] = _pixels(value, specs.get(key, first)) if isinstance(value, ImageFile) else value
        except BadInput as exc:
            if refuse is None:
                raise
            refuse(key, exc)
    return fitted


def _sides(shape: Any) -> list[int]:
    if not isinstance(shape, list) or not all(isinstance(n, int) and n <= LARGEST_SIDE for n in shape):
        raise ValueError("shape")
    return shape


def _read(name: str, key: str) -> dict[str, object]:
    path = Path(name)
    label = key or ("input" if name == "-" else path.stem)
    suffix = ".json" if name == "-" else path.suffix.lower()
    if suffix == ".json":
        value = _json(name)
        return dict(value) if isinstance(value, dict) and not key else {label: value}
    if suffix in IMAGES:
        return {label: ImageFile(path)}
    from ..serve.codec import decode

    try:
        if suffix in (".npy", ".npz"):
            values, _ = decode(path.read_bytes(), "application/x-" + suffix[1:], arrays=True)
            return values if suffix == ".npz" else {label: next(iter(values.values()))}
        if suffix == ".csv":
            return {label: _table(path)}
    except (BadInput, TooLarge) as exc:
        kind = TooLarge if isinstance(exc, TooLarge) else BadInput
        raise kind(exc.message.replace("the body", name, 1), hint=exc.hint) from exc
    except OSError as exc:
        raise BadInput(f"{name} cannot be read: {exc.strerror or exc}") from exc
    raise ConfigError(f"{name}: no reader for {suffix or 'files without a suffix'}", hint=".npy .npz .json .csv .png …")


def _table(path: Path) -> CsvFile:
    """The rows of numbers in a CSV file, below a line of column names or not."""
    import numpy as np

    hint = "a .csv holds rows of numbers, and at most one line of names above them"
    try:
        lines = [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
        names = [name.strip() for name in next(csv.reader(lines[:1], skipinitialspace=True), [])]
        sure = not any(map(_is_number, names))
        if sure:
            del lines[:1]
        if not lines:
            raise BadInput(f"{path} cannot be read: it holds no rows", hint=hint)
        rows = np.loadtxt(lines, delimiter=",", ndmin=2, quotechar='"')
        if sure and len(names) != rows.shape[1]:
            raise BadInput(
                f"{path} cannot be read: {counted(len(names), 'name')} above {counted(rows.shape[1], 'column')}",
                hint=hint,
            )
        return CsvFile(path, names, rows, sure=sure)
    except (ValueError, csv.Error) as exc:
        raise BadInput(f"{path} cannot be read: {exc}", hint=hint) from exc


def _is_number(text: str) -> bool:
    try:
        float(text.strip().strip('"'))
    except ValueError:
        return False
    return True


def _json(name: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if name == "-" else Path(name).read_text("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise BadInput(f"{name} is not JSON: {exc}") from exc
    except OSError as exc:
        raise BadInput(f"{name} cannot be read: {exc.strerror}") from exc


def _pixels(image: ImageFile, shape: list[int] | None) -> object:
    import numpy as np
    from PIL import Image

    from ..model_util import resize_to_model_input

    try:
        with Image.open(image.path) as opened:
            if shape is None:
                return np.asarray(opened.convert("RGB"))
            wanted = SimpleNamespace(shape=tuple(None if n < 0 else n for n in shape))
            batch = resize_to_model_input(SimpleNamespace(inputs=[wanted]))(opened)
            return None if batch is None else batch[0]  # one picture is one item
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
        raise BadInput(f"{image.path} cannot be read as an image: {exc}") from exc
