"""The contract of `studio.stores.Store` as tests: subclass `StoreContract` and give it a `store` fixture."""

# ruff: noqa: S101  (a test asserts)
from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..errors import ConfigError, Conflict, NotFound, StoreError
from ..stores import Store, open_store
from ..stores.check import check_store
from .store_race import RACES

RACERS = 8
A_WHILE_S = 0.25
"""How far two changes must be apart for their tokens to differ; see `Store.change_token`."""


class StoreContract:
    """What every back end must pass.

    ```python
    class TestMine(StoreContract):
        @pytest.fixture
        def store(self):
            return MyStore("mine://…")      # empty, and its alone
    ```

    Attributes:
        processes: Whether other processes can open `store.url`; otherwise the races are between threads.
        rounds: How many times each racer tries.
    """

    processes = True
    rounds = 20

    # bytes and tags

    def test_reads_what_was_written(self, store: Store) -> None:
        """Empty, binary and larger bytes come back as they were, with the tag that the write returned."""
        for data in (b"", b"\0\xff\r\n", bytes(range(256)) * 5000):
            tag = store.write("a/b.bin", data)
            assert store.read("a/b.bin") == (data, tag)
            found = store.stat("a/b.bin")
            assert (found.name, found.size, found.tag) == ("a/b.bin", len(data), tag)

    def test_every_write_has_another_tag(self, store: Store) -> None:
        """Also within a tick of the clock, for equal bytes, and across a removal."""
        tags = [store.write("same", b"equal bytes") for _ in range(50)]
        for _ in range(20):
            store.remove("same")
            tags.append(store.write("same", b"equal bytes"))
        assert len(set(tags)) == len(tags)

    def test_a_span_is_clipped(self, store: Store) -> None:
        """(start, stop) in bytes, as far as there are any; the tag is that of the whole."""
        tag = store.write("s", b"0123456789")
        for span, data in [((2, 5), b"234"), ((8, 99), b"89"), ((10, 12), b""), ((99, 100), b""), ((0, 0), b"")]:
            assert store.read("s", span) == (data, tag)

    def test_what_is_missing_is_not_found(self, store: Store, tmp_path: Path) -> None:
        """Reading, asking and fetching say NotFound with the name; removing is at ease. Also a folder is nothing."""
        store.write("there/leaf", b"x")
        for name in ("gone", "there/gone", "no/such/folder", "there", "there/leaf/below"):
            for ask in (store.read, store.stat):
                with pytest.raises(NotFound, match=name):
                    ask(name)
            with pytest.raises(NotFound, match=name):
                store.download(name, tmp_path / "file")
            store.remove(name)
        assert list(tmp_path.iterdir()) == []
        assert store.read("there/leaf")[0] == b"x"

    def test_modified_is_about_now_and_moves(self, store: Store) -> None:
        """`modified` is a time in seconds that does not go back."""
        store.write("clock", b"1")
        first = store.stat("clock").modified
        store.write("clock", b"2")
        assert first > 1e9
        assert store.stat("clock").modified >= first

    # names

    @pytest.mark.parametrize(
        "name",
        ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a b", "a\\b", "ä", "a\n", "a\0b", "+temp/a",
         "a:b", "~", "x" * 256, "/".join(["x" * 200] * 5)],
    )  # fmt: skip
    def test_an_illegal_name_is_refused(self, store: Store, tmp_path: Path, name: str) -> None:
        """By every method, before anything happens."""
        (tmp_path / "file").write_bytes(b"x")
        for act in (
            lambda: store.read(name),
            lambda: store.stat(name),
            lambda: store.write(name, b""),
            lambda: store.append(name, 0, b""),
            lambda: store.remove(name),
            lambda: store.upload(tmp_path / "file", name),
            lambda: store.download(name, tmp_path / "other"),
        ):
            with pytest.raises(ConfigError):
                act()

    @pytest.mark.parametrize("name", ["a", "...", "a..b", ".hidden", "-x", "A-Z_0.9/" + "y" * 255, "a/b/c/d/e/f/g/h"])
    def test_a_legal_name_is_taken(self, store: Store, name: str) -> None:
        """Dots, dashes, length."""
        store.write(name, b"x")
        assert store.read(name)[0] == b"x"
        assert name in [e.name for e in store.list("")]

    # conditions

    def test_a_create_does_not_overwrite(self, store: Store) -> None:
        """`if_absent` on what is there: Conflict, and the bytes stay."""
        store.write("c", b"first", if_absent=True)
        with pytest.raises(Conflict, match="c exists"):
            store.write("c", b"second", if_absent=True)
        assert store.read("c")[0] == b"first"
        store.remove("c")
        store.write("c", b"third", if_absent=True)

    def test_a_swap_wants_the_present_tag(self, store: Store) -> None:
        """`if_tag`: the present one passes; an old one, one of a removed object and an invented one do not."""
        old = store.write("c", b"1")
        new = store.write("c", b"2", if_tag=old)
        for tag in (old, "invented", ""):
            with pytest.raises(Conflict):
                store.write("c", b"3", if_tag=tag)
        assert store.read("c") == (b"2", new)
        store.remove("c")
        with pytest.raises(Conflict):
            store.write("c", b"3", if_tag=new)
        with pytest.raises(ConfigError):
            store.write("c", b"3", if_absent=True, if_tag=new)
        with pytest.raises(NotFound):
            store.read("c")

    # listing

    def test_a_listing_is_in_the_order_of_names(self, store: Store) -> None:
        """Of whole names, in which `/` stands between `.` and `0`; with prefixes that end anywhere."""
        names = sorted(["p/a-b", "p/a.b", "p/a/b", "p/a/c/d", "p/a0", "p/aa", "p/b/x", "pq", "p/Z", "o/x", "p/a_"])
        for name in reversed(names):
            store.write(name, name.encode())
        for prefix in ("p/", "p", "p/a", "p/a/", "p/a/c", "nothing/here", "p/a-b", "q", ""):
            listed = [e for e in store.list(prefix) if e.name != "store.json"]
            assert [e.name for e in listed] == [n for n in names if n.startswith(prefix)]
            for entry in listed:
                assert entry == store.stat(entry.name)
        for after in (*names, "p/a/", "p/a/b0", "p/a/c", "zz"):
            assert [e.name for e in store.list("p/", after)] == [n for n in names if n.startswith("p/") and n > after]

    def test_a_listing_sees_each_change(self, store: Store) -> None:
        """A write, another tag, a removal."""
        assert list(store.list("l/")) == []
        tag = store.write("l/a", b"1")
        assert [(e.name, e.tag) for e in store.list("l/")] == [("l/a", tag)]
        tag = store.write("l/a", b"2")
        assert [(e.name, e.tag) for e in store.list("l/")] == [("l/a", tag)]
        store.remove("l/a")
        assert list(store.list("l/")) == []

    def test_a_listing_may_be_left_and_changed_under_way(self, store: Store) -> None:
        """Objects that vanish meanwhile do no harm, the others are there once."""
        for number in range(50):
            store.write(f"l/{number:02d}/x", b"")
        seen = []
        for entry in store.list("l/"):
            seen.append(entry.name)
            store.remove(f"l/{len(seen) + 10:02d}/x")
        assert len(seen) == len(set(seen))
        assert set(seen) >= {f"l/{n:02d}/x" for n in range(11)}
        assert next(iter(store.list("l/"))).name == "l/00/x"

    def test_a_change_token_differs_after_each_change(self, store: Store, tmp_path: Path) -> None:
        """A creation, equal bytes again, a file, a removal; reading moves nothing. None is always allowed."""
        (tmp_path / "file").write_bytes(b"file")
        changes: list[Callable[[], object]] = [
            lambda: store.write("t/a", b"1"),
            lambda: store.write("t/a", b"1"),
            lambda: store.write("t/b", b"2", if_absent=True),
            lambda: store.write("t/b", b"3", if_tag=store.stat("t/b").tag),
            lambda: store.upload(tmp_path / "file", "t/c"),
            lambda: store.upload(tmp_path / "file", "t/a"),
            lambda: store.remove("t/b"),
        ]
        seen: list[str | None] = []
        for change in changes:
            change()
            token = store.change_token("t/")
            assert token is None or token not in seen
            for entry in store.list("t/"):
                store.read(entry.name)
            assert store.change_token("t/") in (token, None)
            seen.append(token)
            time.sleep(A_WHILE_S)
        if set(seen) == {None}:
            pytest.skip("this store cannot tell whether anything changed")

    def test_a_change_token_of_nothing(self, store: Store) -> None:
        """Where nothing was ever written the first write is a change too; a prefix that is no name is refused."""
        before = store.change_token("t/")
        time.sleep(A_WHILE_S)
        store.write("t/a", b"1")
        after = store.change_token("t/")
        assert before is None or after is None or before != after
        for prefix in ("../", "/", "a b/", "+temp/"):
            with pytest.raises(ConfigError):
                store.change_token(prefix)

    # streams

    def test_a_stream_grows_at_its_end_only(self, store: Store) -> None:
        """Wrong offsets are refused with the right one named; reading does not tell a stream from an object."""
        with pytest.raises(Conflict, match="ends at 0"):
            store.append("s/x", 5, b"no")
        assert list(store.list("s/")) == []
        assert store.append("s/x", 0, b"hello ") == 6
        tag = store.stat("s/x").tag
        assert store.append("s/x", 6, b"world") == 11
        assert store.stat("s/x").tag != tag
        for at in (0, 6, 12):
            with pytest.raises(Conflict, match="ends at 11"):
                store.append("s/x", at, b"no")
        assert store.read("s/x")[0] == b"hello world"
        assert store.read("s/x", (6, 99))[0] == b"world"
        assert store.append("s/x", 11, b"") == 11
        assert store.stat("s/x").size == 11

    # files

    def test_a_file_goes_in_and_out(self, store: Store, tmp_path: Path) -> None:
        """40 MB, with progress that rises to the end; a download replaces a file, whole."""
        size = 40_000_003
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes((bytes(range(251)) * (size // 251 + 1))[:size])
        steps: list[tuple[int, int]] = []
        tag = store.upload(source, "big/file", lambda done, total: steps.append((done, total)))
        assert steps[-1] == (size, size)
        assert steps == sorted(steps)
        assert store.stat("big/file")[1:3] == (size, tag)
        target.write_bytes(b"old")
        steps.clear()
        assert store.download("big/file", target, lambda done, total: steps.append((done, total))) == tag
        assert steps[-1] == (size, size)
        assert target.read_bytes() == source.read_bytes()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["source", "target"]

    def test_a_file_that_is_not_there_is_one_line(self, store: Store, tmp_path: Path) -> None:
        """Neither an upload of nothing nor a download to nowhere leaves anything."""
        with pytest.raises(StoreError, match="cannot read"):
            store.upload(tmp_path / "gone", "u")
        with pytest.raises(NotFound):
            store.stat("u")
        store.write("u", b"x")
        with pytest.raises(StoreError, match="cannot write"):
            store.download("u", tmp_path / "no" / "such" / "folder")

    def test_a_url_that_allows_an_access_or_none(self, store: Store) -> None:
        """`presign` gives an http(s) URL where the back end can, else None."""
        store.write("p", b"x")
        url = store.presign("p", "GET", 60)
        assert url is None or url.startswith(("http://", "https://"))

    # races

    def test_each_create_has_one_winner(self, store: Store) -> None:
        """8 racers create the same names: as many wins as names, and the winner's bytes stay."""
        wins = self.race(store, "create")
        assert sum(wins) == self.rounds
        winners = [store.read(e.name)[0] for e in store.list("race/create/")]
        assert [winners.count(str(n).encode()) for n in range(RACERS)] == wins

    def test_no_swap_is_lost(self, store: Store) -> None:
        """8 racers count together: the sum is right."""
        store.write("race/counter", b"0")
        self.race(store, "swap")
        assert store.read("race/counter")[0] == b"%d" % (RACERS * self.rounds)

    def test_no_append_is_lost_or_torn(self, store: Store) -> None:
        """8 racers append lines: each is there once, whole, and each racer's in order."""
        self.race(store, "append")
        lines = store.read("race/stream")[0].decode().splitlines()
        for who in range(RACERS):
            assert [x for x in lines if x.startswith(f"{who}:")] == [f"{who}:{n}" for n in range(self.rounds)]
        assert len(lines) == RACERS * self.rounds

    def test_a_folder_that_empties_and_fills(self, store: Store) -> None:
        """8 racers write and remove side by side: nothing fails, nothing stays."""
        self.race(store, "remove")
        assert list(store.list("race/")) == []

    def test_the_store_passes_its_own_check(self, store: Store) -> None:
        """`studio store check` finds nothing, and leaves nothing."""
        assert [f for f in check_store(store) if not f.ok] == []
        assert list(store.list("probes/")) == []

    def race(self, store: Store, race: str) -> list[int]:
        """Runs 8 racers at once; what each of them returned."""
        store.write("race/ready", b"")
        store.remove("race/ready")
        return self._in_processes(store, race) if self.processes else self._in_threads(store, race)

    def _in_processes(self, store: Store, race: str) -> list[int]:
        command = [sys.executable, "-m", "studio.testing.store_race", store.url, race]
        racers = [
            subprocess.Popen([*command, str(n), str(self.rounds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for n in range(RACERS)
        ]
        out = []
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == b"ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(b"go\n")
            racer.stdin.flush()
        for racer in racers:
            said, _ = racer.communicate(timeout=120)
            assert racer.returncode == 0
            out.append(int(said))
        return out

    def _in_threads(self, store: Store, race: str) -> list[int]:
        out: dict[int, int] = {}

        def run(number: int) -> None:
            out[number] = RACES[race](open_store(store.url), str(number), self.rounds)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(RACERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        return [out[n] for n in range(RACERS)]
