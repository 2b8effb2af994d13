"""How much a kill -9 of script, supervisor, guard, or supervisor and guard loses, once the next command has recovered.

    python benchmarks/kill_matrix.py [--count 50] [--jobs 2] [--json]

A script prints and logs numbered lines and points without pause, each said to a file of its own right after. It runs
under `studio run`, is killed at a random moment, and `studio runs list` recovers it. Loss = the moment of the kill
minus the moment at which the oldest line (point) was said that the store does not have. What the script says after the
death of its supervisor, in its grace time, counts too. `stall` is the longest pause of the script itself.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from studio.api import Studio  # noqa: E402
from studio.config import load  # noqa: E402
from studio.tracking.metrics import Curves  # noqa: E402

SCRIPT = """
import os, time, studio
said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
n = 0
while True:
    print(n, flush=True)
    studio.log({"x": n}, step=n)
    os.write(said, f"{n} {os.getpid()} {os.getppid()} {time.time()}\\n".encode())
    n += 1
    if n % 20 == 0:
        time.sleep(0.001)
"""
VICTIMS = {
    "script": ("script",),
    "supervisor": ("supervisor",),
    "guard": ("guard",),
    "both": ("supervisor", "guard"),
}


def kill_once(victims: tuple[str, ...], delay_s: float) -> dict[str, float | str]:
    """One run, killed `delay_s` after its first line: seconds of lines and of points that are lost, and its status."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "train.py").write_text(SCRIPT)
        url = f"file://{place}/home/store"
        env = {**os.environ, "STUDIOML_HOME": str(place / "home"), "STUDIOML_STORE": url, "PYTHONPATH": str(ROOT)}
        env |= {"STUDIOML_STOP_GRACE": "2"}
        studio = [sys.executable, "-m", "studio"]
        run = subprocess.Popen(
            [*studio, "run", "-e", "k", "--no-workspace", "train.py"], cwd=place, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        said = place / "said"
        while not said.exists() or b"\n" not in said.read_bytes()[:100]:
            time.sleep(0.01)
        _, script, guard, _ = said.read_text().split("\n", 1)[0].split()
        pids = {"script": int(script), "guard": int(guard), "supervisor": run.pid}
        time.sleep(delay_s)
        for victim in victims:
            os.kill(pids[victim], signal.SIGKILL)
        killed = time.time()
        run.wait()
        while any(Path(f"/proc/{pid}").exists() for pid in pids.values()):
            time.sleep(0.01)
        subprocess.run([*studio, "runs", "list"], cwd=place, env=env, check=True, capture_output=True)
        return {"delay_s": delay_s, **lost(place, url, killed)}


def lost(place: Path, url: str, killed: float) -> dict[str, float | str]:
    """What is missing in the store of what the script had said."""
    rows = [line.split() for line in (place / "said").read_text().splitlines(keepends=True) if line.endswith("\n")]
    said = [float(row[3]) for row in rows]
    api = Studio(load({"store": url, "project": None, "verbose": None}, file=None), notify=lambda line: None)
    lines = {int(line) for line in b"".join(api.output("k")).split(b"\n") if line.isdigit()}
    points = len(Curves.from_store(api.tracking.store, "k").curve("x")[0])
    no_line = [at for n, at in enumerate(said) if n not in lines]
    no_point = [at for n, at in enumerate(said) if n >= points]
    return {
        "status": api.tracking.records.get("k").status,
        "lines_s": max(0.0, killed - min(no_line)) if no_line else 0.0,
        "points_s": max(0.0, killed - min(no_point)) if no_point else 0.0,
        "lines_lost": len(no_line),
        "points_lost": len(no_point),
        "stall_s": max((b - a for a, b in itertools.pairwise(said)), default=0.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=25, help="kills of each kind")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    found = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, victims in VICTIMS.items():
            delays = [rng.uniform(0.0, 2.5) for _ in range(options.count)]
            found[name] = list(pool.map(lambda delay, victims=victims: kill_once(victims, delay), delays))
    if options.json:
        print(json.dumps(found))
        return
    edges = [0.0, 0.001, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 2.0, 1e9]
    names = ["nothing", *(f"to {1000 * edge:.0f} ms" for edge in edges[2:-1]), "more"]
    print(f"{'killed':11} {'lost':7}" + "".join(f"{name:>10}" for name in names) + "     worst")
    for name, kills in found.items():
        for what in ("lines", "points"):
            values = [float(one[f"{what}_s"]) for one in kills]
            counts = [sum(low <= v < high for v in values) for low, high in itertools.pairwise(edges)]
            print(f"{name:11} {what:7}" + "".join(f"{n:10d}" for n in counts) + f"{max(values):8.3f} s")
    statuses = {name: sorted({str(one["status"]) for one in kills}) for name, kills in found.items()}
    stall = max(float(one["stall_s"]) for kills in found.values() for one in kills)
    print(f"{options.count} kills of each kind; statuses: {statuses}; longest stall of the script {stall:.3f} s")


if __name__ == "__main__":
    main()
