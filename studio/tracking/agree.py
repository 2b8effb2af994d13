"""Whether a rerun did what the run before it did: its outcome, its parameters and variables, then its metrics.

Metrics are judged by what is deterministic, at the steps that both have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..experiment import Experiment
from ..units import counted
from . import Tracking
from .apart import TOLERANCE, apart, check_tolerance, clocked, is_own, numbers, own_metrics, same
from .cells import MISSING, Cell, Difference, Secret, Unknown, rows
from .compare import Sheet, modules, parameters, variables
from .damage import Kept, curves_of

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_TIMES = frozenset(
    {"time", "times", "seconds", "secs", "sec", "ms", "duration", "elapsed", "eta", "runtime", "walltime", "wallclock",
     "throughput", "fps", "timestamp", "latency", "tps", "qps"}
)  # fmt: skip
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
_MOST, _VALUE_CHARS, _ERROR_CHARS = 5, 60, 120
_COUNTED = frozenset({"step", "steps", "error", "mae", "mse", "rmse", "loss", "accuracy"})


@dataclass(slots=True)
class Agreement:
    """How two runs of the same code compare.

    Attributes:
        hindrances: Why they cannot agree, whatever the metrics say: a line for each of outcome, parameters, variables,
            modules that were not captured, damaged curves. Empty if nothing is in the way.
        unknown: What nobody can tell: parameters, variables and modules whose values are not kept.
        differences: What differs, as `compare` tells it.
        judged: Metrics that agree, or differ.
        unequal: A text for each metric that agrees, but of which one run has more points.
        clocked: How many curves are sampled by the clock: when, and so what, they show depends on the machine's speed.
        timed: Metrics that differ, but by their names measure time or speed: no two runs have the same.
    """

    hindrances: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    judged: int = 0
    unequal: list[str] = field(default_factory=list)
    clocked: int = 0
    timed: list[str] = field(default_factory=list)


def agreement(before: Experiment, again: Experiment, tracking: Tracking, *, tolerance: float = TOLERANCE) -> Agreement:
    """Compares outcome, parameters, variables, modules that were not captured, and every metric that one logged.

    Raises:
        ConfigError: the tolerance is negative, infinite or no number.
    """
    check_tolerance(tolerance)
    out = Agreement()
    pair = (before, again)
    kept = [curves_of(e, tracking) for e in pair]
    out.hindrances += filter(None, [_outcome(before, again)])
    out.hindrances += _unequal(pair, "parameters", [parameters(e) for e in pair], out.unknown)
    if any(e.env is None for e in pair):
        out.unknown.append("the variables, which were not recorded")
    else:
        out.hindrances += _unequal(pair, "variables", [variables(e) for e in pair], out.unknown)
    out.hindrances += [f"{one.key}: {line}" for one in pair if one.git is not None for line in one.git.resumed]
    out.hindrances += _modules(pair, out.unknown)
    for one, found in zip(pair, kept, strict=True):
        own = [(name, why) for name, why in found.damaged.items() if is_own(name)]
        out.hindrances += [f"the curve {name} of {one.key} is {why}" for name, why in own]
    _metrics(pair, kept, tolerance, out)
    return out


def _modules(pair: tuple[Experiment, Experiment], unknown: list[str]) -> Iterator[str]:
    """A line on modules that neither run captured and that are not the same; the others go to `unknown`."""
    sheets = [modules(e) for e in pair]
    common = set(sheets[0]) & set(sheets[1])
    alone = sorted(set(sheets[0]) ^ set(sheets[1]))
    if alone:
        unknown.append(f"modules that one of the two did not capture, or not import: {', '.join(alone[:_MOST])}")
    yield from _unequal(pair, "modules", [{name: s[name] for name in sorted(common)} for s in sheets], unknown)


def _outcome(before: Experiment, again: Experiment) -> str:
    """That one did not finish; "" if both did."""
    ends = [_end(e) for e in (before, again)]
    if ends == ["finished", "finished"]:
        return ""
    if ends[0] == ends[1]:
        return f"{again.key} {ends[1]}, as {before.key} did"
    return f"{again.key} {ends[1]}, {before.key} {ends[0]}"


def _end(experiment: Experiment) -> str:
    end = experiment.exit
    if end is None or experiment.status == end.reason == "finished":
        return experiment.status
    error = f"{end.error.type}: {end.error.message}"[:_ERROR_CHARS] if end.error is not None else ""
    reason = "" if end.reason == experiment.status else end.reason
    code = f"code {end.code}" if end.code else f"signal {end.signal}" if end.signal else ""
    why = ", ".join(filter(None, [reason, code, error]))
    return experiment.status + (f" ({why})" if why else "")


def _unequal(pair: tuple[Experiment, Experiment], what: str, sheets: list[Sheet], unknown: list[str]) -> Iterator[str]:
    """A line on values that are not the same in both; names of those that nobody can compare go to `unknown`."""
    before, again = sheets
    texts: list[str] = []
    for row in rows(what, [_plain(sheet, e.key) for sheet, e in zip(sheets, pair, strict=True)]):
        name = row.name
        if _nobody_can_tell(before.get(name), again.get(name)):
            unknown.append(f"{name} (secret)")
        elif name not in again:
            texts.append(f"without {name}")
        else:
            had = row.values[0] if name in before else "none"
            texts.append(f"{name} {_short(row.values[1])} (was {_short(had)})")
    if texts:
        more = f" and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
        yield f"{pair[1].key} ran with other {what} than {pair[0].key}: {', '.join(texts[:_MOST])}{more}"


def _plain(sheet: Sheet, key: str) -> Sheet:
    """The values without what no two runs have in common: addresses in memory, and the run's own folder."""
    found: dict[str, object] = {}
    for name, value in sheet.items():
        if isinstance(value, str):
            value = _ADDRESS.sub("at 0x…", value).replace(f"/experiments/{key}", "/experiments/…")
        found[name] = value
    return found


def _nobody_can_tell(one: Cell, other: Cell) -> bool:
    """Whether both look alike, and are not known whole: without digests, or with digests of other salts."""
    if isinstance(one, Secret) and isinstance(other, Secret):
        return one.shown == other.shown and one.salt != other.salt
    return isinstance(one, Unknown) and one == other


def _short(text: str) -> str:
    return text if len(text) <= _VALUE_CHARS else f"{text[: _VALUE_CHARS - 1]}…"


def _metrics(pair: tuple[Experiment, Experiment], kept: Sequence[Kept], tolerance: float, out: Agreement) -> None:
    sheets = [own_metrics(e) for e in pair]
    curves = [one.curves for one in kept]
    for name in sorted({*sheets[0], *sheets[1]}):
        if any(name in one.damaged for one in kept):
            continue
        if any(clocked(e, name) for e in pair):
            out.clocked += 1
            continue
        found = [sheet[name].last if name in sheet else None for sheet in sheets]
        counts = [len(c.curve(name)[0]) for c in curves]
        told: list[Difference] = []
        if not all(counts):  # one did not log it, or its points are not there any more
            if not same(found[0], found[1], tolerance):
                told.append(Difference("metrics", name, numbers(found)))
        elif step := apart(curves[0], curves[1], name, tolerance):
            if not same(found[0], found[1], tolerance):
                told.append(Difference("metrics", name, numbers(found)))
            told.append(Difference("curves part at", name, (MISSING, step)))
        elif counts[0] != counts[1]:
            out.unequal.append(f"{name} has {counted(counts[1], 'point')}, had {counts[0]:,}")
        if told and None not in found and measures_time(name):
            out.timed.append(name)
            continue
        out.judged += 1
        out.differences += told


def measures_time(name: str) -> bool:
    """Whether a metric's name says that it is a time or a speed: `epoch_time`, `sec/it`, `samples_per_second`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if "it/s" in name or "/sec" in name or ("per" in words and words[-1] in ("s", "second", "sec")):
        return True
    return not _TIMES.isdisjoint(words) and _COUNTED.isdisjoint(words)
