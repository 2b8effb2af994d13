"""`studio store init|check`: services that ignore conditions are refused by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.errors import ConfigError, NotFound, StoreError
from studio.stores import Entry, open_store
from studio.stores.check import check_store, init_store
from studio.stores.memory import MemoryStore

numbers = itertools.count()


class Careless(MemoryStore):
    """A service with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"memory://careless-{next(numbers)}")
        self.fault = fault

    def write(self, name: str, data: bytes, *, if_absent: bool = False, if_tag: str | None = None) -> str:
        if self.fault == "create":
            if_absent = False
        if self.fault == "swap":
            if_tag = None
        tag = super().write(name, data, if_absent=if_absent, if_tag=if_tag)
        return "constant" if self.fault == "tag" else tag

    def append(self, name: str, at: int, data: bytes) -> int:
        if self.fault == "append":
            try:
                at = self.stat(name).size
            except NotFound:
                at = 0
        return super().append(name, at, data)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        entries = list(super().list(prefix, after))
        return iter(entries[::-1] if self.fault == "order" else entries[1:] if self.fault == "late" else entries)

    def remove(self, name: str) -> None:
        if self.fault != "remove":
            super().remove(name)


@pytest.mark.parametrize(
    ("fault", "name", "why"),
    [
        ("create", "a second create loses", "ignores the condition of a create"),
        ("swap", "a wrong tag is refused", "ignores the condition of a change"),
        ("tag", "can be written and read", "the tag of a read is not the tag of the write"),
        ("append", "a stream refuses a wrong offset", "ignores the offset"),
        ("order", "a listing is ordered and sees every write", "not in the order"),
        ("late", "a listing is ordered and sees every write", "does not see a write"),
        ("remove", "a removed object is gone", "anew"),
    ],
)
def test_each_fault_is_found_by_name(fault: str, name: str, why: str) -> None:
    bad = {f.name: f.why for f in check_store(Careless(fault)) if not f.ok}
    assert why in bad[name]
    if fault not in ("tag", "swap", "remove"):
        assert len(bad) == 1


def test_a_good_store_has_six_findings_and_is_left_clean(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/s")
    findings = check_store(store)
    assert [(f.ok, f.why) for f in findings] == [(True, "")] * 6
    assert [e.name for e in store.list("")] == ["store.json"]


def test_init_makes_a_store_and_is_repeatable(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/s"
    init_store(url)
    before = (tmp_path / "s" / "store.json").read_bytes()
    init_store(url)
    assert (tmp_path / "s" / "store.json").read_bytes() == before


def test_init_refuses_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot be used: can be written and read: .* not a folder") as caught:
        init_store(f"file://{tmp_path}/file")
    assert "--store file:///FOLDER" in caught.value.hint


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ConfigError, match="no store is called 'ftp'"):
        check_store("ftp://x")
