"""Tracked files that git was told not to look at: `--assume-unchanged`, `--skip-worktree`, and sparse checkouts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from .gitcall import Caller

FLAGS = ("ls-files", "-v", "-z", "--full-name", ":/")
"""Names every tracked file with its flags; git reads its index for it and no folder."""


class Hidden(NamedTuple):
    """Files of whose changes `git status` says nothing; and those of a sparse checkout, which are rightly not there."""

    assumed: tuple[bytes, ...] = ()
    skipped: tuple[bytes, ...] = ()
    absent: tuple[bytes, ...] = ()


def read_flags(said: bytes, root: Path) -> Hidden:
    """What `FLAGS` says of the work tree at `root`."""
    flagged = [line for line in said.split(b"\0") if line[:1] not in b"HMRCK?U"]
    assumed, skipped, absent = [], [], []
    there: dict[bytes, bool] = {}
    top = os.fsencode(root)
    for line in flagged:
        name = line[2:]
        if line[:1] in b"Ss":
            path = os.path.join(top, name)
            folder = os.path.dirname(path)
            if folder not in there:
                there[folder] = os.path.isdir(folder)
            if not there[folder] or not os.path.lexists(path):
                absent.append(name)
                continue
            skipped.append(name)
        if line[:1].islower():
            assumed.append(name)
    return Hidden(tuple(assumed), tuple(skipped), tuple(absent))


def uncover(caller: Caller, root: Path, index_file: Path, hidden: Hidden, path: Path) -> None:
    """Copies the index to `path`, without the flags of the files that are there.

    Raises:
        GitFailed: git could not change it.
    """
    shutil.copy2(index_file, path)
    for option, names in (("--no-assume-unchanged", hidden.assumed), ("--no-skip-worktree", hidden.skipped)):
        if names:
            data = b"\0".join(names) + b"\0"
            caller.run(root, "update-index", option, "-z", "--stdin", env={"GIT_INDEX_FILE": str(path)}, data=data)
