"""A virtual environment for each peer, made once, by pip with the user's own configuration."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class NotInstalled(Exception):
    """pip could not; the message is the last line that it wrote."""


def environment(name: str, packages: tuple[str, ...], out: Path) -> Path:
    """The interpreter of the environment; no packages = this checkout, editable.

    Raises:
        NotInstalled: with the installer's last line.
    """
    folder = out / "environments" / name
    python = folder / "bin" / "python"
    what = [*packages] or ["--editable", str(ROOT)]
    made_from = f"{sys.version} {what} {'' if packages else (ROOT / 'pyproject.toml').read_text()}"
    stamp = folder / f".made-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}"
    if stamp.exists() and python.exists():
        return python
    print(f"installing {name} …", file=sys.stderr, flush=True)
    venv.create(folder, clear=True, with_pip=True)
    words = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", *what]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise NotInstalled(lines[-1].replace(str(ROOT), ".") if lines else f"pip ended with {done.returncode}")
    stamp.touch()
    return python


def version(python: Path, package: str) -> str:
    """The version that is installed there."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
