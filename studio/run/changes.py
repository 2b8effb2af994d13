"""All uncommitted changes of a work tree as one patch, and what it is without: large files, repositories inside."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..tracking.named_secrets import NamedSecrets
from ..tracking.selection import CROWD, is_program
from ..tracking.sensitive import secret_path
from ..units import show_limit, show_size
from .gitcall import Caller, GitEnded, GitFailed
from .status import State

LARGEST = 5 << 20
"""A larger file is not in the patch."""

MOST_BYTES, MOST_UNTRACKED = 32 << 20, 1000
"""Nor is what goes beyond these, the smallest first: a patch is for code."""

MOST_LOOKED = 5000
"""Of more untracked files only programs are looked at, and what lies in folders with few: the rest is data."""

MOST_FAILURES = 24
"""Of so many calls at most it is found out which untracked files git refuses."""

TOO_LARGE = f"limit: {show_limit(LARGEST)} a file"
TOO_MANY = f"limit: {MOST_UNTRACKED:,} untracked files"
NO_ROOM = f"limit: {show_limit(MOST_BYTES)} in all"
DIFF = (
    "--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", "--submodule=short",
    "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip
RAW = ("--raw", "--no-abbrev", "-z")


class Repository(NamedTuple):
    """Where the work tree, the objects and the index are.

    `absent` are files that a sparse checkout leaves out; `filters` are those that run a program.
    """

    root: Path
    objects: Path
    index_file: Path
    absent: tuple[bytes, ...] = ()
    filters: frozenset[bytes] = frozenset()


class Lost(NamedTuple):
    """A file, by its path from the top of the work tree, that is not in the patch, and why; `bytes` if it is large.

    Or a folder (`…/`) with many of them: `names`.
    """

    path: str
    why: str
    bytes: int = -1
    names: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The path, and the size of a large file, or the number of a folder's."""
        if self.names:
            return f"{self.path} with {len(self.names):,} file{'s' if len(self.names) > 1 else ''}"
        return self.path + (f" of {show_size(self.bytes)}" if self.bytes >= 0 else "")


@dataclass(slots=True)
class Made:
    """The patch and what it is without; see `git.Found`."""

    patch: bytes = b""
    lost: list[Lost] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def make_patch(caller: Caller, repository: Repository, state: State, scratch: str, named: NamedSecrets) -> Made:
    """Staged, unstaged and untracked changes of the whole work tree against HEAD, as `git apply` takes them.

    Works in an index and an object folder in `scratch`, so that nothing in the work tree or in `.git` is touched. Each
    file that is not in it for its size, its kind, or a command that failed, is in `lost`; ignored files are not missed.
    """
    from .patch import redact_patch

    out = Made()
    out.lost += [Lost(os.fsdecode(path), "a submodule with changes of its own") for path in state.submodules]
    env = {"GIT_INDEX_FILE": scratch + "/index", "GIT_OBJECT_DIRECTORY": scratch}
    # Not for writing: git would touch the objects that are there already.
    reading = {**env, "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(repository.objects)}
    try:
        apart = _apart(caller, repository.root, state)
        out.lost += apart.values()
        base, untracked = ["HEAD"], state.untracked
        if not _copy_index(repository, state, scratch + "/index"):
            base, untracked = _index_afresh(caller, repository, state, env, reading)
        chosen = _choose(repository.root, untracked, out)
        changed = [change.path for change in state.changed]
        filters, restored = _forms(caller, repository, [*changed, *chosen])
        out.lost += [
            Lost(os.fsdecode(raw), f"untracked, filtered by {filters[raw]}") for raw in chosen if raw in filters
        ]
        _take(caller, repository.root, [raw for raw in chosen if raw not in filters], env, out)
        words, spec = ("diff", *DIFF, *base), _but(apart)
        patch, names = caller.run_all(
            repository.root, (*words, "--binary", "--full-index", *spec), (*words, *RAW, *spec), env=reading
        )
    except GitFailed as exc:
        out.problems.append(f"{exc}; the uncommitted changes are not kept")
        return out
    out.patch, notes, other = redact_patch(patch, names, repository.root, restored, named)
    out.notes += notes
    by = {os.fsdecode(raw): f"filtered by {name}, " for raw, name in filters.items()}
    out.lost += [Lost(path, by.get(path, "") + why) for path, why in other]
    return out


def _apart(caller: Caller, root: Path, state: State) -> dict[bytes, Lost]:
    """Changed files that are no files, too large as they are or as they were, or beyond the room that there is."""
    sizes: dict[bytes, int] = {}
    out: dict[bytes, Lost] = {}
    for change in state.changed:
        try:
            found = os.lstat(os.path.join(os.fsencode(root), change.path))
            sizes[change.path] = found.st_size if stat.S_ISREG(found.st_mode) else 0
            if stat.S_IFMT(found.st_mode) not in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR):
                out[change.path] = Lost(os.fsdecode(change.path), "not a regular file")  # for one, git gives up all
        except OSError:
            sizes[change.path] = 0
    heads = [(change.path, change.head) for change in state.changed if change.head]
    if heads:
        asked = "".join(f"{head}\n" for _, head in heads).encode()
        said = caller.run(root, "cat-file", "--batch-check=%(objectsize)", data=asked).split(b"\n")
        for (path, _), size in zip(heads, said, strict=False):
            sizes[path] = max(sizes[path], int(size) if size.isdigit() else 0)
    room = MOST_BYTES
    for path, bytes_ in sorted(sizes.items(), key=lambda item: item[1]):
        if bytes_ > min(LARGEST, room):
            out[path] = Lost(os.fsdecode(path), TOO_LARGE if bytes_ > LARGEST else NO_ROOM, bytes_)
        else:
            room -= bytes_
    return out


def _forms(caller: Caller, repository: Repository, paths: Sequence[bytes]) -> tuple[dict[bytes, str], set[str]]:
    """Files that a program, such as Git LFS, replaces by something else in commits; and those a checkout restores."""
    if not paths:
        return {}, set()
    words = ("check-attr", "-z", "--stdin", "filter", "eol", "working-tree-encoding")
    said = caller.run(repository.root, *words, data=b"\0".join(paths) + b"\0").split(b"\0")
    filters: dict[bytes, str] = {}
    restored: set[str] = set()
    for path, name, value in zip(said[0::3], said[1::3], said[2::3], strict=False):
        if name == b"filter" and value in repository.filters:
            filters[path] = os.fsdecode(value)
        elif value == b"crlf" or (name == b"working-tree-encoding" and value not in (b"unspecified", b"unset")):
            restored.add(os.fsdecode(path))
    return filters, restored


def _but(paths: Collection[bytes]) -> tuple[str, ...]:
    return ("--", ".", *(":(top,exclude,literal)" + os.fsdecode(path) for path in paths)) if paths else ()


def _copy_index(repository: Repository, state: State, path: str) -> bool:
    """Copies the index, in which git has noted what it need not read again; whether it can be used for a patch."""
    import shutil

    if state.commit is None or state.unmerged:
        return False
    try:
        shutil.copy2(repository.index_file, path)  # with its time: files as new as that are read all the same
    except OSError:
        return False
    return True


def _index_afresh(
    caller: Caller, repository: Repository, state: State, env: dict[str, str], reading: dict[str, str]
) -> tuple[list[str], tuple[bytes, ...]]:
    """Makes an index of the work tree where there is no commit, no index, or one amidst a merge; reads every file.

    Returns:
        What to compare it with, and which files to add.
    """
    base, root = "HEAD", repository.root
    if state.commit is not None:
        caller.run(root, "read-tree", "HEAD", env=reading)
        if repository.absent:
            held = set(caller.run(root, "ls-files", "-z", env=reading).split(b"\0")).intersection(repository.absent)
            words = ("update-index", "--skip-worktree", "-z", "--stdin")
            caller.run(root, *words, env=env, data=b"".join(name + b"\0" for name in held))
    else:
        base = caller.run(root, "hash-object", "-t", "tree", "-w", "/dev/null", env=env).decode().strip()
    caller.run(root, "add", "--update", "--", ".", env=env)
    others = caller.run(root, "ls-files", "--others", "--exclude-standard", "-z", env=reading)
    return ["--cached", base], tuple(name for name in others.split(b"\0") if name)


def _choose(root: Path, untracked: Sequence[bytes], out: Made) -> list[bytes]:
    """The untracked files of a patch, as long as there is room: programs, those near the top and small ones first."""
    room = MOST_BYTES
    names: list[bytes] = []
    near = _near(untracked, out) if len(untracked) > MOST_LOOKED else untracked
    sized = [one for raw in near if (one := _sized(root, raw, out)) is not None]
    for _, size, raw in sorted(sized, key=lambda one: (one[0], one[2].count(b"/"), one)):
        name = os.fsdecode(raw)
        if size > LARGEST:
            out.lost.append(Lost(name, TOO_LARGE, size))
        elif len(names) == MOST_UNTRACKED:
            out.lost.append(Lost(name, TOO_MANY))
        elif size > room:
            out.lost.append(Lost(name, NO_ROOM))
        elif why := _unreadable(root / name):
            out.lost.append(Lost(name, why))
        else:
            names.append(raw)
            room -= size
    return names


def _near(untracked: Sequence[bytes], out: Made) -> list[bytes]:
    """Of very many untracked files the programs, and what lies in folders with few; the rest is lost, by its folder."""
    folders = [raw.rpartition(b"/")[0] for raw in untracked]
    crowds = Counter(folders)
    kinds: dict[bytes, bool] = {}
    ranked: list[tuple[bool, int, bytes]] = []
    far: dict[bytes, list[bytes]] = {}
    for raw, folder in zip(untracked, folders, strict=True):
        suffix = raw[dot:] if (dot := raw.rfind(b".", len(folder))) >= 0 else b""
        if suffix not in kinds:
            kinds[suffix] = is_program("x" + os.fsdecode(suffix))
        if kinds[suffix] or crowds[folder] <= CROWD:
            ranked.append((not kinds[suffix], crowds[folder], raw))
        else:
            far.setdefault(folder, []).append(raw)
    ranked.sort()
    for _, _, raw in ranked[MOST_LOOKED:]:
        far.setdefault(raw.rpartition(b"/")[0], []).append(raw)
    tops: dict[str, list[str]] = {}
    for folder, names in far.items():
        top = os.fsdecode(folder.partition(b"/")[0]) if folder else "."
        tops.setdefault(top + "/", []).extend(map(os.fsdecode, names))
    out.lost += [Lost(top, TOO_MANY, names=tuple(names)) for top, names in tops.items()]
    return [raw for _, _, raw in ranked[:MOST_LOOKED]]


def _take(caller: Caller, root: Path, names: list[bytes], env: dict[str, str], out: Made) -> None:
    """Takes files into the index; one that git refuses, for which it gives up all of them, costs no other its place."""
    words = ("update-index", "--verbose", "--add", "--replace", "-z", "--stdin")  # --replace: a folder where a file was
    groups, failures = [names] if names else [], 0
    while groups:
        group = groups.pop()
        try:
            said = caller.run(root, *words, env=env, data=b"\0".join(group) + b"\0")
        except GitFailed as exc:
            failures += 1
            if len(group) == 1 or failures > MOST_FAILURES or isinstance(exc, GitEnded):
                out.lost += [Lost(os.fsdecode(raw), f"untracked, and {exc}") for raw in group]
            else:
                groups += [group[: len(group) // 2], group[len(group) // 2 :]]
            continue
        for raw in group:  # in this order; what git does not name it has passed over
            line = b"add '" + raw + b"'\n"
            if said.startswith(line):
                said = said[len(line) :]
            else:
                out.lost.append(Lost(os.fsdecode(raw), "untracked, and git takes no file of this name"))


def _sized(root: Path, raw: bytes, out: Made) -> tuple[bool, int, bytes] | None:
    """Whether an untracked file is no program, its size and name; None for one that cannot be in a patch."""
    name = os.fsdecode(raw)
    if name.endswith("/"):
        out.lost.append(Lost(name, "a repository of its own"))
        return None
    if secret_path(name):  # by its name: it is not even hashed
        out.notes.append(f"{name}: looks like a secret")
        return None
    try:
        size = os.lstat(os.path.join(root, name)).st_size
    except OSError as exc:
        out.lost.append(Lost(name, f"cannot be read: {exc.strerror}"))
        return None
    return not is_program(name), size, raw


def _unreadable(path: Path) -> str:
    """Why a file cannot be read, for which git would give up all of them; "" if it can."""
    try:
        if stat.S_ISREG(os.lstat(path).st_mode):
            os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"
    return ""
