"""Which models an experiment or a folder holds, for the shell's completion of `studio serve WHAT --model`."""

from __future__ import annotations

from .. import config
from ..errors import StudioError
from ..models.find import model_names
from ..serve.resolve import resolve
from ..tracking import Tracking
from .choice import models_of


def model_names_of(what: str | None, store: str | None, project: str | None) -> list[str]:
    """What `--model` takes for WHAT; nothing if that cannot be found out."""
    if not what:
        return []
    try:
        settings = config.load({"store": store, "project": project})
        tracking = Tracking(settings["store"], config.home())
        found = resolve(what, tracking=tracking, project=settings["project"], owner=settings["owner"])
        return model_names(*models_of(found, tracking))
    except (StudioError, OSError):
        return []
