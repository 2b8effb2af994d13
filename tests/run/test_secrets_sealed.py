"""Secrets that only the script's own parser knows as such are in neither the recorded command nor the kept output."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from studio.experiment import Command
from studio.run.mask import MASK, Mask, forms
from studio.run.sealed import LEAST_WORD_CHARS, Seal, redact_sealed
from tests.studio_process import opened, record, start, studio, until

CANARY = "abcdefgh1234"

CLICK = """
import click
@click.command()
@click.option("--phrase", hide_input=True)
@click.option("--layers", type=int)
def main(phrase, layers):
    print("phrase", phrase, "layers", layers, flush=True)
print("before", flush=True)
main(auto_envvar_prefix="DEMO")
"""

ARGPARSE = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("-p", dest="password")
parser.add_argument("-n", type=int)
found = parser.parse_args()
print("password", found.password, found.n, flush=True)
"""


def stored() -> bytes:
    return b"".join(opened().output(record().key))


def nowhere(home: Path, value: str = CANARY) -> None:
    for path in (home / ".studioml").rglob("*"):
        assert not path.is_file() or value.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("script", "words", "recorded"),
    [
        (CLICK, ("--phrase", CANARY, "--layers", "4"), ("--phrase", "***", "--layers", "4")),
        (CLICK, (f"--phrase={CANARY}",), ("--phrase=***",)),
        (ARGPARSE, ("-p", CANARY, "-n", "12"), ("-p", "***", "-n", "12")),
        (ARGPARSE, (f"-p{CANARY}",), ("-p***",)),
    ],
)
def test_what_a_parser_hides_is_masked_in_command_and_output_and_seen_by_the_user(
    tmp_path: Path, home: Path, script: str, words: tuple[str, ...], recorded: tuple[str, ...]
) -> None:
    (tmp_path / "a.py").write_text(script)
    done = studio("run", "--no-workspace", "a.py", *words, cwd=tmp_path)
    assert done.returncode == 0 and CANARY.encode() in done.stdout, done.stderr
    assert stored() == done.stdout.replace(CANARY.encode(), b"***")
    assert record().command.args == recorded
    assert "***" in (record().params.get("phrase"), record().params.get("password"))
    nowhere(home)


def test_a_shell_s_line_and_a_variable_that_a_parser_reads_are_masked_too(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text(CLICK)
    done = studio("run", "--", "sh", "-c", f"python a.py --phrase '{CANARY}' && echo {CANARY}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert record().command.args[-1] == "python a.py --phrase '***' && echo ***"
    assert stored() == b"before\nphrase *** layers None\n***\n"
    done = studio("run", "a.py", cwd=tmp_path, env={"DEMO_PHRASE": CANARY})
    assert done.returncode == 0 and stored() == b"before\nphrase *** layers None\n", done.stderr
    nowhere(home)


def test_masking_of_output_that_is_off_stays_off_and_the_command_is_masked_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(CLICK)
    (tmp_path / "studio.yaml").write_text("mask_output: false\n")
    done = studio("run", "a.py", "--phrase", CANARY, cwd=tmp_path)
    assert done.returncode == 0 and stored() == done.stdout and CANARY.encode() in done.stdout
    assert record().command.args == ("--phrase", "***")


def test_a_run_whose_supervisor_was_killed_is_recovered_without_the_secret(tmp_path: Path) -> None:
    wait = "import pathlib, time\ndef wait():\n    pathlib.Path('parsed').touch()\n    time.sleep(100)\n"
    (tmp_path / "a.py").write_text(wait + CLICK.replace("    print(", "    wait()\n    print("))
    process = start("run", "-e", "one", "a.py", "--phrase", CANARY, cwd=tmp_path)
    until((tmp_path / "parsed").exists, "the script's parsing")
    os.kill(process.pid, signal.SIGKILL)
    process.wait(120)
    until(lambda: record("one").status == "lost", "the guard's end")
    assert record("one").command.args == ("--phrase", "***")


def seal(value: str) -> Seal:
    from hashlib import sha256

    return Seal("salt", sha256(b"salt" + value.encode()).hexdigest(), len(value))


def test_short_values_are_masked_as_whole_words_only_and_very_short_ones_not_at_all() -> None:
    def shown(*words: str, secret: str) -> tuple[str, ...]:
        return redact_sealed(Command("script", "a.py", words), [seal(secret)]).args

    assert shown("-p", "hush", "--p=hush", "hushed", secret="hush") == ("-p", "***", "--p=***", "hushed")
    assert shown("-p", "7" * (LEAST_WORD_CHARS - 1), secret="7" * (LEAST_WORD_CHARS - 1))[1] != "***"
    assert shown(f"a{CANARY}b{CANARY}", CANARY[:-1], secret=CANARY) == ("a***b***", CANARY[:-1])


def test_a_secret_that_becomes_known_is_masked_from_then_on_also_where_it_was_begun() -> None:
    mask = Mask(forms(["another-secret"]))
    out = mask.take(1, CANARY.encode() + b" anoth")
    assert out == CANARY.encode() + b" "
    mask.add(forms([CANARY]))
    out = mask.take(1, b"er-secret " + CANARY[:6].encode())
    assert out + mask.take(1, CANARY[6:].encode() + b"\n") == MASK + b" " + MASK + b"\n"
