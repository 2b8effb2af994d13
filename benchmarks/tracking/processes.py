"""A peer's processes: their environment, folder and result; hides how an adapter is started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .peers import QUIET, Peer

ADAPTERS = Path(__file__).resolve().parent / "adapters"
LIMIT_S = 300.0


class Failed(Exception):
    """A peer's process ended badly; the message is the last line that it wrote."""


@dataclass
class Place:
    """A peer with its interpreter and a folder that is its home; work goes on in `project` below it."""

    peer: Peer
    python: Path
    folder: Path

    @property
    def project(self) -> Path:
        """Where its processes start."""
        return self.folder / "project"

    def fresh(self, name: str) -> Place:
        """The same peer in another, empty folder."""
        place = Place(self.peer, self.python, self.folder.parent / name / self.peer.name.replace(" ", "-"))
        shutil.rmtree(place.folder, ignore_errors=True)
        place.project.mkdir(parents=True)
        return place

    def variables(self) -> dict[str, str]:
        """The environment: the user's, without what would make one peer another than a user meets."""
        drop = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV")
        gone = ("STUDIOML_", "MLFLOW_", "TRACKIO_", "AIM_", "WANDB_", "HF_")
        kept = {key: value for key, value in os.environ.items() if key not in drop and not key.startswith(gone)}
        own = {key: value.format(folder=self.folder) for key, value in self.peer.variables.items()}
        path = f"{self.python.parent}{os.pathsep}{kept.get('PATH', '')}"
        return {**kept, **QUIET, **own, "HOME": str(self.folder), "PATH": path}

    def words(self, *verb: object) -> list[str]:
        """The command of a verb of its adapter."""
        return [str(self.python), str(ADAPTERS / f"with_{self.peer.adapter}.py"), *map(str, verb)]

    def start(self, words: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """A process of the peer's, not waited for."""
        return subprocess.Popen(words, cwd=self.project, env=self.variables(), stdin=subprocess.DEVNULL, **options)

    def seconds(self, words: Sequence[str]) -> float:
        """Wall time of a process.

        Raises:
            Failed: it ended with an error.
        """
        return self._run(words)[0]

    def ask(self, *verb: object, limit_s: float = LIMIT_S) -> Any:
        """What a verb of the adapter answers.

        Raises:
            Failed: it ended with an error.
        """
        _, out = self._run(self.words(*verb), limit_s)
        return json.loads(out.strip().rsplit(b"\n", 1)[-1])

    def _run(self, words: Sequence[str], limit_s: float = LIMIT_S) -> tuple[float, bytes]:
        began = time.perf_counter()
        try:
            done = subprocess.run(
                words, cwd=self.project, env=self.variables(), stdin=subprocess.DEVNULL, capture_output=True,
                timeout=limit_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"no end after {limit_s:.0f} s") from None
        taken_s = time.perf_counter() - began
        if done.returncode:
            lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
            raise Failed(lines[-1] if lines else f"ended with {done.returncode}")
        return taken_s, done.stdout
