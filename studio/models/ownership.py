"""Tells whether anybody but the user could have put code into a model file: by its owner, its mode, its folders."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path


def foreign(path: Path, *, folders: bool = True) -> str:
    """Why a file or folder may hold somebody else's code, as a clause with the file as its subject; "" if it may not.

    Args:
        path: A checkpoint: a file, or a SavedModel's folder with all that is in it.
        folders: Whether the folders above count. Those of studio's own home are private and need no look.
    """
    real = Path(os.path.realpath(path))
    members = [real, *(Path(folder, name) for folder, inner, names in os.walk(real) for name in inner + names)]
    for member in members:
        about = os.lstat(member)
        if about.st_uid != os.getuid():
            return "is somebody else's"
        if not stat.S_ISLNK(about.st_mode) and folders and _open_to_others(about):
            return f"can be changed by others (mode {stat.S_IMODE(about.st_mode):04o})"
    return _folders(path, real) if folders else ""


def _folders(path: Path, real: Path) -> str:
    """The same for the folders above, of the link and of what it leads to: who may rename may replace."""
    for folder in dict.fromkeys([*path.absolute().parents, *real.parents]):
        about = os.stat(folder)
        if about.st_uid not in (os.getuid(), 0):
            return f"lies in {folder}, which is somebody else's"
        if _open_to_others(about) and not about.st_mode & stat.S_ISVTX:
            return f"lies in {folder}, which others can change (mode {stat.S_IMODE(about.st_mode):04o})"
    return ""


def _open_to_others(about: os.stat_result) -> bool:
    if about.st_mode & stat.S_IWOTH:
        return True
    return bool(about.st_mode & stat.S_IWGRP) and not _private(about.st_gid)


def _private(gid: int) -> bool:
    """Whether the group is the user's alone, as many Linux systems make one for each user, with a umask of 002."""
    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    alone = set(group.gr_mem) <= {user.pw_name}
    return user.pw_uid != 0 and group.gr_gid == user.pw_gid and group.gr_name == user.pw_name and alone
