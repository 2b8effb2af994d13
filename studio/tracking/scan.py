"""Walks a folder that is to be captured: what is in it, and what stays out and why."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from ..errors import ArtifactNotFound, ConfigError
from .ignore import Patterns, git_patterns, tar_patterns
from .named_secrets import NamedSecrets
from .selection import is_data_folder, is_program
from .sensitive import secret_by_name

RULES = ("plain", "workspace")
IGNORE_FILE = ".studioml_ignore"
DEEPEST = 200
_NEVER = frozenset({".git", "__pycache__", "node_modules"})
_CACHES = frozenset(
    {
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".ipynb_checkpoints",
        ".tox",
        ".nox",
        ".eggs",
        ".cache",
        ".hypothesis",
    }
)
_ENVIRONMENT_MARKS = frozenset({"pyvenv.cfg", "conda-meta"})
_MARKS = (*_ENVIRONMENT_MARKS, IGNORE_FILE, ".gitignore")
_BY_PRODUCTS = (".pyc", ".pyo", ".DS_Store")
MOST_IGNORED = 1000
"""So many names are remembered that the user's ignore files leave out."""

MOST_SEEN, MOST_MET = 2, 25
"""Of what may be kept: so many times that many files are looked at, and folders entered until so many were met."""


class Seen(NamedTuple):
    """What a scan saw of one member. A file has `size` >= 0, a link `text`, an empty folder neither."""

    size: int = -1
    mtime_ns: int = 0
    ino: int = 0
    ctime_ns: int = 0
    mode: int = 0
    text: str | None = None


@dataclass(slots=True)
class Scan:
    """The members by path, sorted; `skipped` has a line for each name that was left out against expectation.

    `crowds` has the folders (`…/`, "" for the top) with files that nobody looked at, and how many. `ignored` has the
    topmost names (of folders with `/` at the end) that the user's ignore files leave out, and which file that is;
    `more_ignored` counts those without room there.
    """

    members: dict[str, Seen] = field(default_factory=dict)
    crowds: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    more_ignored: int = 0
    single: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(s.size for s in self.members.values() if s.size > 0)


class _Folder(NamedTuple):
    """A folder to go through: `above` are those that it lies in, `late` whether it waits for all that is no data."""

    prefix: str
    layers: list[_Layer]
    above: frozenset[tuple[int, int]]
    late: bool = False


class _Layer(NamedTuple):
    """One ignore file, called `name`: its patterns see `lead` + the path without its first `offset` characters."""

    patterns: Patterns
    offset: int
    lead: str = ""
    name: str = ".gitignore"


def scan(
    path: Path,
    rules: str,
    avoid: frozenset[tuple[int, int]],
    *,
    most: int | None = None,
    named: NamedSecrets | None = None,
) -> Scan:
    """What a capture of the folder or file `path` holds.

    Left out always: `.git`, `__pycache__`, `node_modules`, virtual environments, the folders `avoid`, the files `named`
    and what the folder's `.studioml_ignore` names. By `rules` = "workspace" also caches, what `.gitignore` files
    name and what looks like a secret. Links are taken as links, never followed.

    Args:
        path: A folder or a file.
        rules: One of `RULES`.
        avoid: (device, inode) of folders to leave out, such as studio's own home.
        most: Only a few times so many files are looked at; further ones are counted (`Scan.crowds`), programs excepted.
        named: Files that an option named as secret.

    Raises:
        ArtifactNotFound: there is nothing at `path`.
        ConfigError: it cannot be read, is a named secret, or is neither file nor folder; unknown rules.
    """
    if rules not in RULES:
        raise ConfigError(f"no rules are called {rules!r}", hint="known: " + ", ".join(RULES))
    try:
        top = os.stat(path)
        if stat.S_ISREG(top.st_mode):
            if named is not None and (why := named.why_file(os.path.realpath(path), top)):
                raise never(path, why)
            return Scan({path.name: _of_stat(top)}, single=True)
        if not stat.S_ISDIR(top.st_mode):
            raise ConfigError(f"{path} is neither a file nor a folder", hint="capture a file or a folder")
        walk = _Walk(str(path), rules == "workspace", avoid, most, named or NamedSecrets())
        walk.run([*_outer_layers(path, rules)], (top.st_dev, top.st_ino))
    except FileNotFoundError as exc:
        raise ArtifactNotFound(f"nothing to capture at {path}", hint=f"look at: ls -ld {path}") from exc
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}", hint=f"look at: ls -ld {path}") from exc
    out = walk.out
    out.members = dict(sorted(out.members.items()))
    return out


def scan_files(path: Path, files: Iterable[Path], named: NamedSecrets) -> Scan:
    """The same for some files below the folder `path`, which alone are looked at; what looks like a secret stays out.

    Raises:
        ConfigError: one of them cannot be read.
    """
    out = Scan()
    for file in sorted(files):
        name = file.relative_to(path).as_posix()
        try:
            found = os.lstat(file)
        except OSError as exc:
            raise ConfigError(f"cannot read {file}: {exc.strerror}", hint=f"look at: ls -ld {file}") from exc
        if secret_by_name(name, False):
            out.skipped.append(f"{name}: looks like a secret")
        elif why := named.why_file(os.path.realpath(file), found):
            out.skipped.append(f"{name}: {why}")
        elif stat.S_ISLNK(found.st_mode):
            out.members[name] = Seen(text=os.readlink(file))
        elif stat.S_ISREG(found.st_mode):
            out.members[name] = _of_stat(found)
    return out


class _Walk:
    """Goes through the folders level by level, those whose names say data last."""

    def __init__(
        self, root: str, workspace: bool, avoid: frozenset[tuple[int, int]], most: int | None, named: NamedSecrets
    ) -> None:
        self.root = root
        self.named = named
        self._real = os.path.realpath(root)
        self.workspace = workspace
        self.avoid = avoid
        self.avoided_inodes = {ino for _, ino in avoid}
        self.out = Scan()
        self._most = most
        self._met = 0
        self._waiting: tuple[deque[_Folder], deque[_Folder]] = (deque(), deque())

    def run(self, layers: list[_Layer], top: tuple[int, int]) -> None:
        """Takes in everything below the root, as far as there may be `most` of it.

        Raises:
            OSError: the root itself cannot be read.
        """
        entered: list[str] = []
        self._folder(_Folder("", layers, frozenset({top})))
        while any(self._waiting):
            waiting = self._waiting[0] or self._waiting[1]
            folder = waiting.popleft()
            if self._most is not None and self._met > MOST_MET * self._most:
                self.out.crowds[folder.prefix] = self.out.crowds.get(folder.prefix, 0) + 1
                continue
            try:
                if self._folder(folder):
                    entered.append(folder.prefix[:-1])
            except FileNotFoundError:
                self._skip(folder.prefix[:-1], "vanished while it was captured")
            except OSError as exc:
                self._skip(folder.prefix[:-1], f"cannot be read: {exc.strerror}")
        self._keep_empty(entered)

    def _folder(self, folder: _Folder) -> bool:
        """Looks at each entry of a folder; False if it is none that is captured."""
        prefix, layers = folder.prefix, folder.layers
        with os.scandir(f"{self.root}/{prefix}") as found:
            entries = list(islice(found, self._most))
            names = {e.name for e in entries}
            if self._most is not None and len(entries) == self._most:  # more than are read at once
                names.update(n for n in _MARKS if os.path.lexists(f"{self.root}/{prefix}{n}"))
            if prefix and names & _ENVIRONMENT_MARKS:
                self._skip(prefix[:-1], "a Python environment", quiet=self.workspace)
                return False
            folder = folder._replace(layers=self._with_own(prefix, layers, names))
            for entry in chain(entries, found):
                try:
                    self._take(entry, prefix + entry.name, folder)
                except FileNotFoundError:
                    self._skip(prefix + entry.name, "vanished while it was captured")
                except OSError as exc:
                    self._skip(prefix + entry.name, f"cannot be read: {exc.strerror}")
        return True

    def _keep_empty(self, entered: list[str]) -> None:
        """A folder with nothing in it that is captured is a member itself."""
        filled = {crowd.rstrip("/") for crowd in self.out.crowds}
        for path in (*self.out.members, *filled):
            while path and (path := path.rpartition("/")[0]) not in filled:
                filled.add(path)
        for path in sorted(entered, key=lambda path: -path.count("/")):
            if path not in filled:
                self.out.members[path] = Seen()
                while path and (path := path.rpartition("/")[0]) not in filled:
                    filled.add(path)

    def _is_crowd(self, name: str) -> bool:
        """Whether there is so much already that a file is counted, no more."""
        self._met += 1
        return self._most is not None and self._met > MOST_SEEN * self._most and not is_program(name)

    def _take(self, entry: os.DirEntry[str], path: str, folder: _Folder) -> None:
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name in _NEVER or (is_folder and self.workspace and entry.name in _CACHES):
            self._skip(path, "never captured", quiet=self.workspace)
        elif folder.layers and (why := _left_out(folder.layers, path, is_folder)):
            self._ignore(entry, path + "/" * is_folder, why)
        elif self._is_crowd(entry.name) and not is_folder:
            self.out.crowds[folder.prefix] = self.out.crowds.get(folder.prefix, 0) + 1
        elif self.workspace and secret_by_name(path, is_folder):
            self._skip(path, "looks like a secret")
        elif is_folder:
            self._enter(entry, path, folder)
        elif entry.is_file(follow_symlinks=False):
            found = entry.stat(follow_symlinks=False)
            if self.named.paths and (why := self.named.why_file(f"{self._real}/{path}", found)):
                self._skip(path, why)
            else:
                self.out.members[path] = _of_stat(found)
        elif entry.is_symlink():
            self.out.members[path] = Seen(text=os.readlink(entry.path))
        else:
            self._skip(path, "is a socket, a pipe or a device")

    def _ignore(self, entry: os.DirEntry[str], path: str, why: str) -> None:
        """Notes what an ignore file leaves out; nobody looks into it, and what is never captured does not count."""
        if len(self.out.ignored) >= MOST_IGNORED:
            self.out.more_ignored += 1
            return
        if path.endswith("/"):
            own = any(os.path.lexists(f"{entry.path}/{mark}") for mark in _ENVIRONMENT_MARKS)
            own = own or entry.inode() in self.avoided_inodes
        else:
            own = entry.name.endswith(_BY_PRODUCTS)
        if not own:
            self.out.ignored[path] = why

    def _enter(self, entry: os.DirEntry[str], path: str, folder: _Folder) -> None:
        found = entry.stat(follow_symlinks=False)
        here = (found.st_dev, found.st_ino)
        if found.st_ino in self.avoided_inodes and here in self.avoid:
            self._skip(path, "studio's own folder", quiet=self.workspace)
        elif here in folder.above:
            self._skip(path, "is a folder that it lies in itself")
        elif path.count("/") >= DEEPEST:
            self._skip(path, f"lies more than {DEEPEST} folders deep")
        else:
            late = folder.late or is_data_folder(entry.name)
            self._waiting[late].append(_Folder(path + "/", folder.layers, folder.above | {here}, late))

    def _with_own(self, prefix: str, layers: list[_Layer], names: set[str]) -> list[_Layer]:
        own = []
        if not prefix and IGNORE_FILE in names:
            own.append(_Layer(tar_patterns(_text(f"{self.root}/{IGNORE_FILE}")), 0, name=IGNORE_FILE))
        if self.workspace and ".gitignore" in names:
            own.append(_Layer(git_patterns(_text(f"{self.root}/{prefix}.gitignore")), len(prefix)))
        return [*layers, *own] if own else layers

    def _skip(self, path: str, why: str, *, quiet: bool = False) -> None:
        if not quiet:
            self.out.skipped.append(f"{path}: {why}")


def never(path: Path, why: str) -> ConfigError:
    """The error of a capture that would be nothing but a secret."""
    return ConfigError(f"{path} is never captured: {why}", hint="capture a folder without it, or another file")


def _left_out(layers: list[_Layer], path: str, folder: bool) -> str:
    """The ignore file that leaves it out, "" if none does: the innermost one that says anything decides, as in git."""
    for patterns, offset, lead, name in reversed(layers):
        said = patterns.verdict(lead + path[offset:], folder)
        if said is not None:
            return name if said else ""
    return ""


def _outer_layers(path: Path, rules: str) -> Iterator[_Layer]:
    """The `.gitignore` files above a workspace that is a part of a git work tree, outermost first."""
    if rules != "workspace":
        return
    real = Path(os.path.realpath(path))
    top = next((p for p in (real, *real.parents) if (p / ".git").exists()), None)
    if top is None:
        return
    info = top / ".git" / "info" / "exclude"
    for folder in [top, *reversed([p for p in real.parents if top in p.parents])] if top != real else []:
        if (folder / ".gitignore").is_file():
            lead = str(real.relative_to(folder)) + "/"
            yield _Layer(git_patterns(_text(str(folder / ".gitignore"))), 0, lead)
    if info.is_file():
        lead = str(real.relative_to(top)) + "/" if top != real else ""
        yield _Layer(git_patterns(_text(str(info))), 0, lead, ".git/info/exclude")


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _of_stat(found: os.stat_result) -> Seen:
    return Seen(found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns, found.st_mode & 0o777)


def seen_of(found: os.stat_result) -> Seen:
    """The same of a file that is open."""
    return _of_stat(found)
