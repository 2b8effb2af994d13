"""Records: created once, compared and swapped, unknown fields kept; heartbeats and requests to stop."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from studio.errors import ConfigError, Conflict, ExperimentNotFound, StoreError
from studio.experiment import Command, Experiment, Times
from studio.stores import Store, open_store
from studio.tracking.index import open_index
from studio.tracking.records import Records


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/store" if request.param == "file" else f"memory://{tmp_path.name}")


@pytest.fixture
def records(store: Store, tmp_path: Path) -> Records:
    return Records(store, open_index(store, tmp_path / "home"))


def experiment(key: str, **fields: object) -> Experiment:
    return Experiment(key=key, command=Command("script", "train.py"), **fields)  # type: ignore[arg-type]


def test_a_key_is_created_once(records: Records) -> None:
    one = experiment("one", params={"lr": 0.1}, times=Times(added=7.5))
    records.create(one)
    assert records.get("one") == one
    with pytest.raises(Conflict) as caught:
        records.create(one.with_changes(status="running"))
    assert "'one' already exists" in caught.value.message and "--resume one" in caught.value.hint
    assert records.get("one") == one
    assert records.index.search("params.lr = 0.1") == [one]


@pytest.mark.parametrize("key", ["", "a/b", "../x", "a b", "-a", "x" * 129])
def test_a_key_outside_the_grammar_touches_nothing(records: Records, key: str) -> None:
    for call in (records.get, records.delete, records.request_stop, records.live):
        with pytest.raises(ConfigError):
            call(key)
    with pytest.raises(ConfigError):
        records.create(experiment(key))
    assert list(records.store.list("")) == [] or [e.name for e in records.store.list("")] == ["store.json"]


def test_a_missing_key_suggests_near_ones(records: Records) -> None:
    for key in ("20261120-131502-k3x7qa", "20261120-131502-zzzzzz", "other"):
        records.create(experiment(key))
    with pytest.raises(ExperimentNotFound) as caught:
        records.get("20261120-131502")
    assert "k3x7qa" in caught.value.hint and "zzzzzz" in caught.value.hint and "other" not in caught.value.hint
    with pytest.raises(ExperimentNotFound) as caught:
        records.get("20261120-131502-k3x7qb")
    assert "k3x7qa" in caught.value.hint
    with pytest.raises(ExperimentNotFound):
        records.update("nothing", lambda e: e)


def test_an_update_keeps_what_it_does_not_know(records: Records) -> None:
    raw = {"key": "one", "command": {"kind": "exec", "target": "true", "shell": "no"}, "from_later": [1, {"a": None}]}
    records.store.write("records/one.json", json.dumps(raw).encode())
    changed = records.update("one", lambda e: e.with_changes(tags=("seen",)))
    stored = json.loads(records.store.read("records/one.json")[0])
    assert (
        stored["from_later"] == [1, {"a": None}] and stored["command"]["shell"] == "no" and stored["tags"] == ["seen"]
    )
    assert records.index.search("tags = seen") == [changed]


def test_an_update_that_others_came_before_is_applied_to_theirs(records: Records) -> None:
    records.create(experiment("one"))
    seen: list[str] = []

    def once(before: Experiment) -> Experiment:
        if not seen:
            seen.append("x")
            records.update("one", lambda e: e.with_changes(tags=("theirs",)))
        return before.with_changes(notes="mine")

    after = records.update("one", once)
    assert after.notes == "mine" and after.tags == ("theirs",)
    assert records.get("one") == after


def test_an_update_that_changes_nothing_writes_nothing(records: Records) -> None:
    records.create(experiment("one"))
    tag = records.store.stat("records/one.json").tag
    records.update("one", lambda e: e)
    assert records.store.stat("records/one.json").tag == tag
    with pytest.raises(ConfigError):
        records.update("one", lambda e: e.with_changes(key="two"))


def test_delete_leaves_nothing_of_it_and_all_of_others(records: Records) -> None:
    for key in ("one", "one2", "on"):
        records.create(experiment(key))
        records.write_live(key, {"pid": 1})
        records.request_stop(key)
        records.store.append(f"runs/{key}/output", 0, b"text")
    records.delete("one")
    left = [e.name for e in records.store.list("") if e.name != "store.json"]
    assert len(left) == 8 and not any("/one." in name or "/one/" in name for name in left)
    assert [e.key for e in records.index.search(sort="key")] == ["on", "one2"]
    records.delete("one")


def test_heartbeats(records: Records) -> None:
    assert records.live("one") is None
    records.write_live("one", {"pid": 7, "summary": {}})
    found = records.live("one")
    assert found is not None
    assert found[0] == {"schema": 1, "key": "one", "pid": 7, "summary": {}}
    assert found[1] == records.store.stat("live/one.json").modified
    records.store.write("live/one.json", b"{half")
    assert records.live("one") is None
    records.remove_live("one")
    records.remove_live("one")
    assert list(records.store.list("live/")) == []


def test_requests_to_stop(records: Records) -> None:
    assert not records.stop_requested("one")
    records.request_stop("one")
    records.request_stop("one")
    assert records.stop_requested("one") and not records.stop_requested("on")
    records.withdraw_stop("one")
    assert not records.stop_requested("one")


@pytest.mark.parametrize("raw", [b"", b"{half", b"[]", b"\xff\xfe", b"null", b'{"key": "one"}', b"[" * 100_000])
def test_a_record_that_is_none_is_one_clear_error(records: Records, raw: bytes) -> None:
    records.store.write("records/one.json", raw)
    with pytest.raises(StoreError) as caught:
        records.get("one")
    assert "records/one.json" in caught.value.message and records.store.url in caught.value.message


def test_writers_in_many_processes_lose_no_update(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/store")
    records = Records(store, open_index(store, tmp_path / "home"))
    records.create(experiment("one", params={"n": 0}))
    code = (
        "import sys; from pathlib import Path; from studio.stores import open_store\n"
        "from studio.tracking.index import open_index; from studio.tracking.records import Records\n"
        "s = open_store(sys.argv[1]); r = Records(s, open_index(s, Path(sys.argv[2])))\n"
        "for _ in range(10): r.update('one', lambda e: e.with_changes(params={'n': e.params['n'] + 1}))\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, store.url, str(tmp_path / "home")]
    writers = [subprocess.Popen(command) for _ in range(6)]
    assert [w.wait(100) for w in writers] == [0] * 6
    assert records.get("one").params == {"n": 60}
    records.index.sync()
    assert [e.params for e in records.index.search()] == [{"n": 60}]


def test_an_index_that_cannot_be_written_fails_no_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    store = open_store(f"memory://{tmp_path.name}")
    with caplog.at_level(logging.WARNING):
        records = Records(store, open_index(store, tmp_path / "home"))
    assert "in memory" in caplog.text
    records.create(experiment("one"))
    assert [e.key for e in records.index.search()] == ["one"]
