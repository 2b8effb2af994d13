"""The git work tree around a folder: commit, branch, remotes, and all uncommitted changes as one patch."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from ..experiment import Git
from ..tracking.named_secrets import NamedSecrets
from .changes import Lost, Made, Repository, make_patch
from .gitcall import Caller, GitFailed
from .hidden import FLAGS, read_flags, uncover
from .redact import redact_url
from .status import State, read_status

HEAD_S = 2.0
STATUS = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=none",
          "--no-ahead-behind")  # fmt: skip
SETTINGS = ("config", "-z", "--get-regexp", r"^(remote\..*\.url|branch\..*\.remote|filter\..*\.(clean|process))$")
PLACES = ("rev-parse", "--show-toplevel", "--git-path", "objects", "--git-path", "index")


@dataclass(slots=True)
class Found:
    """What git says of a work tree.

    Attributes:
        git: The state, without the patch's digest.
        patch: The uncommitted changes for `git apply`; b"" if there are none.
        root: The top of the work tree.
        lost: Files that the patch is without, and why.
        notes: What else the patch is without: a line for each file with secrets, for instance.
        problems: Commands that failed, and so what is not known.
    """

    git: Git
    patch: bytes = b""
    root: Path = Path()
    lost: list[Lost] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Worktree:
    """What git says of a folder's work tree; asked in the background until the answer is wanted."""

    def __init__(self, folder: Path, named: NamedSecrets | None = None) -> None:
        self.folder = folder
        self._named = named or NamedSecrets()
        self._caller = Caller()
        self._found: Found | None = None
        self._failed: Exception | None = None
        self._asking: threading.Thread | None = None
        if any((p / ".git").exists() for p in (folder, *folder.parents)):
            self._asking = threading.Thread(target=self._ask, name="studio-git", daemon=True)
            self._asking.start()

    @property
    def doing(self) -> str:
        """The command that git is busy with."""
        return self._caller.doing or "git"

    def done(self, wait_s: float | None = None) -> bool:
        """Whether the answer is there; waits for it, at most so long."""
        if self._asking is not None:
            self._asking.join(wait_s)
            return not self._asking.is_alive()
        return True

    def read(self) -> Found | None:
        """The answer, waited for; None outside a work tree."""
        self.done()
        if self._failed is not None:
            raise self._failed
        return self._found

    def give_up(self) -> None:
        """Ends what git does; the answer then says what is missing for it."""
        self._caller.give_up()

    def head(self) -> Git:
        """Commit and branch alone, which take git no time; whether there are changes is not known."""
        try:
            commit, branch = Caller(HEAD_S).run_all(
                self.folder, ("rev-parse", "-q", "--verify", "HEAD"), ("symbolic-ref", "-q", "--short", "HEAD"),
                none_is_fine=frozenset({"rev-parse", "symbolic-ref"}),
            )  # fmt: skip
        except GitFailed:
            return Git(dirty=True)
        return Git(commit=commit.decode().strip() or None, branch=os.fsdecode(branch).strip() or None, dirty=True)

    def _ask(self) -> None:
        try:
            self._found = self._look()
        except OSError as exc:  # no room for temporary files, most likely
            what = f"{exc.strerror or exc}{f' ({exc.filename})' if exc.filename else ''}"
            self._found = Found(self.head(), problems=[f"{what}: the uncommitted changes are not kept"])
        except Exception as exc:  # noqa: BLE001 - told to who waits for the answer
            self._failed = exc

    def _look(self) -> Found:
        try:
            flags, settings, places = self._caller.run_all(
                self.folder, FLAGS, SETTINGS, PLACES, none_is_fine=frozenset({"config"})
            )
            lines = places.removesuffix(b"\n").split(b"\n")
            if len(lines) != 3:
                raise GitFailed("git rev-parse gave no usable folders")
            top, objects, index = [self.folder / os.fsdecode(line) for line in lines]
            hidden = read_flags(flags, top)
            with tempfile.TemporaryDirectory(prefix="studio-git-") as scratch:
                env = {}
                if hidden.assumed or hidden.skipped:
                    uncover(self._caller, top, index, hidden, Path(scratch, "seen"))
                    index = Path(scratch, "seen")
                    env = {"GIT_INDEX_FILE": str(index)}
                state = read_status(self._caller.run(self.folder, *STATUS, env=env))
                filters = _filters(settings)
                repository = Repository(top, objects.resolve(), index.resolve(), hidden.absent, filters)
                made = make_patch(self._caller, repository, state, scratch, self._named) if state.dirty else Made()
        except GitFailed as exc:
            return Found(self.head(), problems=[f"{exc}; what is uncommitted is not known"])
        address, others = _remotes(settings, state)
        extra = {"remotes": others} if others else {}
        git = Git(url=address, commit=state.commit, branch=state.branch, dirty=state.dirty, extra=extra)
        return Found(git, made.patch, top, made.lost, made.notes, made.problems)


def _remotes(said: bytes, state: State) -> tuple[str | None, dict[str, str]]:
    """The URL of the branch's own remote, else of `origin`, else of the first; and those of all others by name."""
    urls: dict[str, str] = {}
    own = ""
    for entry in said.split(b"\0"):
        name, _, value = entry.decode(errors="replace").partition("\n")
        if name.startswith("remote."):
            urls.setdefault(name.removeprefix("remote.").removesuffix(".url"), redact_url(value.strip()))
        elif name == f"branch.{state.branch}.remote":
            own = value.strip()
    chosen = next((name for name in (own, "origin", *urls) if name in urls), None)
    if chosen is None:
        return None, {}
    return urls[chosen], {name: url for name, url in urls.items() if name != chosen}


def _filters(said: bytes) -> frozenset[bytes]:
    """The names of those that run a program."""
    entries = (entry.partition(b"\n") for entry in said.split(b"\0") if entry.startswith(b"filter."))
    return frozenset(name[len(b"filter.") : name.rindex(b".")] for name, _, value in entries if value)
