"""The JSON form of the records: strict JSON out, checked shapes in; unknown fields survive a round trip.

One field that cannot be read costs no record: see `readable`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from ..errors import ConfigError
from . import nonfinite
from .names import NAME
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
    Variable,
)
from .values import DEEPEST, check_depth, count, flag, moment, real, shape, text, texts, well_formed, whole

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]

Faults = dict[tuple[str, ...], str]
"""Fields that cannot be read, by their place in the record, and why not."""

R = TypeVar("R")


def to_json(record: Any) -> dict[str, Any]:
    """The JSON object of any record of this module; its `extra` fields are put back where they came from.

    Strict JSON comes out: NaN and infinities as "NaN", "Infinity", "-Infinity", with the field `nonfinite` where a
    parameter has to be told from such a text; numpy scalars as numbers; what JSON has no form for (in parameters, say)
    as its text.
    """
    out = {name: _plain(getattr(record, name)) for name in _PLANS[type(record)].names}
    if type(record) is Experiment and (known := nonfinite.places(record.params)) is not None:
        out[NONFINITE] = [[well_formed(s) if isinstance(s, str) else s for s in place] for place in known]
    if type(record) is Experiment and not record.digests:
        del out["digests"]
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
        raise ConfigError(f"no {kind.__name__.lower()} record: {shape(data)}, not an object")
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
            raise ConfigError(f"no {kind.__name__.lower()} record: it has no {name!r}")
        put(record, plan.default(name))
    if kind is Experiment and data.get("params"):
        known = data.get(NONFINITE)
        params = nonfinite.restored(data["params"], known if known is None else nonfinite.check(known))
        object.__setattr__(record, "params", params)
    extra = {} if found == len(data) else {k: v for k, v in data.items() if k not in plan.known}
    if extra:
        check_depth(extra.values())
    plan.put_extra(record, extra)
    return record


def readable(data: Mapping[str, Any], kind: type = Experiment) -> tuple[dict[str, Any], Faults]:
    """A record's JSON object without the fields that have a wrong shape, and which these are; `from_json` takes it.

    Raises:
        ConfigError: it is no record at all: no object, or one of the fields that must be there is missing or wrong.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"no {kind.__name__.lower()} record: {shape(data)}, not an object")
    plan = _PLANS[kind]
    out: dict[str, Any] = {}
    faults: Faults = {}
    for name, value in data.items():
        try:
            out[name], below = _part(kind, name, value)
        except ConfigError as exc:
            if name in plan.required:
                raise
            faults[name,] = exc.message
        else:
            faults.update({(name, *place): why for place, why in below.items()})
    from_json(kind, out)
    return out, faults


def _part(kind: type, name: str, value: Any) -> tuple[Any, Faults]:
    """What can be read of one field; raises ConfigError if nothing can."""
    plan = _PLANS[kind]
    one, each = _RECORDS.get((kind, name)), _RECORDS_BY_NAME.get((kind, name))
    if value is None:
        return value, {}
    if one is not None:
        return readable(value, one)
    if kind is Experiment and name in _LISTS and isinstance(value, list):
        return _only_texts(name, value)
    if (each is None and name != "params") or not isinstance(value, Mapping):
        plan.check(name, value)
        return value, {}
    out, faults = {}, {}
    for key, entry in value.items():
        try:
            if each is None:
                check_depth([entry])
                out[key] = entry
            else:
                if each is ArtifactRef:
                    _check_artifact(key)
                out[key], below = readable(entry, each)
                faults.update({(key, *place): why for place, why in below.items()})
        except ConfigError as exc:
            faults[key,] = exc.message
    return out, faults


def _only_texts(name: str, value: list[Any]) -> tuple[list[Any], Faults]:
    """The texts of a list; what else is in it is one fault of the whole field."""
    texts = [one for one in value if isinstance(one, str | int | float)]
    odd = next((one for one in value if not isinstance(one, str | int | float)), None)
    return texts, {(): f"{name} holds {shape(odd)}, not only texts"} if len(texts) < len(value) else {}


def put_back(changed: dict[str, Any], before: Mapping[str, Any], raw: Mapping[str, Any], faults: Faults) -> Faults:
    """Gives a record's new JSON object the values that could not be read, where the change set no others.

    Args:
        before: The object of the record that was changed, without those values.
        raw: The object as it was read, with them.

    Returns:
        Those of the faults that the new object has.
    """
    left: Faults = {}
    for place, why in faults.items():
        into, old, source = changed, before, raw
        for name in place[:-1]:
            into, old, source = into.get(name) or {}, old.get(name) or {}, source[name]
        if into.get(place[-1]) == old.get(place[-1]):
            into[place[-1]] = _plain(source[place[-1]])
            left[place] = why
    return left


_new = object.__new__  # a frozen class's own constructor costs twice as much, and a listing builds thousands


def _plain(value: Any, room: int = DEEPEST) -> Any:
    of = type(value)
    if of is str:
        return well_formed(value)
    if of is bool or value is None:
        return value
    if of is int:
        return whole(value)
    if of is float:
        return value if value - value == 0 else nonfinite.spelled(value)
    if of in _PLANS:
        return to_json(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if not room:
            return "<nested too deeply>"
        if isinstance(value, Mapping):
            return {well_formed(str(k)): _plain(v, room - 1) for k, v in value.items()}
        return [_plain(v, room - 1) for v in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return whole(value)
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, float):
        return _plain(float(value))
    scalar = getattr(value, "item", None)
    if callable(scalar) and getattr(value, "shape", None) == ():
        return _plain(scalar())
    return well_formed(str(value))


def _params(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"params is {shape(value)}, not an object")
    check_depth(value.values())
    return dict(value)


def _digests(value: Any) -> dict[str, tuple[str, str]]:
    pairs = value.items() if isinstance(value, Mapping) else [("", value)]
    found: dict[str, tuple[str, str]] = {}
    for name, one in pairs:
        if not (isinstance(one, list | tuple) and len(one) == 2 and {*map(type, one)} == {str}):
            raise ConfigError("digests is no object of pairs of texts")
        found[name] = one[0], one[1]
    return found


def _one(kind: type[R]) -> Callable[[Any], R]:
    return lambda value: from_json(kind, value)


def _artifacts(value: Any) -> dict[str, ArtifactRef]:
    found = _each("artifacts", _one(ArtifactRef))(value)
    for name in found:
        _check_artifact(name)
    return found


def _check_artifact(name: str) -> None:
    """A run that starts from the artifact makes a folder of this name, which must not lie elsewhere."""
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"artifacts.{name[:100]}: not a valid name")


def _each(what: str, build: Callable[[Any], R]) -> Callable[[Any], dict[str, R]]:
    def build_all(value: Any) -> dict[str, R]:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{what} is {shape(value)}, not an object")
        return {k: build(v) for k, v in value.items()}

    return build_all


def _summary(value: Any) -> Summary:
    """What from_json does, for the record of which an experiment has dozens."""
    try:
        last, low, high, first = value["last"], value["min"], value["max"], value.get("first")
        step, count, known = value["step"], value["count"], 6 if "first" in value else 5
    except (AttributeError, KeyError, TypeError):
        return from_json(Summary, value)
    whole = type(step) is type(count) is int and -_BITS_63 <= step < _BITS_63 and 0 <= count < _BITS_63
    if len(value) != known or not whole or not (type(last) is type(low) is type(high) is float):
        return from_json(Summary, value)
    record = _new(Summary)
    put_last, put_min, put_max, put_step, put_count, put_first, put_extra = _SUMMARY
    put_last(record, last)
    put_min(record, low)
    put_max(record, high)
    put_step(record, step)
    put_count(record, count)
    put_first(record, first if first is None or type(first) is float else real(first))
    put_extra(record, {})
    return record


NONFINITE = "nonfinite"
_BITS_63 = 2**63
_SUMMARY = tuple(getattr(Summary, f.name).__set__ for f in fields(Summary))


class _Plan:
    """How a class is read: for each field its setter, what builds its value, and whether it may be None."""

    __slots__ = ("_builders", "_defaults", "fields", "known", "names", "put_extra", "required")

    def __init__(self, kind: Any, builders: Mapping[str, Callable[[Any], Any]], nullable: str = "") -> None:
        all_ = [f for f in fields(kind) if f.name != "extra"]
        self.names = tuple(f.name for f in all_)
        self.known = frozenset(self.names) | ({NONFINITE} if kind is Experiment else frozenset())
        null = set(nullable.split()) | {f.name for f in all_ if f.default is None}
        self.fields = tuple((n, getattr(kind, n).__set__, builders.get(n), n in null) for n in self.names)
        self.required = frozenset(f.name for f in all_ if f.default is MISSING and f.default_factory is MISSING)
        self._defaults = {f.name: f.default for f in all_ if f.default is not MISSING}
        self._builders = builders
        self.put_extra = kind.extra.__set__

    def check(self, name: str, value: Any) -> None:
        """Refuses the value of a field, be it a known one or not, by a ConfigError."""
        build = self._builders.get(name)
        if build is not None:
            build(value)
        elif name not in self.known:
            check_depth([value])

    def default(self, name: str) -> Any:
        """A field's default; a fresh mapping for those that are mappings."""
        return self._defaults.get(name, {})


def _fields(of: str, names: str, build: Callable[[str], Callable[[Any], Any]]) -> dict[str, Callable[[Any], Any]]:
    return {name: build(f"{of}.{name}" if of else name) for name in names.split()}


def _zero(what: str) -> Callable[[Any], Any]:
    return count(what, 0)


_PLANS: dict[type, _Plan] = {
    Command: _Plan(Command, {**_fields("command", "kind target python interpreter", text),
                             "args": texts("command.args")}),
    Git: _Plan(Git, {**_fields("git", "url commit branch patch", text), "dirty": flag("git.dirty")}),
    Host: _Plan(Host, {**_fields("host", "name os cpu", text), **_fields("host", "cores memory", _zero),
                       "gpus": texts("host.gpus")}),
    Resources: _Plan(Resources, _fields("resources", "cpus gpus ram hdd", count)),
    Metric: _Plan(Metric, _fields("metric", "name mode", text)),
    Summary: _Plan(Summary, {**dict.fromkeys(("last", "min", "max", "first"), real),
                             **_fields("summary", "step count", _zero)}),
    ArtifactRef: _Plan(ArtifactRef, {"mutable": flag("artifacts.mutable"), "manifest": text("artifacts.manifest"),
                                     **_fields("artifacts", "files bytes", _zero)}),
    Variable: _Plan(Variable, _fields("env", "value digest salt", text)),
    Times: _Plan(Times, {"added": moment("times.added", 0.0), **_fields("times", "started finished", moment)}),
    Failure: _Plan(Failure, _fields("exit.error", "type message frame", text)),
    Exit: _Plan(Exit, {**_fields("exit", "code signal", count), **_fields("exit", "reason by", text),
                       "error": _one(Failure)}),
}  # fmt: skip
_PLANS[Experiment] = _Plan(
    Experiment,
    {
        **_fields("", "key project owner kind status notes studio parent relation", text),
        "command": _one(Command), "packages": texts("packages"), "git": _one(Git), "host": _one(Host),
        "params": _params, NONFINITE: nonfinite.check, "given": texts("given"), "digests": _digests,
        "tags": texts("tags"), "resources": _one(Resources), "metric": _one(Metric),
        "summary": _each("summary", _summary), "artifacts": _artifacts,
        "env": _each("env", _one(Variable)), "times": _one(Times), "exit": _one(Exit), "schema": count("schema", 0),
        **_fields("", "max_duration lifetime", moment),
    },
)  # fmt: skip
_RECORDS: dict[tuple[type, str], type] = {
    (Experiment, "command"): Command, (Experiment, "git"): Git, (Experiment, "host"): Host,
    (Experiment, "resources"): Resources, (Experiment, "metric"): Metric, (Experiment, "times"): Times,
    (Experiment, "exit"): Exit, (Exit, "error"): Failure,
}  # fmt: skip
_LISTS = ("tags", "given", "packages")
"""Of these one wrong value costs no other; a command without one of its arguments would be another command."""
_RECORDS_BY_NAME: dict[tuple[type, str], type] = {
    (Experiment, "summary"): Summary, (Experiment, "artifacts"): ArtifactRef, (Experiment, "env"): Variable,
}  # fmt: skip
