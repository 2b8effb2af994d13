"""The objects of a folder tree in the order of their names."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator

from .base import Entry
from .folder import Tree
from .stamp import entry_of

OBJECT_PART = re.compile(r"[A-Za-z0-9._-]{1,255}")


def walk(tree: Tree, folder: str, prefix: str, after: str) -> Iterator[Entry]:
    """The objects below `folder`, in order; holds one folder of each level at a time."""
    start = folder + "/" if folder else ""
    with tree.folder(folder.split("/") if folder else []) as fd:
        with os.scandir(fd) as entries:
            names = sorted(
                start + e.name + ("/" if e.is_dir(follow_symlinks=False) else "")
                for e in entries
                if OBJECT_PART.fullmatch(e.name)
            )
        at = len(start)
        for name in names:
            if name[-1] == "/":
                wanted = name.startswith(prefix) or prefix.startswith(name)
                if wanted and (name > after or after.startswith(name)):
                    with contextlib.suppress(FileNotFoundError):
                        yield from walk(tree, name[:-1], prefix, after)
            elif name > after and name.startswith(prefix):
                try:
                    found = os.stat(name[at:], dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield entry_of(name, found)
