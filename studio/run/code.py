"""A run's git state and uncommitted changes, as its record has them; also when git takes longer than a start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..errors import NotFound, StoreError
from ..experiment import Experiment, Git
from ..tracking import Notify, Tracking
from ..tracking.named_secrets import named_secrets
from .changes import Lost
from .git import Found, Worktree
from .left_out import by_reason, gathered, shown
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
    """What git says of the code of a run that begins.

    Args:
        folder: What is captured of it: the run's folder, or that of a script outside of it.
        at: The folder in which the script lies, `folder` or one below, whose repository is asked.
        waits: Whether a script waits for git: a moment before it starts, and for the patch at its end.
        quiet: Whether only the record tells what the patch is without.
    """

    def __init__(
        self, folder: Path, at: Path, *, tracking: Tracking, notify: Notify, waits: bool = True, quiet: bool = False
    ) -> None:
        self._folder = folder
        self._tracking = tracking
        self._notify = notify
        self._waits = waits
        self._quiet = quiet
        self._tree = Worktree(at, named_secrets(tracking.home))
        self._manifest: str | None = None
        self._told: Collection[str] = ()
        self.late = False

    def begin(self, manifest: str | None, told: Collection[str] = ()) -> Git | None:
        """The state as far as it is known when the script is to start.

        Args:
            manifest: Of the workspace that is captured: what is in it is not lost.
            told: What the line on the workspace names, which is not named once more.
        """
        self._manifest, self._told = manifest, told
        if self._tree.done(PATIENCE_S if self._waits else 0.0):
            return self._take()
        self.late = True
        extra = {WITHOUT: ["the uncommitted changes were still being read"]}
        if not self._waits:
            return Git(dirty=True, extra=extra)
        self._notify(
            f"{self._tree.doing} is slow here, so the script starts now. The recorded patch may include what the script"
            " changes in its first seconds."
        )
        return replace(self._tree.head(), extra=extra)

    def now(self) -> Git | None:
        """The state without storing anything of it; None outside a work tree.

        Raises:
            TimeoutError: git takes longer than a run waits for it.
        """
        if not self._tree.done(PATIENCE_S):
            self._tree.give_up()
            raise TimeoutError(f"{self._tree.doing} is slow here")
        found = self._tree.read()
        if found is None:
            return None
        return replace(found.git, patch=self._tracking.artifacts.digest_of(found.patch) if found.patch else None)

    def follow(self, *, last: bool) -> Callable[[Experiment], Experiment] | None:
        """The change of the record that is still to come; None if there is none (yet).

        Args:
            last: Whether the run is over: git is waited for, but not for ever.
        """
        if not self.late:
            return None
        if not self._tree.done(PATIENCE_S if last and self._waits else 0.0):
            if not last:
                return None
            if self._waits:
                self._notify(f"waiting up to {LAST_S:g} s for {self._tree.doing}, to record the patch")
            if not self._tree.done(LAST_S if self._waits else 0.0):
                self._tree.give_up()
        self.late = False
        git = self._take()
        return lambda experiment: experiment.with_changes(git=git)

    def _take(self) -> Git | None:
        found = self._tree.read()
        if found is None:
            return None
        held = self._held(found)
        lines = [clean(_one_line(line)) for line in _lines(found, held)]
        if not self._quiet:
            for line in found.problems:
                self._notify(clean(_one_line(line)))
            if line := self._line(found, held):
                self._notify(line)
        patch = None
        try:
            patch = self._tracking.artifacts.write_blob(found.patch) if found.patch else None
        except StoreError as exc:
            lines.append(f"the uncommitted changes could not be stored: {exc}")
            self._notify(lines[-1])
        more = [f"{len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
        extra = {**found.git.extra, **({WITHOUT: [*lines[:MOST_LINES], *more]} if lines else {})}
        return replace(found.git, patch=patch, extra=extra)

    def _line(self, found: Found, held: Callable[[Lost], bool]) -> str:
        """The line on what the patch is without; the workspace may have it, or its own line have told of it."""
        lead = self._lead(found) or ""
        kept: dict[str, list[str]] = {}
        gone = by_reason(note for note in found.notes if not self._is_told(note.partition(": ")[0], lead))
        for lost in found.lost:
            there = held(lost)
            if there or not self._is_told(lost.path, lead):
                (kept if there else gone).setdefault(lost.why, []).append(shown(lost.text))
        if not gone and not kept:
            return ""
        line = f"left out of the git patch: {gathered(gone or kept, folders=True)}."
        if not kept:
            return line
        if not gone:
            return f"{line} The workspace has {'it' if sum(map(len, kept.values())) == 1 else 'them'}."
        return f"{line} Only in the workspace: {gathered(kept, folders=True)}."

    def _is_told(self, path: str, lead: str) -> bool:
        inside = path.removeprefix(lead)
        above = ["./", *(f"{folder}/" for folder in map(str, PurePosixPath(inside).parents))]
        return path.startswith(lead) and any(name in self._told for name in (inside, *above))

    def _lead(self, found: Found) -> str | None:
        """What stands before a path within the run's folder, from the top of the work tree."""
        try:
            lead = str(self._folder.resolve().relative_to(found.root.resolve()))
        except ValueError:
            return None
        return "" if lead == "." else lead + "/"

    def _held(self, found: Found) -> Callable[[Lost], bool]:
        """Whether the workspace has what the patch is without; of a folder with many files, all of them."""
        start = self._lead(found)
        if self._manifest is None or not found.lost or start is None:
            return lambda lost: False
        try:
            entries = {entry.path for entry in self._tracking.artifacts.manifest(self._manifest).files}
        except (NotFound, StoreError):
            return lambda lost: False
        for path in tuple(entries):
            while (cut := path.rfind("/", 0, -1)) >= 0 and (path := path[: cut + 1]) not in entries:
                entries.add(path)

        def held(lost: Lost) -> bool:
            paths = lost.names or (lost.path,)
            if not all(path.startswith(start) for path in paths):
                return False
            inside = (path.removeprefix(start) for path in paths)
            return all(path in entries or path.rstrip("/") + "/" in entries for path in inside)

        return held


def _lines(found: Found, held: Callable[[Lost], bool]) -> Iterator[str]:
    """What is said of it: commands that failed, then files that are kept nowhere, then those the workspace has."""
    yield from found.problems
    groups: dict[tuple[bool, str], list[Lost]] = {}
    for lost in found.lost:
        groups.setdefault((held(lost), lost.why), []).append(lost)
    for (there, why), some in sorted(groups.items(), key=lambda item: item[0][0]):
        yield (
            f"{_names(some)} ({why})"
            + ("; the workspace has it" if there and len(some) == 1 else "")
            + ("; the workspace has them" if there and len(some) > 1 else "")
        )
    yield from found.notes


def _names(some: Sequence[Lost]) -> str:
    shown = ", ".join(lost.text for lost in some[:MOST_NAMES])
    return shown + (f" and {len(some) - MOST_NAMES:,} more" if len(some) > MOST_NAMES else "")


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
