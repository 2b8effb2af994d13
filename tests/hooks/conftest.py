"""Scripts in real interpreters with the hooks on their PYTHONPATH and a spool of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from studio.tracking.metrics import Curves

INJECT = Path(__file__).parents[2] / "studio" / "run" / "inject"


@dataclass
class Ran:
    """What came of a script."""

    code: int
    out: str
    err: str
    spool: Path
    modeldir: Path

    @property
    def events(self) -> list[dict]:
        file = self.spool / "events"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def of_type(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def params(self) -> dict:
        return {name: value for event in self.of_type("params") for name, value in event["values"].items()}

    @property
    def curves(self) -> Curves:
        return Curves.from_folder(self.spool / "metrics")

    @property
    def note(self) -> dict:
        file = self.modeldir / ".studio.json"
        return json.loads(file.read_text()) if file.exists() else {}

    @property
    def chosen(self) -> dict:
        (found,) = [model for model in self.note["models"] if model["chosen"]]
        return found

    @property
    def kept(self) -> list[str]:
        """What lies in `modeldir`, but for the note."""
        return sorted(name for name in os.listdir(self.modeldir) if name != ".studio.json")

    @property
    def streams(self) -> list[Path]:
        folder = self.spool / "metrics"
        return sorted(folder.iterdir()) if folder.exists() else []


class Bench:
    """Makes a script and the environment that `studio run` would start it in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.spool.mkdir(mode=0o700)
        self.modeldir = folder / "modeldir"
        self.script = folder / "script.py"

    def needs(self, *modules: str) -> None:
        """Skips the test unless scripts can import these; does not import them here."""
        for module in modules:
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed")

    def env(self, **changes: str | None) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("STUDIOML_")}
        kept |= {
            "PYTHONPATH": str(INJECT),
            "STUDIOML_SPOOL": str(self.spool),
            "STUDIOML_ARTIFACT_MAPPING": json.dumps({"modeldir": str(self.modeldir)}),
            "PYTHONUNBUFFERED": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
        }
        return {k: v for k, v in {**kept, **changes}.items() if v is not None}

    def start(
        self, source: str, args: Sequence[str] = (), *, python: str = sys.executable, **env: str | None
    ) -> subprocess.Popen[str]:
        self.script.write_text(textwrap.dedent(source))
        command = [python, str(self.script), *args]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.env(**env), cwd=self.folder, stdout=pipe, stderr=pipe, text=True)

    def run(self, source: str, args: Sequence[str] = (), *, python: str = sys.executable, **env: str | None) -> Ran:
        process = self.start(source, args, python=python, **env)
        out, err = process.communicate(timeout=280)
        return self.ran(process.returncode, out, err)

    def ran(self, code: int = 0, out: str = "", err: str = "") -> Ran:
        return Ran(code, out, err, self.spool, self.modeldir)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
