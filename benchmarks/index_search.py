"""Search of many experiments through the index against a scan of their JSON, in one run; prints times and ratios.

python benchmarks/index_search.py [--experiments 10000] [--repeat 30]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import studio
from studio.experiment import Command, Experiment, Summary, Times, to_json
from studio.stores.layout import store_id
from studio.stores.local import LocalStore
from studio.tracking.index import Index, open_index

QUERIES = (
    ('metrics.val_acc.max > 0.9 and (params.opt = "adam" or tags ~ "v2.*")', "-metrics.val_acc"),
    ("metrics.loss < 0.1 and params.lr > 1e-3", "metrics.loss.min"),
    ("status = failed and added > -30d", "-added"),
    ("metrics.m3 - metrics.m4 > 0.5 and not tags = v1.0", "params.lr"),
    ("", "-metrics.val_acc"),
    ("", "-added"),
    ("mnist-7", "-added"),
    ('key ~ "7.*7$"', "duration"),
)


def records(count: int) -> list[dict[str, Any]]:
    chance = random.Random(7)
    now = time.time()
    made = []
    for i in range(count):
        names = ["val_acc", "loss", *(f"m{n}" for n in range(18))]
        added = now - chance.uniform(0, 90 * 86400)
        made.append(
            Experiment(
                key=f"20261120-{i:06d}-{chance.randrange(10**6):06d}",
                command=Command("script", "train.py", ("--lr", str(chance.random()))),
                project=f"mnist-{i % 10}", owner=chance.choice(["ada", "bob"]),
                status=chance.choices(["finished", "failed", "stopped"], [8, 1, 1])[0],
                packages=tuple(f"package{n}==1.{i % 3}" for n in range(80)),
                params={"opt": chance.choice(["adam", "sgd"]), "lr": 10 ** chance.uniform(-5, -1),
                        **{f"p{n}": chance.random() for n in range(8)}},
                tags=(f"v{chance.randrange(4)}.{chance.randrange(9)}", "baseline"),
                summary={n: Summary(chance.random(), 0.0, chance.random(), 99, 100, 0.5) for n in names},
                times=Times(added, added + 1, added + 1 + chance.expovariate(1 / 3600)),
            )
        )  # fmt: skip
    return [to_json(one) for one in made]


def fill(root: Path, count: int) -> None:
    """Writes the records without the store's fsyncs: only reading is measured here."""
    store_id(LocalStore(str(root)))
    folder = root / "records"
    folder.mkdir()
    for one in records(count):
        (folder / f"{one['key']}.json").write_text(json.dumps(one))


def timed(
    what: str,
    work: Callable[[], object],
    repeat: int,
    reference_s: float | None = None,
    before: Callable[[], object] = lambda: None,
) -> float:
    taken = []
    for _ in range(repeat):
        before()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    middle = statistics.median(taken)
    ratio = f"   {reference_s / middle:8.0f} x faster than the scan" if reference_s else ""
    print(f"{what:86s} {min(taken) * 1e3:8.2f} {middle * 1e3:8.2f} {max(taken) * 1e3:8.2f} ms{ratio}", flush=True)
    return middle


def scan(root: Path) -> list[Any]:
    """What a tracker without an index does for the first query."""
    found = []
    for path in (root / "records").iterdir():
        one = json.loads(path.read_bytes())
        best = one["summary"].get("val_acc", {}).get("max", 0)
        if best > 0.9 and (one["params"].get("opt") == "adam" or any(t.startswith("v2.") for t in one["tags"])):
            found.append((one["summary"]["val_acc"]["last"], one["key"]))
    return sorted(found, reverse=True)[:50]


def as_a_user(root: Path, home: Path, repeat: int, naive_s: float) -> None:
    """`studio.experiments()` and `studio runs list` as they are typed, beside others who write to the store or not."""
    os.environ["STUDIOML_STORE"], os.environ["STUDIOML_HOME"] = str(root), str(home)
    (query, sort), store, number = QUERIES[0], LocalStore(str(root)), itertools.count()
    text = (root / "records" / sorted(os.listdir(root / "records"))[0]).read_text()
    one = json.loads(text)

    def change() -> None:
        one["notes"] = f"changed {next(number)}"
        store.write(f"records/{one['key']}.json", json.dumps(one).encode())

    def settle() -> None:
        for _ in range(3):  # what was just written is listed until the clock has surely ticked
            time.sleep(0.3)
            studio.experiments("", limit=1)

    settle()
    for each, order in QUERIES:
        what = f"studio.experiments({each!r}) by {order}"
        timed(what, lambda q=each, s=order: studio.experiments(q, sort=s, limit=50), repeat, naive_s)
    call = lambda: studio.experiments(query, sort=sort, limit=50)  # noqa: E731
    timed("studio.experiments(…), one record changed before each call", call, repeat, naive_s, change)
    settle()
    words = [sys.executable, "-m", "studio", "runs", "list", query, "--sort", sort]
    run = lambda: subprocess.run(words, check=True, capture_output=True)  # noqa: E731
    bare = timed("a process: python -c pass", lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), 10)
    full = timed("a process: studio runs list QUERY --sort …", run, 10)
    late = timed("a process: studio runs list QUERY --sort …, one record changed before", run, 10, None, change)
    print(f"a process: {(full - bare) * 1e3:.0f} ms above a bare one, {(late - bare) * 1e3:.0f} ms after a change")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=30)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "store")
        fill(root, asked.experiments)
        store = LocalStore(str(root))
        print(f"{asked.experiments} experiments, 20 metrics and 10 parameters each{'':31s} min   median      max")
        naive_s = timed("scan of all JSON, first query", lambda: scan(root), 3)
        index: Index = open_index(store, Path(folder, "home"))
        timed("first sync: the index is made", index.sync, 1)
        timed("rebuild", index.rebuild, 1)
        timed("listing of the store alone", lambda: sum(1 for _ in store.list("records/")), 10)
        time.sleep(0.3)
        index.sync()  # from here on a listing is believed
        timed("sync, nothing changed", index.sync, 10, naive_s)
        for query, sort in QUERIES:
            timed(f"search {query!r} by {sort}", lambda q=query, s=sort: index.search(q, sort=s), asked.repeat, naive_s)
        timed("newest", lambda: index.newest(project="mnist-3"), asked.repeat, naive_s)
        timed("keys('20261120-00')", lambda: index.keys("20261120-00"), asked.repeat, naive_s)
        index.close()
        print(f"index file: {index.path.stat().st_size / 2**20:.0f} MiB")
        as_a_user(root, Path(folder, "home"), asked.repeat, naive_s)


if __name__ == "__main__":
    main()
