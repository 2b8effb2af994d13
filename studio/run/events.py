"""What a script's hooks said in the spool's `events`, gathered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from ..experiment import Experiment, Failure
from .inject._studio_secrets import clean
from .redact import check_tag
from .sealed import Seal, redact_sealed
from .spool import Spool

SCRIPTS_OWN = ("model.save", "torch.save", "joblib.dump", "savefig")
"""Functions by which a script saves what studio then notes."""

MESSAGE_CHARS = 2000
"""A longer message of an exception is cut."""


@dataclass(slots=True)
class Heard:
    """The events of one pass.

    Attributes:
        digests: Parameter that is secret → its digest and the name of the salt.
        given: The parameters of which the user typed the value.
        defaults: Those whose newest value is a parser's default.
        saved: What the script saved by itself, and where: path → the function that did, such as `torch.save`.
        tensorboard: Folders that the script writes event files to: (folder, prefix of the names, since when).
        sealed: Secrets of the command line that only the script's own parser knew as such.
        memory_error: Whether the exception that ended the script was a MemoryError; None if none was told.
        failure: That exception; None if none was told.
        python: Version, executable and folders of packages of the Python that a command came to.
        sampled: Names of curves that hooks sample by the clock.
        modules: Name and file of each module of the user's that was imported; None if none was told.
        fresh: Whether a Python began after which nothing failed yet: what failed before did not end the run.
    """

    params: dict[str, object] = field(default_factory=dict)
    digests: dict[str, tuple[str, str]] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    defaults: set[str] = field(default_factory=set)
    tags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    tensorboard: list[tuple[Path, str, float]] = field(default_factory=list)
    saved: dict[str, str] = field(default_factory=dict)
    sealed: list[Seal] = field(default_factory=list)
    memory_error: bool | None = None
    failure: Failure | None = None
    python: tuple[str, str, list[str]] | None = None
    sampled: set[str] = field(default_factory=set)
    fresh: bool = False
    modules: list[tuple[str, str]] | None = None

    def add(self, event: dict[str, object]) -> None:
        """Takes one event in; unknown ones are left for later versions."""
        match event.get("type"), event.get("values"), event.get("text"):
            case "params", dict(values), _:
                self._add_params(values, event)
            case "tags", list(values), _:
                for value in values:
                    self._add_tag(str(value))
            case "note", _, str(text):
                self.notes.append(text)
            case "warning", _, str(text):
                self.warnings.append(text)
            case "tensorboard", _, _:
                since = event.get("since")
                since_s = float(since) if isinstance(since, float | int) else 0.0
                self.tensorboard.append((Path(str(event.get("folder"))), str(event.get("prefix", "")), since_s))
            case "model" | "figure", _, _ if event.get("how") in SCRIPTS_OWN and isinstance(event.get("path"), str):
                self.saved[clean(str(event["path"]))] = str(event["how"])
            case "sealed", _, _:
                self.sealed += Seal.of(event)
            case "exception", _, _:
                self.memory_error = event.get("memory") is True
                self.failure = failure_of(event)
            case "sampled", _, _ if isinstance(event.get("names"), list):
                self.sampled.update(map(clean, map(str, event["names"])))  # type: ignore[call-overload]
            case "modules", _, _ if isinstance(event.get("files"), list):
                self._add_modules(event["files"])  # type: ignore[arg-type]
            case "began", _, _:
                self._begin_again()
            case "python", _, _:
                self._begin_again()
                folders = event.get("folders")
                if isinstance(folders, list) and self.python is None:
                    self.python = str(event.get("version")), str(event.get("executable")), list(map(str, folders))

    def _add_params(self, values: dict[str, object], event: dict[str, object]) -> None:
        self.params.update(values)
        digests = event.get("digests")
        for name in values:
            self.digests.pop(name, None)
            match digests.get(name) if isinstance(digests, dict) else None:
                case [str(digest), str(salt)]:
                    self.digests[name] = digest, salt
        names = event.get("given")
        given = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        self.given += given
        self.defaults -= set(values)
        if event.get("parsed") is True:
            self.defaults |= set(values) - set(given)

    def _add_modules(self, files: list[object]) -> None:
        pairs = [(str(one[0]), str(one[1])) for one in files if isinstance(one, list) and len(one) == 2]
        self.modules = [*(self.modules or ()), *pairs]

    def _begin_again(self) -> None:
        self.failure, self.memory_error, self.fresh = None, None, True

    def _add_tag(self, tag: str) -> None:
        try:
            self.tags.append(check_tag(tag))
        except ConfigError as exc:
            self.warnings.append(f"studio.tags: {tag[:60]!r} is left out: {exc.hint}")

    def changes_record(self) -> bool:
        """Whether the record has to know."""
        return bool(self.params or self.tags or self.notes or self.saved or self.sealed)

    def merge(self, experiment: Experiment, *, typed: Collection[str] = ()) -> Experiment:
        """The record with these parameters, tags and notes; the same again changes nothing.

        A default replaces no value of `typed`, such as one of `--param`.
        """
        kept = self.defaults & set(typed)
        fresh = {n: v for n, v in self.params.items() if n not in kept}
        digests = {n: d for n, d in experiment.digests.items() if n not in fresh}
        new = [note for note in self.notes if note not in experiment.notes.split("\n")]
        return experiment.with_changes(
            command=redact_sealed(experiment.command, self.sealed),
            params={**experiment.params, **fresh},
            digests={**digests, **{n: d for n, d in self.digests.items() if n in fresh}},
            given=tuple(dict.fromkeys([*experiment.given, *self.given])),
            tags=tuple(dict.fromkeys([*experiment.tags, *self.tags])),
            notes="\n".join([note for note in (experiment.notes, *new) if note]),
            extra=_with_saved(experiment.extra, self.saved),
        )


def failure_of(event: Mapping[str, object]) -> Failure:
    """The exception that an event of type `exception` tells of."""
    message = clean(str(event.get("text", "")).encode("utf-8", "replace").decode())  # half surrogates are no text
    if len(message) > MESSAGE_CHARS:
        message = message[:MESSAGE_CHARS] + "…"
    return Failure(str(event.get("name"))[:200], message, clean(str(event.get("frame", "")))[:500])


def _with_saved(extra: Mapping[str, object], saved: Mapping[str, str]) -> Mapping[str, object]:
    """The record's further fields with `saved`: [{"path": …, "how": …}, …], each path once."""
    if not saved:
        return extra
    known = extra.get("saved")
    entries = [entry for entry in known if isinstance(entry, dict)] if isinstance(known, list) else []
    there = {entry.get("path") for entry in entries}
    return {**extra, "saved": entries + [{"path": p, "how": h} for p, h in saved.items() if p not in there]}


def hear(spool: Spool, offset: int) -> tuple[Heard, int]:
    """The events after `offset`, and the offset behind them."""
    events, behind = spool.events_since(offset)
    heard = Heard()
    for event in events:
        heard.add(event)
    return heard, behind
