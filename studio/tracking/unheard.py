"""Metrics, parameters and artifacts that no experiment has: who asks for one mistyped its name, or is too early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import ConfigError, nearest
from . import fields, order, query
from .fields import OF_METRIC, Field
from .index import Index
from .quoting import quoted

_MOST_NAMES = 500
_SHOWN = 5


def empty_columns(index: Index, words: Iterable[str]) -> Iterator[str]:
    """A line for each column that is empty for every experiment.

    Raises:
        ConfigError: one is misspelled: the hint names what some have.
    """
    found = ((word, fields.find(word)) for word in words)
    for word, hint in _unheard(index, ((word, field) for word, field in found if field is not None)):
        if hint.startswith("did you mean"):
            raise ConfigError(f"no experiment has {word!r}", hint=hint)
        yield f"no experiment has {word!r}" + (f"; {hint}" if hint else "")


def refuse_order(index: Index, sort: str) -> None:
    """Refuses to sort by what no experiment has.

    Raises:
        ConfigError: as in `empty_columns`.
    """
    words = [part.lstrip("+-") for part in fields.split(sort)]
    for word, hint in _unheard(index, ((word, order.field(word)) for word in words)):
        raise ConfigError(f"cannot sort by {word!r}: no experiment has it", hint=hint)


def mentioned(index: Index, text: str) -> Iterator[str]:
    """A line for each name of the query that no experiment has; the conditions on it hold as for a missing value."""
    for word, hint in _unheard(index, query.named(text)):
        yield f"no experiment has {word!r}" + (f": {hint}" if hint else "")
    for word, field in query.named(text):
        if field.name.startswith("env.") and index.is_secret(field.name):
            yield f"some have a secret in {word}, of which only `is none` is known"


def _unheard(index: Index, asked: Iterable[tuple[str, Field]]) -> Iterator[tuple[str, str]]:
    for word, field in dict(asked).items():
        if field.table not in ("metrics", "facts") or word in fields.STATIC or word in fields.ALIASES:
            continue
        if not index.has(field.table, field.name) and not index.is_null(field.name) and index.has_any():
            yield word, _hint(index, word, field)


def _hint(index: Index, word: str, field: Field) -> str:
    if field.table == "metrics":
        names = index.names("metrics", "")[:_MOST_NAMES]
        known = [_quoted(name) for name in names]
        forms = [f"metrics.{name}{end}" for name in known for end in ("", *(f".{part}" for part in OF_METRIC))]
    else:
        group = word.partition(".")[0] + "."
        names = [name.removeprefix(group) for name in index.names("facts", group)[:_MOST_NAMES]]
        forms = [group + (_quoted(name) if group in ("params.", "env.") else name) for name in names]
    return nearest(word, forms) or (f"there are: {', '.join(forms[:_SHOWN])}" if forms else "")


def _quoted(name: str) -> str:
    """A user's name as a query takes it."""
    plain = fields.PLAIN_NAME.fullmatch(name) and name.rpartition(".")[2] not in OF_METRIC
    return name if plain else quoted(name)
