"""A listing is left out only when nothing was written: racing writers, late index writes, clocks, file systems."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.experiment import Command, Experiment, to_json
from studio.stores.base import Entry
from studio.stores.local import LocalStore
from studio.stores.mounts import keeps_folder_times
from studio.tracking.freshness import FULL_S, SETTLE_S, Listed
from studio.tracking.index import Index, open_index
from tests.studio_process import until


class Counting(LocalStore):
    """A store that counts how often its records are listed, and that may forget how to tell of changes."""

    listings = 0
    vague = False

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        self.listings += prefix == "records/"
        return super().list(prefix, after)

    def change_token(self, prefix: str) -> str | None:
        return None if self.vague else super().change_token(prefix)


def experiment(key: str, **fields: object) -> Experiment:
    return Experiment(key=key, command=Command("script", "train.py"), **fields)  # type: ignore[arg-type]


def put(store: LocalStore, one: Experiment) -> str:
    """Writes a record as another machine would: past the index."""
    return store.write(f"records/{one.key}.json", json.dumps(to_json(one)).encode())


def spared(store: Counting, index: Index) -> bool:
    """Whether a sync goes without a listing."""
    before = store.listings
    index.sync()
    return store.listings == before


def keys(index: Index) -> list[str]:
    return [one.key for one in index.search(sort="key", limit=None)]


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    found = Counting(str(tmp_path / "store"))
    put(found, experiment("one"))
    if found.change_token("records/") is None:
        pytest.skip("the file system of the temporary folder does not tell of changes")
    return found


@pytest.fixture
def index(store: Counting, tmp_path: Path) -> Iterator[Index]:
    found = open_index(store, tmp_path / "home")
    yield found
    found.close()


def test_an_unchanged_store_is_not_listed_again(store: Counting, index: Index, tmp_path: Path) -> None:
    until(lambda: spared(store, index), "a sync without a listing")
    other = open_index(store, tmp_path / "home")  # another process would have it from the file
    assert spared(store, other)
    put(store, experiment("two"))
    assert not spared(store, other) and keys(other) == ["one", "two"] == keys(index)
    until(lambda: spared(store, index), "a sync without a listing")
    store.remove("records/one.json")
    assert not spared(store, index) and keys(index) == ["two"]
    until(lambda: spared(store, index), "a sync without a listing")
    assert index.rebuild() == 1 and keys(index) == ["two"]
    other.close()


def test_a_store_that_cannot_tell_is_listed_each_time(store: Counting, index: Index) -> None:
    until(lambda: spared(store, index), "a sync without a listing")
    store.vague = True
    assert not spared(store, index) and not spared(store, index)


def test_a_write_to_the_index_that_comes_late_does_not_stay(store: Counting, index: Index) -> None:
    old = experiment("one", notes="old")
    tag = put(store, old)
    put(store, experiment("one", notes="new"))
    until(lambda: spared(store, index), "a sync without a listing")
    index.put(old, tag)  # a process that was held up between the store and the index
    assert index.search()[0].notes == "old"
    index.sync()
    assert index.search()[0].notes == "new"
    until(lambda: spared(store, index), "a sync without a listing")
    index.drop("one")
    index.sync()
    assert keys(index) == ["one"]


def test_a_listing_during_which_the_index_changed_spares_none(store: Counting, index: Index, tmp_path: Path) -> None:
    class Busy(Counting):
        def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
            found = list(super().list(prefix, after))
            if prefix == "records/":
                index.put(experiment("ghost"), "a tag that no object has")
            return iter(found)

    busy = Busy(str(store.root))
    other = open_index(busy, tmp_path / "home")
    for _ in range(3):
        assert not spared(busy, other)
        time.sleep(SETTLE_S)
    assert not spared(store, index) and keys(index) == ["one"]
    other.close()


def test_a_listing_is_believed_when_it_began_long_after_its_token_was_first_seen() -> None:
    first = Listed().followed_by("t", 100.0, 0.0, "s")
    assert not first.still_holds("t", "s", 100.0 + 2 * SETTLE_S)  # it began in the tick of the change, perhaps
    assert not first.followed_by("t", 100.0 + SETTLE_S / 2, 0.0, "s").still_holds("t", "s", 101.0)
    second = first.followed_by("t", 100.0 + 2 * SETTLE_S, 0.0, "s")
    assert second.still_holds("t", "s", 101.0)
    assert not second.still_holds("u", "s", 101.0) and not second.still_holds(None, "s", 101.0)
    assert not second.still_holds("t", "other", 101.0)
    assert not second.followed_by("u", 102.0, 0.0, "s").still_holds("u", "s", 103.0)
    assert not first.followed_by("t", 90.0, 0.0, "s").still_holds("t", "s", 91.0)  # a clock that was set back
    assert not second.still_holds("t", "s", second.at - 1)
    assert second.still_holds("t", "s", second.at + FULL_S - 1) and not second.still_holds("t", "s", second.at + FULL_S)


def test_another_machine_begins_anew() -> None:
    theirs = Listed("t", "another-machine", 100.0, 110.0, 0.0, "s")
    assert not theirs.still_holds("t", "s", 111.0)
    mine = theirs.followed_by("t", 111.0, 0.0, "s")
    assert mine.since == 111.0 and mine.machine == os.uname().nodename


def test_what_is_changed_in_place_past_the_store_is_seen_within_a_minute(store: Counting, index: Index) -> None:
    until(lambda: spared(store, index), "a sync without a listing")
    (store.root / "records" / "one.json").write_text("{")
    index._handle.write(  # a minute passes
        lambda db: db.execute("UPDATE meta SET value = json_set(value, '$[3]', 5.0, '$[2]', 1.0) WHERE name = 'listed'")
    )
    index.sync()
    assert keys(index) == []


def test_a_clock_of_whole_milliseconds_tells_nothing(store: Counting) -> None:
    os.utime(store.root / "records", ns=(10**18 + 5_000_000, 10**18 + 5_000_000))
    assert store.change_token("records/") is None
    os.utime(store.root / "records", ns=(10**18 + 5_000_001, 10**18 + 5_000_001))
    assert store.change_token("records/") is not None


@pytest.mark.parametrize(
    ("kind", "kept"),
    [("ext4", True), ("overlay", True), ("nfs4", True), ("fuse.sshfs", False), ("fuse", False), ("9p", False),
     ("cifs", False), ("virtiofs", False), ("vboxsf", False)],
)  # fmt: skip
def test_which_file_systems_tell_of_changes(kind: str, kept: bool) -> None:
    assert keeps_folder_times(Path("/data/store"), f"/dev/sda / ext4 rw 0 0\nx /data {kind} rw 0 0\n") is kept
    assert not keeps_folder_times(Path("/data"), "")


WRITER = """
import random, sys, time
from studio.stores import open_store
chance = random.Random(int(sys.argv[1]))
stores = [open_store(url) for url in sys.argv[3:]]
for number in range(int(sys.argv[2])):
    which = chance.randrange(len(stores))
    for part in range(chance.choice((1, 1, 2, 3))):  # several within a tick of the clock, or just outside of one
        key = f"k{chance.randrange(3)}"
        record = '{"key": "%s", "command": {"kind": "script", "target": "a"}, "notes": "%d"}'
        stores[which].write(f"records/{key}.json", (record % (key, number * 4 + part)).encode())
        print(which, key, number * 4 + part, flush=True)
        time.sleep(chance.uniform(0, 0.006))
    time.sleep(chance.expovariate(1 / 0.04))
"""


@pytest.mark.parametrize("rounds", [100, pytest.param(5000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_each_acknowledged_write_is_seen_by_the_next_search(tmp_path: Path, rounds: int) -> None:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # no disk to wait for: writes come closer together
    seed = random.randrange(10**9)
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        stores = [Counting(f"{folder}/{number}") for number in range(6)]
        indexes = [open_index(store, tmp_path) for store in stores]
        acknowledged: list[dict[str, str]] = [{} for _ in stores]
        command = [sys.executable, "-c", WRITER, str(seed), str(rounds), *(store.url for store in stores)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert writer.stdout is not None
            os.set_blocking(writer.stdout.fileno(), False)
            syncs, rest, over = 0, b"", False
            while not over:
                over = writer.poll() is not None  # once more after its end
                lines = (rest + (writer.stdout.read() or b"")).split(b"\n")
                rest = lines.pop()
                for which, key, number in (line.decode().split() for line in lines):
                    acknowledged[int(which)][key] = number
                for index, wanted in zip(indexes, acknowledged, strict=True):
                    index.sync()
                    syncs += 1
                    found = {one.key: int(one.notes) for one in index.search()}
                    late = {key: n for key, n in wanted.items() if found.get(key, -1) < int(n)}
                    assert not late, f"seed {seed}: not seen {late}, but {found}"
        finally:
            writer.kill()
            writer.communicate()
        assert writer.returncode == 0
        if all(store.change_token("records/") for store in stores):
            assert sum(store.listings for store in stores) < syncs  # else nothing was tried
        for index in indexes:
            index.close()
