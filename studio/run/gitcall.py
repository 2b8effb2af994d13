"""Calls git such that nothing of the user's changes, no setting of theirs matters, and failures have words."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LIMIT_S = 600.0
POLL_S = 0.2
SETTINGS = (
    "-c", "core.quotePath=false", "-c", "core.fsmonitor=false", "-c", "core.splitIndex=false",
    "-c", "diff.autoRefreshIndex=true", "-c", "diff.suppressBlankEmpty=false", "-c", "diff.orderFile=/dev/null",
    "-c", "diff.context=3", "-c", "diff.interHunkContext=0", "-c", "diff.relative=false",
    "-c", "core.untrackedCache=false", "-c", "core.hooksPath=/dev/null", "-c", "core.safecrlf=false",
)  # fmt: skip
ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C", "GIT_TRACE": "0",
    "GIT_ALLOW_PROTOCOL": "none", "GIT_NO_REPLACE_OBJECTS": "1",
}  # fmt: skip
"""No locks, questions and downloads; and commits as a clone has them, without what `git replace` makes of them here."""

FOREIGN = (
    "GIT_DIFF_OPTS", "GIT_EXTERNAL_DIFF", "GIT_ATTR_SOURCE",
    "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
    "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE",
    "GIT_REPLACE_REF_BASE", "GIT_CONFIG", "GIT_INTERNAL_SUPER_PREFIX",
)  # fmt: skip
"""Variables that no option of git's overrules: they change what a patch holds, or, where a hook or an alias of git's
starts the run, name that repository and its half-made index. A run's repository is the one around its folder."""


class GitFailed(Exception):
    """A command of git failed; the text says which, and what git says of it."""


class GitEnded(GitFailed):
    """It took too long, or was given up."""


class Caller:
    """Runs commands of git, several at once if need be, until `give_up`.

    Args:
        limit_s: A command that takes longer is ended.

    Attributes:
        doing: The command that runs, such as `git diff`; "" between two.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self.doing = ""
        self._limit_s = limit_s
        self._over = threading.Event()

    def give_up(self) -> None:
        """Ends the commands that run; later ones fail at once."""
        self._over.set()

    def run(self, folder: Path, *words: str, env: Mapping[str, str] | None = None, data: bytes | None = None) -> bytes:
        """What the command says.

        Raises:
            GitFailed: it failed, or was given up.
        """
        return self.run_all(folder, words, env=env, data=data)[0]

    def run_all(
        self,
        folder: Path,
        *commands: Sequence[str],
        env: Mapping[str, str] | None = None,
        data: bytes | None = None,
        none_is_fine: frozenset[str] = frozenset(),
    ) -> list[bytes]:
        """What several commands say that run at once.

        Args:
            none_is_fine: Commands that tell by exit code 1 that there is nothing to say.

        Raises:
            GitFailed: the first of them that failed.
        """
        started = [_start(folder, words, env, piped=data is not None) for words in commands]
        self.doing = "git " + commands[0][0]
        out: list[bytes] = []
        failed: list[GitFailed] = []
        for words, process in zip(commands, started, strict=True):
            try:
                said, complaint = self._finish(process, "git " + words[0], data)
            except GitFailed as exc:
                failed.append(exc)
                continue
            if process.returncode not in ((0, 1) if words[0] in none_is_fine else (0,)):
                failed.append(GitFailed(f"git {words[0]} failed: {_reason(complaint, process.returncode)}"))
            out.append(said)
        self.doing = ""
        if failed:
            raise failed[0]
        return out

    def _finish(self, process: subprocess.Popen[bytes], name: str, data: bytes | None) -> tuple[bytes, bytes]:
        until = time.monotonic() + self._limit_s
        while not self._over.is_set() and time.monotonic() < until:
            try:
                return process.communicate(data, timeout=POLL_S)
            except subprocess.TimeoutExpired:
                data = None  # it is being written already
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise GitEnded(f"{name} took too long and was ended")


def _start(
    folder: Path, words: Sequence[str], env: Mapping[str, str] | None, *, piped: bool
) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    try:
        return subprocess.Popen(
            ["git", *SETTINGS, *words],
            cwd=folder, env={**kept, **ENVIRONMENT, **(env or {})},
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,  # Ctrl-C is for the script
        )  # fmt: skip
    except OSError as exc:
        raise GitFailed(f"git cannot be started: {exc.strerror or exc}") from exc


def _reason(complaint: bytes, code: int) -> str:
    """The line of git's complaint that says most, and what git tells to do about a work tree of another user's."""
    lines = [line.strip() for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("fatal:")), lines[-1] if lines else f"exit code {code}")
    remedy = next((f" ({line})" for line in lines if line.startswith("git config --global --add safe.directory")), "")
    return (" ".join(part for part in said.removeprefix("fatal: ").split()) + remedy)[:300]
