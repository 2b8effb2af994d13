"""The git work tree around a folder: commit, branch, remote, and all uncommitted changes as one patch."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..experiment import Git
from ..tracking.sensitive import secret_path
from .redact import redact_url

if TYPE_CHECKING:
    import subprocess

TIMEOUT_S = 20.0
LARGEST_UNTRACKED = 5 << 20
SETTINGS = (
    "-c", "core.quotePath=false", "-c", "core.fsmonitor=false", "-c", "core.splitIndex=false",
    "-c", "diff.autoRefreshIndex=true",
)  # fmt: skip
DIFF = (
    "--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", "--submodule=short",
    "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip
RAW = ("--raw", "--no-abbrev", "-z")


class Worktree:
    """What git says of a folder's work tree; asked in the background until the answer is wanted.

    Attributes:
        left_out: A line for each file that the patch is without, or has without its secrets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left_out: list[str] = []
        self._found: tuple[Git, bytes] | None = None
        self._failed: Exception | None = None
        self._asking = threading.Thread(target=self._ask, name="studio-git", daemon=True)
        if any((p / ".git").exists() for p in (folder, *folder.parents)):
            self._asking.start()

    def read(self) -> tuple[Git, bytes] | None:
        """The state and the patch (b"" if nothing is changed); None outside a work tree or without git."""
        if self._asking.ident is not None:
            self._asking.join()
        if self._failed is not None:
            raise self._failed
        return self._found

    def _ask(self) -> None:
        try:
            self._found = self._look()
        except Exception as exc:  # noqa: BLE001 - told to who waits for the answer
            self._failed = exc

    def _look(self) -> tuple[Git, bytes] | None:
        status, url, places = _run_all(
            self.folder,
            ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all"),
            ("config", "--get", "remote.origin.url"),
            ("rev-parse", "--show-toplevel", "--git-path", "objects", "--git-path", "index"),
        )
        if status is None:
            return None
        state = read_status(status)
        address = redact_url(url.decode(errors="replace").strip()) if url else None
        patch = b""
        if state.dirty:
            lines = (places or b"").removesuffix(b"\n").split(b"\n")
            if len(lines) == 3:
                top, objects, index = [self.folder / os.fsdecode(line) for line in lines]
                patch, self.left_out = make_patch(Repository(top, objects.resolve(), index.resolve()), state)
            else:
                self.left_out = ["all uncommitted changes: git could not say where they are"]
        return Git(url=address, commit=state.commit, branch=state.branch, dirty=state.dirty), patch


class Repository(NamedTuple):
    """Where the work tree, the objects and the index are."""

    root: Path
    objects: Path
    index_file: Path


class State(NamedTuple):
    """What `git status` says: HEAD, whether anything is changed, files not tracked, whether a merge is under way."""

    commit: str | None
    branch: str | None
    dirty: bool
    untracked: tuple[bytes, ...]
    unmerged: bool


def read_status(said: bytes) -> State:
    """The output of `git status --porcelain=v2 --branch -z`."""
    head: dict[str, str] = {}
    untracked: list[bytes] = []
    dirty = unmerged = False
    lines = iter(said.split(b"\0"))
    for line in lines:
        if line.startswith(b"# branch."):
            name, _, value = os.fsdecode(line[len("# branch.") :]).partition(" ")
            head[name] = value
        elif line:
            dirty = True
            unmerged = unmerged or line.startswith(b"u ")
            if line.startswith(b"? "):
                untracked.append(line[2:])
            elif line.startswith(b"2 "):
                next(lines, None)  # the name that it had before
    commit = None if head.get("oid", "(initial)") == "(initial)" else head["oid"]
    branch = None if head.get("head") == "(detached)" else head.get("head")
    return State(commit, branch, dirty, tuple(untracked), unmerged)


def make_patch(repository: Repository, state: State) -> tuple[bytes, list[str]]:
    """Staged, unstaged and untracked changes of the whole work tree against HEAD, as `git apply` takes them.

    Works in an index and an object folder of its own, so that nothing in the work tree or in `.git` is touched.
    Ignored files and untracked files over 5 MiB are left out; so are secrets, of which the lines tell.
    """
    import tempfile

    from .patch import redact_patch

    root = repository.root
    with tempfile.TemporaryDirectory(prefix="studio-git-") as scratch:
        env = {"GIT_INDEX_FILE": scratch + "/index", "GIT_OBJECT_DIRECTORY": scratch}
        # Not for writing: git would touch the objects that are there already.
        reading = {**env, "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(repository.objects)}
        keep = _wanted(root, state.untracked)
        base = ["HEAD"]
        if not _copy_index(repository, state, scratch + "/index"):
            base, keep = _index_anew(root, state, env, reading)
        if keep:
            _run(root, "update-index", "--add", "-z", "--stdin", env=env, data=keep)
        words = ("diff", *DIFF, *base)
        patch, names = _run_all(root, (*words, "--binary", "--full-index"), (*words, *RAW), env=reading)
        if patch is None or names is None:
            return b"", ["all uncommitted changes: git could not say what they are"]
        return redact_patch(patch, names, root)


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


def _index_anew(root: Path, state: State, env: dict[str, str], reading: dict[str, str]) -> tuple[list[str], bytes]:
    """Makes an index of the work tree where there is no commit, no index, or one amidst a merge; reads every file.

    Returns:
        What to compare it with, and which files to add.
    """
    base = "HEAD"
    if state.commit is not None:
        _run(root, "read-tree", "HEAD", env=reading)
    else:
        base = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        _run(root, "hash-object", "-t", "tree", "-w", "/dev/null", env=env)
    _run(root, "add", "--update", "--", ".", env=env)
    others = _run(root, "ls-files", "--others", "--exclude-standard", "-z", env=reading) or b""
    return ["--cached", base], _wanted(root, others.split(b"\0"))


def _wanted(root: Path, names: Iterable[bytes]) -> bytes:
    """Untracked files that are small enough; what is secret by its name is not even hashed."""
    out = []
    for raw in names:
        name = os.fsdecode(raw)
        try:
            small = bool(name) and (root / name).lstat().st_size <= LARGEST_UNTRACKED
        except OSError:
            small = False
        if small and not secret_path(name):
            out.append(raw)
    return b"\0".join(out) + b"\0" if out else b""


def _start(
    folder: Path, *args: str, env: dict[str, str] | None = None, data: bytes | None = None
) -> subprocess.Popen[bytes] | None:
    import subprocess

    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.Popen(
            ["git", *SETTINGS, *args],
            cwd=folder, env={**os.environ, **quiet, **(env or {})},
            stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return None


def _finish(process: subprocess.Popen[bytes], data: bytes | None = None) -> bytes | None:
    import subprocess

    try:
        out, _ = process.communicate(data, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return out if process.returncode == 0 else None


def _run(folder: Path, *args: str, env: dict[str, str] | None = None, data: bytes | None = None) -> bytes | None:
    process = _start(folder, *args, env=env, data=data)
    return None if process is None else _finish(process, data)


def _run_all(folder: Path, *commands: Sequence[str], env: dict[str, str] | None = None) -> list[bytes | None]:
    """What several commands say that run at once."""
    started = [_start(folder, *words, env=env) for words in commands]
    return [None if process is None else _finish(process) for process in started]
