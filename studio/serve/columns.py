"""Rows whose columns have names: put in the order of the model's columns, or refused, never taken by position."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, ServeError

if TYPE_CHECKING:
    from ..models.base import Array, TensorSpec

SHOWN = 8


def places(names: Sequence[str], wanted: Sequence[str], what: str) -> list[int] | None:
    """Where each column of the model is among the named ones; None where the order is the model's.

    A space and `_` are the same in names that are told apart otherwise, as LightGBM writes the one as the other.

    Args:
        names: Of what comes.
        wanted: The model's, in its order.
        what: What comes, for the error.

    Raises:
        BadInput: a column is missing, unknown or there twice; the message names it.
    """
    given, own = list(map(_plain, names)), list(map(_plain, wanted))
    if len(set(own)) < len(own):
        given, own = list(names), list(wanted)
    if given == own:
        return None
    at, known = {plain: k for k, plain in enumerate(given)}, set(own)
    unknown = [name for name, plain in zip(names, given, strict=True) if plain not in known]
    missing = [name for name, plain in zip(wanted, own, strict=True) if plain not in at]
    twice = next((name for k, name in enumerate(names) if at[given[k]] != k), None)
    if unknown or missing or twice is not None:
        raise _mismatch(what, wanted, unknown, missing, twice)
    return [at[plain] for plain in own]


def _plain(name: str) -> str:
    return re.sub(r"\s", "_", name.strip())


def _mismatch(
    what: str, wanted: Sequence[str], unknown: Sequence[str], missing: Sequence[str], twice: str | None
) -> BadInput:
    said = [f"{name[:80]!r} is missing" for name in missing[:4]] + [f"{name[:80]!r} is unknown" for name in unknown[:4]]
    said += [f"{twice[:80]!r} is there twice"] if twice is not None else []
    index = "; pandas writes no index with to_csv(index=False)" if "" in unknown else ""
    return BadInput(f"{what}: {', '.join(said)}", hint=f"the model's columns are {_shown(wanted)}{index}")


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join([name[:80] for name in names[:SHOWN]]) + more


def columns_in(metadata: Mapping[str, Any], key: str) -> Sequence[str]:
    """The names of the columns that the model takes under this key, as its metadata tells; empty if it tells none.

    Raises:
        ServeError: the metadata is none.
    """
    try:
        inputs = {str(spec["name"]): spec for spec in metadata.get("inputs") or ()}
        spec = inputs.get(key) or (next(iter(inputs.values())) if len(inputs) == 1 else {})
        return [str(name) for name in spec.get("columns") or ()]
    except (TypeError, KeyError, AttributeError) as exc:
        raise ServeError("the inputs in the server's metadata cannot be read", hint="is it a studio server?") from exc


def is_table(value: object) -> bool:
    """Whether it is a DataFrame of pandas, Polars or another library: columns with names."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def rows_of(table: Any, wanted: Sequence[str], what: str) -> Array:
    """The rows of a DataFrame in the order of the model's columns.

    Raises:
        BadInput: its columns are others.
    """
    rows: Array = table.to_numpy()
    order = places([str(name) for name in table.columns], wanted, what) if wanted else None
    return rows if order is None else rows[:, order]


def refuse_columns(values: Mapping[str, object], spec: TensorSpec, names: frozenset[str]) -> None:
    """Refuses a request whose keys are columns of the model: each would be answered as if it were a row.

    Args:
        values: The request.
        spec: The model's only input.
        names: Its columns, those left out that are numbers, which people also write above rows.

    Raises:
        BadInput: two of the keys are columns.
    """
    given = list(islice((key for key in values if key in names), SHOWN))
    if len(given) < 2:
        return
    raise BadInput(
        f"{', '.join([key[:80] for key in given])} are columns of the model, but each value of a request holds rows",
        hint=f'send {{"{spec.name[:40]}": [[…], …]}}: rows with the columns {_shown(spec.columns)}',
    )
