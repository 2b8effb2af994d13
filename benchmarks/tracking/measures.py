"""What is measured of each peer, in alternating turns; one function for each kind of work."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .adapters.work import BATCH, CURVE, MARK, PACE
from .figures import Figures
from .processes import ADAPTERS, Failed, Place

FILL_LIMIT_S = 900
BARE = "bare python"


def each(
    places: Sequence[Place], turns: int, what: str, tables: Sequence[Figures], work: Callable[[Place], None]
) -> None:
    """Calls `work` with every peer that has this, `turns` times, alternating; a failure is said and ends its turns."""
    print(f"{what} …", file=sys.stderr, flush=True)
    left = [place for place in places if what not in place.peer.lacks]
    for _ in range(turns):
        for place in list(left):
            try:
                work(place)
            except Failed as exc:
                left.remove(place)
                for table in tables:
                    said = table.remarks.get(place.peer.name)
                    table.remark(place.peer.name, f"{said + '; ' if said else ''}one turn failed: {exc}")


def start_up(places: Sequence[Place], turns: int) -> Iterable[Figures]:
    """Importing, and the first word of the command line: whole processes."""
    for what, title in ("import", "import"), ("help", "--help"):
        table = Figures(title, "s", "the whole process; beside it one that does nothing")

        def work(place: Place, what: str = what, table: Figures = table) -> None:
            program, *rest = place.peer.help
            if program == "python":
                rest[0] = str(ADAPTERS / rest[0])
            words = [str(place.python.with_name(program)), *rest]
            if what == "import":
                words = [str(place.python), "-c", f"import {place.peer.module}"]
            table.add(place.peer.name, [place.seconds(words)])
            if place.peer.name == "studio":
                table.add(BARE, [place.seconds([str(place.python), "-c", "pass"])])

        each(places, 1, what, [], work)  # writes the bytecode; not counted
        table.values.clear()
        each(places, turns, what, [table], work)
        yield table


def empty_run(places: Sequence[Place], turns: int) -> Figures:
    """A run that logs nothing; and studio's runner around an empty script."""
    note = "the whole process of a script that starts a run and ends it; not the first of its store"
    table = Figures("an empty run", "s", note)
    places = [place.fresh("empty") for place in places]

    def work(place: Place) -> None:
        table.add(place.peer.name, [place.seconds(place.words("empty"))])
        if place.peer.name == "studio":
            script = place.project / "script.py"
            script.write_text("")
            words = [str(place.python.with_name("studio")), "run", script.name]
            table.add("studio run of an empty script", [place.seconds(words)])
            table.add("the script without a tracker", [place.seconds(place.words("nothing"))])

    each(places, 1, "empty", [], work)  # makes the databases; not counted
    table.values.clear()
    each(places, turns, "empty", [table], work)
    return table


def points(places: Sequence[Place], turns: int, seconds: float) -> Iterable[Figures]:
    """Points a second, by the call and until all is stored."""
    for what, title in (
        ("single", "one value a call"),
        ("ten", "ten names a call, or ten calls where one takes one name"),
        ("many", f"{BATCH:,} steps of one name a call; the others have no such call"),
    ):
        calls = Figures(title, "points/s", "while calling: what a training loop waits for")
        stored = Figures(title, "points/s", "until the run has ended and all is stored")
        here = [place.fresh(what) for place in places]

        def work(place: Place, what: str = what, calls: Figures = calls, stored: Figures = stored) -> None:
            found = place.ask(what, "--seconds", seconds)
            calls.add(place.peer.name, [found["calls"]])
            stored.add(place.peer.name, [found["stored"]])

        each(here, turns, what, [calls, stored], work)
        yield calls
        yield stored


def kills(places: Sequence[Place], rounds: int, chance: random.Random) -> Figures:
    """What kill -9 loses at random moments; all peers log at the same time, at a pace that each can keep."""
    note = (
        f"{PACE} points/s each, killed 8 to 18 s later; the moment of the kill minus that of the newest readable point"
    )
    table = Figures("lost by kill -9", "s", note, ratios=False)
    print("kill -9 …", file=sys.stderr, flush=True)
    for number in range(rounds):
        fresh = [place.fresh(f"kill-{number}") for place in places]
        running = []
        for place in fresh:
            words = place.words("steady", "--seconds", 120)
            running.append(place.start(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        for process in running:
            assert process.stdout is not None
            while (line := process.stdout.readline()) and line.strip() != b"ready":
                pass
        time.sleep(chance.uniform(8, 18))
        killed = []
        for process in running:
            alive = process.poll() is None
            killed.append(time.time() if alive else 0.0)
            process.kill()
        for place, process, at in zip(fresh, running, killed, strict=True):
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
            if not at:
                table.remark(place.peer.name, f"ended by itself with {process.returncode}")
                continue
            try:
                table.add(place.peer.name, [lost(place, at)])
            except Failed as exc:
                table.remark(place.peer.name, f"failed: {exc}")
    return table


def lost(place: Place, killed: float) -> float:
    """Seconds between the newest point that can be read back and the kill; nothing readable = since the first."""
    newest = place.ask("newest")
    times = dict(MARK.iter_unpack(_whole(place.project / "marks")))
    return max(0.0, killed - times.get(newest, killed if newest > 0 else times[0]))


def _whole(file: Path) -> bytes:
    data = file.read_bytes()
    return data[: len(data) // MARK.size * MARK.size]


def syncs(places: Sequence[Place], seconds: float) -> Figures | None:
    """How often a second each asks the disk to make sure, by strace; None where there is none."""
    if not shutil.which("strace"):
        return None
    note = "fsync, fdatasync, msync; counted by strace"
    table = Figures(f"syncs to the disk a second, at {PACE} points/s", "", note, ratios=False)

    def work(place: Place) -> None:
        place = place.fresh("syncs")
        calls = "trace=fsync,fdatasync,msync,sync_file_range,rmdir"
        words = ["strace", "-f", "-qq", "-e", calls, "-o", str(place.folder / "trace")]
        place.seconds([*words, *place.words("steady", "--seconds", seconds)])
        text = (place.folder / "trace").read_text(errors="replace")
        within = text.partition("mark-of-the-begin")[2].partition("mark-of-the-end")[0]
        count = sum("sync" in line and "resumed" not in line for line in within.splitlines())
        table.add(place.peer.name, [count / seconds])

    each(places, 1, "syncs", [table], work)
    return table


def corpora(places: Sequence[Place], out: Path, count: int, versions: dict[str, str]) -> dict[str, tuple[Place, int]]:
    """Stores of `count` experiments, and of one long curve, made once for each version; how many they hold."""

    def made(place: Place, kind: str) -> tuple[str, Place, int]:
        size = count if kind == "fill" else CURVE
        name = f"{place.peer.name}-{versions[place.peer.name]}-{size}".replace(" ", "-")
        here = Place(place.peer, place.python, out / "filled" / name)
        done = here.folder / "made"
        if not done.exists():
            shutil.rmtree(here.folder, ignore_errors=True)
            here.project.mkdir(parents=True)
            print(f"filling {name} …", file=sys.stderr, flush=True)
            with contextlib.suppress(Failed):
                done.write_text(str(here.ask(kind, count, "--seconds", FILL_LIMIT_S, limit_s=2 * FILL_LIMIT_S) or size))
        return f"{kind} {place.peer.name}", here, int(done.read_text()) if done.exists() else 0

    wanted = [(place, kind) for place in places for kind in ("fill", "curve")]
    wanted = [(place, kind) for place, kind in wanted if kind == "curve" or "search" not in place.peer.lacks]
    with ThreadPoolExecutor(2) as pool:
        return {name: (here, number) for name, here, number in pool.map(lambda one: made(*one), wanted) if number}


def searches(
    places: Sequence[Place], turns: int, filled: Mapping[str, tuple[Place, int]], count: int
) -> Iterable[Figures]:
    """Filter and sort over many experiments."""
    title = f"search of {count:,} experiments: val_acc > 0.9 and opt = adam, the 50 best"
    first = Figures(title, "ms", "in a new process: start, import, open, answer")
    again = Figures(title, "ms", "again in the same process")
    answers: dict[str, list[str]] = {}

    def work(place: Place) -> None:
        name = place.peer.name
        if f"fill {name}" not in filled:
            raise Failed("could not be filled")
        here, made = filled[f"fill {name}"]
        found = here.ask("search", "--began", time.time())
        first.add(name, [1000 * found["first"]])
        again.add(name, [1000 * seconds for seconds in found["again"]])
        answers[name] = found["found"]
        for table in first, again:
            if made != count:
                table.remark(name, f"of {made:,} experiments, as many as it made in {FILL_LIMIT_S} s")
            elif answers[name] != answers.get("studio"):
                table.remark(name, "another answer than studio's")

    each(places, turns, "search", [first, again], work)
    return first, again


def reads(places: Sequence[Place], turns: int, filled: Mapping[str, tuple[Place, int]]) -> Iterable[Figures]:
    """All points of one long curve, as numbers."""
    title = f"reading a curve of {CURVE:,} points"
    first = Figures(title, "ms", "in a new process: start, import, open, read")
    again = Figures(title, "ms", "again in the same process: open, read")

    def work(place: Place) -> None:
        name = place.peer.name
        if f"curve {name}" not in filled:
            raise Failed("could not be filled")
        found = filled[f"curve {name}"][0].ask("read", "--began", time.time())
        first.add(name, [1000 * found["first"]])
        again.add(name, [1000 * seconds for seconds in found["again"]])
        if not found["right"]:
            first.remark(name, "points are missing or wrong")

    each(places, turns, "read", [first, again], work)
    return first, again
