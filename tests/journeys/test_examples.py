"""The original's general examples: one experiment saves an artifact, another reuses it by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def studio(*arguments: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-m", "studio", *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_weights_of_one_experiment_are_read_by_another(home: Path, tmp_path: Path) -> None:
    general = EXAMPLES / "general"
    trained = studio(
        "run",
        "--capture=~/weights:weights",
        "--experiment",
        "linear_regression",
        str(general / "train_linreg.py"),
        cwd=tmp_path,
    )
    last_norm = trained.splitlines()[-1].rpartition("= ")[2]
    assert len(list((home / "weights").glob("*.npy"))) == 10, "the artifact is the folder that was named"

    for file in (home / "weights").iterdir():
        file.unlink()  # the second experiment must read what was kept, not what lies there
    printed = studio("run", "--reuse=linear_regression/weights:w", str(general / "print_norm_linreg.py"), cwd=tmp_path)
    assert printed.splitlines() == ["*****", "lr_w_09.npy", last_norm, "*****"]


def test_examples_run_without_studio_in_front(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "general" / "report_system_info.py")]
    alone = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert alone.returncode == 0 and alone.stdout.startswith("Cpu count = ")
    assert studio("run", command[1], cwd=tmp_path).startswith("Cpu count = ")
