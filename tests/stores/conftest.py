"""Small file systems that a test mounts for itself, and code that runs as another user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Mount = Callable[[str], Path]
NOBODY = 65534
# Imports first: the interpreter itself may lie where another user cannot read.
BECOME = """
import os
import studio.stores.local, studio.stores.check
os.setgroups({groups!r}); os.setresgid({user}, {user}, {user}); os.setresuid({user}, {user}, {user})
"""


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a tmpfs with the given options; needs root and the right to mount."""
    mounted: list[Path] = []

    def act(options: str) -> Path:
        folder = tmp_path / f"mount{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    yield act
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def as_nobody() -> Callable[[str], str]:
    """Runs Python code as the user nobody; gives what it printed."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")

    def act(code: str, *, groups: tuple[int, ...] = ()) -> str:
        become = BECOME.format(groups=groups, user=NOBODY)
        done = subprocess.run([sys.executable, "-c", become + code], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return act
