"""Walks a folder that is to be captured: what is in it, and what stays out and why."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import ArtifactNotFound, ConfigError
from .ignore import Patterns, git_patterns, tar_patterns
from .sensitive import secret_by_name

RULES = ("plain", "workspace")
IGNORE_FILE = ".studioml_ignore"
DEEPEST = 200
_NEVER = frozenset({".git", "__pycache__", "node_modules"})
_ENVIRONMENT_MARKS = frozenset({"pyvenv.cfg", "conda-meta"})


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
    """The members by path, sorted; `skipped` has a line for each name that was left out against expectation."""

    members: dict[str, Seen] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    single: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(s.size for s in self.members.values() if s.size > 0)


class _Layer(NamedTuple):
    """One ignore file: its patterns see `lead` + the path without its first `offset` characters."""

    patterns: Patterns
    offset: int
    lead: str = ""


def scan(path: Path, rules: str, avoid: frozenset[tuple[int, int]]) -> Scan:
    """What a capture of the folder or file `path` holds.

    Left out always: `.git`, `__pycache__`, `node_modules`, virtual environments, the folders `avoid`,
    and what the folder's `.studioml_ignore` names. By `rules` = "workspace" also what `.gitignore` files
    name and what looks like a secret. Links are taken as links, never followed.

    Args:
        path: A folder or a file.
        rules: One of `RULES`.
        avoid: (device, inode) of folders to leave out, such as studio's own home.

    Raises:
        ArtifactNotFound: there is nothing at `path`.
        ConfigError: it cannot be read, or is neither file nor folder; unknown rules.
    """
    if rules not in RULES:
        raise ConfigError(f"no rules are called {rules!r}", hint="known: " + ", ".join(RULES))
    try:
        top = os.stat(path)
        if stat.S_ISREG(top.st_mode):
            return Scan({path.name: _of_stat(top)}, single=True)
        if not stat.S_ISDIR(top.st_mode):
            raise ConfigError(f"{path} is neither a file nor a folder", hint="capture a file or a folder")
        walk = _Walk(str(path), rules == "workspace", avoid)
        walk.folder("", [*_outer_layers(path, rules)], {(top.st_dev, top.st_ino)})
    except FileNotFoundError as exc:
        raise ArtifactNotFound(f"nothing to capture at {path}", hint=f"look at: ls -ld {path}") from exc
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}", hint=f"look at: ls -ld {path}") from exc
    out = walk.out
    out.members = dict(sorted(out.members.items()))
    return out


def scan_files(path: Path, files: Iterable[Path]) -> Scan:
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
        elif stat.S_ISLNK(found.st_mode):
            out.members[name] = Seen(text=os.readlink(file))
        elif stat.S_ISREG(found.st_mode):
            out.members[name] = _of_stat(found)
    return out


class _Walk:
    def __init__(self, root: str, workspace: bool, avoid: frozenset[tuple[int, int]]) -> None:
        self.root = root
        self.workspace = workspace
        self.avoid = avoid
        self.avoided_inodes = {ino for _, ino in avoid}
        self.out = Scan()

    def folder(self, prefix: str, layers: list[_Layer], above: set[tuple[int, int]]) -> None:
        """Takes in everything below `prefix` ("" or "…/"); `above` are the folders that we are in."""
        with os.scandir(f"{self.root}/{prefix}") as found:
            entries = list(found)
        names = {e.name for e in entries}
        if prefix and names & _ENVIRONMENT_MARKS:
            self._skip(prefix[:-1], "a Python environment", quiet=self.workspace)
            return
        layers = self._with_own(prefix, layers, names)
        before = len(self.out.members)
        for entry in entries:
            path = prefix + entry.name
            try:
                self._take(entry, path, layers, above)
            except FileNotFoundError:
                self._skip(path, "vanished while it was captured")
            except OSError as exc:
                self._skip(path, f"cannot be read: {exc.strerror}")
        if prefix and len(self.out.members) == before:
            self.out.members[prefix[:-1]] = Seen()

    def _take(self, entry: os.DirEntry[str], path: str, layers: list[_Layer], above: set[tuple[int, int]]) -> None:
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name in _NEVER:
            self._skip(path, "never captured", quiet=self.workspace)
        elif self.workspace and secret_by_name(path, is_folder):
            self._skip(path, "looks like a secret")
        elif layers and _left_out(layers, path, is_folder):
            pass
        elif is_folder:
            self._enter(entry, path, layers, above)
        elif entry.is_file(follow_symlinks=False):
            self.out.members[path] = _of_stat(entry.stat(follow_symlinks=False))
        elif entry.is_symlink():
            self.out.members[path] = Seen(text=os.readlink(entry.path))
        else:
            self._skip(path, "is a socket, a pipe or a device")

    def _enter(self, entry: os.DirEntry[str], path: str, layers: list[_Layer], above: set[tuple[int, int]]) -> None:
        found = entry.stat(follow_symlinks=False)
        here = (found.st_dev, found.st_ino)
        if found.st_ino in self.avoided_inodes and here in self.avoid:
            self._skip(path, "studio's own folder", quiet=self.workspace)
        elif here in above:
            self._skip(path, "is a folder that it lies in itself")
        elif path.count("/") >= DEEPEST:
            self._skip(path, f"lies more than {DEEPEST} folders deep")
        else:
            self.folder(path + "/", layers, above | {here})

    def _with_own(self, prefix: str, layers: list[_Layer], names: set[str]) -> list[_Layer]:
        own = []
        if not prefix and IGNORE_FILE in names:
            own.append(_Layer(tar_patterns(_text(f"{self.root}/{IGNORE_FILE}")), 0))
        if self.workspace and ".gitignore" in names:
            own.append(_Layer(git_patterns(_text(f"{self.root}/{prefix}.gitignore")), len(prefix)))
        return [*layers, *own] if own else layers

    def _skip(self, path: str, why: str, *, quiet: bool = False) -> None:
        if not quiet:
            self.out.skipped.append(f"{path}: {why}")


def _left_out(layers: list[_Layer], path: str, folder: bool) -> bool:
    """The innermost ignore file that says anything decides, as in git."""
    for patterns, offset, lead in reversed(layers):
        said = patterns.verdict(lead + path[offset:], folder)
        if said is not None:
            return said
    return False


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
        yield _Layer(git_patterns(_text(str(info))), 0, lead)


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
