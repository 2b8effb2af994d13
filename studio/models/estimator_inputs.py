"""What fitted estimators of scikit-learn tell of the columns that they take: categories, ranges, how many."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

from .probe import Domain

_TEXT = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")


def features_of(estimator: Any) -> int:
    """The number of features, -1 if it is not told."""
    for part in (estimator, *_first_steps(estimator)):
        count = None
        with contextlib.suppress(Exception):  # a property that looks into what was never fitted
            count = getattr(part, "n_features_in_", None)
            if count == 0:  # CatBoost forgets the number when it is read from a file
                count = len(part.feature_names_)
        if isinstance(count, int):
            return count
    return -1


def names_of(estimator: Any) -> list[str]:
    """The names of its columns in their order, as it or its first step was told; empty if none were."""
    for part in (estimator, *_first_steps(estimator)):
        with contextlib.suppress(Exception):  # a property that looks into what was never fitted
            return [str(name) for name in part.feature_names_in_]
    return []


def likely_features(estimator: Any) -> tuple[int, ...]:
    """Numbers of features to begin with where none is told: those of later steps, which a first one may have kept."""
    steps = [step for _, step in getattr(estimator, "steps", ())]
    return tuple([count for step in steps if (count := features_of(step)) > 0])


def columns_of(estimator: Any) -> tuple[Domain, ...]:
    """One domain for each column, from the first parts that saw the columns; empty if nothing is told."""
    count = features_of(estimator)
    if not 1 <= count <= 1000:
        return ()
    told: dict[int, Domain] = {}
    with contextlib.suppress(Exception):  # other libraries have attributes of these names: general draws are left
        for part, columns in _parts(estimator, list(range(count))):
            for column, domain in zip(columns, _of_part(part, len(columns)), strict=False):
                if domain is not None:
                    told.setdefault(column, domain)
    return tuple([told.get(k, Domain()) for k in range(count)]) if told else ()


def takes_text(estimator: Any) -> str:
    """What else than numbers it takes, in words; "" if nothing says so."""
    for part, _ in _parts(estimator, [0]):
        if type(part).__name__ in _TEXT:
            return "text"
        if any(getattr(c, "dtype", None) is not None and c.dtype.kind in "OUS" for c in _listed(part, "categories_")):
            return "columns of text"
    if picks_by_name(estimator):
        return "a table with the columns " + ", ".join(names_of(estimator)[:8])
    return ""


def picks_by_name(estimator: Any) -> bool:
    """Whether something in it picks its columns by their names, which rows of numbers do not have."""
    return bool(names_of(estimator)) and any(
        isinstance(choice, str) for part in _column_choices(estimator) for choice in part
    )


def own_transformers(estimator: Any) -> bool:
    """Whether it holds transformers that are not scikit-learn's, or run a function of the script's."""
    with contextlib.suppress(Exception):  # an estimator's own code
        return any(
            callable(getattr(part, "transform", None))
            and (type(part).__name__ == "FunctionTransformer" or not type(part).__module__.startswith("sklearn."))
            for part in estimator.get_params(deep=True).values()
        )
    return True


def takes_strings(estimator: Any) -> str:
    """Says in words that an encoder or an imputer that sees the columns as they come has learned strings; "" = none."""
    with contextlib.suppress(Exception):  # other libraries have attributes of these names
        for part, _ in _parts(estimator, [0]):
            learned = [value for choices in _listed(part, "categories_") for value in list(choices)[:100]]
            if any(isinstance(value, str) for value in [*learned, *_listed(part, "statistics_")]):
                return "columns of text"
            members = [*_listed(part, "estimators_"), *_listed(part, "calibrated_classifiers_")]
            if any(takes_strings(member) for member in members if hasattr(member, "predict")):
                return "columns of text"
    return ""


def _first_steps(estimator: Any) -> Iterator[Any]:
    steps = getattr(estimator, "steps", None)
    if steps:
        yield steps[0][1]
    for name in ("best_estimator_", "estimator_", "estimator", "base_estimator_", "regressor_"):
        inner = getattr(estimator, name, None)
        if inner is not None and hasattr(inner, "predict"):
            yield inner


def _parts(estimator: Any, columns: list[int]) -> Iterator[tuple[Any, list[int]]]:
    """The estimators that see the columns as they come, each with those that it sees."""
    yield estimator, columns
    for _, part, chosen in getattr(estimator, "transformers_", ()) or ():
        if not isinstance(part, str):
            yield from _parts(part, _chosen(chosen, columns, estimator))
    for _, part in getattr(estimator, "transformer_list", ()) or ():
        if not isinstance(part, str):
            yield from _parts(part, columns)
    encoder = getattr(estimator, "_preprocessor", None)  # of gradient boosting by histograms, for its categories
    for part in (*_first_steps(estimator), *([encoder] if hasattr(encoder, "transformers_") else [])):
        if not isinstance(part, str):
            yield from _parts(part, columns)


def _chosen(chosen: Any, columns: list[int], estimator: Any) -> list[int]:
    """The columns that one transformer of a ColumnTransformer takes."""
    names = [str(name) for name in _listed(estimator, "feature_names_in_")]
    try:
        if isinstance(chosen, slice):
            return columns[chosen]
        listed = [chosen] if isinstance(chosen, (int, str)) else list(chosen)
        if listed and type(listed[0]).__name__ in ("bool", "bool_"):  # NumPy's mask too
            return [c for c, taken in zip(columns, listed, strict=True) if taken]
        return [columns[names.index(c) if isinstance(c, str) else int(c)] for c in listed]
    except (TypeError, ValueError, IndexError):
        return []


def _column_choices(estimator: Any) -> Iterator[Sequence[Any]]:
    for part, _ in _parts(estimator, []):
        for _, _, chosen in getattr(part, "transformers_", ()) or ():
            yield chosen if isinstance(chosen, (list, tuple)) else [chosen]


def _listed(part: Any, name: str) -> list[Any]:
    found = getattr(part, name, None)
    return [] if found is None else list(found)


def _of_part(part: Any, count: int) -> list[Domain | None]:
    """What one fitted transformer tells of its columns."""
    if hasattr(part, "categories_"):
        return [_numbers(list(choices)) for choices in _listed(part, "categories_")]
    for low, high in (("data_min_", "data_max_"),):
        if hasattr(part, low):
            return [_range(a, b) for a, b in zip(_listed(part, low), _listed(part, high), strict=True)]
    if type(part).__name__ == "StandardScaler" and getattr(part, "mean_", None) is not None:
        spread = _listed(part, "scale_") or [1.0] * count
        return [_range(m - s, m + s) for m, s in zip(_listed(part, "mean_"), spread, strict=True)]
    if hasattr(part, "bin_edges_"):
        return [_range(edges[0], edges[-1]) for edges in _listed(part, "bin_edges_")]
    return []


def _numbers(choices: list[Any]) -> Domain | None:
    try:
        values = tuple([float(value) for value in choices[:100] if math.isfinite(float(value))])
    except (TypeError, ValueError):
        return None
    return Domain(choices=values) if values else None


def _range(low: Any, high: Any) -> Domain | None:
    low, high = float(low), float(high)
    return Domain(low, high) if math.isfinite(low) and math.isfinite(high) and low <= high else None
