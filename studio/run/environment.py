"""A virtual environment with the packages that an experiment ran with; made once for each set, then reused."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import ConfigError, RunFailed
from ..experiment import Experiment
from ..tracking import Notify

OURS = ("studio==", "pip==", "setuptools==")


def restore(experiment: Experiment, cache: Path, notify: Notify) -> str:
    """The interpreter of an environment that holds the experiment's packages.

    Args:
        cache: The folder under which environments are kept.

    Raises:
        ConfigError: there is no Python of its version here.
        RunFailed: a package cannot be had any more; the message is the installer's last line.
    """
    packages = [p for p in experiment.packages if not p.startswith(OURS)]
    version = ".".join((experiment.command.python or "").split(".")[:2])
    python = _python(version)
    lock = "\n".join([version, *packages])
    folder = cache / "environments" / hashlib.sha256(lock.encode()).hexdigest()[:24]
    interpreter = folder / "bin" / "python"
    if interpreter.exists():
        return str(interpreter)
    making = folder.with_name(f"{folder.name}.{os.getpid()}")
    making.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    notify(f"making an environment with Python {version} and {len(packages)} packages")
    try:
        _do([python, "-m", "venv", str(making)])
        listed = making / "packages.txt"
        listed.write_text("\n".join(packages) + "\n")
        if packages:
            _do([str(making / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "-r", str(listed)])
        making.rename(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return str(interpreter)


def _python(version: str) -> str:
    if version in ("", ".".join(map(str, sys.version_info[:2]))):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        raise ConfigError(f"there is no Python {version} here", hint=f"install it, so that python{version} is on PATH")
    return found


def _do(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        wrong = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "it failed")
        raise RunFailed(f"the environment could not be made: {wrong}", hint="run it again without --env restore")
