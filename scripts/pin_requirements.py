"""Writes requirements.txt: the exact versions that are tested, taken from a clean environment per Python.

    python scripts/pin_requirements.py python3.10 python3.11

The last Python's versions hold for it and newer ones; where an older Python got another version, a marker says so.
PyTorch stays out: its default build brings several gigabytes that no test needs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "dev,keras,onnx,sklearn"
HEADER = f"""\
# The tested set: core + {EXTRAS}. Written by scripts/pin_requirements.py (make pins); do not edit.
"""
# Packages that exist on some platforms only; the pin must not stop the others.
PLATFORM = {
    "uvloop": "sys_platform != 'win32'",
    "xgboost-cpu": "sys_platform == 'linux' and platform_machine == 'x86_64'",
    "tensorflow-cpu": "sys_platform == 'linux' and platform_machine == 'x86_64'",
}


def versions(python: str) -> tuple[tuple[int, int], dict[str, str]]:
    """The Python's version, and what a fresh environment of it holds once the project is installed there."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", f"{ROOT}[{EXTRAS}]"], check=True)
        frozen = subprocess.run(
            [*pip, "freeze", "--all", "--exclude", "studio", "--exclude", "pip"],
            check=True,
            capture_output=True,
            text=True,
        )
        shown = subprocess.run(
            [f"{folder}/bin/python", "-c", "import sys; print(*sys.version_info[:2])"],
            check=True,
            capture_output=True,
            text=True,
        )
    major, minor = map(int, shown.stdout.split())
    pairs = (line.split("==") for line in frozen.stdout.splitlines() if "==" in line)
    return (major, minor), {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


def lines(found: list[tuple[tuple[int, int], dict[str, str]]]) -> list[str]:
    """One requirement per package and version, with the markers that it needs."""
    newest_python, newest = found[-1]
    out = []
    for name in sorted({name for _, packages in found for name in packages}):
        if len(found) == 1 or {packages.get(name) for _, packages in found} == {newest.get(name)}:
            out.append(_requirement(name, newest[name]))
            continue
        for python, packages in found:
            if name in packages:
                sign = ">=" if python == newest_python else "=="
                out.append(_requirement(name, packages[name], f"python_version {sign} '{python[0]}.{python[1]}'"))
    return out


def _requirement(name: str, version: str, *markers: str) -> str:
    conditions = [*markers, *([PLATFORM[name]] if name in PLATFORM else [])]
    return f"{name}=={version}" + (f"; {' and '.join(conditions)}" if conditions else "")


def main() -> None:
    pythons = sys.argv[1:] or [sys.executable]
    found = sorted(versions(python) for python in pythons)
    (ROOT / "requirements.txt").write_text(HEADER + "\n".join(lines(found)) + "\n")


if __name__ == "__main__":
    main()
