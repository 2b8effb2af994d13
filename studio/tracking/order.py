"""Compiles a sort order to SQL, and says how one field's value is written in SQL."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ConfigError
from . import exact, fields
from .fields import MANY, PARAM, Field

Parameter = str | float | int
Sql = tuple[str, list[Parameter]]
"""A piece of SQL and its parameters in their order."""

STATUS = "(CASE WHEN e.status = 'running' AND e.heartbeat < ? THEN 'lost' ELSE e.status END)"
"""The status that people see; its one parameter is the oldest heartbeat, by the store's clock, of a run that lives."""
_NEVER_MISSING = ("key", "added", "project", "owner", "kind", "status")


_LARGE = exact.IS_LARGE.format("{alias}.num")
_PARAM = (
    "{alias}.num", f"CASE WHEN {_LARGE} THEN {{alias}}.text END COLLATE exact",
    "CASE WHEN {alias}.num IS NULL THEN {alias}.text END",
)  # fmt: skip
"""Parameters go by their numbers; those with the same double by their own value, and what is no number by its text."""


class Order(NamedTuple):
    """`joins` that the `terms` of an ORDER BY need, each with its parameters.

    `first` holds for those that come first because they have the leading value, "" if all have it. Joined
    inwards (`JOIN` for `LEFT JOIN`) they alone are read, which is quicker when they fill the page.
    """

    joins: str
    join_parameters: list[Parameter]
    terms: str
    term_parameters: list[Parameter]
    first: str = ""


def compile_sort(sort: str, *, alive_after: float = 0.0) -> Order:
    """The order by fields separated by commas; a `-` before one = descending. Missing values come last.

    Raises:
        ConfigError: one is no field, or has many values.
    """
    joins: list[str] = []
    join_parameters: list[Parameter] = []
    terms: list[str] = []
    term_parameters: list[Parameter] = []
    for part in fields.split(sort):
        found = field(part)
        if found.table == "experiments":
            values = [scalar(found, alive_after)]
        else:
            alias = f"s{len(joins)}"
            joins.append(f" LEFT JOIN {found.table} {alias} ON {alias}.name = ? AND {alias}.id = e.id")
            join_parameters.append(found.name)
            columns = _PARAM if found.type == PARAM else (f"{{alias}}.{found.column}",)
            values = [(column.format(alias=alias), []) for column in columns]
        for sql, some in values:
            if found.table != "experiments" or found.column not in _NEVER_MISSING:
                terms.append(f"{sql} IS NULL")
            terms.append(sql + (" DESC" if part.startswith("-") else ""))
            term_parameters += some
    first = terms[0].replace(" IS NULL", " IS NOT NULL") if terms and terms[0].startswith("s0.") else ""
    return Order("".join(joins), join_parameters, ", ".join([*terms, "e.key"]), term_parameters, first)


def field(part: str) -> Field:
    """The field of one part of a sort order.

    Raises:
        ConfigError: there is none, or it has many values.
    """
    name = part.lstrip("+-")
    found = fields.find(name)
    if found is None:
        hint = fields.near(name) or "such as: -added, duration, -metrics.loss.min, params.lr"
        raise ConfigError(f"cannot sort by {name!r}: there is no such field", hint=hint)
    if found.type in MANY:
        raise ConfigError(f"cannot sort by {name!r}: it has many values", hint="such as: -added, -metrics.loss.min")
    return found


def scalar(field: Field, alive_after: float) -> Sql:
    """The value of a field with one value as an SQL expression; NULL where the experiment `e` has none."""
    if field.table == "experiments":
        return (STATUS, [alive_after]) if field.column == "status" else (f"e.{field.column}", [])
    return f"(SELECT {field.column} FROM {field.table} WHERE name = ? AND id = e.id)", [field.name]  # noqa: S608 - our names
