"""What a folder as a store promises beyond the contract: death, full disks, foreign hands, clocks."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.errors import ConfigError, Conflict, NotFound, StoreError
from studio.stores import open_store
from studio.stores.local import LocalStore

WRITER = """
import sys
from studio.stores import open_store
store = open_store(sys.argv[1])
tag = store.write("record", b"0" * 300_000)
print("ready", flush=True)
for n in range(1, 10**9):
    fill = b"%d" % (n % 10)
    tag = store.write("record", fill * 300_000, if_tag=tag)
    store.append("stream", (n - 1) * 70_000, fill * 70_000)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(f"file://{root}")


def modes(root: Path) -> set[tuple[str, int]]:
    return {("folder" if p.is_dir() else "file", stat.S_IMODE(p.stat().st_mode)) for p in [root, *root.rglob("*")]}


@contextlib.contextmanager
def killed_later(url: str, delay_s: float) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        end = time.monotonic() + delay_s
        while time.monotonic() < end:
            pass
        writer.send_signal(signal.SIGKILL)
        writer.wait(120)
    yield


def check_after_kill(store: LocalStore) -> None:
    data, tag = store.read("record")
    assert len(data) == 300_000
    assert len(set(data)) == 1  # old or new, never half
    with contextlib.suppress(NotFound):
        stream = store.read("stream")[0]
        blocks = [stream[at : at + 70_000] for at in range(0, len(stream), 70_000)]
        assert all(set(b) == {ord(str((n + 1) % 10))} for n, b in enumerate(blocks))
        store.append("stream", len(stream), b"")
    started = time.monotonic()
    store.write("record", b"after", if_tag=tag)  # no lock is left
    assert time.monotonic() - started < 30
    assert [e.name for e in store.list("")] == [n for n in ("record", "store.json", "stream") if exists(store, n)]
    store.remove("stream")


def exists(store: LocalStore, name: str) -> bool:
    try:
        return bool(store.stat(name))
    except NotFound:
        return False


def test_kill_9_in_the_middle_of_a_write_leaves_old_or_new(store: LocalStore) -> None:
    for _ in range(12):
        with killed_later(store.url, random.uniform(0, 0.05)):
            check_after_kill(store)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_kill_9_at_many_moments(store: LocalStore) -> None:
    for _ in range(150):
        with killed_later(store.url, random.uniform(0, 0.05)):
            check_after_kill(store)


def test_what_killed_writers_left_is_swept_after_a_day(store: LocalStore, root: Path) -> None:
    store.write("a", b"x")
    old, young = root / "+temp" / "123-old", root / "+temp" / "123-young"
    for leftover in (old, young):
        leftover.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert [e.name for e in store.list("")] == ["a", "store.json"]
    open_store(store.url).write("b", b"x")
    assert not old.exists()
    assert young.exists()


def test_a_full_disk_is_one_line_and_changes_nothing(mount: Callable[[str], Path], tmp_path: Path) -> None:
    store = LocalStore(f"file://{mount('size=1m')}/store")
    tag = store.write("record", b"old" * 1000)
    end = store.append("stream", 0, b"old")
    (tmp_path / "big").write_bytes(b"x" * 2_000_000)
    for act in (
        lambda: store.write("record", b"n" * 2_000_000),
        lambda: store.write("new/one", b"n" * 2_000_000, if_absent=True),
        lambda: store.append("stream", end, b"n" * 2_000_000),
        lambda: store.upload(tmp_path / "big", "record"),
    ):
        with pytest.raises(StoreError, match="the disk is full") as caught:
            act()
        assert "df -h" in caught.value.hint
        assert "\n" not in caught.value.message
    assert store.read("record") == (b"old" * 1000, tag)
    assert store.read("stream")[0] == b"old"
    assert not exists(store, "new/one")
    store.write("record", b"n" * 500_000)  # what was tried took no space away
    assert store.append("stream", end, b"er") == 5


def test_a_read_only_file_system_reads_and_refuses(mount: Callable[[str], Path]) -> None:
    folder = mount("size=1m")
    store = LocalStore(f"file://{folder}/store")
    store.write("a/b", b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    store = LocalStore(store.url)
    assert store.read("a/b")[0] == b"x"
    assert [e.name for e in store.list("a")] == ["a/b"]
    for act in (
        lambda: store.write("a/b", b"y"),
        lambda: store.write("c", b"y"),
        lambda: store.append("s", 0, b"y"),
        lambda: store.remove("a/b"),
    ):
        with pytest.raises(StoreError, match="the file system is read-only") as caught:
            act()
        assert "remount" in caught.value.hint


def test_a_download_to_a_full_disk_leaves_nothing(store: LocalStore, mount: Callable[[str], Path]) -> None:
    folder = mount("size=1m")
    store.write("big", b"x" * 2_000_000)
    with pytest.raises(StoreError, match=r"cannot write .*No space left"):
        store.download("big", folder / "file")
    assert list(folder.iterdir()) == []


def test_no_permission_is_one_line(store: LocalStore, root: Path, as_nobody: Callable[[str], str]) -> None:
    root.parent.chmod(0o755)
    for folder in root.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    store.write("a", b"x")
    said = as_nobody(
        f"""
from studio.stores import open_store
store = open_store({store.url!r})
for act in (lambda: store.read("a"), lambda: list(store.list("")), lambda: store.write("b", b""),
            lambda: store.append("s", 0, b""), lambda: store.remove("a"), lambda: store.stat("a")):
    try:
        act()
    except Exception as exc:
        print(type(exc).__name__, exc, "|", exc.hint)
"""
    )
    lines = said.splitlines()
    assert len(lines) == 6
    for line in lines:
        assert line.startswith(f"StoreError store {store.url}: cannot ")
        assert f"no permission | look at: ls -ld {root}" in line


def test_a_private_store_is_private(store: LocalStore, root: Path) -> None:
    before = os.umask(0)
    try:
        store.write("a/b/c", b"x")
        store.append("s/t", 0, b"x")
    finally:
        os.umask(before)
    assert modes(root) == {("folder", 0o700), ("file", 0o600)}


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A place that other users can reach: each pytest that starts closes pytest's own folders to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "store"


def test_a_group_writable_folder_is_shared(open_root: Path, as_nobody: Callable[..., str]) -> None:
    root = open_root
    team = 12345
    root.mkdir()
    os.chown(root, -1, team)
    root.chmod(0o2770)
    store = LocalStore(f"file://{root}")
    before = os.umask(0o077)
    try:
        tag = store.write("records/a", b"ada")
        store.append("streams/a", 0, b"ada")
    finally:
        os.umask(before)
    code = f"""
import os; os.umask(0o077)
from studio.stores import open_store
store = open_store({store.url!r})
store.write("records/a", b"bob", if_tag={tag!r})
store.write("records/b", b"bob", if_absent=True)
store.append("streams/a", 3, b"+bob")
store.write("new/folder", b"bob")
"""
    as_nobody(code, groups=(team,))
    assert store.read("records/a")[0] == b"bob"
    assert store.read("streams/a")[0] == b"ada+bob"
    store.write("new/other", b"ada")
    store.remove("new/folder")
    assert modes(root) == {("folder", 0o2770), ("file", 0o660)}
    assert {p.stat().st_gid for p in root.rglob("*")} == {team}


def test_a_missing_folder_is_an_empty_store(root: Path, store: LocalStore) -> None:
    assert list(store.list("")) == []
    with pytest.raises(NotFound):
        store.read("a")
    store.remove("a")
    assert not root.exists()
    store.write("a", b"x")
    form = json.loads((root / "store.json").read_bytes())
    assert (form["schema"], form["layout"]) == (1, 1)


def test_a_missing_parent_is_a_mistake(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/no/store")
    for act in (
        lambda: store.read("a"),
        lambda: list(store.list("")),
        lambda: store.write("a", b""),
        lambda: store.append("a", 0, b""),
        lambda: store.remove("a"),
    ):
        with pytest.raises(StoreError, match="there is no folder") as caught:
            act()
        assert f"mkdir -p {tmp_path}/no" in caught.value.hint


def test_a_disk_that_is_gone_is_no_empty_store(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    store = open_store(f"file://{tmp_path}/disk/store")
    store.write("a", b"x")
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    for act in (lambda: store.read("a"), lambda: list(store.list("")), lambda: store.write("a", b"")):
        with pytest.raises(StoreError, match="there is no folder"):
            act()
    assert not (tmp_path / "disk").exists()


def test_a_file_is_no_store(root: Path, store: LocalStore) -> None:
    root.write_bytes(b"")
    for act in (lambda: store.read("a"), lambda: list(store.list("")), lambda: store.write("a", b"")):
        with pytest.raises(StoreError, match="that is a file, not a folder"):
            act()


def test_threads_that_share_a_new_store_all_write(tmp_path: Path) -> None:
    """The layout is there before anything else, or the folder looks like something else's."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for number in range(40):
            store = LocalStore(str(tmp_path / str(number)))
            with ThreadPoolExecutor(8) as pool:
                tags = [pool.submit(store.write, f"blobs/{i}", b"x") for i in range(8)]
            assert all(tag.result() for tag in tags) and len(list(store.list("blobs/"))) == 8
    finally:
        sys.setswitchinterval(before)


def test_a_folder_of_other_things_is_refused(root: Path, store: LocalStore) -> None:
    root.mkdir()
    (root / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"holds other things \(thesis.tex\)") as caught:
        store.write("a", b"")
    assert "choose an empty or a new folder" in caught.value.hint
    assert [p.name for p in root.iterdir()] == ["thesis.tex"]


def test_a_newer_layout_is_refused(root: Path, store: LocalStore) -> None:
    root.mkdir()
    (root / "store.json").write_text('{"schema": 2, "layout": 2, "id": "x"}')
    for act in (lambda: store.read("a"), lambda: store.write("a", b""), lambda: list(store.list(""))):
        with pytest.raises(StoreError, match="has layout 2") as caught:
            act()
        assert caught.value.hint == "pip install --upgrade studio"
    (root / "store.json").write_text("[]")
    with pytest.raises(StoreError, match=r"store\.json is not a store's"):
        store.write("a", b"")


def test_links_are_not_followed(root: Path, store: LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    store.write("a", b"x")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    assert [e.name for e in store.list("")] == ["a", "store.json"]
    for act in (
        lambda: store.read("folder/secret"),
        lambda: store.write("folder/secret", b"new"),
        lambda: store.remove("folder/secret"),
        lambda: store.append("folder/new", 0, b"new"),
        lambda: store.read("file"),
        lambda: store.append("file", 0, b"new"),
    ):
        with pytest.raises(StoreError, match="symbolic link"):
            act()
    store.write("file", b"mine")  # replaces the link, does not follow it
    assert (outside / "secret").read_text() == "secret"
    assert sorted(p.name for p in outside.iterdir()) == ["secret"]


def test_an_object_is_no_folder_of_others(store: LocalStore) -> None:
    store.write("a", b"x")
    store.write("b/c", b"x")
    with pytest.raises(ConfigError, match="below the object a"):
        store.write("a/b", b"y")
    with pytest.raises(ConfigError, match="b is a folder of other objects"):
        store.write("b", b"y")
    store.remove("b/c")
    store.write("b", b"y")


def test_a_pipe_in_the_place_of_an_object_does_not_block(root: Path, store: LocalStore) -> None:
    store.write("a", b"x")
    os.mkfifo(root / "pipe")
    with pytest.raises(NotFound):
        store.read("pipe")
    assert [e.name for e in store.list("")] == ["a", "store.json"]


def test_a_store_that_is_removed_begins_anew_only_for_those_who_come_later(root: Path, store: LocalStore) -> None:
    import shutil

    store.write("a", b"x")
    before = (root / "store.json").read_bytes()
    shutil.rmtree(root)
    with pytest.raises(NotFound):
        store.read("a")
    for act in (lambda: store.write("b", b"y"), lambda: store.append("b", 0, b"y")):
        with pytest.raises(StoreError, match="there is no such folder"):  # it may have been moved
            act()
    assert not root.exists()
    store = LocalStore(str(root))
    store.write("b", b"y")
    assert [e.name for e in store.list("")] == ["b", "store.json"]
    assert (root / "store.json").read_bytes() != before


def test_locks_and_temporary_folders_may_be_removed_any_time(root: Path, store: LocalStore) -> None:
    import shutil

    store.write("a", b"x")
    for folder in ("+temp", "+locks"):
        shutil.rmtree(root / folder)
    store.write("a", b"y")
    store.append("s", 0, b"y")
    assert store.read("a")[0] == b"y"


def test_a_clock_that_was_set_back_does_not_repeat_a_tag(root: Path, store: LocalStore) -> None:
    tag = store.write("a", b"x")
    for ahead_s in (1, 9, 3600):
        os.utime(root / "a", (time.time() + ahead_s,) * 2)  # as if the last write had been in the future
        old = store.stat("a")
        new = store.write("a", b"x")
        assert new not in (old.tag, tag)
        assert abs(store.stat("a").modified - time.time()) < 60  # a heartbeat stays one


def test_a_forked_child_does_not_wait_for_its_parents_threads(store: LocalStore) -> None:
    code = f"""
import os, threading
from studio.stores import open_store
store = open_store({store.url!r})
store.write("a", b"x")
stop = threading.Event()
def busy():
    while not stop.is_set():
        store.write("a", b"x")
thread = threading.Thread(target=busy)
thread.start()
for _ in range(30):
    child = os.fork()
    if child == 0:
        store.write("a", b"child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert store.read("a")[0] in (b"x", b"child")


@pytest.mark.parametrize("url", ["file://", "file://host/folder", "", "file://relative"])
def test_a_url_that_names_no_folder(url: str) -> None:
    with pytest.raises(ConfigError, match="names no folder"):
        open_store(url)


def test_urls_of_one_folder_are_one_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    urls = [f"file://{home}/s", "file://~/s", "s", "./s/", f"file://localhost{home}/s", f"{home}/x/../s"]
    assert {open_store(u).url for u in urls if "localhost" not in u} == {f"file://{home}/s"}


def test_an_append_that_lost_says_where_the_end_is(store: LocalStore) -> None:
    store.append("s", 0, b"12345")
    with pytest.raises(Conflict) as caught:
        store.append("s", 3, b"x")
    assert caught.value.hint == "go on from 5"
    assert caught.value.http_status == 409


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_names_are_listed_in_order(store: LocalStore, root: Path) -> None:
    store.write("a", b"")
    names = [f"blobs/{n % 256:02x}/{n:06d}" for n in range(100_000)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    listed = [e.name for e in store.list("blobs/")]
    assert listed == sorted(names)
