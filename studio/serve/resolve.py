"""What a user means by the WHAT of `studio serve WHAT`: a path, an experiment, later a published model."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, ExperimentNotFound, ModelNotFound
from ..experiment import Experiment
from ..models.folder import kind_of, shown
from ..tracking import Tracking
from ..tracking.find import find_experiment

_VERSIONED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*[:@][A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Resolved:
    """One servable thing.

    Attributes:
        path: A folder with checkpoints, one checkpoint, or a wrapper (`.py`); None for an experiment.
        experiment: The experiment whose `modeldir` is meant; None for a path.
    """

    path: Path | None = None
    experiment: Experiment | None = None

    @property
    def is_wrapper(self) -> bool:
        """Whether the path is Python code that makes the model."""
        return self.path is not None and self.path.suffix == ".py"


def resolve(what: str, *, tracking: Tracking, project: str | None = None, owner: str | None = None) -> Resolved:
    """Finds what `what` means, in this order: a path with `/`, a model's version or alias, a file or folder here,
    an experiment's key, `last`, the unique beginning of a key.

    Raises:
        ConfigError: it means two things, which the message lists.
        ExperimentNotFound: nothing has this name; the hint is the nearest key.
        ModelNotFound: it has the form of a model's name, and there is none.
    """
    here, slash = _expanded(what), "/" in what
    exists = _exists(here, what)
    if slash:
        if not exists:
            raise ConfigError(
                f"no file or folder {shown(what)}",
                hint="an experiment is named by its key or `last`, without a slash",
            )
        return Resolved(path=here.absolute())
    if not exists and _VERSIONED.fullmatch(what):
        raise ModelNotFound(f"no model {what!r}", hint="serve an experiment (its key, or last) or a path")
    experiment = _experiment(what, tracking, project, owner, needed=not exists)
    if experiment is not None and exists:
        raise ConfigError(
            f"{what!r} means two things: the path ./{what} and the experiment {experiment.key}",
            hint=f"write ./{what} or the whole key",
        )
    return Resolved(experiment=experiment) if experiment is not None else Resolved(path=here.absolute())


def _expanded(what: str) -> Path:
    try:
        return Path(what).expanduser()
    except RuntimeError as exc:  # ~somebody who is not there
        raise ConfigError(f"no file or folder {shown(what)}: {exc}") from exc


def _exists(here: Path, what: str) -> bool:
    """Whether a file or folder is there that can be read; nothing else is ever opened.

    Raises:
        ConfigError: there is something, and it is neither a file nor a folder, or may not be read.
    """
    name = shown(what)
    hint = f"look at: ls -ld {name}"
    try:
        mode = os.stat(here).st_mode
    except (FileNotFoundError, NotADirectoryError) as exc:
        if here.is_symlink():
            raise ConfigError(f"{name} is a link that leads nowhere", hint=hint) from exc
        return False
    except ValueError:  # a null byte in it
        return False
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:
            return False
        raise ConfigError(f"{name} cannot be read: {exc.strerror}", hint=hint) from exc
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ConfigError(f"{name} is {kind_of(mode)}: only files and folders are served", hint=hint)
    if not os.access(here, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise ConfigError(f"{name} cannot be read: {os.strerror(errno.EACCES)}", hint=hint)
    return True


def _experiment(
    what: str, tracking: Tracking, project: str | None, owner: str | None, *, needed: bool
) -> Experiment | None:
    try:
        return find_experiment(tracking, what, project=project, owner=owner)
    except (ExperimentNotFound, ConfigError):
        if needed:
            raise
        return None
