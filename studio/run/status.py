"""Reads what `git status --porcelain=v2 --branch -z` says."""

from __future__ import annotations

import os
from typing import NamedTuple


class Changed(NamedTuple):
    """A tracked file that differs from HEAD or the index; `head` is the object that it is in HEAD ("" if new)."""

    path: bytes
    head: str
    former: bytes = b""


class State(NamedTuple):
    """HEAD, whether anything is changed, what is changed, files not tracked, whether a merge is under way.

    `submodules` are those with changes in them that are not committed there.
    """

    commit: str | None
    branch: str | None
    dirty: bool
    untracked: tuple[bytes, ...]
    unmerged: bool
    changed: tuple[Changed, ...] = ()
    submodules: tuple[bytes, ...] = ()


def read_status(said: bytes) -> State:
    """The output of `git status --porcelain=v2 --branch -z`."""
    head: dict[str, str] = {}
    untracked: list[bytes] = []
    changed: list[Changed] = []
    submodules: list[bytes] = []
    dirty = unmerged = False
    lines = iter(said.split(b"\0"))
    for line in lines:
        kind = line[:2]
        if kind == b"? ":  # of these there may be very many
            untracked.append(line[2:])
        elif line.startswith(b"# branch."):
            name, _, value = os.fsdecode(line[len("# branch.") :]).partition(" ")
            head[name] = value
        elif line and kind != b"# ":
            dirty = True
            unmerged = unmerged or kind == b"u "
            if kind in (b"1 ", b"2 "):
                words = line.split(b" ", 8 if kind == b"1 " else 9)
                former = next(lines, b"") if kind == b"2 " else b""  # the name that it had before
                if words[2][:1] == b"S" and (b"M" in words[2][2:] or b"U" in words[2][3:]):
                    submodules.append(words[-1])
                changed.append(Changed(words[-1], words[6].decode().strip("0") and words[6].decode(), former))
    commit = None if head.get("oid", "(initial)") == "(initial)" else head["oid"]
    branch = None if head.get("head") == "(detached)" else head.get("head")
    return State(
        commit, branch, dirty or bool(untracked), tuple(untracked), unmerged, tuple(changed), tuple(submodules)
    )
