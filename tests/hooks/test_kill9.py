"""A killed script loses half a second at most; the disk is synced every five seconds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("count", [6, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_a_kill_loses_half_a_second_at_most_and_only_at_the_end(count):
    command = [sys.executable, "benchmarks/metrics_kill9.py", "--count", str(count), "--json"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert len(found) == count
    for one in found:
        # Where the machine itself stood still, which the script's points show, nothing could be written either.
        assert one["lost_s"] <= 0.5 + 2 * one["stall_s"], one


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_disk_is_synced_while_points_come_and_at_the_end(bench, tmp_path):
    trace = tmp_path / "trace"
    bench.script.write_text(
        """
import os, time, _studio_track as t, _studio_metrics
_studio_metrics.FSYNC_S = 0.6
end = time.monotonic() + 2.5
step = 0
while time.monotonic() < end:
    t.log({"x": 1.0}, step=step)
    step += 1
    time.sleep(0.01)
"""
    )
    command = ["strace", "-f", "-qq", "-y", "-ttt", "-e", "trace=write,fsync", "-o", str(trace), sys.executable]
    ran = subprocess.run([*command, str(bench.script)], env=bench.env(), cwd=tmp_path, capture_output=True, text=True)
    if "ptrace" in ran.stderr or "PTRACE" in ran.stderr:
        pytest.skip("this machine does not let strace trace")
    assert ran.returncode == 0, ran.stderr
    lines = [line for line in trace.read_text().splitlines() if "/spool/metrics/" in line]
    kinds = [re.search(r" (write|fsync)\(", line).group(1) for line in lines if "resumed" not in line]
    assert kinds[-1] == "fsync"  # at the end nothing is unsynced
    assert kinds.count("fsync") >= 3 and kinds.count("write") >= 6
    assert kinds.count("write") <= 14  # a write for each flush, not for each point
