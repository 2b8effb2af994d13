"""The frozen records of an experiment, one class for each object in `records/<key>.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .names import ENDED
from .values import is_moment

SCHEMA = 1
PAUSED = "paused"
SAMPLED, CLOCK = "sampled", "clock"
CHILD, RERUN, SERVING = "child", "rerun", "serving"


@dataclass(frozen=True, slots=True)
class Command:
    """What was executed. `kind` is `script`, `module` or `exec`; `target` a path, a dotted name or a program."""

    kind: str
    target: str
    args: tuple[str, ...] = ()
    python: str | None = None
    interpreter: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


RESUMED = "resumed"
"""Field of the record's `git`."""


@dataclass(frozen=True, slots=True)
class Git:
    """State of the git work tree; `patch` is the digest of the blob with all uncommitted changes.

    Where git did not tell whether there are any, it is `dirty` without a patch. Where it told nothing at all, commit
    and branch are missing too: a repository without a commit has a branch.
    """

    url: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    patch: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def resumed(self) -> list[str]:
        """Lines on the code that the run went on with after `--resume`, where that was another."""
        found = self.extra.get(RESUMED)
        return [str(line) for line in found] if isinstance(found, list) else []

    def at_its_begin(self) -> Git:
        """The same without what `resumed` tells."""
        return replace(self, extra={name: value for name, value in self.extra.items() if name != RESUMED})

    @property
    def unknown(self) -> bool:
        """Whether git told nothing of the work tree."""
        return self.commit is None and self.branch is None


@dataclass(frozen=True, slots=True)
class Host:
    """The machine. `memory` in bytes."""

    name: str = ""
    os: str = ""
    cpu: str = ""
    cores: int = 0
    memory: int = 0
    gpus: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resources:
    """What was asked for; `ram` and `hdd` in bytes, None = no wish."""

    cpus: int | None = None
    gpus: int | None = None
    ram: int | None = None
    hdd: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """The metric that ranks this experiment; `mode` is `last`, `min` or `max`."""

    name: str
    mode: str = "last"
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """One metric's curve in short; `step` is that of `last`. In JSON, NaN and infinities are spelled as texts.

    A curve that is sampled by the clock, not at each step, has `"sampled": "clock"` among its further fields.
    """

    last: float
    min: float
    max: float
    step: int
    count: int
    first: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """A captured artifact: its manifest's digest (`sha256:…`), number of files and their bytes."""

    mutable: bool = False
    manifest: str | None = None
    files: int = 0
    bytes: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that the user gave to the script.

    `value` has `***` in the place of a secret; `digest` is then that of the whole value, keyed by a salt that never
    leaves the user's own folder, and `salt` tells which one: only digests of one salt can be compared.
    """

    value: str
    digest: str | None = None
    salt: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds since 1970, by the clock of the machine that ran it.

    A run that was resumed has `paused` in `extra`: the seconds between its ends and the beginnings after them.
    """

    added: float = 0.0
    started: float | None = None
    finished: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def paused(self) -> float:
        """Seconds since the start in which it did not run, as it had ended and was not resumed yet."""
        found = self.extra.get(PAUSED)
        return found if isinstance(found, int | float) and is_moment(found) else 0.0

    def took(self, until: float | None = None) -> float | None:
        """Seconds that it ran, up to its end or else `until`; None if that is not known."""
        end = self.finished if self.finished is not None else until
        return None if self.started is None or end is None else max(0.0, end - self.started - self.paused)


@dataclass(frozen=True, slots=True)
class Failure:
    """The exception that ended a script: its type, its message, and the last place in the script's own code."""

    type: str
    message: str = ""
    frame: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exit:
    """How it ended. `reason`: finished, failed, killed, out-of-memory, stopped, interrupted, max-duration, expired or
    lost. `by` names who stopped it, `error` the exception that ended it; None where there was none, or nobody knows."""

    code: int | None = None
    signal: int | None = None
    reason: str = ""
    by: str | None = None
    error: Failure | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Experiment:
    """One execution: `records/<key>.json`. `max_duration` and `lifetime` in seconds.

    `given` names the parameters that the user typed: the others are defaults, or the script's own. `digests` has, of
    parameters that are secret, the digest and the salt's name, as in `Variable`. `relation` says what
    it is to its `parent`: a `child` (the parent's script started it), a `rerun` of it, or a `serving` of its model.
    Records from before there was a `relation` have none, although they may have a `parent`. `env` are the variables of
    `--env` and of the setting `env`; None in records from before they were kept.
    """

    key: str
    command: Command
    project: str = "default"
    owner: str = ""
    kind: str = "run"
    status: str = "waiting"
    packages: tuple[str, ...] = ()
    git: Git | None = None
    host: Host | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    digests: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    notes: str = ""
    resources: Resources = Resources()
    metric: Metric | None = None
    summary: Mapping[str, Summary] = field(default_factory=dict)
    artifacts: Mapping[str, ArtifactRef] = field(default_factory=dict)
    env: Mapping[str, Variable] | None = None
    times: Times = Times()
    exit: Exit | None = None
    max_duration: float | None = None
    lifetime: float | None = None
    parent: str | None = None
    relation: str | None = None
    studio: str = ""
    schema: int = SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it will not go on (a `lost` one may, if its supervisor comes back)."""
        return self.status in ENDED

    @property
    def child_of(self) -> str | None:
        """The run that it is a child of; None for a rerun or a serving, and where the record does not tell."""
        return self.parent if self.relation == CHILD else None

    def with_changes(self, **changes: Any) -> Experiment:
        """A copy with these fields replaced."""
        return replace(self, **changes)
