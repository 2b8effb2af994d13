"""One run whose processes are hit at a chosen system call, and what has to be true of what it left."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from studio.experiment import Experiment
from studio.stores import open_store
from studio.stores.check import check_store
from studio.tracking.metrics import Curves
from tests.studio_process import ROOT, STUDIO, opened, until

CODE = 3
"""The script's own exit code: a run that is shown as finished is wrong in any case."""

TRAIN = """
import json, os, sys, time, studio
LINES, EACH_S = int(sys.argv[1]), float(sys.argv[2])
said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
model = os.path.join(json.loads(os.environ["STUDIOML_ARTIFACT_MAPPING"])["modeldir"], "checkpoint")
with open(model, "w") as file:
    file.write("weights" * 100)
studio.params(lr=0.1)
studio.tags("from-script")
for n in range(LINES):
    print(f"line {n}", flush=True)
    studio.log({"x": float(n)}, step=n)
    os.write(said, f"{n} {time.time()}\\n".encode())
    time.sleep(EACH_S)
sys.exit(3)
"""
IN_PROCESS = TRAIN.replace("LINES, EACH_S", 'run = studio.start(key="k")\nLINES, EACH_S', 1)


@dataclass
class Hit:
    """Which call of whom fails how; see fault.c. `at` = 0 counts only."""

    who: str
    at: int = 0
    do: str = "kill"
    ops: str = ""
    under: str = ""
    last: bool = True

    def environment(self, library: Path, log: Path) -> dict[str, str]:
        """What fault.c reads."""
        env = {
            "LD_PRELOAD": str(library), "FAULT_WHO": self.who, "FAULT_AT": str(self.at), "FAULT_DO": self.do,
            "FAULT_LAST": str(int(self.last)), "FAULT_LOG": str(log),
        }  # fmt: skip
        return env | ({"FAULT_OPS": self.ops} if self.ops else {}) | ({"FAULT_UNDER": self.under} if self.under else {})


@dataclass
class Place:
    """A folder with a script, and a home that can be put back to what it was."""

    folder: Path
    home: Path
    library: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder.parent / "calls"

    @property
    def said(self) -> Path:
        return self.folder / "said"

    def command(self, *words: str, hit: Hit | None = None) -> subprocess.CompletedProcess[str]:
        """`studio words…`, to its end."""
        return self.python(*STUDIO[1:], *words, hit=hit)

    def python(self, *words: str, hit: Hit | None = None) -> subprocess.CompletedProcess[str]:
        """A Python process, to its end; what it starts may outlive it."""
        env = {**os.environ, "PYTHONPATH": str(ROOT), "STUDIOML_STOP_GRACE": "2", **self.env}
        self.log.unlink(missing_ok=True)
        if hit is not None:
            env |= hit.environment(self.library, self.log)
        out, err = self.folder.parent / "out", self.folder.parent / "err"
        with open(out, "wb") as stdout, open(err, "wb") as stderr:  # no pipe, which an orphan would hold open
            done = subprocess.run(
                [sys.executable, *words], cwd=self.folder, env=env, stdin=subprocess.DEVNULL,
                stdout=stdout, stderr=stderr, timeout=120,
            )  # fmt: skip
        said = err.read_text(errors="replace")
        return subprocess.CompletedProcess(done.args, done.returncode, out.read_text(errors="replace"), said)

    def calls(self) -> list[str]:
        """What the log of the last hit says."""
        if not self.log.exists():
            return []
        return [line.partition(" ")[2] for line in self.log.read_text().splitlines()]

    def struck(self) -> str:
        """The call that failed; "" if it never came to it."""
        found = [line for line in self.log.read_text().splitlines() if line[0] == "!"] if self.log.exists() else []
        return found[0] if found else ""

    def fresh(self) -> None:
        """Nothing has happened yet, but the store and the index are there."""
        for path in (self.home, self.said):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        if self.pristine.is_dir():
            shutil.copytree(self.pristine, self.home, symlinks=True)

    def keep(self) -> None:
        """Makes what is there now what `fresh` goes back to."""
        shutil.rmtree(self.pristine, ignore_errors=True)
        shutil.copytree(self.home, self.pristine, symlinks=True)

    @property
    def pristine(self) -> Path:
        return self.folder.parent / "pristine"

    def alone(self) -> None:
        """Waits until no process of the run is left.

        Raises:
            AssertionError: one outlives it.
        """
        mark = f"STUDIOML_HOME={self.home}".encode()
        until(lambda: not list(processes_with(mark)), f"the end of {self.home}'s processes")


def processes_with(mark: bytes) -> Iterator[int]:
    """Live processes, but this one, that have a variable of the environment."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                found = Path("/proc", name, "environ").read_bytes()
                state = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state not in "ZX" and mark in found.split(b"\0"):
                yield int(name)


@dataclass
class Found:
    """What the next command found.

    Attributes:
        record: The experiment k; None if it was never stored.
        lines: The script's that are kept.
        points: The number of points that are kept, which have no gap.
        said: When the script had said its n-th line and logged its n-th point, in seconds since 1970.
    """

    record: Experiment | None
    lines: set[int]
    points: int
    said: list[float]

    def lost_s(self) -> float:
        """How old the oldest line or point was that is lost, when the script spoke last."""
        lost = [at for n, at in enumerate(self.said) if n not in self.lines or n >= self.points]
        return max(self.said) - min(lost) if lost else 0.0

    def stall_s(self) -> float:
        """The longest pause of the script itself: what the machine did not do, nobody can have kept."""
        return max((b - a for a, b in zip(self.said, self.said[1:], strict=False)), default=0.0)


def recovered(place: Place) -> Found:
    """Lets the next command recover, and asserts what must be true after any kill and any fault."""
    place.alone()
    first = place.command("runs", "list")
    assert first.returncode == 0, first.stderr
    assert "Traceback" not in first.stderr, first.stderr
    again = place.command("runs", "list")
    assert (again.returncode, again.stderr) == (0, ""), again.stderr
    open_marks = place.home / "open"
    assert not open_marks.is_dir() or not list(open_marks.iterdir())
    check_consistent(place)
    records = {e.key: e for e in opened().experiments(limit=None)}
    record = records.get("k")
    run_folder = place.home / "experiments" / "k"
    if record is None:
        assert not run_folder.exists(), list(run_folder.rglob("*"))
        return Found(None, set(), 0, said_by(place))
    assert record.status in ("failed", "stopped", "lost"), record
    assert record.exit is not None and record.exit.code in (None, CODE), record
    return Found(record, *kept_of("k"), said_by(place))


def check_consistent(place: Place) -> None:
    """The store keeps its contract and can be read whole; the index is sound and says what the store says."""
    url = f"file://{place.home / 'store'}"
    assert [f for f in check_store(url) if not f.ok] == []
    store = open_store(url)
    keys = set()
    for entry in store.list(""):
        data = store.read(entry.name)[0]
        if entry.name.endswith(".json"):
            found = json.loads(data)
            if entry.name.startswith("records/"):
                keys.add(found["key"])
        assert not entry.name.startswith("live/"), entry.name
    assert {e.key for e in opened().experiments(limit=None)} == keys
    for path in place.home.rglob("*.sqlite"):
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()


def kept_of(key: str) -> tuple[set[int], int]:
    """The script's lines and the number of its points that the store has; points have no gap."""
    studio = opened()
    output = b"".join(studio.output(key)).decode().split("\n")
    lines = {int(line[5:]) for line in output if line.startswith("line ") and line[5:].isdigit()}
    torn = [line for line in output if line and not (line.startswith("line ") and line[5:].isdigit())]
    torn = [line for line in torn if not line.startswith("studio: ")]
    assert len(torn) <= 1, torn  # the write that a kill cut, and what came behind it
    curves = Curves.from_store(studio.tracking.store, key)
    if "x" not in curves.names():
        return lines, 0
    steps, _, values = curves.curve("x")
    assert list(steps) == list(values) == list(range(len(steps)))
    return lines, len(steps)


def said_by(place: Place) -> list[float]:
    """When the script had said each line and logged each point, in seconds since 1970."""
    if not place.said.exists():
        return []
    whole = [line.split() for line in place.said.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [float(at) for _, at in whole]
