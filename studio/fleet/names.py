"""Which models an experiment or a folder holds, for the shell's completion of `studio serve WHAT --model`."""

from __future__ import annotations

from .. import config
from ..errors import StudioError
from ..models.find import model_names
from ..models.folder import look_into
from ..models.note import parse_note, read_note
from ..serve.resolve import resolve
from ..tracking import Tracking


def model_names_of(what: str | None, store: str | None, project: str | None) -> list[str]:
    """What `--model` takes for WHAT; nothing if that cannot be found out."""
    if not what:
        return []
    try:
        settings = config.load({"store": store, "project": project})
        tracking = Tracking(settings["store"], config.home())
        found = resolve(what, tracking=tracking, project=settings["project"], owner=settings["owner"])
        if found.path is not None:
            folder = found.path if found.path.is_dir() else found.path.parent
            return model_names(look_into(folder).checkpoints, folder, read_note(folder))
        ref = found.experiment.artifacts.get("modeldir") if found.experiment is not None else None
        if ref is None or ref.manifest is None:
            return []
        return [kept.name for kept in parse_note(tracking.artifacts.read(ref.manifest, ".studio.json")).models]
    except (StudioError, OSError):
        return []
