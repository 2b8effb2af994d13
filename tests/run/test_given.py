"""Parameters that the user typed, from the command line of `studio run` to the record and to a rerun."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from studio.run.plan import parse_value
from tests.studio_process import studio

SOURCE = """
import argparse, studio
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--depth", type=int, default=2)
told = parser.parse_args()
studio.params(width=7)
print(told.lr, told.depth)
"""


def shown(folder: Path, key: str) -> tuple[dict[str, object], list[str]]:
    done = studio("runs", "show", key, "--json", cwd=folder)
    record = json.loads(done.stdout)
    return record["params"], sorted(record["given"])


def test_what_was_typed_is_in_the_record_and_a_rerun_carries_it_over(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    done = studio("run", "-e", "k", "--param", "note=x", "a.py", "--lr", "0.5", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"0.5 2\n"), done.stderr
    wanted = {"lr": 0.5, "depth": 2, "width": 7, "note": "x"}, ["lr", "note"]
    assert shown(tmp_path, "k") == wanted
    assert studio("runs", "rerun", "k", "-e", "again", cwd=tmp_path).returncode == 0
    assert shown(tmp_path, "again") == wanted
    done = studio("run", "-e", "third", "--param", "depth=9", "--param", "note=y", "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    params, given = shown(tmp_path, "third")
    assert (params, given) == ({"lr": 0.5, "depth": 9, "width": 7, "note": "y"}, ["depth", "lr", "note"])


def test_param_beats_a_default_and_the_scripts_command_line_and_calls_beat_it(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    params = ["--param", "depth=9", "--param", "lr=0.9", "--param", "width=8"]
    done = studio("run", "-e", "k", *params, "a.py", "--lr", "0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert shown(tmp_path, "k") == ({"lr": 0.5, "depth": 9, "width": 7}, ["depth", "lr", "width"])


def test_a_run_that_goes_on_with_other_arguments_has_theirs(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    assert studio("run", "-e", "k", "--param", "note=x", "a.py", "--lr", "0.5", cwd=tmp_path).returncode == 0
    assert studio("run", "--resume", "k", cwd=tmp_path).returncode == 0
    assert shown(tmp_path, "k") == ({"lr": 0.5, "depth": 2, "width": 7, "note": "x"}, ["lr", "note"])
    assert studio("run", "--resume", "k", "a.py", "--depth", "3", cwd=tmp_path).returncode == 0
    assert shown(tmp_path, "k")[0] == {"lr": 0.1, "depth": 3, "width": 7, "note": "x"}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("1.10", "1.10"), ("0.10", "0.10"), ("1.1", 1.1), ("2.0", 2.0), ("1.00", "1.00"), ("1e-3", 0.001), ("1E5", 1e5),
        ("12345e7", "12345e7"), ("0e46209", "0e46209"), ("-1.5e-3", -0.0015), ("67217e15", "67217e15"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"), ("1e999", "1e999"),
        ("12345678901234567890.5", "12345678901234567890.5"), ("007", "007"), ("-0", "-0"), ("-0.0", -0.0), ("7", 7),
        (str(2**128 - 1), 2**128 - 1), ("9" * 400, "9" * 400), ("9" * 5000, "9" * 5000), ("-Infinity", -math.inf),
        ("true", True), ("null", None), ("adam", "adam"), ('"a"', '"a"'), ("[64,64]", [64, 64]), ("[1.10]", ["1.10"]),
        ("[a]", "[a]"), ('{"a": 1}', '{"a": 1}'), ("[" * 5000, "[" * 5000), ("", ""), ("1_000", "1_000"),
    ],
)  # fmt: skip
def test_a_typed_value_is_a_number_only_with_the_same_digits(typed: str, kept: object) -> None:
    assert (parse_value(typed), type(parse_value(typed))) == (kept, type(kept))
