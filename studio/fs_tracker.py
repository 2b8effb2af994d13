"""Where a script finds its artifacts, inside and outside a run; the original's names, standard library only."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from .run.inject import _studio_track

__all__ = [
    "get_artifact", "get_artifact_cache", "get_artifacts", "get_blob_cache", "get_experiment_key",
    "get_model_directory", "get_queue_directory", "get_studio_home", "get_tensorboard_dir", "setup_experiment",
]  # fmt: skip

KEY, MAPPING, HOME = "STUDIOML_EXPERIMENT", "STUDIOML_ARTIFACT_MAPPING", "STUDIOML_HOME"


def get_studio_home() -> str:
    """The local folder of everything, `~/.studioml` unless STUDIOML_HOME says otherwise."""
    return os.path.expanduser(os.environ.get(HOME) or os.path.join("~", ".studioml"))


def get_experiment_key() -> str:
    """The key of the experiment that this process belongs to; outside a run a new one, kept until the process ends."""
    here = _studio_track.place()
    if here is not None and here.key is not None:
        return here.key
    with _studio_track.first():  # two threads must not get two keys
        return os.environ.setdefault(KEY, str(uuid.uuid4()))


def get_artifacts() -> dict[str, str]:
    """Name → path of every artifact of this run; empty outside a run."""
    return {str(name): str(path) for name, path in _studio_track.artifacts().items()}


def get_artifact(tag: str) -> str | None:
    """The path of the artifact `tag`, None if the run has none of this name; outside a run `../<tag>`."""
    here = _studio_track.place()
    if MAPPING not in os.environ and (here is None or here.mapping is None):
        return os.path.join(os.getcwd(), "..", tag)
    return get_artifacts().get(tag)


def get_artifact_cache(tag: str, experiment_name: str | None = None) -> str:
    """Where the artifact `tag` of an experiment (default: this one) is kept on this machine."""
    if experiment_name is None and tag in get_artifacts():
        return get_artifacts()[tag]
    return os.path.join(get_studio_home(), "experiments", experiment_name or get_experiment_key(), tag)


def get_model_directory(experiment_name: str | None = None) -> str:
    """The folder for checkpoints, captured as the artifact `modeldir`; made if it is not there."""
    return _made(get_artifact_cache("modeldir", experiment_name))


def get_tensorboard_dir(experiment_name: str | None = None) -> str:
    """The folder for TensorBoard's event files, captured as the artifact `tb`; made if it is not there."""
    return _made(get_artifact_cache("tb", experiment_name))


def get_blob_cache(blobkey: str) -> str:
    """Where an immutable blob of this digest is kept on this machine."""
    return os.path.join(get_studio_home(), "blobcache", blobkey.rpartition("/")[2])


def get_queue_directory() -> str:
    """The folder of the local queue; made if it is not there."""
    return _made(os.path.join(get_studio_home(), "queue"))


def setup_experiment(env: dict[str, str], experiment: object, clean: bool = True) -> None:
    """Puts into `env` what a script needs to find the artifacts of `experiment` (a record or a key).

    Args:
        env: The environment to change, as for `subprocess`.
        experiment: An `Experiment` or its key.
        clean: Whether its folders for checkpoints and TensorBoard are emptied first.
    """
    import shutil

    key = getattr(experiment, "key", None) or str(experiment)
    found: Mapping[str, object] = getattr(experiment, "artifacts", None) or {}
    folder = Path(get_studio_home(), "experiments", key)
    mapping = {}
    for tag in {*found, "modeldir", "tb"} - {"workspace"}:
        path = folder / tag
        if clean and tag in ("modeldir", "tb"):
            shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if tag in ("modeldir", "tb"):
            path.mkdir(mode=0o700, exist_ok=True)
        mapping[tag] = str(path)
    env[KEY] = key
    env[MAPPING] = json.dumps(mapping)


def _made(folder: str) -> str:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder
