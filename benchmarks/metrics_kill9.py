"""How much a kill -9 loses: a script logs all the time and is killed at random moments; what is missing is counted.

    python benchmarks/metrics_kill9.py [--count 200] [--json]

Loss = the last moment at which the script logged minus the time of the newest point that can be read back. `stall` is
its longest pause between two points, up to the kill: what the machine was not doing, nobody can have logged. The script
notes both in shared memory, which a kill leaves as it is. Every other script logs so slowly that only time makes it
write.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from studio.tracking.metrics import Curves  # noqa: E402

SCRIPT = """
import mmap, os, sys, time, _studio_track as t
noted = memoryview(mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 16)).cast("d")
step = 0
print("ready", flush=True)
noted[0] = time.time()
while True:
    t.log({"single": step}, step=step)
    t.log_many("many", range(step * 10, step * 10 + 10), [0.5] * 10)
    step += 1
    now = time.time()
    noted[1] = max(noted[1], now - noted[0])
    noted[0] = now
    if step % int(sys.argv[2]) == 0:
        time.sleep(0.001)
"""


def kill_once(delay_s: float, steps_at_once: int) -> dict[str, float]:
    """One script, killed after `delay_s`: seconds lost, longest stall, number of points read back."""
    with tempfile.TemporaryDirectory() as folder:
        inject = ROOT / "studio" / "run" / "inject"
        env = {**os.environ, "PYTHONPATH": str(inject), "STUDIOML_SPOOL": folder}
        shared = Path(folder) / "noted"
        shared.write_bytes(bytes(16))
        command = [sys.executable, "-c", SCRIPT, str(shared), str(steps_at_once)]
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s)
        killed = time.time()
        process.kill()
        process.wait()
        process.stdout.close()
        alive, stall = struct.unpack("dd", shared.read_bytes())
        stall = max(stall, killed - alive)
        curves = Curves.from_folder(Path(folder) / "metrics")
        steps, times, values = curves.curve("single")
        if not len(steps):
            return {"lost_s": delay_s, "stall_s": stall, "points": 0}
        assert steps.tolist() == values.astype(int).tolist() == list(range(len(steps))), (
            "a point in the midst is missing"
        )
        many = curves.curve("many")[0]
        assert many.tolist() == list(range(len(many))), "a point in the midst is missing"
        return {
            "lost_s": max(0.0, min(killed, alive) - float(times[-1])),
            "stall_s": stall,
            "points": len(steps) + len(many),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    delays = [rng.uniform(0.05, 1.5) for _ in range(options.count)]
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(kill_once, delays, itertools.cycle([50, 2])))
    if options.json:
        print(json.dumps(found))
        return
    lost = sorted(one["lost_s"] for one in found)
    for low in range(0, 500, 50):
        n = sum(low <= 1000 * value < low + 50 for value in lost)
        print(f"{low:4d} to {low + 50:3d} ms  {n:4d}  {'#' * n}")
    print(f"   over 500 ms  {sum(value >= 0.5 for value in lost):4d}")
    points = sum(one["points"] for one in found)
    print(
        f"{options.count} kills, {points:.0f} points read back; lost: median {lost[len(lost) // 2]:.3f} s, "
        f"worst {lost[-1]:.3f} s; no gap in any curve; longest stall {max(one['stall_s'] for one in found):.3f} s"
    )


if __name__ == "__main__":
    main()
