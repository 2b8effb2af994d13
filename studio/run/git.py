"""The git work tree around a folder: commit, branch, remote, and all uncommitted changes as one patch."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from ..experiment import Git
from ..tracking.sensitive import secret_path
from .patch import redact_patch
from .redact import redact_url

TIMEOUT_S = 20.0
LARGEST_UNTRACKED = 5 << 20


class Worktree:
    """A `git status` that runs in the background until its answer is wanted.

    Attributes:
        left_out: A line for each file that the patch is without, or has without its secrets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left_out: list[str] = []
        self._status: subprocess.Popen[bytes] | None = None
        if any((p / ".git").exists() for p in (folder, *folder.parents)):
            self._status = _start(folder, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal")

    def read(self) -> tuple[Git, bytes] | None:
        """The state and the patch (b"" if nothing is changed); None outside a work tree or without git."""
        if self._status is None:
            return None
        status = _finish(self._status)
        if status is None:
            return None
        head: dict[str, str] = {}
        dirty = False
        for line in status.decode(errors="surrogateescape").split("\0"):
            if line.startswith("# branch."):
                name, _, value = line[len("# branch.") :].partition(" ")
                head[name] = value
            elif line:
                dirty = True
        url = _run(self.folder, "config", "--get", "remote.origin.url")
        commit = None if head.get("oid", "(initial)") == "(initial)" else head["oid"]
        branch = None if head.get("head") == "(detached)" else head.get("head")
        address = redact_url(url.decode(errors="replace").strip()) if url else None
        patch = b""
        if dirty:
            patch, self.left_out = make_patch(self.folder)
        return Git(url=address, commit=commit, branch=branch, dirty=dirty), patch


def make_patch(folder: Path) -> tuple[bytes, list[str]]:
    """Staged, unstaged and untracked changes of the whole work tree against HEAD, as `git apply` takes them.

    Works in an index and an object folder of its own, so that nothing in the work tree or in `.git` is touched.
    Ignored files and untracked files over 5 MiB are left out; so are secrets, of which the lines tell.
    """
    top = _run(folder, "rev-parse", "--show-toplevel")
    objects = _run(folder, "rev-parse", "--git-path", "objects")
    if top is None or objects is None:
        return b"", []
    root = Path(os.fsdecode(top.rstrip(b"\n")))
    real_objects = (folder / os.fsdecode(objects.rstrip(b"\n"))).resolve()
    with tempfile.TemporaryDirectory(prefix="studio-git-") as scratch:
        env = {
            "GIT_INDEX_FILE": scratch + "/index",
            "GIT_OBJECT_DIRECTORY": scratch,
        }
        reading = {
            **env,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(real_objects),
        }  # not for writing: git would touch them
        has_head = _run(root, "rev-parse", "--verify", "-q", "HEAD") is not None
        base = "HEAD" if has_head else "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        if has_head:
            _run(root, "read-tree", "HEAD", env=reading)
        else:
            _run(root, "hash-object", "-t", "tree", "-w", "/dev/null", env=env)
        _run(root, "add", "--update", "--", ".", env=env)
        keep = _wanted(root, _run(root, "ls-files", "--others", "--exclude-standard", "-z", env=reading) or b"")
        if keep:
            _run(root, "update-index", "--add", "-z", "--stdin", env=env, data=keep)
        words = ("diff", "--cached", "--no-color", "--no-ext-diff", "--no-textconv", base)
        patch = _run(root, *words, "--binary", "--full-index", env=reading) or b""
        names = _run(root, *words, "--raw", "--no-abbrev", "-z", env=reading) or b""
        return redact_patch(patch, names, root)


def _wanted(root: Path, names: bytes) -> bytes:
    """Untracked files that are small enough; what is secret by its name is not even hashed."""
    out = []
    for raw in names.split(b"\0"):
        name = os.fsdecode(raw)
        try:
            small = bool(name) and (root / name).lstat().st_size <= LARGEST_UNTRACKED
        except OSError:
            small = False
        if small and not secret_path(name):
            out.append(raw)
    return b"\0".join(out) + b"\0" if out else b""


def _start(
    folder: Path, *args: str, env: dict[str, str] | None = None, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes] | None:
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.Popen(
            ["git", "-c", "core.quotePath=false", "-c", "core.fsmonitor=false", *args],
            cwd=folder, env={**os.environ, **quiet, **(env or {})},
            stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return None


def _finish(process: subprocess.Popen[bytes], data: bytes | None = None) -> bytes | None:
    try:
        out, _ = process.communicate(data, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return out if process.returncode == 0 else None


def _run(folder: Path, *args: str, env: dict[str, str] | None = None, data: bytes | None = None) -> bytes | None:
    stdin = subprocess.DEVNULL if data is None else subprocess.PIPE
    process = _start(folder, *args, env=env, stdin=stdin)
    return None if process is None else _finish(process, data)
