"""The safe decoder against a corpus of hostile pickles, each by every way in, in a process with limits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HARMLESS = {
    "argument-complex-huge",
    "framing-pickle-in-text",
    "work-laughs-list-10",
    "work-laughs-tuple-10",
    "work-lists-33",
    "work-int-many",
    "work-float-exponent",
    "work-frozenset-opcode-again",
    "work-string-lines",
    "work-memo-churn",
    "work-code-points",
    "work-collide-powers",
    "work-collide-minus",
}


def _run(mode: str, folder: Path) -> list[dict[str, object]]:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.codec.attack_child", mode, str(folder / "canary")],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"id"')]
    assert done.returncode == 0, f"died after {lines[-1:]}: {done.stderr[-2000:]}"
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    return _run("ours", tmp_path_factory.mktemp("attacks") / "ours")


def test_there_are_enough_attacks(results: list[dict[str, object]]) -> None:
    assert len({one["id"] for one in results}) >= 800
    assert len({one["way"] for one in results}) == 9


def test_none_executes(results: list[dict[str, object]]) -> None:
    assert [one for one in results if one["executed"]] == []


def test_all_are_refused_or_known_to_be_harmless(results: list[dict[str, object]]) -> None:
    # An attack that is no pickle at all stays the bytes that it is; what says so are the ways in that do not guess.
    strange = [
        one
        for one in results
        if not str(one["outcome"]).startswith("refused")
        and not (one["outcome"] == "value" and (one["id"] in HARMLESS or one["way"] in ("inner-raw", "sniffed")))
    ]
    assert strange == []


def test_none_takes_a_second_of_the_processor(results: list[dict[str, object]]) -> None:
    assert [one for one in results if float(str(one["cpu_s"])) > 1.0] == []


def test_a_stock_unpickler_does_execute_them(tmp_path: Path) -> None:
    executed = [one["id"] for one in _run("stock", tmp_path / "stock") if one["executed"]]
    assert len(executed) >= 40, executed
