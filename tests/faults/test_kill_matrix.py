"""kill -9 of each process of a run, and of commands, at each system call that changes something; then one command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.errors import Conflict
from studio.run.spool import Spool
from tests.faults.matrix import Found, Hit, Place, recovered
from tests.studio_process import alive, environment, opened, start, until

SHORT = ("8", "0.02")  # lines of the script, seconds between them
LONG = ("30", "0.05")  # some heartbeats and captures
RUN = ("-m", "studio", "run", "-e", "k", "train.py")
LOST_S = 2.0  # reliability: what the death of the supervisor, or of both, may cost
ALL = [pytest.mark.soak, pytest.mark.timeout(7200)]

Command = tuple[str, ...]


def each(place: Place, who: str, do: str, command: Command, samples: int) -> Iterator[Found]:
    """Kills at some of the calls that this command makes, and gives what is found after each kill."""
    place.fresh()
    place.python(*command, hit=Hit(who, 0))
    count = len(place.calls())
    assert count, "it made no call"
    place.alone()
    step = max(1, count // samples)
    struck = 0
    for at in range(min(count, 1 + step // 2), count + 1, step):
        place.fresh()
        done = place.python(*command, hit=Hit(who, at, do))
        call = place.struck().strip()
        if not call:  # threads: this time it was done with fewer
            place.alone()
            continue
        struck += 1
        try:
            assert "Traceback" not in done.stderr, done.stderr
            found = recovered(place)
            if "submitted" in done.stderr:
                assert found.record is not None, "it was submitted and is gone"
            yield found
        except AssertionError as exc:
            raise AssertionError(f"{do} of {who} at {call}: {exc}\n{done.stderr}") from exc
    assert struck, "no call was hit"


def bound_s(found: Found) -> float:
    """What may be lost; a script that the machine did not let run for a while counts that twice."""
    return LOST_S + 2 * found.stall_s()


@pytest.mark.parametrize(
    ("who", "do", "lines", "samples"),
    [
        ("studio", "kill", SHORT, 8), ("studio", "both", SHORT, 4), ("guard", "kill", SHORT, 3),
        ("guard", "both", SHORT, 2),
        *(pytest.param(who, do, lines, 10_000, marks=ALL)
          for who in ("studio", "guard") for do in ("kill", "both") for lines in (SHORT, LONG)),
    ],
)  # fmt: skip
def test_supervisor_guard_or_both(place: Place, who: str, do: str, lines: Command, samples: int) -> None:
    for found in each(place, who, do, (*RUN, *lines), samples):
        assert found.lost_s() <= bound_s(found), found


@pytest.mark.parametrize("samples", [3, pytest.param(10_000, marks=ALL)])
def test_the_script(place: Place, samples: int) -> None:
    for found in each(place, "script", "kill", (*RUN, *SHORT), samples):
        assert found.record is not None and found.record.status == "failed"
        assert found.lines >= set(range(len(found.said))), "a line that it had flushed is lost"
        assert found.lost_s() <= bound_s(found), found


@pytest.mark.parametrize("samples", [4, pytest.param(10_000, marks=ALL)])
def test_a_process_that_tracks_itself(place: Place, samples: int) -> None:
    for found in each(place, "script", "kill", ("tracked.py", *SHORT), samples):
        found.lines = set(range(len(found.said)))  # its output is its own
        assert found.lost_s() <= bound_s(found), found
        assert found.record is not None or not found.said


@pytest.mark.parametrize("samples", [4, pytest.param(10_000, marks=ALL)])
def test_the_recovery_itself(place: Place, samples: int) -> None:
    lines = dead_run(place)
    for found in each(place, "studio", "kill", ("-m", "studio", "runs", "list"), samples):
        assert found.record is not None and found.record.status == "lost"
        assert len(found.lines) == lines


def dead_run(place: Place) -> int:
    """Makes a run whose supervisor and guard were killed while the script spoke; how many lines can be had."""
    place.python(*RUN, *SHORT, hit=Hit("studio", 0))
    at = next(n for n, call in enumerate(place.calls(), 1) if call.endswith("/.studio/output") and "write" in call)
    place.fresh()
    place.python(*RUN, *SHORT, hit=Hit("studio", at + 2, "both"))
    place.alone()
    assert list((place.home / "open").iterdir())
    place.keep()
    return (place.home / "experiments/k/.studio/output").read_bytes().count(b"\n")


@pytest.mark.parametrize("torn", [("record.json",), ("record.json", "context.json")])
def test_a_power_cut_that_tore_the_spools_record_leaves_the_stores(place: Place, torn: Command) -> None:
    lines = dead_run(place)
    for name in torn:
        (place.home / "experiments/k/.studio" / name).write_bytes(b"")
    found = recovered(place)
    assert found.record is not None and found.record.status == "lost"
    assert len(found.lines) == lines


COMMANDS = {
    ("runs", "tag", "k", "tagged"): 2, ("runs", "note", "k", "a note"): 1, ("runs", "stop", "k"): 1,
    ("runs", "delete", "-y", "k"): 4, ("run", "--resume", "k", "train.py", *SHORT): 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "samples"),
    [*COMMANDS.items(), *(pytest.param(words, 10_000, marks=ALL) for words in COMMANDS)],
    ids=lambda value: value[1] if isinstance(value, tuple) else None,
)
def test_a_command_on_an_ended_run(place: Place, words: Command, samples: int) -> None:
    assert place.python(*RUN, *SHORT).returncode == 3
    place.keep()
    for found in each(place, "studio", "kill", ("-m", "studio", *words), samples):
        if found.record is None:
            assert "delete" in words
        elif "delete" in words:  # it can be repeated
            assert place.command(*words).returncode == 0
            assert [e.key for e in opened().experiments(limit=None)] == ["before"]
            assert not (place.home / "experiments" / "k").exists()
        else:
            assert found.lines == set(range(8)) and found.record.params == {"lr": 0.1}


def test_what_others_wrote_meanwhile_is_not_lost_by_the_recovery(place: Place) -> None:
    place.python(*RUN, *SHORT, hit=Hit("studio", 0))
    calls = place.calls()
    kept = [n for n, call in enumerate(calls, 1) if call.startswith("rename ") and call.endswith("record.json")]
    last = kept[-2]  # the very last one clears the copy, when all is delivered
    place.fresh()
    place.python(*RUN, *SHORT, hit=Hit("studio", last + 1, "kill"))
    place.alone()
    assert list((place.home / "open").iterdir()), place.struck()
    opened().tag("k", ["theirs"])
    opened().note("k", "a note of theirs")
    found = recovered(place).record
    assert found is not None
    assert set(found.tags) == {"from-script", "theirs"} and found.notes == "a note of theirs"


def test_what_the_script_had_started_ends_with_a_killed_guard(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "open('pids.part', 'w').write(f'{os.getppid()} {os.getpid()} {child.pid}')\n"
        "os.rename('pids.part', 'pids')\n"
        "time.sleep(600)\n"
    )
    for victims in ("guard", "both"):
        supervisor = start("run", "a.py", cwd=tmp_path)
        until((tmp_path / "pids").exists, "the script's start")
        pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
        (tmp_path / "pids").unlink()
        if victims == "both":
            supervisor.kill()
        os.kill(pids[0], signal.SIGKILL)
        assert supervisor.wait(120) == (137 if victims == "guard" else -9)
        if victims == "both":
            subprocess.run(
                [sys.executable, "-m", "studio", "runs", "list"], env=environment(), cwd=tmp_path, check=True
            )
        until(lambda pids=pids: not any(map(alive, pids)), "the end of what the script had started")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("sys.exit(3)", ("failed", 3, "failed")), ("sys.exit()", ("finished", 0, "finished")),
        ("sys.exit('no')", ("failed", 1, "failed")), ("1 / 0", ("failed", 1, "failed")),
        ("raise MemoryError", ("failed", 1, "out-of-memory")),
        ("raise KeyboardInterrupt", ("stopped", 130, "interrupted")), ("pass", ("finished", 0, "finished")),
    ],
)  # fmt: skip
def test_the_end_of_a_script_that_tracks_itself(tmp_path: Path, end: str, expected: tuple[str, int, str]) -> None:
    (tmp_path / "a.py").write_text(f"import sys, studio\nstudio.start(key='k')\n{end}\n")
    subprocess.run([sys.executable, "a.py"], cwd=tmp_path, env=environment(), capture_output=True)
    found = opened().experiment("k")
    assert found.exit is not None
    assert (found.status, found.exit.code, found.exit.reason) == expected


def test_who_looks_whether_a_run_is_alive_stops_no_other_from_claiming_it(tmp_path: Path) -> None:
    looking = "from pathlib import Path\nfrom studio.run.spool import Spool\nspool = Spool(Path('home'), 'k')\n"
    looking += "print(flush=True)\nwhile True: spool.alive()"
    watchers = [
        subprocess.Popen([sys.executable, "-c", looking], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for watcher in watchers:
            assert watcher.stdout is not None
            watcher.stdout.readline()
        spool = Spool(tmp_path / "home", "k")
        for n in range(300):
            spool.lock()
            (spool.unlock if n % 2 else spool.release)()
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.communicate()


def test_a_claim_on_a_run_that_ended_meanwhile_is_none(tmp_path: Path) -> None:
    spool, other = Spool(tmp_path, "k"), Spool(tmp_path, "k")
    spool.lock()
    with pytest.raises(Conflict, match="is running"):
        other.lock(make=False)
    spool.release()
    with pytest.raises(Conflict, match="is over"):
        other.lock(make=False)
