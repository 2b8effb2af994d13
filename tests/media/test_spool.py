"""Names, steps, limits, threads, forks and damage: what is in the spool and what a reader makes of it."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import studio
from studio.run.inject import _studio_track
from studio.run.inject._studio_media import folder_of
from studio.stores.memory import MemoryStore
from studio.tracking.media import Media

ITEM_BYTES, RUN_BYTES = 64 << 20, 4 << 30


def test_outside_a_run_nothing_happens():
    assert _studio_track.spool() is None
    for log in (studio.log_image, studio.log_table, studio.log_text, studio.log_audio, studio.log_histogram):
        log("x", object())
    studio.log_figure("x")


@pytest.mark.parametrize("name", [None, "", 3, b"x"])
def test_a_name_is_a_str(name, logged):
    with pytest.raises(TypeError, match="the name of what is logged"):
        studio.log_text(name, "")


@pytest.mark.parametrize("step", ["1", 1.5, float("nan"), 1 << 63, [1]])
def test_a_step_is_a_whole_number(step, logged):
    with pytest.raises(TypeError, match="a step is a whole number"):
        studio.log_text("x", "", step=step)
    assert logged.media.entries() == []


def test_steps_count_on_and_the_later_of_two_counts(logged):
    for text, step in (("0", None), ("1", None), ("7", 7), ("8", None), ("-3", -3), ("7 again", 7.0)):
        studio.log_text("x", text, step=step)
    studio.log_text("y", "other name")
    media = logged.media
    found = {entry.step: media.read(entry).decode() for entry in media.entries("x")}
    assert found == {-3: "-3", 0: "0", 1: "1", 7: "7 again", 8: "8"}
    assert list(found) == sorted(found)
    assert media.names() == ["x", "y"]
    assert [entry.step for entry in media.entries(step=0)] == [0, 0]


@example("_")
@example("_/_")
@given(st.text(min_size=1, max_size=200))
def test_any_name_has_a_safe_folder(name: str):
    folder = folder_of(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", folder)
    assert folder != "index"


def test_names_that_look_alike_are_kept_apart(logged):
    names = ["a", "a/0.txt", "a/b", "a-b", "../a", "index", "A", "ä", "\ud800", "x" * 5000, "x" * 5001]
    for name in names:
        studio.log_text(name, name)
    media = logged.media
    assert sorted(media.names()) == sorted(names)
    assert all(media.read(e) == e.name.encode("utf-8", "replace") for e in media.entries())
    assert len({folder_of(name).lower() for name in names}) == len(names)


def test_files_are_private_and_nothing_is_left_beside_them(logged):
    studio.log_text("x", "text")
    paths = list(logged.folder.rglob("*"))
    assert sorted(str(path.relative_to(logged.folder)) for path in paths) == ["index", "x", "x/0.txt"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}
    assert stat.S_IMODE((logged.folder / "x").stat().st_mode) == 0o700


def test_captions_lose_credentials(logged):
    studio.log_text("x", "text", caption="https://me:hush@example.org/x " + "long " * 1000)
    entry, _ = logged.only()
    assert "hush" not in entry.caption and len(entry.caption) == 2000


def test_what_is_too_large_is_a_warning(logged):
    for _ in range(2):
        studio.log_text("x", "a" * (ITEM_BYTES + 1))
    studio.log_text("x", "small")
    assert logged.only()[1] == b"small"
    assert logged.warnings == [f"text 'x' could not be kept: it has {ITEM_BYTES + 1} bytes, the limit is {ITEM_BYTES}"]
    line = json.loads((logged.folder / "index").read_text())
    with open(logged.folder / "index", "a") as file:  # another process fills the run's room
        file.write(json.dumps({**line, "name": "other", "size": RUN_BYTES - 5}) + "\n")
    studio.log_text("y", "")
    assert len(logged.warnings) == 1
    studio.log_text("z", "a")
    assert logged.media.names() == ["other", "x", "y"]
    assert logged.warnings[1:] == [
        f"text 'z' could not be kept: the media of this run have reached the limit of {RUN_BYTES} bytes"
    ]
    assert not list(logged.folder.rglob("*.part"))


def test_a_disk_that_refuses_is_a_warning(logged):
    logged.folder.write_text("no folder")
    studio.log_text("x", "text")
    studio.log_text("x", "text")
    assert len(logged.warnings) == 1 and "text 'x' could not be kept" in logged.warnings[0]


def test_threads_share_a_name(logged):
    def work(number: int) -> None:
        for i in range(20):
            studio.log_text("x", f"{number} {i}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    media = logged.media
    assert [entry.step for entry in media.entries()] == list(range(160))
    assert {media.read(e).decode() for e in media.entries()} == {f"{n} {i}" for n in range(8) for i in range(20)}


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_forked_children_share_a_name_and_inherit_no_lock(logged):
    from _studio_media import _lock

    studio.log_text("x", "parent")
    held, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with _lock:
            held.set()
            enough.wait(120)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(120)
    children = []
    for number in range(4):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                for i in range(20):
                    studio.log_text("x", f"{number} {i}")
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in children]
    enough.set()
    holder.join()
    assert codes == [0] * 4
    studio.log_text("x", "parent again")
    media = logged.media
    texts = {media.read(entry).decode() for entry in media.entries()}
    assert texts == {"parent", "parent again", *(f"{n} {i}" for n in range(4) for i in range(20))}
    assert [entry.step for entry in media.entries()] == list(range(82))


def test_a_torn_line_spoils_no_other(logged):
    studio.log_text("x", "0")
    with open(logged.folder / "index", "a") as file:
        file.write('{"name": "x", "step": 5, "ti')
    studio.log_text("x", "1")
    assert [entry.step for entry in logged.media.entries()] == [0, 1]


GOOD = {"name": "x", "step": 0, "time": 1.0, "kind": "text", "file": "x/0.txt", "size": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../../records/x.json"}, {"file": "/etc/passwd"}, {"file": "x/../../0.txt"}, {"file": "x"},
        {"file": "x/0.txt\n"}, {"file": 3}, {"also": ["../0.txt"]}, {"also": [3]}, {"step": "0"}, {"size": None},
        {"name": ["x"]}, {"time": "now"}, {"time": 10**400},
    ],
    ids=repr,
)  # fmt: skip
def test_an_index_of_somebody_else_names_no_other_files(change, tmp_path: Path):
    lines = [{**GOOD, "name": "good", "later": {"field": 1}}, {**GOOD, **change}]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    media = Media(MemoryStore("memory://index"), "k", b"[1]\nnull\n\xff\n" + b"[" * 100_000 + b"\n" + data)
    (entry,) = media.entries()
    assert entry.name == "good"
    assert entry.as_json() == {**GOOD, "name": "good", "later": {"field": 1}}
