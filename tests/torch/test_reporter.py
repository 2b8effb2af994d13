"""Progress lines, the points that they leave, and TensorBoard's files; none of it needs torch."""

from __future__ import annotations

import io
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from studio.run.inject import _studio_track
from studio.torch import Reporter
from studio.torch.events import EventFile
from studio.tracking.metrics import Curves
from studio.tracking.tensorboard import TensorBoardTail
from tests.studio_process import environment


def test_the_line_of_the_original():
    reporter = Reporter(log_interval=2, smooth_interval=2)
    out = io.StringIO()
    reporter.add(0, "k", 0.1)
    reporter.add(1, "k", 0.2)
    reporter.report(out)
    reporter.add(2, "k", 0.3)
    reporter.report(out)
    assert out.getvalue() == "Step 2: k = 0.25000"


def test_later_lines_say_the_time(capsys: pytest.CaptureFixture[str]):
    reporter = Reporter(log_interval=1)
    for step in range(2):
        reporter.record(step, a=step, b=0.5)
        reporter.report()
    first, second = capsys.readouterr().out.splitlines()
    assert first == "Step 0: a = 0.00000,b = 0.50000"
    assert re.fullmatch(r"Step 1: a = 0\.50000,b = 0\.50000 \(\d+\.\d{3} sec\)", second)


def test_values_become_metrics_of_the_run(tmp_path: Path):
    _studio_track.attach(str(tmp_path))
    try:
        reporter = Reporter(log_interval=10)
        for step in range(25):
            reporter.record(step, loss=1 / (step + 1))
    finally:
        _studio_track.detach()
    steps, _, values = Curves.from_folder(tmp_path / "metrics").curve("loss")
    assert steps.tolist() == list(range(25))
    assert values.tolist() == [1 / (step + 1) for step in range(25)]


def test_tensors_are_numbers(capsys: pytest.CaptureFixture[str]):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'studio[torch]'")
    reporter = Reporter(log_interval=1)
    reporter.record(0, loss=torch.tensor(0.25, requires_grad=True), n=torch.tensor([3]))
    reporter.report()
    assert capsys.readouterr().out == "Step 0: loss = 0.25000,n = 3.00000\n"


POINTS = [(0, "loss", 0.5), (1 << 40, "größe", -1e-3), (-1, "loss", math.inf), (3, "x" * 300, 1e300)]


def written(folder: Path) -> Path:
    events = EventFile(folder)
    for point in POINTS:
        events.add(*point)
    (path,) = folder.iterdir()
    return path


def test_event_files_are_read_by_the_run(tmp_path: Path):
    written(tmp_path / "tb")
    found = [(p.step, p.name, p.value) for p in TensorBoardTail(tmp_path / "tb").new_points()]
    assert found == [(s, n, pytest.approx(v if abs(v) < 1e30 else math.inf)) for s, n, v in POINTS]


def test_event_files_are_read_by_tensorboard(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    script = (
        "import sys\n"
        "from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader\n"
        "from tensorboard.compat.proto.event_pb2 import Event\n"
        "for raw in RawEventFileLoader(sys.argv[1]).Load():\n"
        "    event = Event.FromString(raw)\n"
        "    for value in event.summary.value:\n"
        "        print(event.step, value.tag[:9], value.simple_value)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(written(tmp_path / "tb"))],
        env=environment(PYTHONIOENCODING="utf-8"), capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [(int(s), n, pytest.approx(float(v))) for s, n, v in lines] == [
        (s, n[:9], v if abs(v) < 1e30 else math.inf) for s, n, v in POINTS
    ]


def test_the_reporter_writes_event_files_at_its_interval(tmp_path: Path):
    reporter = Reporter(log_interval=2, logdir=tmp_path / "tb")
    for step in range(5):
        reporter.record(step, loss=step / 4)
        reporter.report(io.StringIO())
    points = TensorBoardTail(tmp_path / "tb").new_points()
    assert [(p.step, p.value) for p in points if p.name == "loss"] == [(0, 0), (2, 0.5), (4, 1)]
    assert {p.name for p in points} <= {"loss", "step/sec"}


def test_neither_torch_nor_anything_heavy_is_imported():
    script = (
        "import sys, studio.torch as t; t.Reporter(1).record(1, a=1)\n"
        "heavy = {'torch', 'numpy', 'tensorflow', 'tensorboard'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_torch_the_saver_says_what_to_install(tmp_path: Path):
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from studio.errors import MissingExtra\n"
        "from studio.torch import Saver\n"
        "try:\n"
        "    Saver(None).save('x', 1)\n"
        "except MissingExtra as exc:\n"
        "    print(exc, '|', exc.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True)
    assert done.stdout == "torch is not installed | pip install 'studio[torch]'\n", done.stderr
