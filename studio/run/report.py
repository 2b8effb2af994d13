"""What is said about a run when it is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError, nearest
from ..experiment import Experiment
from ..units import show_duration
from .ending import signal_name

if TYPE_CHECKING:
    from ..models.note import Lost, Note

MOST_NAMES = 8
"""So many metrics are named at most."""


def closing_line(
    experiment: Experiment, modeldir: Path, where: str = "", *, descendants: Callable[[], Sequence[Experiment]] = tuple
) -> str:
    """One line: key, status, duration, and the next command to type.

    Args:
        modeldir: The run's own folder of checkpoints; serving is proposed if there is one that can be served.
        where: Options that the next command needs, such as ` --store URL`.
        descendants: Finds its children and theirs, of which the newest is proposed where it kept no model itself.
    """
    times = experiment.times
    took = show_duration(times.took() or 0.0)
    following, reason = f"runs show {experiment.key}", ""
    if experiment.kind == "serving":
        following = f"runs logs {experiment.key}"
    elif experiment.status in ("finished", "stopped") and (found := _to_serve(experiment, modeldir, descendants)):
        key, why = found
        following = f"serve {key}" + " --wrapper wrapper.py" * bool(why)
        reason = f"; {why}, so write a wrapper (docs/howto/wrappers.md), such as wrapper.py" if why else ""
    when = f" after {took}" if times.started else " before it began"
    ended = f"{experiment.status}{_how(experiment)}{when}{reason}"
    return f"studio run: {experiment.key} {ended}; next: studio {following}{where}"


def _how(experiment: Experiment) -> str:
    """What ended it, if not the script itself: ` by Ctrl-C`, ` with code 1`, ` with SIGKILL (out of memory)`."""
    end = experiment.exit
    if end is None or experiment.status not in ("stopped", "failed"):
        return ""
    if experiment.status == "stopped":
        host = experiment.host.name if experiment.host is not None else ""
        return f" by {end.by}" if end.by and end.by != f"{experiment.owner}@{host}" else ""
    what = f" with {signal_name(end)}" if end.signal else f" with code {end.code}" if end.code is not None else ""
    return what + (" (out of memory)" if end.reason == "out-of-memory" else "")


def lacking_metric(experiment: Experiment) -> str:
    """What to say if `--metric` names one that the script never logged; "" if all is well or the run failed."""
    name = experiment.metric.name if experiment.metric is not None else ""
    if not name or experiment.status != "finished" or name in experiment.summary:
        return ""
    logged = sorted(n for n in experiment.summary if not n.startswith("system/"))
    more = f" and {len(logged) - MOST_NAMES} more" if len(logged) > MOST_NAMES else ""
    known = ", ".join(logged[:MOST_NAMES]) + more if logged else "no metrics"
    guess = nearest(name, logged)
    return f"--metric: {name} was never logged. The script logged {known}" + (f"; {guess}" if guess else "")


def kept_models(experiment: Experiment, modeldir: Path, where: str = "") -> list[str]:
    """Which of the models that the script trained is *the* model, and why; the others, and what could not be kept."""
    note = _note(modeldir)
    if experiment.kind == "serving" or note is None:
        return []
    lines, chosen = [], note.chosen
    if chosen is not None:
        line = f"the model is {chosen.name} ({chosen.file}): {chosen.reason}"
        others = [
            f"{kept.name} ({', '.join(filter(None, (kept.file, kept.reason)))})"
            for kept in note.models
            if kept is not chosen
        ]
        if others:
            more = f" and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
            line += f". Also kept: {', '.join(others[:MOST_NAMES])}{more}"
            line += f". To serve another: studio serve {experiment.key} --model NAME{where}"
        lines.append(line)
    if note.dropped:
        what = "1 more model was" if note.dropped == 1 else f"{note.dropped} more models were"
        lines.append(f"{what} not kept: studio keeps the newest ones")
    if (lost := _lost_last(note)) is not None:
        lines.append(f"the model that was trained last, {lost.name}, could not be kept: {lost.why}")
    return ["studio run: " + line for line in lines]


def with_models(experiment: Experiment, modeldir: Path | None) -> Experiment:
    """The record with `models`: name, file, whether it is *the* model, and why.

    `not_kept` has the name of the model that was trained last, and why, if it is none of these.
    """
    note = _note(modeldir) if modeldir is not None else None
    if note is None:
        return experiment
    models = [{"name": m.name, "file": m.file, "chosen": m.chosen, "reason": m.reason} for m in note.models]
    lost = _lost_last(note)
    further: dict[str, object] = {"models": models} if models else {}
    further |= {"not_kept": {"name": lost.name, "why": lost.why}} if lost is not None else {}
    known = {name: value for name, value in experiment.extra.items() if name != "not_kept"}
    return experiment.with_changes(extra={**known, **further})


def _lost_last(note: Note) -> Lost | None:
    """The model that was trained last, if it could not be kept, or not as it was at the end."""
    lost, chosen = max(note.lost, key=lambda lost: lost.trained, default=None), note.chosen
    return lost if lost is not None and (chosen is None or lost.trained > chosen.trained) else None


def _note(modeldir: Path) -> Note | None:
    if not (modeldir / ".studio.json").is_file():
        return None
    from ..models.note import read_note

    return read_note(modeldir)


def _to_serve(
    experiment: Experiment, modeldir: Path, descendants: Callable[[], Sequence[Experiment]]
) -> tuple[str, str] | None:
    """The key of the run, or else of its newest child, that kept what can be served, and why that needs a wrapper."""
    if (why := _outlook(modeldir)) is not None:
        return experiment.key, why
    if modeldir.is_dir() and any(modeldir.iterdir()):
        from ..models.folder import look_into

        if look_into(modeldir).checkpoints:  # one of its own that cannot be served is no reason to serve another
            return None
    runs = modeldir.parent.parent
    try:
        below = descendants()
    except StoreError:  # it is away, which was said
        return None
    for child in sorted(below, key=lambda child: (-child.times.added, child.key)):
        if (why := _outlook(runs / child.key / modeldir.name)) is not None:
            return child.key, why
    return None


def _outlook(modeldir: Path) -> str | None:
    """What `models.standin` says of a folder; None for an empty one, without an import."""
    if not modeldir.is_dir() or not any(modeldir.iterdir()):
        return None
    from ..models.standin import outlook

    return outlook(modeldir)
