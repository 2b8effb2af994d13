"""Which modules that a script imported are in no artifact of its run, so that only their digests are kept."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import StudioError
from ..experiment import SCRIPT, Experiment, Module
from ..tracking import Tracking
from ..tracking.named_secrets import named_secrets
from ..tracking.sensitive import secret_by_content, secret_path
from .redact import clean, redact_source

OURS = Path(__file__).resolve().parents[1]
LARGEST = 16 << 20
"""Nothing is said of the content of a larger file."""


def unkept(
    files: Sequence[tuple[str, str]], experiment: Experiment, roots: Mapping[str, Path], tracking: Tracking
) -> list[Module]:
    """Those of the modules that neither the workspace nor the script's own artifact has.

    Args:
        files: Name and file of each module.
        roots: Where the artifacts of the run are on this machine.
    """
    found = [(name, Path(os.path.realpath(file))) for name, file in files]
    own = [(name, path) for name, path in found if not path.is_relative_to(OURS)]
    places = _kept(experiment, roots, tracking) if own else []
    outside = [
        (name, path)
        for name, path in own
        if not any(path.is_relative_to(root) and str(path.relative_to(root)) in members for root, members in places)
    ]
    return [Module(clean(name), clean(str(path)), _digest(path, tracking)) for name, path in outside]


def _kept(
    experiment: Experiment, roots: Mapping[str, Path], tracking: Tracking
) -> Iterable[tuple[Path, frozenset[str]]]:
    """Folder and files of each artifact that has code."""
    found = []
    for name in ("workspace", SCRIPT):
        ref, root = experiment.artifacts.get(name), roots.get(name)
        if ref is None or ref.manifest is None or root is None:
            continue
        try:
            members = frozenset(entry.path for entry in tracking.artifacts.manifest(ref.manifest).files)
        except StudioError:
            continue
        real = Path(os.path.realpath(root))
        found.append((real if real.is_dir() else real.parent, members))
    return found


def _content(path: Path) -> bytes | None:
    """Of a plain file that is not too large: a module may say of a pipe or a device that it is from there."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        data = file.read(LARGEST + 1)
    return data if len(data) <= LARGEST else None


def _digest(path: Path, tracking: Tracking) -> str | None:
    """Of the text without what looks like a secret: nobody is to try values against it."""
    try:
        data = None if secret_path(str(path)) else _content(path)
    except OSError:
        return None
    if data is None or secret_by_content(data) or named_secrets(tracking.home).why_content(data):
        return None
    return hashlib.sha256(redact_source(str(path), data)[0]).hexdigest()
