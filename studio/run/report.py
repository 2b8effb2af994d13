"""What is said about a run when it is over."""

from __future__ import annotations

from pathlib import Path

from ..errors import nearest
from ..experiment import Experiment
from ..units import show_duration

MOST_NAMES = 8
"""So many metrics are named at most."""


def closing_line(experiment: Experiment, modeldir: Path, where: str = "") -> str:
    """One line: key, status, duration, and the next command to type.

    Args:
        modeldir: The run's own folder of checkpoints; serving is proposed if there is one that can be served.
        where: Options that the next command needs, such as ` --store URL`.
    """
    times = experiment.times
    took = show_duration((times.finished or times.added) - (times.started or times.added))
    how = ""
    if experiment.exit is not None and experiment.status != "finished":
        number, code = experiment.exit.signal, experiment.exit.code
        detail = f", signal {number}" if number else f", code {code}" if code is not None else ""
        how = f" ({experiment.exit.reason}{detail})"
    following = f"runs show {experiment.key}"
    if experiment.kind == "serving":
        following = f"runs logs {experiment.key}"
    elif experiment.status == "finished" and _can_be_served(modeldir):
        following = f"serve {experiment.key}"
    return f"studio run: {experiment.key} {experiment.status}{how} after {took}; next: studio {following}{where}"


def lacking_metric(experiment: Experiment) -> str:
    """What to say if `--metric` names one that the script never logged; "" if all is well or the run failed."""
    name = experiment.metric.name if experiment.metric is not None else ""
    if not name or experiment.status != "finished" or name in experiment.summary:
        return ""
    logged = sorted(n for n in experiment.summary if not n.startswith("system/"))
    more = f" and {len(logged) - MOST_NAMES} more" if len(logged) > MOST_NAMES else ""
    known = ", ".join(logged[:MOST_NAMES]) + more if logged else "no metric"
    guess = nearest(name, logged)
    return f"--metric: {name} was never logged; logged: {known}" + (f"; {guess}" if guess else "")


def _can_be_served(modeldir: Path) -> bool:
    if not modeldir.is_dir() or not any(modeldir.iterdir()):
        return False
    from ..models.find import find_checkpoints

    return bool(find_checkpoints(modeldir))
