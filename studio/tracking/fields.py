"""What a query may name: each field's type and where the index keeps it. SQL here is constant text, never a user's."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import ConfigError, nearest
from .quoting import unquote

TEXT, NUMBER, TIME, DURATION, SIZE, FLAG, PARAM, LABELS, PACKAGES = (
    "text", "number", "time", "duration", "size", "flag", "parameter", "labels", "packages",
)  # fmt: skip
NUMERIC = frozenset({NUMBER, TIME, DURATION, SIZE, FLAG, PARAM})
MANY = frozenset({LABELS, PACKAGES})


class Field(NamedTuple):
    """One field. `table` is `experiments`, `metrics`, `facts`, `labels` or `lists`; `name` its rows there."""

    type: str
    table: str
    column: str
    name: str = ""


_COLUMNS = {
    TEXT: "key project owner kind status command args metric exit.reason",
    NUMBER: "exit.code exit.signal",
    TIME: "added started finished",
    DURATION: "duration",
}
_FACTS = {
    TEXT: "notes parent relation studio git.url git.commit git.branch host.name host.os host.cpu command.kind"
    " command.target command.python command.interpreter exit.error exit.by",
    NUMBER: "host.cores host.gpus resources.cpus resources.gpus",
    SIZE: "host.memory resources.ram resources.hdd",
    DURATION: "lifetime max_duration",
    FLAG: "git.dirty",
}
STATIC: dict[str, Field] = {
    **{n: Field(t, "experiments", n.replace(".", "_")) for t, names in _COLUMNS.items() for n in names.split()},
    **{n: Field(t, "facts", "text" if t == TEXT else "num", n) for t, names in _FACTS.items() for n in names.split()},
    "tags": Field(LABELS, "labels", "text", "tags"),
    "artifacts": Field(LABELS, "labels", "text", "artifacts"),
    "packages": Field(PACKAGES, "lists", "value"),
}
LISTED = {
    "reason": "exit.reason", "error": "exit.error", "exit_code": "exit.code", "dirty": "git.dirty",
    "python": "command.python", "model": "artifacts.modeldir.bytes",
}  # fmt: skip
"""Names of columns of listings and tables, which queries take too; without an operator they are words to look for."""
ALIASES = {
    "id": "key", "user": "owner", "tag": "tags", "note": "notes", "artifact": "artifacts", "package": "packages",
    "times.added": "added", "times.started": "started", "times.finished": "finished", "times.duration": "duration",
    "host": "host.name", "branch": "git.branch", "commit": "git.commit", "exit": "exit.code", **LISTED,
}  # fmt: skip
OF_METRIC = ("last", "min", "max", "first", "count", "step")
_WORD = re.compile("[a-z]+")
PLAIN_NAME = re.compile(r"\w[\w.-]*")
"""A name of the user's own that needs no quotes."""
_BETWEEN = re.compile(r"""(?:[^,"]|"(?:[^"\\]|\\.)*"|")+""")
OF_ARTIFACT = {"files": NUMBER, "bytes": SIZE}
OPEN = ("metrics", "params", "artifacts", "env")
"""Prefixes after which a name of the user's own stands."""


def is_open(word: str) -> bool:
    """Whether the word begins with `metrics.`, `params.`, `artifacts.` or `env.`."""
    return word.partition(".")[0] in OPEN and "." in word


def find(word: str) -> Field | None:
    """The field that a word names; None if it names none.

    A metric's statistic is spelled `metrics.NAME.min` or `metrics.NAME:min`.

    Raises:
        ConfigError: what follows a metric's colon is a word, but none of `OF_METRIC`.
    """
    word = ALIASES.get(word, word)
    if word in STATIC or not is_open(word):
        return STATIC.get(word)
    group, _, rest = word.partition(".")
    if group in ("params", "env"):
        name = _joined(*_split(rest))
        return Field(PARAM, "facts", "num", f"{group}.{name}") if name else None
    if group == "metrics":
        name, end = _split(_with_dot(rest))
        if end not in OF_METRIC:
            name, end = _joined(name, end), "last"
        return Field(NUMBER, "metrics", end, name) if name else None
    name, end = _split(rest)
    if name and end in OF_ARTIFACT:
        return Field(OF_ARTIFACT[end], "facts", "num", f"artifacts.{name}.{end}")
    return None


def near(word: str) -> str:
    """A hint: the field that an unknown word may mean, or how names of the user's own are spelled; "": neither."""
    group, dot, rest = word.partition(".")
    if dot and group + "s" in OPEN:
        return f"did you mean '{group}s.{rest}'?"
    own = f"a metric is metrics.{word}, a parameter params.{word}" if PLAIN_NAME.fullmatch(word) else ""
    return nearest(word, [*STATIC, *ALIASES]) or own


def split(names: str) -> list[str]:
    """Names that are separated by commas; a comma within quotes is part of a name."""
    return [found.strip() for found in _BETWEEN.findall(names) if found.strip()]


def dotted(word: str) -> str:
    """`metrics.NAME:min` as `metrics.NAME.min`; other words as they are.

    Raises:
        ConfigError: as in `find`.
    """
    group, dot, rest = word.partition(".")
    return group + dot + _with_dot(rest) if group == "metrics" else word


def _with_dot(rest: str) -> str:
    """`NAME:min` as `NAME.min`; a name as it is."""
    name, colon, end = rest.rpartition(":")
    if not colon or not _WORD.fullmatch(end):
        return rest
    if end not in OF_METRIC:
        raise ConfigError(
            f"'metrics.{rest}': a metric has no {end!r}",
            hint=f'NAME:{"|".join(OF_METRIC)}; a colon in the name: metrics."NAME"',
        )
    return f"{name}.{end}"


def _joined(name: str, end: str) -> str:
    return f"{name}.{end}" if end else name


def _split(rest: str) -> tuple[str, str]:
    """A user's name and what follows its last dot outside quotes.

    Quotes are resolved, but for a part with a dot behind others: of two names of one path, one has them (`d."a.b"`).
    """
    pieces, inside, start, at = [], False, 0, 0
    while at < len(rest):
        if rest[at] == "\\" and inside:
            at += 1
        elif rest[at] == '"':
            inside = not inside
        elif rest[at] == "." and not inside:
            pieces.append(rest[start:at])
            start = at + 1
        at += 1
    pieces = [piece if at and "." in piece else _unquote(piece) for at, piece in enumerate([*pieces, rest[start:]])]
    return (pieces[0], "") if len(pieces) == 1 else (".".join(pieces[:-1]), pieces[-1])


def _unquote(piece: str) -> str:
    return unquote(piece) if piece.startswith('"') else piece
