"""A run's git state and uncommitted changes, as its record has them; also when git takes longer than a start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..errors import NotFound, StoreError
from ..experiment import Experiment, Git
from ..tracking import Notify, Tracking
from .changes import Lost
from .git import Found, Worktree
from .left_out import say_left_out
from .redact import clean

PATIENCE_S = 1.0
"""A run waits so long for git before its script starts; small work trees take a tenth of it."""

LAST_S = 30.0
"""And so long when the script is over."""

MOST_NAMES = 4
MOST_LINES = 20
WITHOUT = "without"
"""Field of the record's `git`: lines that say what the patch is without, or what is not known."""


def without(git: Git) -> list[str]:
    """What a record's patch is without, or what is not known of the code."""
    found = git.extra.get(WITHOUT)
    return [str(line) for line in found] if isinstance(found, list) else []


class Code:
    """What git says of the folder of a run that begins.

    Args:
        folder: Where the run takes place.
    """

    def __init__(self, folder: Path, *, tracking: Tracking, notify: Notify) -> None:
        self._folder = folder
        self._tracking = tracking
        self._notify = notify
        self._tree = Worktree(folder)
        self._manifest: str | None = None
        self.late = False

    def begin(self, manifest: str | None) -> Git | None:
        """The state as far as it is known when the script is to start.

        Args:
            manifest: Of the workspace that is captured: what is in it is not lost.
        """
        self._manifest = manifest
        if self._tree.done(PATIENCE_S):
            return self._take()
        self.late = True
        self._notify(
            f"{self._tree.doing} takes long: the script starts meanwhile; what it changes at once may be among the"
            " uncommitted changes that are kept"
        )
        return replace(self._tree.head(), extra={WITHOUT: ["the uncommitted changes were still being read"]})

    def follow(self, *, last: bool) -> Callable[[Experiment], Experiment] | None:
        """The change of the record that is still to come; None if there is none (yet).

        Args:
            last: Whether the run is over: git is waited for, but not for ever.
        """
        if not self.late or not self._tree.done(PATIENCE_S if last else 0.0):
            if not self.late or not last:
                return None
            self._notify(f"waiting for {self._tree.doing}, at most {LAST_S:g} s")
            if not self._tree.done(LAST_S):
                self._tree.give_up()
        self.late = False
        git = self._take()
        return lambda experiment: experiment.with_changes(git=git)

    def _take(self) -> Git | None:
        found = self._tree.read()
        if found is None:
            return None
        lines = [clean(_one_line(line)) for line in _lines(found, self._held(found))]
        say_left_out("the uncommitted changes", lines, self._notify)
        patch = None
        try:
            patch = self._tracking.artifacts.write_blob(found.patch) if found.patch else None
        except StoreError as exc:
            lines.append(f"the uncommitted changes could not be stored: {exc}")
            self._notify(lines[-1])
        more = [f"{len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
        extra = {**found.git.extra, **({WITHOUT: [*lines[:MOST_LINES], *more]} if lines else {})}
        return replace(found.git, patch=patch, extra=extra)

    def _held(self, found: Found) -> Callable[[str], bool]:
        """Whether the workspace has a file, which is given by its path from the top of the work tree."""
        if self._manifest is None or not found.lost:
            return lambda path: False
        try:
            entries = {entry.path for entry in self._tracking.artifacts.manifest(self._manifest).files}
            entries |= {f"{above}/" for path in entries for above in map(str, PurePosixPath(path).parents)}
            lead = str(self._folder.resolve().relative_to(found.root.resolve()))
        except (NotFound, StoreError, ValueError):
            return lambda path: False
        start = "" if lead == "." else lead + "/"

        def held(path: str) -> bool:
            inside = path.removeprefix(start)
            return path.startswith(start) and (inside in entries or inside.rstrip("/") + "/" in entries)

        return held


def _lines(found: Found, held: Callable[[str], bool]) -> Iterator[str]:
    """What is said of it: commands that failed, then files that are kept nowhere, then those the workspace has."""
    yield from found.problems
    groups: dict[tuple[bool, str], list[Lost]] = {}
    for lost in found.lost:
        groups.setdefault((held(lost.path), lost.why), []).append(lost)
    for (there, why), some in sorted(groups.items(), key=lambda item: item[0][0]):
        yield (
            f"{_names(some)}: {why}"
            + ("; the workspace has it" if there and len(some) == 1 else "")
            + ("; the workspace has them" if there and len(some) > 1 else "")
        )
    yield from found.notes


def _names(some: Sequence[Lost]) -> str:
    shown = ", ".join(lost.path for lost in some[:MOST_NAMES])
    return shown + (f" and {len(some) - MOST_NAMES:,} more" if len(some) > MOST_NAMES else "")


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
