"""What to run, made from a user's words and checked before anything is started or stored."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from ..errors import ConfigError, nearest
from ..experiment import Command, Experiment, Metric, Resources, check_name
from ..tracking import fields
from . import interpreter

SCRIPT_KINDS = ("script", "module", "exec")
RESERVED = ("workspace", "output")
_MOST_DIGITS = 308
"""Records keep whole numbers of so many digits as numbers."""


@dataclass(frozen=True, slots=True)
class Capture:
    """A file or folder of the user's that becomes the artifact `name`; `mutable` ones are captured again and again."""

    path: Path
    name: str
    mutable: bool
    url: str = ""


@dataclass(frozen=True, slots=True)
class Reuse:
    """Artifact `artifact` of experiment `key`, given to the run as `name`."""

    key: str
    artifact: str
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One run to be. `program` and `argv` are what is executed in `folder`; durations in seconds.

    `given` names the parameters that the user typed. `restore` is an experiment whose workspace and inputs are brought
    back into the run's own folder to run there. Of each of `captures` at most `capture_limit` bytes are kept. `code`
    are the files of the workspace, the first one beside or above all others; without any it is all of `folder`.
    `digests` tell parameters that are secret from others, see `Experiment`.
    `secrets` are values that `params` no longer shows: they are looked for in the output, and written nowhere.
    """

    command: Command
    program: str
    argv: tuple[str, ...]
    folder: Path
    project: str
    owner: str
    key: str | None = None
    kind: str = "run"
    captures: tuple[Capture, ...] = ()
    capture_limit: int | None = None
    reuses: tuple[Reuse, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    digests: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    notes: str = ""
    metric: Metric | None = None
    resources: Resources = field(default_factory=Resources)
    max_duration: float | None = None
    lifetime: float | None = None
    parent: str | None = None
    relation: str | None = None
    restore: Experiment | None = None
    resume: bool = False
    workspace: bool = True
    code: tuple[Path, ...] = ()
    autolog: bool = True
    secrets: tuple[str, ...] = field(default=(), repr=False)
    # `lifetime` counts from here on.
    made: float = field(default_factory=time.monotonic)

    @property
    def expired(self) -> bool:
        """Whether its lifetime is over before it began."""
        return self.lifetime is not None and time.monotonic() - self.made > self.lifetime


def has_workspace(experiment: Experiment) -> bool:
    """Whether its code was kept, so that it runs again as it was."""
    ref = experiment.artifacts.get("workspace")
    return ref is not None and ref.manifest is not None


def make_command(
    kind: str, target: str, args: Iterable[str], *, folder: Path, python: str | None, restored: bool = False
) -> tuple[Command, str, tuple[str, ...]]:
    """The command of the record, the program to execute and its argv.

    Args:
        kind: `script`, `module` or `exec`.
        target: The script's path, a dotted name or `pkg::mod`, or a program.
        python: The interpreter wanted, or None.
        restored: Whether the script, or the program, comes from what was captured, so that it need not be here.

    Raises:
        ConfigError: script, module name, program or interpreter that cannot be used.
    """
    args = tuple(args)
    if kind == "exec":
        program = shutil.which(target, path=None) if os.sep not in target else str((folder / target).absolute())
        if program is None or not (restored or os.access(program, os.X_OK)):
            raise ConfigError(f"no program {target!r}", hint="what follows -- is a command as you would type it")
        return Command("exec", target, args), program, (target, *args)
    if kind == "module":
        target = target.replace("::", ".").removeprefix(".")
        if not all(part.isidentifier() for part in target.split(".")):
            raise ConfigError(f"{target!r} is not a module's name", hint="write -m pkg.mod or pkg::mod")
    elif not restored:
        _check_script(target, folder)
    own = kind == "module" and target.partition(".")[0] == "studio" and not python
    chosen = sys.executable if own else interpreter.choose(python)
    start = ("-m", target) if kind == "module" else (target,)
    kept = target if kind == "module" or restored else _in_folder(target, folder)
    return Command(kind, kept, args, interpreter=chosen), chosen, (chosen, *start, *args)


def parse_capture(text: str, *, mutable: bool, folder: Path) -> Capture:
    """`PATH:NAME` of `--capture` and `--capture-once`.

    Raises:
        ConfigError: no `:NAME`, an illegal name, or a path that has to exist and does not.
    """
    where, colon, name = text.rpartition(":")
    if not colon or not where:
        raise ConfigError(
            f"{text!r} does not say what to capture as what", hint="write PATH:NAME, as in data/train:train"
        )
    check_name(name, "artifact name")
    if name in RESERVED and name != "workspace":
        raise ConfigError(f"the artifact name {name!r} is studio's own", hint="choose another name")
    if where.startswith(("http://", "https://")):
        if mutable:
            raise ConfigError(f"{where} cannot be captured again and again", hint="use --capture-once for a URL")
        return Capture(Path(), name, mutable, url=where)
    path = Path(os.path.abspath(folder / Path(where).expanduser()))
    if not mutable and not path.exists():
        raise ConfigError(f"nothing to capture at {where}", hint="--capture-once wants a file or folder that exists")
    return Capture(path, name, mutable)


def parse_reuse(text: str) -> Reuse:
    """`KEY/NAME:NEWNAME` of `--reuse`.

    Raises:
        ConfigError: any other form.
    """
    key, slash, rest = text.partition("/")
    artifact, colon, name = rest.rpartition(":")
    if not (slash and colon and key and artifact):
        raise ConfigError(
            f"{text!r} does not say what to reuse",
            hint="write KEY/ARTIFACT:NAME, as in 20261120-131502-k3x7qa/modeldir:weights",
        )
    for word, what in ((artifact, "artifact name"), (name, "artifact name")):
        check_name(word, what)
    return Reuse(key, artifact, name)


def parse_metric(text: str) -> Metric:
    """`NAME[:min|:max]` of `--metric`; without, the last value counts. A name with a colon in it takes `:last`.

    `metrics.NAME.min` is the same, as queries spell it.

    Raises:
        ConfigError: there is no name, or something else stands behind the colon.
    """
    name, colon, mode = text.rpartition(":")
    field = fields.find(text) if text.startswith("metrics.") else None
    if field is not None:
        name, colon, mode = field.name, ":", field.column
    if not colon:
        name, mode = text, "last"
    if not name:
        raise ConfigError(f"{text!r} names no metric", hint="write --metric val_accuracy:max")
    if mode not in ("min", "max", "last"):
        raise ConfigError(f"--metric {text}: {mode!r} is neither min nor max", hint=f"write --metric {name}:max")
    return Metric(name, mode)


def parse_pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` of `--param` and `--env`.

    Raises:
        ConfigError: one without `=` or name, or two with one name.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"{option} {text!r} is not NAME=VALUE", hint=f"write {option} lr=0.01")
        if name in found:
            raise ConfigError(f"{option} {name} is given twice", hint="leave one of the two out")
        found[name] = value
    return found


def parse_value(text: str) -> object:
    """A parameter's text as a number, a boolean, null or a list of such, where it is one; else as it stands.

    A number that would not be written again with the same digits stays a text, such as `1.10`.
    """
    if text in ("inf", "-inf", "nan"):
        return float(text)
    try:
        value = json.loads(text, parse_float=_exact)
    except (ValueError, RecursionError):
        return text
    if text.strip() == "-0" or (isinstance(value, int) and len(text) > _MOST_DIGITS):
        return text
    return value if isinstance(value, bool | int | float | list) or value is None else text


_SCIENTIFIC = re.compile(r"-?[1-9](\.[0-9]+)?[eE][+-]?[0-9]+")
"""`1e-5`; but `12345e7` and `0e46209` may be a commit, as nobody writes a number so."""


def _exact(digits: str) -> float | str:
    """The number, if it has these digits; else their text."""
    value = float(digits)
    if "e" in digits.lower():
        if not _SCIENTIFIC.fullmatch(digits):
            return digits
        return value if math.isfinite(value) and Decimal(repr(value)) == Decimal(digits) else digits
    return value if repr(value) == digits or Decimal(repr(value)).as_tuple() == Decimal(digits).as_tuple() else digits


def _in_folder(target: str, folder: Path) -> str:
    """A script's path from the folder that is captured, so that it is found in a restored one; else as it was typed."""
    path = os.path.normpath(folder / Path(target).expanduser())
    for place, root in ((path, str(folder)), (os.path.realpath(path), os.path.realpath(folder))):
        if place.startswith(os.path.join(root, "")):
            return os.path.relpath(place, root)
    return target


def _check_script(target: str, folder: Path) -> None:
    path = folder / Path(target).expanduser()
    if path.is_file():
        return
    what = "a folder, not a script" if path.is_dir() else "not there"
    try:
        near = nearest(path.name, [p.name for p in path.parent.iterdir() if p.suffix == ".py"])
        near = near.replace("'", "'" + os.path.join(os.path.dirname(target.rstrip("/")), ""), 1)  # as it is typed
    except OSError:
        near = ""
    raise ConfigError(
        f"script {target} is {what}", hint=near or "studio run SCRIPT.py | PKG::MOD | -m PKG.MOD | -- COMMAND"
    )
