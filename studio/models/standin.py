"""Decides which model may answer in the place of one that cannot be served, and words what the user is told of it.

A predictor has another predictor as its stand-in, never a helper: clusters are no answer to what a forest was asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ModelLoadError, NotAModel, StudioError
from .categories import fitted_on
from .find import trained_at
from .folder import Candidate, Found, look_into, shown
from .note import Note, one_line, read_note

SAME_SAVE_S = 60.0
"""Weights beside a whole model that are newer by less than this were written by the same save."""

MOST_REASONS = 8
WRAPPER_HINT = "a model with classes of its own needs a wrapper: studio serve … --wrapper FILE"


@dataclass(frozen=True, slots=True)
class _Missing:
    """A model that should answer and cannot. `why` is a sentence, `told` whether a line on what was skipped has it."""

    name: str
    why: str
    trained: float
    told: bool = False


@dataclass(slots=True)
class Tried:
    """What came of the checkpoints of a folder that were tried so far.

    Attributes:
        failures: Those that cannot be served, with the error.
        best: Whether the best one was asked for.
        passed: Helpers that were not served because a predictor should answer.
    """

    folder: Path
    found: Found
    note: Note
    best: bool = False
    failures: list[tuple[Candidate, StudioError]] = field(default_factory=list)
    passed: list[Candidate] = field(default_factory=list)

    def unknown(self, candidate: Candidate) -> bool:
        """Whether the run's note does not tell what this is."""
        return self.note.kept(candidate.label(self.folder)) is None

    def known_helper(self, candidate: Candidate) -> bool:
        """Whether the run's note tells that this is a helper."""
        kept = self.note.kept(candidate.label(self.folder))
        return kept is not None and kept.helper

    def wants_predictor(self, candidate: Candidate) -> bool:
        """Whether this candidate, a helper, would answer for a model that cannot be served."""
        kept = self.note.kept(candidate.label(self.folder))
        if self._failed() or self._gone() or self.note.lost:
            return True
        if kept is not None:
            return not kept.chosen and bool(self.found.leftovers)
        return any(left.mtime > candidate.mtime + SAME_SAVE_S for left in self.found.leftovers)

    def caveats(self, served: Candidate) -> tuple[list[str], str]:
        """The warnings of the model that is served, and the value of the header that says what it stands in for."""
        label, at = served.label(self.folder), trained_at(served, self.folder, self.note)
        lines = [f"skipped {line}" for line in self.found.skipped]
        lines += [f"skipped {self._named(c, exc)}{_sentence(exc.hint)}" for c, exc in self.failures]
        kept = self.note.kept(label)
        lines += [f"{label}: {kept.cut}"] if kept is not None and kept.cut else []
        later = [m for m in self.note.models if m.broken and m.file != label and m.trained > at]
        broken = [_Missing(m.name, f"{m.name} was trained later: {m.cut}", m.trained) for m in later[-1:]]
        missing = [*broken, *(one for one in self._lost() if one.trained > at), *self._failed(), *self._gone()]
        for one in missing:
            older = ", an older checkpoint" if one.trained > at else ""
            lines.append(
                f"serving {label}{older}{',' if older else ''} instead of {one.name}"
                if one.told
                else f"serving {label}{older or ' instead'}: {one.why}"
            )
        if not self.note.models:
            late = [left for left in self.found.leftovers if left.mtime > at + SAME_SAVE_S]
            lines += [f"{left.label} is newer than {label} and cannot be served: it {left.why}" for left in late]
        return lines, f"{'older' if missing[0].trained > at else 'other'}; {missing[0].why}" if missing else ""

    def error(self, where: str, *, single: bool) -> ModelLoadError:
        """What to raise where none is served.

        Args:
            where: What the user calls the folder.
            single: Whether the user named the one file.
        """
        hints = [exc.hint for _, exc in self.failures if exc.hint] or [WRAPPER_HINT]
        reasons = [self._reason(c, exc) for c, exc in self.failures]
        if single:
            return ModelLoadError(reasons[0], hint=hints[0])
        if not self.passed:
            count = len(self.failures)
            text = (
                f"none of {count} checkpoints in {where} can" if count > 1 else f"the only checkpoint in {where} cannot"
            )
            text += " be served"
            return ModelLoadError(f"{text}: {joined(reasons + self.found.skipped)}", hint=hints[0])
        reasons += [one.why for one in (*self._gone(), *self._lost("was trained"))]
        reasons = reasons or [f"{left.label} {left.why}" for left in self.found.leftovers]
        helpers = [self._name(candidate) for candidate in self.passed]
        return ModelLoadError(
            f"no predictor in {where} can be served: {joined(reasons + self.found.skipped)}",
            hint=f"{hints[0]}; there {'is a helper' if len(helpers) == 1 else 'are helpers'}, which studio serves on "
            f"request only: --model {' or '.join(helpers[:MOST_REASONS])}",
        )

    def _failed(self) -> list[_Missing]:
        """What could not be served, without files that hold no model and that no run called one."""
        told = [(c, exc) for c, exc in self.failures if not (isinstance(exc, NotAModel) and self._may_be_none(c))]
        return [
            _Missing(c.label(self.folder), self._reason(c, exc), trained_at(c, self.folder, self.note), told=True)
            for c, exc in told
        ]

    def _may_be_none(self, candidate: Candidate) -> bool:
        return self.unknown(candidate) or self.known_helper(candidate)

    def _gone(self) -> list[_Missing]:
        """The run's own choice, or its best, if it is no checkpoint here."""
        best, chosen = self.note.best if self.best else None, self.note.chosen
        if best is not None and all(c.label(self.folder) != best for c in self.found.checkpoints):
            name = one_line(best)
            return [_Missing(name, f"the best one was kept as {name}, which is not there or cannot be read", 0.0)]
        if chosen is None or any(c.label(self.folder) == chosen.file for c in self.found.checkpoints):
            return []
        name, file = one_line(chosen.name), one_line(chosen.file)
        why = next((left.why for left in self.found.leftovers if left.label == chosen.file), "")
        clause = f"which {why}" if why else "which is not there or cannot be read"
        return [_Missing(name, f"{name} was kept as {file}, {clause}", chosen.trained)]

    def _lost(self, what: str = "was trained later") -> list[_Missing]:
        """The model that was trained last of those that could not be kept."""
        lost = max(self.note.lost, key=lambda one: one.trained, default=None)
        if lost is None:
            return []
        return [_Missing(lost.name, f"{lost.name} {what} and could not be kept: {lost.why}", lost.trained)]

    def _reason(self, candidate: Candidate, exc: StudioError) -> str:
        label = candidate.label(self.folder)
        return exc.message if label in exc.message else f"{label}: {exc.message}"

    def _named(self, candidate: Candidate, exc: StudioError) -> str:
        """The reason, with the file's name in front and there only."""
        label = candidate.label(self.folder)
        for name in (label, candidate.path.name):
            if exc.message.startswith(f"{name} "):
                return f"{label}{exc.message[len(name) :]}"
            if f" {name}: " in exc.message:
                return f"{label}: {exc.message.replace(f' {name}: ', ' it: ', 1)}"
        return f"{label}: {exc.message}"

    def _name(self, candidate: Candidate) -> str:
        label = candidate.label(self.folder)
        kept = self.note.kept(label)
        return one_line(kept.name if kept is not None else label)


def outlook(folder: Path) -> str | None:
    """Whether `studio serve` may serve a model of this folder: by what lies there and what the run noted of it.

    Returns:
        "" if it may; a sentence on why it needs a wrapper; None if there is nothing to serve.
    """
    found, note = look_into(folder), read_note(folder)
    tried = Tried(folder, found, note)
    stuck = {c.label(folder): held for c in found.checkpoints if (held := fitted_on(c.path))}
    if note.chosen is not None and note.chosen.file in stuck:
        return f"{shown(note.chosen.file)} was fitted on {stuck[note.chosen.file]}"
    numbers = [c for c in found.checkpoints if c.label(folder) not in stuck]
    if any(not (tried.known_helper(c) and (stuck or tried.wants_predictor(c))) for c in numbers):
        return ""
    predictors = [c.label(folder) for c in found.checkpoints if c not in numbers and not tried.known_helper(c)]
    return f"{shown(predictors[0])} was fitted on {stuck[predictors[0]]}" if predictors else None


def joined(reasons: list[str]) -> str:
    """Several reasons in one line, the first ones if there are many."""
    more = [f"and {len(reasons) - MOST_REASONS} more"] if len(reasons) > MOST_REASONS else []
    return "; ".join(reasons[:MOST_REASONS] + more)


def _sentence(hint: str) -> str:
    return f". {hint[0].upper()}{hint[1:]}" if hint else ""
