"""Where the code lies that a command runs: its git state is recorded, and what is not in the workspace is kept too."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import Config
from ..experiment import Experiment, kept_script, modules_of, named_script
from ..tracking import Tracking
from ..tracking.selection import is_program
from . import interpreter
from .plan import Plan, has_workspace

PROBE = """\
import importlib.util, json, sys, sysconfig
found = importlib.util.find_spec(sys.argv[1].partition('.')[0])
places = [found.origin or '', *(found.submodule_search_locations or ())] if found else []
print(json.dumps([places, [sysconfig.get_path('stdlib'), sysconfig.get_path('platstdlib')]]))
"""
PROBE_S = 10.0
PYTHONS = ("python", "python3")
"""What lies beside one of these is an installed program."""

INSTALLED = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True)
class Script:
    """The file that runs, links followed; `word` is how the command names it, "" for a module."""

    file: Path
    word: str = ""

    def lies_in(self, folder: Path) -> bool:
        """Whether it is a file of the folder, or of one below."""
        return self.file.is_relative_to(os.path.realpath(folder))


def find_script(plan: Plan, folder: Path, config: Config) -> Script | None:
    """The script or module of the user's that the plan runs; None if that cannot be seen, or is an installed program.

    Args:
        folder: Where the command is typed.
    """
    command = plan.command
    if plan.code or plan.kind == "serving":
        return Script(Path(os.path.realpath(plan.code[0]))) if plan.code else None
    if command.kind == "script":
        return _file(command.target, folder) or _first(command.args, folder)  # such as `streamlit run app.py`
    if command.kind == "module":
        return _module(plan.program, command.target, plan, folder, config) or _first(command.args, folder)
    at = command.args.index("-m") if "-m" in command.args else len(command.args)
    if at + 1 < len(command.args) and all(word.startswith("-") for word in command.args[:at]):
        python = interpreter.of_program(plan.program)
        found = _module(python, command.args[at + 1], plan, folder, config) if python is not None else None
        if found is not None:
            return found
    return _first([command.target, *command.args], folder)


def has_code(experiment: Experiment) -> bool:
    """Whether something of its code was kept."""
    return has_workspace(experiment) or kept_script(experiment) is not None


def has_program(experiment: Experiment, tracking: Tracking) -> bool:
    """Whether a command (`./run.sh`) starts a program that was kept with it; `.venv/bin/python` was not."""
    target, named = experiment.command.target, named_script(experiment)
    if os.sep not in target or (named is not None and named[1] == target):
        return named is not None and named[1] == target
    ref = experiment.artifacts.get("workspace")
    if os.path.isabs(target) or ref is None or ref.manifest is None:
        return False
    return any(one.path == os.path.normpath(target) for one in tracking.artifacts.manifest(ref.manifest).files)


def runs_kept(experiment: Experiment) -> bool:
    """Whether an experiment that runs again runs the code that was kept with it, and no other."""
    command = experiment.command
    if kept_script(experiment) is not None:
        return True
    outside = os.path.isabs(command.target) or command.target.startswith("../")
    if not has_workspace(experiment) or (command.kind == "script" and outside):
        return False
    return all(one.name != "__main__" for one in modules_of(experiment))


def in_copy(plan: Plan, mapping: Mapping[str, Path]) -> Plan:
    """The plan of an experiment that runs again, in the folder and with the script that were brought back."""
    if "workspace" in mapping:
        plan = replace(plan, folder=mapping["workspace"])
        own = plan.folder / plan.argv[0]
        if plan.command.kind == "exec" and os.sep in plan.argv[0] and own.is_file():
            plan = replace(plan, program=str(own))
    named = named_script(plan.restore) if plan.restore is not None else None
    if named is None or named[0] not in mapping:
        return plan
    artifact, word, name = named
    place = mapping[artifact]
    file = str(place / name) if place.is_dir() else str(place)
    at = plan.argv.index(word) if word in plan.argv else len(plan.argv)
    argv = (*plan.argv[:at], file, *plan.argv[at + 1 :])
    return replace(plan, argv=argv, program=file if at == 0 else plan.program)


def _file(word: str, folder: Path) -> Script | None:
    path = os.path.realpath(os.path.join(folder, os.path.expanduser(word)))
    beside = os.path.dirname(path)
    if not os.path.isfile(path) or not INSTALLED.isdisjoint(beside.split(os.sep)):
        return None
    return None if any(os.path.isfile(os.path.join(beside, name)) for name in PYTHONS) else Script(Path(path), word)


def _first(words: Sequence[str], folder: Path) -> Script | None:
    """The first word that names the text of a program, as in `torchrun ../train.py`; none that lies beside a Python."""
    for n, word in enumerate(words):
        found = _file(word, folder) if "\0" not in word else None
        if found is None or not (is_program(found.file.name) or (n == 0 and os.sep in word and _is_text(found.file))):
            continue
        return found
    return None


def _is_text(file: Path) -> bool:
    try:
        with open(file, "rb") as source:
            return source.read(2) == b"#!"
    except OSError:
        return False


def _module(python: str, name: str, plan: Plan, folder: Path, config: Config) -> Script | None:
    """Where `-m name` is found: in the folder, or wherever this Python looks; None for installed packages."""
    top = name.partition(".")[0]
    for place in (folder / top / "__init__.py", folder / f"{top}.py"):
        if place.is_file():
            return Script(Path(os.path.realpath(place)))
    env = {**os.environ, **{key: str(value) for key, value in config["env"].items()}, **plan.env}
    try:
        done = subprocess.run(
            [python, "-c", PROBE, name], cwd=folder, env=env, capture_output=True, timeout=PROBE_S, check=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        places, own = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
    for place in places:
        if not os.path.isabs(place) or not os.path.exists(place):  # `built-in`
            continue
        path = Path(os.path.realpath(place))
        if INSTALLED.isdisjoint(path.parts) and not any(path.is_relative_to(os.path.realpath(one)) for one in own):
            return Script(path)
    return None
