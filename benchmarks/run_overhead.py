"""What `studio run` adds to an empty script in a folder of 500 files, and what the command line costs at all.

Each figure is a difference to a bare `python` in the same run: min - median - max in seconds, over alternating turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TURNS = int(os.environ.get("BENCH_TURNS", "15"))
FILES = 500


def seconds(words: Sequence[str], folder: Path) -> float:
    """Wall time of a command."""
    began = time.perf_counter()
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def spread(values: Sequence[float]) -> str:
    """min - median - max."""
    return f"{min(values):.3f} - {statistics.median(values):.3f} - {max(values):.3f} s"


def main() -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["STUDIOML_HOME"] = scratch + "/home"
        os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
        folder = Path(scratch, "project")
        (folder / "data").mkdir(parents=True)
        for number in range(FILES):
            (folder / "data" / f"{number}.txt").write_text(f"file {number}\n" * 50)
        (folder / "empty.py").write_text("")
        (folder / "pass.py").write_text("pass")
        studio = [sys.executable, "-m", "studio"]
        bare = [sys.executable, "empty.py"]
        first = seconds([*studio, "run", "empty.py"], folder)
        cases = {
            "studio run of an empty script, again": [*studio, "run", "empty.py"],
            "studio --help": [*studio, "--help"],
            "import studio": [sys.executable, "-c", "import studio"],
            "studio runs list": [*studio, "runs", "list"],
        }
        print(f"{TURNS} turns, a folder of {FILES} files; bare python first, then what each adds to it")
        base = [seconds(bare, folder) for _ in range(TURNS)]
        print(f"{'bare script':40} {spread(base)}")
        print(f"{'studio run, the very first time':40} {first - statistics.median(base):.3f} s")
        for name, words in cases.items():
            added = []
            for _ in range(TURNS):
                reference = seconds(bare, folder)
                added.append(seconds(words, folder) - reference)
            print(f"{name:40} {spread(added)}")


if __name__ == "__main__":
    main()
