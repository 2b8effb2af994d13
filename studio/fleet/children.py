"""Refuses to serve a run whose children trained the models, and names the children that kept them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from ..errors import ModelLoadError
from ..experiment import Experiment
from ..models.folder import shown, why_left
from ..serve.resolve import Resolved
from ..tracking import Tracking
from ..tracking.find import descendants
from .choice import models_of

MOST_CHILDREN = 5
IDENTITY = "--identity serves a server that answers with its input"


def check_children(found: Resolved, options: Sequence[str], tracking: Tracking) -> None:
    """Refuses an experiment without a checkpoint of its own if its children trained models.

    Raises:
        ModelLoadError: they did. It names those that kept them, the newest first, else why the newest one has none.
    """
    parent = found.experiment
    if parent is None or "--identity" in options:
        return
    children = sorted(descendants(tracking, [parent.key]), key=lambda child: (-child.times.added, child.key))
    if not children or models_of(found, tracking)[0]:
        return
    keys = list(islice(_with_models(children, tracking), MOST_CHILDREN + 1))
    if keys:
        named = ", ".join(keys[:MOST_CHILDREN]) + (", and more" if len(keys) > MOST_CHILDREN else "")
        who = "its child did" if len(children) == 1 else "its children did"
        raise ModelLoadError(
            f"experiment {parent.key} kept no model itself; {who}: studio serve {named}", hint=IDENTITY
        )
    for child in children:
        if why := _lacking(child, tracking):
            raise ModelLoadError(f"experiment {parent.key} and its children kept no model: {why}", hint=IDENTITY)


def _with_models(children: Sequence[Experiment], tracking: Tracking) -> Iterator[str]:
    for child in children:
        if models_of(Resolved(experiment=child), tracking)[0]:
            yield child.key


def _lacking(child: Experiment, tracking: Tracking) -> str:
    """Why a child that trained has no model; "" if nothing tells that it trained."""
    lost = max(models_of(Resolved(experiment=child), tracking)[2].lost, key=lambda one: one.trained, default=None)
    if lost is not None:
        return f"{child.key} trained {lost.name}, which could not be kept: {lost.why}"
    ref = child.artifacts.get("modeldir")
    if ref is not None and ref.manifest is not None:
        for entry in tracking.artifacts.manifest(ref.manifest).files:
            if not entry.folder and (why := why_left(entry.path)):
                return f"{shown(entry.path)} of {child.key} {why}"
    return ""
