"""Columns of pandas' dtype `category`: XGBoost and LightGBM are given their codes, and people hold their values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ContractViolation, ModelLoadError
from ..units import counted
from .note import entry_of, one_line
from .probe import Domain, signature_of

if TYPE_CHECKING:
    from .base import Array

WRAPPERS = "docs/howto/wrappers.md"


def wrapper_hint(values: str) -> str:
    """What to do about a model that takes other values than rows of numbers: texts, say."""
    return f"write a wrapper that calls predict() with {values} ({WRAPPERS}): --wrapper FILE"


HINT = wrapper_hint("a DataFrame")
SHOWN = 8

_STORED = {9: "int8", 10: "uint8", 11: "int16", 12: "uint16", 13: "int32", 14: "uint32", 15: "int64", 16: "uint64"}
"""XGBoost's numbers of the kinds of its typed arrays in JSON."""


@dataclass(frozen=True, slots=True)
class Column:
    """The categories of a column in the order of their codes, and the dtype of the index that held them."""

    name: str
    values: tuple[Any, ...]
    dtype: str | None = None

    @property
    def shown(self) -> str:
        """The name and the first categories."""
        more = ", …" if len(self.values) > SHOWN else ""
        return one_line(f"{self.name!r} ({', '.join([repr(value) for value in self.values[:SHOWN]])}{more})")


@dataclass(frozen=True, slots=True)
class Categories:
    """The columns of categories of a booster.

    Attributes:
        names: All its columns, in their order.
        columns: Those whose categories are known, by their places.
        coded: The places of those that take codes, as nobody knows their categories.
        strict: Whether a value that is no category is refused, as XGBoost does; to LightGBM it is missing.
        note: What is not sure, for the user; "" = all is.
    """

    names: tuple[str, ...] = ()
    columns: Mapping[int, Column] = field(default_factory=dict)
    coded: tuple[int, ...] = ()
    strict: bool = False
    note: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user must know."""
        codes = ", ".join([repr(self.names[place]) for place in self.coded[:SHOWN]])
        more = ", …" if len(self.coded) > SHOWN else ""
        said = f"{one_line(codes)}{more}: the file does not hold the categories, so send their codes (0, 1, 2, …)"
        return tuple([line for line in (self.note, said if self.coded else "") if line])

    def domains(self) -> tuple[Domain, ...]:
        """What each column takes; nothing if no column has categories."""
        if not self.columns and not self.coded:
            return ()
        known = {place: Domain(choices=tuple(map(float, column.values))) for place, column in self.columns.items()}
        codes = dict.fromkeys(self.coded, Domain(0, 1, whole=True))
        return tuple([(known | codes).get(place, Domain()) for place in range(len(self.names))])

    def sample(self) -> tuple[float, ...]:
        """A row that the model takes, for examples: first categories, and zeros; nothing if there are no categories."""
        first = {place: float(column.values[0]) for place, column in self.columns.items()}
        return tuple([first.get(place, 0.0) for place in range(len(self.names))]) if first else ()

    def encode(self, rows: Array) -> Array:
        """The rows with codes in place of the values of categories.

        Raises:
            ContractViolation: a value is no category of its column, and the library would refuse it.
        """
        import numpy as np

        if not self.columns:
            return rows
        coded = np.array(rows, np.float64)
        for place, column in self.columns.items():
            values = coded[:, place].copy()
            known = np.asarray(column.values, np.float64)
            order = np.argsort(known)
            nearest = order[np.searchsorted(known[order], values).clip(max=len(known) - 1)]
            fits = known[nearest] == values
            lost = np.flatnonzero(~fits & ~np.isnan(values))
            if self.strict and len(lost):
                raise self._unknown(column, float(values[lost[0]]), int(lost[0]), len(values))
            coded[:, place] = np.where(fits, nearest, np.nan)
        return coded

    def _unknown(self, column: Column, value: float, row: int, rows: int) -> ContractViolation:
        where = f"row {row}: " if rows > 1 else ""
        return ContractViolation(
            f"{where}{value:g} is not a category of the column {column.shown}",
            hint="send one of the categories, or NaN for a missing value",
        )


def recorded_columns(path: Path) -> Sequence[Mapping[str, Any]]:
    """What the run recorded of the columns of the only table that the model was fitted on; empty if nothing."""
    inputs = signature_of(path)
    columns = inputs[0].get("columns") if len(inputs) == 1 and inputs[0].get("table") else None
    return [column for column in columns if isinstance(column, dict)] if isinstance(columns, list) else []


def no_numbers(column: Mapping[str, Any]) -> str:
    """What a column holds, as the run recorded it, if that is no numbers: `text` or `dates`; else ""."""
    dtype, categories = str(column.get("dtype")), column.get("categories") or ()
    if dtype == "str" or (dtype == "category" and any(isinstance(value, str) for value in categories)):
        return "text"
    return "dates" if dtype.startswith(("datetime", "timedelta")) else ""


def fitted_on(path: Path) -> str:
    """What the model in this file was fitted on, by the run's note; "" where rows of numbers can stand for that."""
    entry = entry_of(path)
    try:
        for one in entry["signature"]["inputs"]:
            columns = (one.get("columns") or ()) if entry.get("library") != "keras" else ()
            kinds = {column["dtype"] for column in columns}
            if one["dtype"] in ("str", "string") or (one["dtype"] == "object" and len(one["shape"]) == 1):
                return "texts" if one["dtype"] != "object" or kinds == {"str"} else "objects that are no numbers"
            for column in columns:
                if held := no_numbers(column):
                    return f"the column {one_line(str(column.get('name')))!r} of {held}"
    except (KeyError, TypeError, AttributeError):  # a script may write there what it likes
        pass
    return ""


def lacks_margin(path: Path) -> tuple[str, ...]:
    """A warning for the model in this file, if it was trained on a margin for each row, which no request has."""
    signature = entry_of(path).get("signature")
    margin = signature.get("margin") if isinstance(signature, dict) else None
    if not isinstance(margin, str) or not margin:
        return ()
    name = one_line(margin)
    return (
        f"the model was trained with {name} for each row, and answers without: predictions with {name} need a wrapper "
        f"({WRAPPERS})",
    )


def of_xgboost(booster: Any, name: str, recorded: Sequence[Mapping[str, Any]]) -> Categories:
    """The columns of feature type `c`; their categories are in the booster (XGBoost 3.1 and later), or recorded.

    Raises:
        ModelLoadError: a column has categories that are no numbers.
    """
    places = [place for place, kind in enumerate(booster.feature_types or ()) if kind == "c"]
    if not places:
        return Categories()
    names = tuple(map(str, booster.feature_names or [f"x{k}" for k in range(int(booster.num_features()))]))
    told = {str(column.get("name")): column for column in recorded if column.get("dtype") == "category"}
    stored = _stored(booster)
    found: dict[int, Column] = {}
    for place in places:
        values, dtype = stored.get(place) or (told.get(names[place], {}).get("categories") or (), None)
        if values:
            found[place] = _numeric(name, Column(names[place], tuple(values), dtype))
    return Categories(names, found, tuple([place for place in places if place not in found]), strict=True)


def _stored(booster: Any) -> dict[int, tuple[Sequence[Any], str | None]]:
    """The categories that the model's own JSON tells, by column."""
    found: dict[int, tuple[Sequence[Any], str | None]] = {}
    for place, told in enumerate(_encodings(json.loads(bytes(booster.save_raw("json"))))):
        values = told.get("values") or []
        offsets = told.get("offsets")
        if offsets and values:
            text = bytes([value % 256 for value in values])
            words = [text[a:b].decode("utf-8", "replace") for a, b in pairwise(offsets)]
            found[place] = (words, None)
        elif values:
            found[place] = (values, _STORED.get(told.get("type", -1)))
    return found


def _encodings(told: Any) -> list[dict[str, Any]]:
    """The list below `cats`, which trees and DART keep at different depths."""
    if not isinstance(told, dict):
        return []
    if isinstance(told.get("cats"), dict):
        return list(told["cats"].get("enc") or [])
    return next((found for value in told.values() if (found := _encodings(value))), [])


def of_lightgbm(booster: Any, name: str, recorded: Sequence[Mapping[str, Any]]) -> Categories:
    """The columns of `pandas_categorical`, which tells their categories; the run, or the model, tells their places.

    Raises:
        ModelLoadError: a column has categories that are no numbers, or it cannot be told which columns have categories.
    """
    listed = [tuple(values) for values in booster.pandas_categorical or ()]
    if not listed:
        return Categories()
    names = tuple(map(str, booster.feature_name()))
    known = _recorded_places(names, listed, recorded)
    places = _declared_places(booster, listed) if known is None else known
    if places is None:
        raise ModelLoadError(
            f"{name} was trained on a table with {counted(len(listed), 'column')} of categories"
            " and does not tell which they are",
            hint=f"train it with studio run, which records that, or {HINT}",
        )
    columns = {k: _numeric(name, Column(names[k], v)) for k, v in zip(places, listed, strict=True)}
    shown = ", ".join([column.shown for column in list(columns.values())[:SHOWN]])
    return Categories(names, columns, note="" if known else f"columns of categories, by LightGBM's own list: {shown}")


def _recorded_places(
    names: Sequence[str], listed: Sequence[Sequence[Any]], recorded: Sequence[Mapping[str, Any]]
) -> list[int] | None:
    """The places of the columns that the run saw with the dtype `category`, if they fit what the booster lists."""
    wanted = {_plain(column.get("name")): column for column in recorded if column.get("dtype") == "category"}
    places = [place for place, name in enumerate(names) if _plain(name) in wanted]
    if len(places) != len(listed):
        return None
    for place, values in zip(places, listed, strict=True):
        told = wanted[_plain(names[place])].get("categories")
        if told is not None and list(told) != list(values):
            return None
    return places


def _declared_places(booster: Any, listed: Sequence[Sequence[Any]]) -> list[int] | None:
    """The columns that the model's text declares as those of categories, if nothing else fits what is listed.

    LightGBM also lists ordered categories, and those of a table for which the user named other columns; it declares
    neither.
    """
    text = booster.model_to_string(num_iteration=1)
    declared = re.search(r"^\[categorical_feature: ([\d,]+)\]$", text, re.M)
    told = re.search(r"^feature_infos=(.*)$", text, re.M)
    infos = told[1].split() if told else []
    if declared:
        places = sorted(map(int, declared[1].split(",")))
    else:
        places = [place for place, info in enumerate(infos) if info != "none" and not info.startswith("[")]
    if len(places) != len(listed) or any(place >= len(infos) for place in places):
        return None
    whole = {f"[0:{len(values) - 1}]" for values in listed if len(values) > 1}
    if any(info in whole for place, info in enumerate(infos) if place not in places):
        return None
    for place, values in zip(places, listed, strict=True):
        codes = [] if infos[place] == "none" else infos[place].split(":")
        if any(not re.fullmatch(r"-?\d+", code) or int(code) >= len(values) for code in codes):
            return None
    return places


def _plain(name: object) -> str:
    """A column's name as LightGBM writes it."""
    return re.sub(r"\s", "_", str(name))


def _numeric(name: str, column: Column) -> Column:
    """The column, whose categories must be distinct numbers."""
    numbers = all(isinstance(value, (bool, int, float)) for value in column.values)
    if not numbers or len({float(value) for value in column.values}) < len(column.values):
        raise ModelLoadError(
            f"{name} takes a table: its column {column.shown} holds categories that are not numbers, and a "
            "checkpoint is served with rows of numbers only",
            hint=HINT,
        )
    return column


def boosters_in(thing: Any) -> Iterator[Any]:
    """The fitted boosters of XGBoost and LightGBM in an estimator, however deep: in pipelines, searches, ensembles."""
    waiting, seen = [thing], set[int]()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        booster = _booster_of(part)
        if booster is not None:
            yield booster
        else:
            waiting += _inside(part)


def library_of(thing: Any) -> str:
    """The package of its class, or of the nearest class that one of the two libraries gave it; "" = none of theirs."""
    roots = [kind.__module__.partition(".")[0] for kind in type(thing).__mro__]
    return next((root for root in roots if root in ("xgboost", "lightgbm")), "")


def _booster_of(part: Any) -> Any:
    library = library_of(part)
    if not library:
        return None
    try:
        if type(part).__name__ == "Booster":
            return part
        return part.get_booster() if library == "xgboost" else part.booster_
    except Exception:  # noqa: BLE001 - it was never fitted, or is no model
        return None


def _inside(part: Any) -> list[Any]:
    if isinstance(part, Mapping):
        return list(part.values())
    if isinstance(part, (list, tuple, set)):
        return [inner for inner in part if not isinstance(inner, (str, bytes, int, float))]
    if getattr(part, "dtype", None) is not None:
        return part.ravel().tolist() if getattr(part.dtype, "kind", "") == "O" and hasattr(part, "ravel") else []
    if isinstance(part, type) or type(part).__module__.partition(".")[0] in ("builtins", "numpy", "pandas", "scipy"):
        return []
    return list(getattr(part, "__dict__", {}).values())
