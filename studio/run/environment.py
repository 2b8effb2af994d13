"""A virtual environment with the packages that an experiment ran with; made once for each set, then reused."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError, RunFailed
from ..experiment import Experiment
from ..tracking import Notify
from ..units import counted
from .redact import clean

READY = "ready"
"""File of an environment that is complete."""
_NAMED = re.compile(r"No matching distribution found for ([A-Za-z0-9._-]+)")


def restore(experiment: Experiment, cache: Path, notify: Notify, *, without: Sequence[str] = ()) -> str:
    """The interpreter of an environment that holds the experiment's packages.

    Studio itself, if it was there, is this one: a script that imports it finds it.

    Args:
        cache: The folder under which environments are kept.
        without: Packages that are left out.

    Raises:
        ConfigError: there is no Python of its version here, it ran a command, or one of `without` is none.
        RunFailed: a package cannot be had any more; the message is the installer's.
    """
    if experiment.command.kind == "exec":
        raise ConfigError(
            f"--env restore is for scripts and modules: {experiment.key} ran a command",
            hint=f"studio runs rerun {experiment.key}",
        )
    known = {_plain(p.partition("==")[0]): p for p in experiment.packages}
    for name in without:
        if known.pop(_plain(name), None) is None:
            raise ConfigError(f"{experiment.key} had no package {name!r}", hint="see studio runs show --json")
    ours = known.pop("studio", None)
    version = ".".join((experiment.command.python or "").split(".")[:2])
    lock = "\n".join([version, *known.values(), *(["studio"] if ours else [])])
    folder = cache / "environments" / hashlib.sha256(lock.encode()).hexdigest()[:24]
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # its programs name the folder, so that it is made in place
        if not (folder / READY).exists():
            notify(f"making an environment with Python {version} and {counted(len(known), 'package')}")
            _make(folder, _python(version), list(known.values()))
        if ours:
            _link_studio(folder)
    return str(folder / "bin" / "python")


def _make(folder: Path, python: str, packages: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # one that was not completed
    own_pip = _can_install_elsewhere()
    try:
        _do([python, "-m", "venv", *(["--without-pip"] if own_pip else []), str(folder)])
        there = str(folder / "bin" / "python")
        listed = folder / "packages.txt"
        listed.write_text("".join(f"{package}\n" for package in packages))
        if packages:
            pip = [sys.executable, "-m", "pip", "--python", there] if own_pip else [there, "-m", "pip"]
            _do([*pip, "install", "-q", "--disable-pip-version-check", "--no-deps", "-r", str(listed)])
        (folder / READY).touch()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _can_install_elsewhere() -> bool:
    """Whether the pip beside studio knows `--python`: a pip of the environment's own takes seconds to be made."""
    try:
        major, minor = importlib.metadata.version("pip").split(".")[:2]
    except importlib.metadata.PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= (22, 3)


def _link_studio(folder: Path) -> None:
    """Makes this studio importable there, and nothing that lies beside it."""
    (site,) = (folder / "lib").glob("python*/site-packages")
    source, link = Path(__file__).resolve().parent.parent, site / "studio"
    if not link.is_symlink() or Path(os.readlink(link)) != source:
        link.unlink(missing_ok=True)
        link.symlink_to(source, target_is_directory=True)


def _python(version: str) -> str:
    if version in ("", ".".join(map(str, sys.version_info[:2]))):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        raise ConfigError(f"there is no Python {version} here", hint=f"install it, so that python{version} is on PATH")
    return found


def _plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _do(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return
    said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    wrong = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "it failed")
    named = _NAMED.search(wrong)
    raise RunFailed(
        f"the environment could not be made: {clean(wrong)}",
        hint=f"leave it out: --without {named.group(1)}" if named else "run it again without --env restore",
    )
