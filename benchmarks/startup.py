"""What `import studio` and `studio --help` add to an interpreter that does nothing, over 20 starts each."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 20
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import studio": ["-c", "import studio"],
    "studio --help": ["-m", "studio", "--help"],
    "studio runs list": ["-m", "studio", "runs", "list"],
}


def seconds(arguments: list[str], home: str) -> float:
    environment = {**os.environ, "STUDIOML_HOME": home}
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, env=environment, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as home:
        for _ in range(ROUNDS):  # interleaved, so that a slow moment of the machine meets all alike
            for name, arguments in COMMANDS.items():
                taken[name].append(seconds(arguments, home))
    bare_best, bare_median = min(taken["python -c pass"]), statistics.median(taken["python -c pass"])
    print(f"{'':18} {'best':>8} {'median':>8} {'+ best':>8} {'+ median':>8}   seconds")
    for name, times in taken.items():
        best, median = min(times), statistics.median(times)
        print(f"{name:18} {best:8.3f} {median:8.3f} {best - bare_best:8.3f} {median - bare_median:8.3f}")


if __name__ == "__main__":
    main()
