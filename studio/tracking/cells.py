"""Values side by side: whether they are the same, types included, and texts that differ where they differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

MISSING = "-"
_WORDS = frozenset({"none", "null", "true", "false", "nan", "inf", "infinity", "-inf", "-infinity", MISSING})


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. `values` has one text for each experiment, in order; `-` where one has none."""

    section: str
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A value with its own text, such as the first digits of a digest; `more` is for two that have the same text."""

    value: object
    text: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """What cannot be compared, such as a secret; it is the same as nothing, not even as another one."""

    text: str


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret by its digest, which tells it from others of the same salt."""

    shown: str
    digest: str
    salt: str

    @property
    def text(self) -> str:
        """As it is shown."""
        return f"{self.shown} (secret, digest {self.digest[:8]}, salt {self.salt})"


Cell = object
"""A value as JSON has it, or one of those above."""


class _Absent:
    """Told from everything that a record may hold, null included."""


_ABSENT = _Absent()


def rows(section: str, sheets: Sequence[Mapping[str, Cell]]) -> Iterator[Difference]:
    """The names whose values are not the same in all sheets, or cannot be compared."""
    for name in sorted({name for sheet in sheets for name in sheet}):
        cells = [sheet.get(name, _ABSENT) for sheet in sheets]
        if any(isinstance(cell, Unknown) for cell in cells) or len(set(map(identity, cells))) > 1:
            yield Difference(section, name, _texts(cells))


def identity(cell: Cell) -> str:
    """Equal for equal values of equal types, and for no others."""
    if isinstance(cell, _Absent):
        return ""
    if isinstance(cell, Shown | Unknown):
        return type(cell).__name__ + _spelled(cell.value if isinstance(cell, Shown) else cell.text)
    if isinstance(cell, Secret):
        return f"Secret {cell.salt} {cell.digest}"
    return _spelled(cell)


def show(value: Cell) -> str:
    """A value as a text that no other value has: texts stand in quotes where they could be taken for something else."""
    if isinstance(value, _Absent):
        return MISSING
    if isinstance(value, Shown | Unknown | Secret):
        return value.text
    if isinstance(value, str):
        return value if _is_plain(value) else json.dumps(value, ensure_ascii=not value.isprintable())
    return repr(value) if isinstance(value, float) else _spelled(value)


def _texts(cells: Sequence[Cell]) -> tuple[str, ...]:
    """In short, unless that makes two values look alike."""
    different = len(set(map(identity, cells)))
    texts = tuple(map(show, cells))
    if len(set(texts)) < different:
        texts = tuple((cell.more if isinstance(cell, Shown) else "") or show(cell) for cell in cells)
    if len(set(texts)) < different:
        texts = tuple(_spelled(cell.value) if isinstance(cell, Shown) else show(cell) for cell in cells)
    return texts


def _is_plain(text: str) -> bool:
    if not text.isprintable() or text != text.strip() or not text or text.lower() in _WORDS or text[0] in "\"'[{(":
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def _spelled(value: object) -> str:
    try:
        return json.dumps(value, sort_keys=True, default=repr)
    except (TypeError, ValueError):  # keys of several kinds, or an object within itself
        return repr(value)
