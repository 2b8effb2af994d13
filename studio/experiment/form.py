"""The JSON form of the records: strict JSON out, checked shapes in; unknown fields survive a round trip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from ..errors import ConfigError
from .records import (
    ArtifactRef,
    Command,
    Exit,
    Experiment,
    Failure,
    Git,
    Host,
    Metric,
    Resources,
    Summary,
    Times,
)

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]

R = TypeVar("R")


def to_json(record: Any) -> dict[str, Any]:
    """The JSON object of any record of this module; its `extra` fields are put back where they came from.

    Strict JSON comes out: NaN and infinities as "NaN", "Infinity", "-Infinity"; numpy scalars as numbers;
    what JSON has no form for (in parameters, say) as its text.
    """
    out = {name: _plain(getattr(record, name)) for name in _PLANS[type(record)].names}
    for name, value in record.extra.items():
        out[name] = _plain(value)
    return out


def from_json(kind: type[R], data: Mapping[str, Any]) -> R:
    """The record of class `kind` that `data` describes; unknown fields go to `extra`.

    A field that is null where the class has no None takes its default.

    Raises:
        ConfigError: a field that must be there is missing, or one has the wrong shape.
    """
    plan = _PLANS[kind]
    if not isinstance(data, Mapping):
        raise ConfigError(f"not a {kind.__name__.lower()} record: {_shape(data)}, not an object")
    record = _new(kind)
    found = 0
    for name, put, build, null in plan.fields:
        if name in data:
            found += 1
            value = data[name]
            if value is not None or null:
                put(record, value if value is None or build is None else build(value))
                continue
        if name in plan.required:
            raise ConfigError(f"not a {kind.__name__.lower()} record: it has no {name!r}")
        put(record, plan.default(name))
    extra = {} if found == len(data) else {k: v for k, v in data.items() if k not in plan.known}
    plan.put_extra(record, extra)
    return record


_new = object.__new__  # a frozen class's own constructor costs twice as much, and a listing builds thousands


def _plain(value: Any) -> Any:
    of = type(value)
    if of is str or of is int or of is bool or value is None:
        return value
    if of is float:
        return value if value - value == 0 else _spelled(value)
    if of in _PLANS:
        return to_json(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _plain(float(value))
    scalar = getattr(value, "item", None)
    if callable(scalar) and getattr(value, "shape", None) == ():
        return _plain(scalar())
    return str(value)


def _spelled(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _shape(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")


def _object(what: str) -> Callable[[Any], dict[str, Any]]:
    def build(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{what} is {_shape(value)}, not an object")
        return dict(value)

    return build


def _texts(what: str) -> Callable[[Any], tuple[str, ...]]:
    def build(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{what} is {_shape(value)}, not a list")
        return tuple(value)

    return build


def _text(what: str) -> Callable[[Any], str]:
    def build(value: Any) -> str:
        if not isinstance(value, str):
            raise ConfigError(f"{what} is {_shape(value)}, not a text")
        return value

    return build


def _real(what: str) -> Callable[[Any], float]:
    def build(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{what} is {_shape(value)}, not a number")
        return value

    return build


def _one(kind: type[R]) -> Callable[[Any], R]:
    return lambda value: from_json(kind, value)


def _each(what: str, build: Callable[[Any], R]) -> Callable[[Any], dict[str, R]]:
    def build_all(value: Any) -> dict[str, R]:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{what} is {_shape(value)}, not an object")
        return {k: build(v) for k, v in value.items()}

    return build_all


def _summary(value: Any) -> Summary:
    """What from_json does, for the record of which an experiment has dozens."""
    try:
        last, low, high, first = value["last"], value["min"], value["max"], value.get("first")
        step, count, known = value["step"], value["count"], 6 if "first" in value else 5
    except (AttributeError, KeyError, TypeError):
        return from_json(Summary, value)
    if len(value) != known or not (type(last) is type(low) is type(high) is float):
        return from_json(Summary, value)
    record = _new(Summary)
    put_last, put_min, put_max, put_step, put_count, put_first, put_extra = _SUMMARY
    put_last(record, last)
    put_min(record, low)
    put_max(record, high)
    put_step(record, step)
    put_count(record, count)
    put_first(record, first if type(first) is not str else _number(first))
    put_extra(record, {})
    return record


_SUMMARY = tuple(getattr(Summary, f.name).__set__ for f in fields(Summary))


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError as exc:
        raise ConfigError(f"{value!r} is not a number") from exc


class _Plan:
    """How a class is read: for each field its setter, what builds its value, and whether it may be None."""

    __slots__ = ("_defaults", "fields", "known", "names", "put_extra", "required")

    def __init__(self, kind: Any, builders: Mapping[str, Callable[[Any], Any]], nullable: str = "") -> None:
        all_ = [f for f in fields(kind) if f.name != "extra"]
        self.names = tuple(f.name for f in all_)
        self.known = frozenset(self.names)
        null = set(nullable.split()) | {f.name for f in all_ if f.default is None}
        self.fields = tuple((n, getattr(kind, n).__set__, builders.get(n), n in null) for n in self.names)
        self.required = frozenset(f.name for f in all_ if f.default is MISSING and f.default_factory is MISSING)
        self._defaults = {f.name: f.default for f in all_ if f.default is not MISSING}
        self.put_extra = kind.extra.__set__

    def default(self, name: str) -> Any:
        """A field's default; a fresh mapping for those that are mappings."""
        return self._defaults.get(name, {})


_PLANS: dict[type, _Plan] = {
    Command: _Plan(Command, {"kind": _text("command.kind"), "target": _text("command.target"),
                             "args": _texts("command.args")}),
    Git: _Plan(Git, {}),
    Host: _Plan(Host, {"gpus": _texts("host.gpus")}),
    Resources: _Plan(Resources, {}),
    Metric: _Plan(Metric, {"name": _text("metric.name"), "mode": _text("metric.mode")}),
    Summary: _Plan(Summary, dict.fromkeys(("last", "min", "max", "first"), _number)),
    ArtifactRef: _Plan(ArtifactRef, {"files": _real("files"), "bytes": _real("bytes")}),
    Times: _Plan(Times, {name: _real(f"times.{name}") for name in ("added", "started", "finished")}),
    Failure: _Plan(Failure, {name: _text(f"exit.error.{name}") for name in ("type", "message", "frame")}),
    Exit: _Plan(Exit, {"code": _real("exit.code"), "signal": _real("exit.signal"), "reason": _text("exit.reason"),
                       "by": _text("exit.by"), "error": _one(Failure)}),
}  # fmt: skip
_PLANS[Experiment] = _Plan(
    Experiment,
    {
        **{name: _text(name) for name in ("key", "project", "owner", "kind", "status", "notes", "studio")},
        "command": _one(Command), "packages": _texts("packages"), "git": _one(Git), "host": _one(Host),
        "params": _object("params"), "tags": _texts("tags"), "resources": _one(Resources), "metric": _one(Metric),
        "summary": _each("summary", _summary), "artifacts": _each("artifacts", _one(ArtifactRef)),
        "times": _one(Times), "exit": _one(Exit),
        "max_duration": _real("max_duration"), "lifetime": _real("lifetime"),
    },
)  # fmt: skip
