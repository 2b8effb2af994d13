"""Asks estimators that were fitted on tables with columns of categories: rows of numbers become codes, or a table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelLoadError
from ..extras import need
from .categories import (
    HINT,
    Categories,
    Column,
    boosters_in,
    library_of,
    of_lightgbm,
    of_xgboost,
    recorded_columns,
)
from .estimator_inputs import names_of, own_transformers, picks_by_name
from .probe import signature_of

if TYPE_CHECKING:
    from .base import Array


@dataclass(frozen=True, slots=True)
class Prepared:
    """How an estimator is asked: `predict` of rows; what is known of its columns of categories."""

    predict: Callable[[Array], object]
    categories: Categories


def prepared(path: Path, estimator: Any) -> Prepared:
    """The estimator's `predict` for rows with the values of categories, wherever in it a booster takes codes.

    A booster's own wrapper is given the codes, as its library makes them of a table; whatever has a booster somewhere
    inside gets a table.

    Raises:
        ModelLoadError: categories are no numbers, or it cannot be told which columns have which.
    """
    recorded = recorded_columns(path)
    found = [_told(booster, path.name, recorded) for booster in boosters_in(estimator)]
    found = [told for told in found if told.columns or told.coded]
    if not found:
        return Prepared(_by_name(estimator) or estimator.predict, Categories())
    if library_of(estimator):
        told = found[0]
        return Prepared(lambda rows: estimator.predict(told.encode(rows)), told)
    if not any(told.columns for told in found) or (signature_of(path) and not _on_a_table(path)):
        warned = Categories(note="a booster in it takes codes of categories (0, 1, 2, …) where it was given them")
        told_of = warned if any(told.coded for told in found) else Categories()
        return Prepared(_by_name(estimator) or estimator.predict, told_of)
    whole = _merged(path.name, _names(path, estimator), found)
    pandas = need("pandas", extra="pandas")

    def predict(rows: Array) -> object:
        return estimator.predict(_table(pandas, whole, whole.encode(rows)))

    return Prepared(predict, whole)


def _by_name(estimator: Any) -> Callable[[Array], object] | None:
    """Its `predict` for rows, where it takes a table of numbers and picks columns by their names; None elsewhere.

    The table's columns are float64. Code that is not scikit-learn's may answer other dtypes than those of the training
    differently (`astype(str)`), so what has such transformers is not asked.
    """
    names = names_of(estimator)
    if not names or len(set(names)) < len(names) or not picks_by_name(estimator) or own_transformers(estimator):
        return None
    pandas = need("pandas", extra="pandas")
    return lambda rows: estimator.predict(pandas.DataFrame(rows, columns=names))


def _told(booster: Any, name: str, recorded: Any) -> Categories:
    return (of_xgboost if library_of(booster) == "xgboost" else of_lightgbm)(booster, name, recorded)


def _on_a_table(path: Path) -> bool:
    return any(entry.get("table") for entry in signature_of(path))


def _names(path: Path, estimator: Any) -> list[str]:
    """The columns that the outermost estimator takes, in their order; empty if nothing tells."""
    with contextlib.suppress(Exception):  # a property that looks into what was never fitted
        return [str(name) for name in estimator.feature_names_in_]
    return [str(column.get("name")) for column in recorded_columns(path)]


def _merged(name: str, names: list[str], found: list[Categories]) -> Categories:
    """The columns of categories of all boosters, at their places among the outermost estimator's columns."""
    columns: dict[int, Column] = {}
    plain = [n.replace(" ", "_") for n in names]
    for told in found:
        for column in told.columns.values():
            place = plain.index(column.name.replace(" ", "_")) if column.name.replace(" ", "_") in plain else -1
            if place >= 0 and column.dtype is not None:
                columns[place] = replace(columns.get(place, column), dtype=column.dtype)
            if place < 0 or columns.setdefault(place, column).values != column.values or len(set(plain)) < len(plain):
                raise ModelLoadError(
                    f"{name} makes a table within: a booster in it takes the column of categories {column.shown}, and "
                    "no column that is sent can be told to be that",
                    hint=HINT,
                )
    coded = [told.names[place] for told in found for place in told.coded]
    note = "; ".join(dict.fromkeys([told.note for told in found if told.note]))
    places = tuple([names.index(column) for column in dict.fromkeys(coded) if column in names])
    return Categories(tuple(names), columns, places, strict=any(told.strict for told in found), note=note)


def _table(pandas: Any, told: Categories, codes: Array) -> Any:
    import numpy as np

    made: Mapping[str, Any] = {
        name: codes[:, place]
        if place not in told.columns
        else pandas.Categorical.from_codes(
            np.nan_to_num(codes[:, place], nan=-1).astype(np.int64),
            categories=pandas.Index(list(told.columns[place].values), dtype=told.columns[place].dtype),
        )
        for place, name in enumerate(told.names)
    }
    return pandas.DataFrame(made)
