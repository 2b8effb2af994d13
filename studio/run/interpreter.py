"""Which Python runs the script, and what is installed in it; answers are cached by the interpreter's identity."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

from ..errors import ConfigError

PROBE = "import json, platform, sys; print(json.dumps([platform.python_version(), [p for p in sys.path if p]]))"


_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*")


def choose(wanted: str | None) -> str:
    """The interpreter: `wanted` (a path or a name on PATH), else the active environment's, else studio's own.

    Raises:
        ConfigError: `wanted` does not exist.
    """
    if wanted:
        import shutil

        found = shutil.which(os.path.expanduser(wanted))
        if found is None:
            raise ConfigError(f"no Python interpreter {wanted!r}", hint="give --python a path or a name on PATH")
        return os.path.abspath(found)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = os.environ.get(variable)
        if prefix:
            path = Path(prefix) / "bin" / "python"
            if os.access(path, os.X_OK):
                return str(path)
    return sys.executable


def of_program(program: str) -> str | None:
    """The interpreter that runs a program: itself if it is a Python, or the one of its first line; None for others."""
    if not _PYTHON.fullmatch(os.path.basename(program)):
        try:
            with open(program, "rb") as file:
                first = file.readline(512) if file.read(2) == b"#!" else b""
        except OSError:
            return None
        words = os.fsdecode(first).split()
        if not words or not _PYTHON.fullmatch(os.path.basename(words[-1] if len(words) > 1 else words[0])):
            return None
        program = words[0] if _PYTHON.fullmatch(os.path.basename(words[0])) else words[-1]
    import shutil

    found = shutil.which(program)
    return found if found is not None and _starts(found) else None


def _starts(program: str) -> bool:
    """Whether it is an executable of its own; a script of that name (as of pyenv) says only when it runs what it is."""
    try:
        with open(program, "rb") as file:
            return file.read(2) != b"#!"
    except OSError:
        return False


def describe(interpreter: str, cache: Path) -> tuple[str, tuple[str, ...]]:
    """Version such as `3.11.7`, and the installed distributions as sorted `name==version`.

    Raises:
        ConfigError: it is not a Python that runs.
    """
    if interpreter == sys.executable:
        version, folders = sys.version.split()[0].rstrip("+"), [p for p in sys.path if p]
    else:
        version, folders = _probe(interpreter, cache)
    return version, installed(folders)


def installed(folders: list[str]) -> tuple[str, ...]:
    """The distributions in these folders of `sys.path`, as sorted `name==version`; of two, the first."""
    found: dict[str, str] = {}
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            stem, dot, ending = name.rpartition(".")
            if ending in ("dist-info", "egg-info") and dot:
                distribution, _, version = stem.partition("-")
                version = version.split("-")[0]
                if version:
                    found.setdefault(
                        distribution.replace("_", "-").lower(), f"{distribution.replace('_', '-')}=={version}"
                    )
    return tuple(found[name] for name in sorted(found))


def _probe(interpreter: str, cache: Path) -> tuple[str, list[str]]:
    import hashlib

    path = Path(interpreter)
    try:
        real = path.resolve().stat()
    except OSError as exc:
        raise ConfigError(
            f"cannot use {interpreter}: {exc.strerror}", hint="give --python another interpreter"
        ) from exc
    settings = path.parent.parent / "pyvenv.cfg"
    stamp = settings.stat().st_mtime_ns if settings.is_file() else 0
    identity = f"{path}|{real.st_size}|{real.st_mtime_ns}|{stamp}|{os.environ.get('PYTHONPATH', '')}"
    known = cache / "interpreters" / (hashlib.sha256(identity.encode()).hexdigest()[:32] + ".json")
    try:
        version, folders = json.loads(known.read_text())
    except (OSError, ValueError):
        version, folders = _ask(interpreter)
        known.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = known.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps([version, folders]))
        part.replace(known)
    return str(version), [str(f) for f in folders]


def _ask(interpreter: str) -> tuple[str, list[str]]:
    import subprocess

    try:
        done = subprocess.run(
            [interpreter, "-c", PROBE], capture_output=True, timeout=30, check=True, stdin=subprocess.DEVNULL
        )
        version, folders = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        raise ConfigError(f"{interpreter} does not run as Python", hint="give --python another interpreter") from exc
    return str(version), [str(f) for f in folders]
