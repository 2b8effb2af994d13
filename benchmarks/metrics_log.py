"""What `log()` costs, beside writing a line of JSON a point; and what the hooks add to an interpreter's start."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from studio.run.inject import _studio_track as track  # noqa: E402

POINTS = 300_000
ROUNDS = 5


def single(n: int) -> None:
    log = track.log
    for i in range(n):
        log({"loss": 0.5}, i)


def three_names(n: int) -> None:
    log = track.log
    for i in range(n // 3):
        log({"loss": 0.5, "accuracy": 0.25, "lr": 0.1}, i)


def batched(n: int) -> None:
    steps, values = range(1000), [0.5] * 1000
    for _ in range(n // 1000):
        track.log_many("loss", steps, values)


def json_lines(n: int) -> None:
    with tempfile.TemporaryFile("w", buffering=1) as file:
        for i in range(n // 10):
            file.write(json.dumps({"name": "loss", "step": i, "time": time.time(), "value": 0.5}) + "\n")


def rate(work: Callable[[int], None], points: int) -> float:
    began = time.perf_counter()
    work(points)
    return points / (time.perf_counter() - began)


def cpu_ms(env: dict[str, str]) -> float:
    """Processor time of `python -c pass`: the clock on the wall would count the neighbours too."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], env)
    _, _, used = os.wait4(pid, 0)
    return 1000 * (used.ru_utime + used.ru_stime)


def main() -> None:
    with tempfile.TemporaryDirectory() as spool:
        track.attach(spool)
        kinds = {"one value a call": single, "three values a call": three_names, "log_many, 1000 a call": batched}
        rates: dict[str, list[float]] = {name: [] for name in [*kinds, "a line of JSON a point"]}
        for _ in range(ROUNDS):
            for name, work in kinds.items():
                rates[name].append(rate(work, POINTS))
            rates["a line of JSON a point"].append(rate(json_lines, POINTS) / 10)  # it writes a tenth of them
        track.detach()
        base = statistics.median(rates["a line of JSON a point"])
        for name, found in rates.items():
            low, middle, high = min(found), statistics.median(found), max(found)
            print(f"{name:24s} {low:12,.0f} {middle:12,.0f} {high:12,.0f} points/s   × {middle / base:.1f}")
        began, cpu = time.perf_counter(), time.process_time()
        track.attach(spool)
        for step in range(2000):
            track.log({"loss": 0.5}, step)
            time.sleep(0.001)
        track.detach()
        share = (time.process_time() - cpu) / (time.perf_counter() - began)
        asleep_from = time.process_time()
        for _ in range(2000):
            time.sleep(0.001)
        idle = (time.process_time() - asleep_from) / 2
        print(f"at 1,000 points/s: {100 * share:.2f} % of a core, of which the loop's own sleep is {100 * idle:.2f} %")
        bare = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith("STUDIOML_")}
        hooked = {**bare, "PYTHONPATH": str(ROOT / "studio" / "run" / "inject"), "STUDIOML_SPOOL": spool}
        cpu_ms(hooked)
        pairs = [(cpu_ms(bare), cpu_ms(hooked)) for _ in range(40)]
        without, with_hooks = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"an interpreter starts in {without:.1f} ms, with hooks {with_hooks:.1f} ms: + {with_hooks - without:.1f}"
        )


if __name__ == "__main__":
    main()
