"""The index: follows its store, mends itself, survives killed processes, and shows runs whose heartbeat stopped."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.errors import StoreError
from studio.experiment import Command, Experiment, Summary, Times, from_json, to_json
from studio.stores.base import Entry
from studio.stores.local import LocalStore
from studio.stores.memory import MemoryStore
from studio.stores.mounts import NETWORK
from studio.tracking import schema
from studio.tracking.database import journal_mode
from studio.tracking.handle import Busy
from studio.tracking.index import LOST_AFTER_S, Index, open_index, shared_index
from studio.tracking.records import Records


def experiment(key: str, **fields: object) -> Experiment:
    return Experiment(key=key, command=Command("script", "train.py"), **fields)  # type: ignore[arg-type]


def put(store: LocalStore | MemoryStore, one: Experiment) -> None:
    """Writes a record as another machine would: past this index."""
    store.write(f"records/{one.key}.json", json.dumps(to_json(one)).encode())


def keys(index: Index, query: str = "") -> list[str]:
    return [one.key for one in index.search(query, sort="key", limit=None)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "store"))


@pytest.fixture
def index(store: LocalStore, tmp_path: Path) -> Iterator[Index]:
    found = open_index(store, tmp_path / "home")
    yield found
    found.close()


# Following the store


def test_sync_takes_up_what_is_new_changed_and_gone(store: LocalStore, index: Index) -> None:
    assert index.sync() == 0 and keys(index) == []
    for i in range(5):
        put(store, experiment(f"k{i}", params={"n": i}, tags=("a",), summary={"loss": Summary(i, i, i, 0, 1)}))
    assert index.sync() == 5
    assert keys(index, "params.n > 2") == ["k3", "k4"]
    assert index.sync() == 0
    put(store, experiment("k3", params={"m": 9}, tags=("b",)))
    store.remove("records/k4.json")
    assert index.sync() == 2
    assert keys(index) == ["k0", "k1", "k2", "k3"]
    assert keys(index, "params.n >= 0 or metrics.loss >= 0 or tags = a") == ["k0", "k1", "k2"]
    assert keys(index, "params.m = 9 and tags = b") == ["k3"]
    assert index.sync() == 0


def test_updates_leave_no_rows_behind(store: LocalStore, index: Index) -> None:
    records = Records(store, index)
    records.create(experiment("one", params={"a": 1, "é": 2}, tags=("x", "y"), summary={"m": Summary(1, 1, 1, 0, 1)}))
    for i in range(5):
        records.update("one", lambda e, i=i: e.with_changes(params={f"p{i}": i}, tags=(f"t{i}",), summary={}))  # type: ignore[misc]
    records.delete("one")
    db = sqlite3.connect(index.path)
    left = {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in schema.NAMES}
    db.close()
    assert {name: n for name, n in left.items() if n and name not in ("lists", "meta")} == {}


def test_what_was_deleted_is_nowhere_in_the_index_s_files(tmp_path: Path) -> None:
    """Here, on another machine once it looks, and after a deletion that was interrupted; what stays is whole."""
    store = MemoryStore(f"memory://forget-{tmp_path.name}")
    count = 240
    for at in range(count):
        mark = f"Mark{at:04d}x"
        told: dict[str, object] = {"notes": mark * (1 + at % 90), "packages": (f"{mark}==1",), "params": {mark: mark}}
        put(store, experiment(f"k{at}", owner=mark, tags=(mark,), summary={mark: Summary(1, 1, 1, 1, 1)}, **told))
    index, elsewhere = (open_index(store, tmp_path / name) for name in ("here", "elsewhere"))
    index.sync()
    elsewhere.sync()
    doomed = [at for at in range(count) if at % 3]
    records = Records(store, index)
    for at in doomed[:-1]:
        records.delete(f"k{at}", more=True)
    index.close()
    index = open_index(store, tmp_path / "here")  # a command that was killed is followed by another one
    index.sync()
    assert _marks(tmp_path / "here") == {*range(count)} - {*doomed[:-1]}
    Records(store, index).delete(f"k{doomed[-1]}")
    elsewhere.sync()
    for one, name in ((index, "here"), (elsewhere, "elsewhere")):
        assert _marks(tmp_path / name) == {*range(0, count, 3)} and not one.unclean
        assert one.count() == count / 3 and keys(one, 'owner = "Mark0003x"') == ["k3"]
        one.close()


def test_what_was_taken_out_of_records_is_nowhere_in_the_index_s_files(tmp_path: Path) -> None:
    """By hand at once, here and on another machine that looks; by a script that still runs once no run does."""
    store = MemoryStore(f"memory://taken-{tmp_path.name}")
    for at in range(120):
        long = f"Mark{at:04d}x " * (1 + at % 60)
        put(store, experiment(f"k{at}", notes=long, tags=(f"Mark{at:04d}x",), params={"a": {"b": [long]}}))
    put(store, experiment("running", status="running", params={"n": "Mark0900x"}))
    index, elsewhere = (open_index(store, tmp_path / name) for name in ("here", "elsewhere"))
    index.sync()
    elsewhere.sync()
    records = Records(store, index)
    for at in range(0, 120, 2):
        records.update(f"k{at}", lambda e: e.with_changes(notes="other", tags=("other",), params={"a": {"b": []}}))
    index.forget_owed()
    elsewhere.sync()
    records.update("running", lambda e: e.with_changes(params={"n": 1}))
    index.sync()
    assert _marks(tmp_path / "here") == {*range(1, 120, 2), 900}
    records.update("running", lambda e: e.with_changes(status="finished", tags=("new",), notes="longer"))
    for one in (index, elsewhere):
        one.sync()
        assert not one.unclean and keys(one, "tags = Mark0001x") == ["k1"]
        before = one.path.stat().st_ino, one.path.read_bytes()
        records.update("k1", lambda e: e.with_changes(tags=(*e.tags, "more"), notes=e.notes + "\nmore"))
        one.sync()
        assert (one.path.stat().st_ino, one.path.read_bytes()) == before  # what only adds waits for no cleaning
    for name in ("here", "elsewhere"):
        assert _marks(tmp_path / name) == {*range(1, 120, 2)}
    put(store, experiment("k1", notes="by another machine"))
    store.write("records/k3.json", b"{}")
    index.sync()
    assert _marks(tmp_path / "here") == {*range(5, 120, 2)}
    index.close()
    elsewhere.close()


def _marks(folder: Path) -> set[int]:
    """Which marks stand in any file."""
    found = re.findall(
        rb"mark(\d{4})x", b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()), re.I
    )
    return set(map(int, found))


def test_the_first_search_of_a_new_index_fills_it(store: LocalStore, tmp_path: Path) -> None:
    put(store, experiment("one"))
    first = open_index(store, tmp_path / "home")
    assert keys(first) == ["one"]
    put(store, experiment("two"))
    assert keys(first) == ["one"]  # as of the last sync
    second = open_index(store, tmp_path / "home")
    second.sync()
    assert keys(first) == ["one", "two"]  # processes share the file
    assert first.rebuild() == 2
    assert keys(second) == ["one", "two"]
    first.close()
    second.close()


def test_who_asks_again_gets_the_index_that_is_open(store: LocalStore, tmp_path: Path) -> None:
    put(store, experiment("one"))
    first = shared_index(store, tmp_path / "home")
    assert keys(first) == ["one"]
    assert shared_index(LocalStore(str(store.root)), tmp_path / "home") is first
    first.path.unlink()
    second = shared_index(store, tmp_path / "home")  # not the file that only we still see
    assert second is not first and keys(second) == ["one"]
    assert shared_index(store, tmp_path / "home", lost_after_s=1.0) is not second
    assert shared_index(store, tmp_path / "elsewhere") is not second
    assert shared_index(LocalStore(str(tmp_path / "another")), tmp_path / "home") is not second
    third = shared_index(store, tmp_path / "home")
    third.close()
    fourth = shared_index(store, tmp_path / "home")
    assert keys(fourth) == ["one"]
    second.close()
    fourth.close()


def test_files_of_many_homes_do_not_stay_open(tmp_path: Path) -> None:
    """Neither those that nobody has any more, nor those of twenty that are held, and used by threads and a child."""
    before = _descriptors(tmp_path)

    def opened(at: int) -> Index:
        found = open_index(LocalStore(str(tmp_path / "stores" / f"{at % 10}")), tmp_path / f"{at}")
        assert keys(found, f"key ~ {at % 10}") == [f"k{at % 10}"]
        return found

    (tmp_path / "stores").mkdir()
    for at in range(10):
        put(LocalStore(str(tmp_path / "stores" / f"{at}")), experiment(f"k{at}"))
    for at in range(4):
        opened(at)
    assert _descriptors(tmp_path) == before
    held = [opened(at) for at in range(20)]
    assert 0 < _descriptors(tmp_path) <= 24
    assert all(one.serves(one.path.parent, LOST_AFTER_S) for one in held), "one that is closed for now is no other one"
    wrong: list[object] = []

    def use() -> None:
        for at, one in random.Random(threading.get_ident()).sample(list(enumerate(held)), 12):
            if (found := keys(one, f"key ~ {at % 10}")) != [f"k{at % 10}"]:
                wrong.append(found)

    child = os.fork()
    if child == 0:
        code = 1
        try:
            use()
            code = len(wrong)
        finally:
            os._exit(code)
    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and wrong == []
    use()  # what threads used at the same moment is closed by the next ones
    assert _descriptors(tmp_path) <= 24
    held.clear()
    assert _descriptors(tmp_path) == 0


def _descriptors(folder: Path) -> int:
    """How many descriptors of this process are files in the folder."""
    if sys.platform != "linux":
        pytest.skip("it reads /proc")
    found = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return sum(path.startswith(str(folder)) for path in found)


def test_stores_do_not_share_an_index(tmp_path: Path) -> None:
    found = [open_index(LocalStore(str(tmp_path / name)), tmp_path / "home") for name in ("a", "b")]
    assert found[0].path != found[1].path
    for one in found:
        assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
        one.close()
    assert stat.S_IMODE(found[0].path.parent.stat().st_mode) == 0o700


class Interrupted(LocalStore):
    """A store where something happens once, right after an operation read what was there."""

    after: tuple[str, Callable[[], None]] | None = None

    def _happen(self, what: str) -> None:
        if self.after is not None and self.after[0] == what:
            happens, self.after = self.after[1], None
            happens()

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        yield from list(super().list(prefix, after))
        if prefix == "records/":
            self._happen("list")

    def read(self, name: str, span: tuple[int, int] | None = None) -> tuple[bytes, str]:
        found = super().read(name, span)
        self._happen("read")
        return found


@pytest.mark.parametrize("when", ["list", "read"])
def test_what_is_written_while_a_sync_runs_is_not_forgotten(tmp_path: Path, when: str) -> None:
    store = Interrupted(str(tmp_path / "store"))
    index = open_index(store, tmp_path / "home")
    records = Records(store, index)
    records.create(experiment("old"))
    index.sync()
    put(store, experiment("old", notes="changed elsewhere"))

    def meanwhile() -> None:
        records.create(experiment("new"))
        records.update("old", lambda e: e.with_changes(notes="changed here"))

    store.after = (when, meanwhile)
    index.sync()
    assert keys(index) == ["new", "old"] and keys(index, 'notes = "changed here"') == ["old"]
    index.sync()
    assert keys(index, 'notes = "changed here"') == ["old"]
    index.close()


BROKEN = {
    "records/half.json": b'{"key": "half", "command": {"kind": "scr',
    "records/empty.json": b"",
    "records/list.json": b"[1, 2]",
    "records/other.json": json.dumps(to_json(experiment("good"))).encode(),
    "records/bytes.json": bytes(range(256)),
    "records/deep.json": b"[" * 100_000,
    "records/shape.json": b'{"key": "shape", "command": {"kind": "script"}, "params": 7}',
    "records/README.txt": b"not ours",
    "records/good.text": b"not good's",
    "records/below/one.json": json.dumps(to_json(experiment("one"))).encode(),
    "records/-odd.json": json.dumps({**to_json(experiment("x")), "key": "-odd"}).encode(),
    "live/good.json": b"{half",
    "live/what": b"",
}


def test_what_is_no_record_is_left_out_and_named_once(
    store: LocalStore, index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, experiment("good", status="running"))
    index.sync()
    for name, raw in BROKEN.items():
        store.write(name, raw)
    with caplog.at_level(logging.WARNING):
        index.sync()
        index.sync()
    assert keys(index) == ["good"]
    [said] = [r.getMessage() for r in caplog.records]
    assert all(name in said for name in BROKEN if name.startswith("records/"))
    put(store, experiment("half"))
    store.remove("records/list.json")
    assert index.sync() == 1
    assert keys(index) == ["good", "half"]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        store.write("records/list.json", b"again")
        index.sync()
    assert "records/list.json" in caplog.text and "records/half.json" not in caplog.text


def test_a_record_that_turns_bad_is_left_out(store: LocalStore, index: Index) -> None:
    put(store, experiment("one", tags=("a",)))
    index.sync()
    store.write("records/one.json", b"{")
    index.sync()
    assert keys(index) == [] and keys(index, "tags = a") == []


def test_values_of_any_kind_can_be_kept(store: LocalStore, index: Index) -> None:
    odd = {"inf": 1e999, "big": 10**400, "text": "\ud800 lone", "nul": "a\0b", "none": None, "deep": [[{"a": []}]]}
    raw = {**to_json(experiment("one")), "params": odd, "notes": "\udcff", "tags": ["\ud800"], "packages": ["\ud800"]}
    raw["summary"] = {"m\ud800": {"last": "Infinity", "min": -1e999, "max": 10**30, "step": 10**30, "count": 3}}
    store.write("records/one.json", json.dumps(raw).encode())
    index.sync()
    assert keys(index, "params.big ~ bits and params.text ~ lone and params.deep ~ a") == ["one"]
    assert keys(index, "metrics.m > 0") == []
    found = index.search()[0]
    assert found == from_json(Experiment, to_json(from_json(Experiment, raw)))  # as a record that studio wrote
    assert (found.notes, found.tags, found.params["text"]) == ("\udcff", ("\ufffd",), "\ufffd lone")
    assert (found.params["inf"], found.params["big"][:25]) == (float("inf"), "<an integer of 1329 bits,")
    assert found.summary["m\ufffd"] == Summary(float("inf"), float("-inf"), 1e30, 0, 3)
    store.write("records/one.json", json.dumps({**raw, "params": {"nan": float("nan")}}).encode())
    index.sync()
    assert keys(index, "params.nan > 0") == [] and keys(index, "params.nan != none") == ["one"]


def test_lists_of_keys_projects_and_owners(store: LocalStore, index: Index) -> None:
    for i, (project, owner) in enumerate([("b", "ada"), ("a", "ada"), ("b", "bob")]):
        put(store, experiment(f"k{i}", project=project, owner=owner, times=Times(added=float(i))))
    put(store, experiment("serving", kind="serving", project="b", owner="ada", times=Times(added=9.0)))
    index.sync()
    assert index.projects() == [("a", 1), ("b", 3)]
    assert index.owners() == [("ada", 3), ("bob", 1)]
    assert index.keys("k") == ["k0", "k1", "k2"] and index.keys("k1") == ["k1"] and index.keys("K") == []
    assert len(index.keys("")) == 4
    newest = [index.newest(), index.newest(owner="ada"), index.newest(project="a"), index.newest(kind="serving")]
    assert [e and e.key for e in newest] == ["k2", "k1", "k1", "serving"]
    assert index.newest(project="c") is None
    assert index.count() == 4 and index.count("project = b") == 3 and index.count(project="b", owner="ada") == 2
    either = index.search("key = k1 or key = k0", project="b", sort="key")
    assert [e.key for e in either] == ["k0"]
    assert [e.key for e in index.search(limit=2, offset=1)] == ["k2", "k1"]
    assert index.search(limit=0) == []


# Heartbeats


def at(store: LocalStore, name: str, seconds: float) -> None:
    """Makes an object look as if it was written so many seconds from now."""
    path = store.root / name
    when = time.time() + seconds
    os.utime(path, (when, when))


def test_a_run_whose_heartbeat_stopped_is_lost(store: LocalStore, index: Index) -> None:
    records = Records(store, index)
    for key in ("alive", "dead", "silent", "young", "ahead"):
        records.create(experiment(key, status="running", summary={"loss": Summary(9.0, 9.0, 9.0, 0, 1)}))
        if key not in ("silent", "young"):
            records.write_live(key, {"summary": {"loss": to_json(Summary(0.5, 0.5, 9.0, 1, 2)), "new": {"last": 1}}})
        if key != "young":
            at(store, f"records/{key}.json", -3600)
    at(store, "live/dead.json", -61)
    at(store, "live/ahead.json", 7200)  # the clock was set back since
    index.sync()
    shown = {e.key: e.status for e in index.search()}
    assert shown == {"alive": "running", "ahead": "running", "young": "running", "dead": "lost", "silent": "lost"}
    assert keys(index, "status = lost") == ["dead", "silent"]
    assert keys(index, "status = running") == ["ahead", "alive", "young"]
    assert [e.key for e in index.search(sort="status,key")][:2] == ["dead", "silent"]
    assert records.get("dead").status == "running"  # the record itself is its supervisor's to change
    newest = index.newest()
    assert newest is not None and newest.status in ("running", "lost")
    records.write_live("dead", {"summary": {}})  # the laptop woke up
    index.sync()
    assert keys(index, "status = lost") == ["silent"]


class Elsewhere(LocalStore):
    """A store whose clock is two hours ahead of ours; `writable` says whether we may ask it."""

    writable = True

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        for entry in super().list(prefix, after):
            yield entry._replace(modified=entry.modified + 7200)

    def stat(self, name: str) -> Entry:
        found = super().stat(name)
        return found._replace(modified=found.modified + 7200)

    def write(self, name: str, data: bytes, *, if_absent: bool = False, if_tag: str | None = None) -> str:
        if not self.writable:
            raise StoreError("read-only")
        return super().write(name, data, if_absent=if_absent, if_tag=if_tag)


@pytest.mark.parametrize("writable", [True, False])
def test_only_the_stores_clock_counts(tmp_path: Path, writable: bool) -> None:
    store = Elsewhere(str(tmp_path / "store"))
    for key, ago in (("alive", 0), ("dead", -61), ("old", -3600)):
        put(store, experiment(key, status="running"))
        at(store, f"records/{key}.json", ago)
    store.writable = writable
    if not writable:
        store.url = "s3://elsewhere"  # then the newest object says how late it is there at least
    index = open_index(store, tmp_path / "home")
    index.sync()
    assert keys(index, "status = lost") == ["dead", "old"] and keys(index, "status = running") == ["alive"]
    index.close()


def test_a_running_experiment_has_the_metrics_of_its_heartbeat(store: LocalStore, index: Index) -> None:
    records = Records(store, index)
    first = Summary(9.0, 9.0, 9.0, 0, 1)
    records.create(experiment("one", status="running", summary={"loss": first, "acc": first}))
    records.write_live("one", {"summary": {"loss": to_json(Summary(0.5, 0.5, 9.0, 1, 2)), "new": to_json(first)}})
    index.sync()
    assert keys(index, "metrics.loss = 0.5 and metrics.acc = 9 and metrics.new = 9") == ["one"]
    assert index.search()[0].summary["loss"].last == 0.5
    records.update("one", lambda e: e.with_changes(tags=("seen",)))
    assert keys(index, "metrics.loss = 0.5 and tags = seen") == ["one"]
    records.write_live("one", {"summary": {"loss": to_json(Summary(0.1, 0.1, 9.0, 3, 4))}})
    index.sync()
    assert keys(index, "metrics.loss = 0.1 and metrics.new = none") == ["one"]
    final = {"loss": Summary(0.05, 0.05, 9.0, 5, 6)}
    records.remove_live("one")
    index.sync()
    assert keys(index, "metrics.loss = 9 and metrics.acc = 9") == ["one"]
    records.update("one", lambda e: e.with_changes(status="finished", summary=final))
    index.sync()
    assert keys(index, "metrics.loss = 0.05 and metrics.acc = none") == ["one"]
    assert index.search()[0].summary == final


def test_how_long_silence_is_can_be_set(store: LocalStore, tmp_path: Path) -> None:
    put(store, experiment("one", status="running"))
    at(store, "records/one.json", -30)
    patient, hasty = open_index(store, tmp_path), open_index(store, tmp_path, lost_after_s=20.0)
    patient.sync()
    assert keys(patient, "status = running") == ["one"] == keys(hasty, "status = lost")
    patient.close()
    hasty.close()


# Damage


def _old_version(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 1")
    db.close()


def _no_tables(path: Path) -> None:
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE other (a)")
    db.execute(f"PRAGMA user_version = {schema.VERSION}")
    db.close()


def _torn(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


def _holes(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    for start in range(4096, len(raw), 4096):
        raw[start : start + 2000] = os.urandom(2000)
    path.write_bytes(raw)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(os.urandom(50_000)),
    "text": lambda path: path.write_text("SQLite format 4"),
    "empty": lambda path: path.write_bytes(b""),
    "torn": _torn,
    "holes": _holes,
    "old version": _old_version,
    "no tables": _no_tables,
}


@pytest.mark.parametrize("how", sorted(DAMAGE))
def test_a_damaged_index_is_rebuilt_and_said_once(
    how: str, store: LocalStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(40):
        put(store, experiment(f"k{i:02d}", params={"n": i}))
    first = open_index(store, tmp_path)
    first.sync()
    first.close()
    DAMAGE[how](first.path)
    with caplog.at_level(logging.WARNING):
        index = open_index(store, tmp_path)
        index.sync()
        assert len(keys(index, "params.n >= 0 and not tags = x")) == 40
        assert index.search(limit=1)[0].params
    assert [r.getMessage() for r in caplog.records if "rebuilt" in r.getMessage()] == [
        r.getMessage() for r in caplog.records
    ]
    assert len(caplog.records) == 1
    index.close()
    again = open_index(store, tmp_path)
    assert again.sync() == 0 and len(keys(again)) == 40
    again.close()


def test_a_file_that_is_damaged_while_it_is_open_is_replaced(
    store: LocalStore, index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(200):
        put(store, experiment(f"k{i:03d}", params={"n": i, "text": "x" * 500}))
    index.sync()
    db = sqlite3.connect(index.path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with caplog.at_level(logging.WARNING):
        other = open_index(store, index.path.parent.parent)
        _holes(index.path)
        for one in (other, index):
            one.sync()
            assert len(keys(one, "params.n >= 0")) == 200
    assert "rebuilt" in caplog.text
    other.close()


def test_a_file_that_is_removed_while_it_is_open_blocks_nothing(store: LocalStore, index: Index) -> None:
    records = Records(store, index)
    records.create(experiment("one"))
    for path in index.path.parent.iterdir():
        path.unlink()
    records.create(experiment("two"))
    index.sync()
    assert keys(index) == ["one", "two"]
    fresh = open_index(store, index.path.parent.parent)
    assert keys(fresh) == ["one", "two"]
    fresh.close()


def test_a_home_that_cannot_be_written_degrades_to_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "index").write_text("a file in the folder's place")
    store = MemoryStore(f"memory://{tmp_path.name}")
    records = Records(store, open_index(store, tmp_path))
    assert [("in memory" in r.getMessage()) for r in caplog.records] == [True]
    records.create(experiment("one"))
    assert keys(records.index) == ["one"]
    other = open_index(store, tmp_path)
    assert keys(other) == ["one"]
    other.close()
    records.index.close()


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that another user can reach: each pytest that starts closes pytest's own folders to them."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_read_only_home_answers_from_what_it_has(reachable: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = LocalStore(str(reachable / "store"))
    put(store, experiment("one"))
    first = open_index(store, reachable / "home")
    first.sync()
    first.close()
    for path in [reachable, *reachable.rglob("*")]:
        os.chmod(path, 0o555 if path.is_dir() else 0o444)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with caplog.at_level(logging.WARNING):
            index = open_index(store, reachable / "home")
            assert keys(index) == ["one"]
            index.put(experiment("two"), "tag")
            assert keys(index) == ["one", "two"]
            assert index.sync() == 1  # the store has no `two`
            assert keys(index) == ["one"]
            index.close()
    finally:
        if root:
            os.seteuid(0)
        for path in [reachable, *reachable.rglob("*")]:
            os.chmod(path, 0o700)
    assert [("in memory" in r.getMessage()) for r in caplog.records] == [True]


# Processes and threads

WRITER = """
import sys
import tempfile
from pathlib import Path
from studio.experiment import Command, Experiment
from studio.stores import open_store
from studio.tracking.index import open_index
from studio.tracking.records import Records
store = open_store(sys.argv[1])
records = Records(store, open_index(store, Path(sys.argv[2])))
print("ready", flush=True)
n = 0
while True:
    n += 1
    key = f"p{sys.argv[3]}-{n % 7}"
    one = Experiment(key=key, command=Command("script", "a"), params={f"x{i}": n for i in range(50)}, notes="n" * 3000)
    records.delete(key)
    records.create(one)
    records.update(key, lambda e: e.with_changes(tags=(f"t{n}",)))
    records.index.sync()
    records.index.search("params.x1 > 0 and tags ~ t", sort="-params.x2")
    if n % 5 == 0:
        records.index.rebuild()
"""


@pytest.mark.parametrize("rounds", [6, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_killed_processes_neither_corrupt_nor_block_it(store: LocalStore, index: Index, rounds: int) -> None:
    chance = random.Random(5)
    records = Records(store, index)
    home = str(index.path.parent.parent)
    for number in range(rounds):
        command = [sys.executable, "-c", WRITER, store.url, home, str(number)]
        writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
        try:
            for one in writers:
                assert one.stdout is not None and one.stdout.readline() == b"ready\n"
            until = time.monotonic() + chance.uniform(0.0, 0.5)
            while time.monotonic() < until:
                records.create(experiment(f"mine-{number}-{time.monotonic_ns()}"))
        finally:
            for one in writers:
                one.send_signal(signal.SIGKILL)
                one.communicate()
        db = sqlite3.connect(index.path)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
    index.sync()
    there = sorted(e.name[len("records/") : -5] for e in store.list("records/"))
    assert keys(index) == there
    db = sqlite3.connect(index.path)
    orphans = "SELECT count(*) FROM facts WHERE id NOT IN (SELECT id FROM experiments)"
    assert db.execute(orphans).fetchone() == (0,)
    db.close()


OPENER = """
import logging, sys
from pathlib import Path
from studio.stores import open_store
from studio.tracking.index import open_index
logging.basicConfig(stream=sys.stdout, format="%(message)s")
print("ready", flush=True)
sys.stdin.readline()
index = open_index(open_store(sys.argv[1]), Path(sys.argv[2]))
index.sync()
state = index._handle.run(lambda db: db.execute("PRAGMA integrity_check").fetchone())
print("found", len(index.search(limit=None)), state)
"""


def test_many_processes_meet_a_damaged_file_and_one_replaces_it(store: LocalStore, tmp_path: Path) -> None:
    for i in range(20):
        put(store, experiment(f"k{i}"))
    first = open_index(store, tmp_path / "home")
    first.close()
    DAMAGE["garbage"](first.path)
    command = [sys.executable, "-c", OPENER, store.url, str(tmp_path / "home")]
    openers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for one in openers:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    for one in openers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = "".join(one.communicate(timeout=120)[0] for one in openers)
    assert said.count("found 20 ('ok',)") == 6
    assert said.count("is rebuilt") == 1 and "in memory" not in said


def test_a_process_that_is_stopped_in_a_write_blocks_no_record(
    store: LocalStore, index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    records = Records(store, index)
    records.create(experiment("one"))
    holder = sqlite3.connect(index.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    index._handle.run(lambda db: db.execute("PRAGMA busy_timeout = 50"))
    with caplog.at_level(logging.WARNING):
        records.create(experiment("two"))
        assert index.sync() == 0
    assert "in use by another process" in caplog.text and "may be missing" in index.stale
    with pytest.raises(Busy):  # never filled: it does not know what it lacks
        index.search()
    holder.execute("ROLLBACK")
    assert index.sync() == 1 and index.stale == ""
    holder.execute("BEGIN IMMEDIATE")
    records.create(experiment("three"))
    assert index.sync() == 0 and "may be missing" in index.stale
    assert keys(index) == ["one", "two"]
    with pytest.raises(Busy):
        index.rebuild()
    holder.execute("ROLLBACK")
    holder.close()
    assert index.sync() == 1 and keys(index) == ["one", "three", "two"]


def test_a_forked_child_opens_the_file_anew(store: LocalStore, index: Index) -> None:
    records = Records(store, index)
    records.create(experiment("one"))
    parents = index._handle._db
    child = os.fork()
    if child == 0:
        code = 1
        try:
            index._handle.close()  # what the child opened itself, which is nothing yet
            parents.execute("select 1")
            records.create(experiment("two"))
            code = 0 if keys(index) == ["one", "two"] else 2
            index.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert keys(index) == ["one", "two"]


def test_threads_share_an_index(store: LocalStore, index: Index) -> None:
    records = Records(store, index)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(6):
                records.create(experiment(f"t{number}-{i}", params={"n": i}))
                index.sync()
                assert f"t{number}-{i}" in keys(index, f"params.n = {i} and key ~ t")
        except BaseException as exc:  # handed to the main thread
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failures == [] and len(keys(index)) == 36


# Network file systems

MOUNTS = (
    "/dev/sda1 / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/sdb1 /home/ada/fast\\040disk xfs rw 0 0\n"
    "user@host: /mnt/remote fuse.sshfs rw 0 0\ntmpfs /homework tmpfs rw 0 0\nbroken line\n\n"
)


@pytest.mark.parametrize(
    ("folder", "mode"),
    [
        ("/", "wal"),
        ("/var/lib", "wal"),
        ("/home", "delete"),
        ("/home/ada/.studioml/index", "delete"),
        ("/home/ada/fast disk/index", "wal"),
        ("/mnt/remote/x", "delete"),
        ("/mnt/remoter/x", "wal"),
        ("/homework", "wal"),
    ],
)
def test_no_wal_on_a_network_file_system(folder: str, mode: str) -> None:
    assert journal_mode(Path(folder), MOUNTS) == mode


def test_the_index_works_in_both_journal_modes(store: LocalStore, index: Index) -> None:
    records = Records(store, index)
    assert index._handle.run(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == (
        journal_mode(index.path.parent),
    )
    index._handle.run(lambda db: db.execute("PRAGMA journal_mode = DELETE").fetchone())
    records.create(experiment("one"))
    assert index.sync() == 0 and keys(index) == ["one"]
    assert "nfs4" in NETWORK and "ext4" not in NETWORK
