"""Where contents lie, and that all that is remembered of it here can be lost."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.stores import Store, open_store
from studio.tracking.artifacts import Artifacts
from tests.artifacts.trees import put, tree

Open = Callable[..., Artifacts]


def fill(folder: Path) -> None:
    put(
        folder, **{f"f{n}": f"content {n}" * 100 for n in range(50)}, big=os.urandom(400_000), large=os.urandom(900_000)
    )


def test_a_lost_cache_costs_no_second_copy(
    folder: Path, local_store: Store, open_artifacts: Open, tmp_path: Path
) -> None:
    fill(folder)
    first = open_artifacts(local_store).capture(folder)
    shutil.rmtree(tmp_path / "home")
    again = open_artifacts(local_store).capture(folder)
    assert (again.manifest, again.sent_bytes) == (first.manifest, 0)
    elsewhere = open_artifacts(local_store, cache="another/cache").capture(folder)
    assert (elsewhere.manifest, elsewhere.sent_bytes) == (first.manifest, 0)


@pytest.mark.parametrize("name", ["locations.sqlite", "stat"])
@pytest.mark.parametrize("damage", [b"", b"garbage" * 1000, "half"])
def test_a_damaged_cache_is_begun_anew(
    folder: Path, local_store: Store, open_artifacts: Open, tmp_path: Path, name: str, damage: bytes | str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    fill(folder)
    first = open_artifacts(local_store).capture(folder)
    place = tmp_path / "home" / "cache" / name
    for path in [place] if place.is_file() else list(place.iterdir()):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if damage == "half" else damage)  # type: ignore[arg-type]
    put(folder, f1="changed")
    caplog.set_level(logging.ERROR)
    second = open_artifacts(local_store).capture(folder)
    assert second.manifest != first.manifest
    open_artifacts(local_store).materialise(second.manifest, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(folder)
    assert open_artifacts(local_store).capture(folder).sent_bytes == 0


def test_a_cache_that_cannot_be_written_is_none(folder: Path, local_store: Store, tmp_path: Path) -> None:
    fill(folder)
    (tmp_path / "file").write_text("")
    artifacts = Artifacts(local_store, tmp_path / "file" / "cache")
    first = artifacts.capture(folder)
    again = artifacts.capture(folder)
    assert again.manifest == first.manifest or again.files == first.files
    artifacts.materialise(again.manifest, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(folder)


def test_what_the_store_lost_is_sent_again(
    folder: Path, local_store: Store, open_artifacts: Open, tmp_path: Path
) -> None:
    fill(folder)
    artifacts = open_artifacts(local_store)
    first = artifacts.capture(folder)
    for kind in ("packs/", "blobs/"):
        for entry in list(local_store.list(kind)):
            local_store.remove(entry.name)
        again = open_artifacts(local_store).capture(folder)
        assert again.sent_bytes > 0
        out = tmp_path / f"out-{kind[:-1]}"
        open_artifacts(local_store).materialise(again.manifest, out)
        assert tree(out) == tree(folder)
    assert again.files == first.files


def test_a_content_that_was_cut_short_is_sent_again(folder: Path, local_store: Store, open_artifacts: Open) -> None:
    put(folder, big=os.urandom(400_000))
    first = open_artifacts(local_store).capture(folder)
    blob = next(e.name for e in local_store.list("blobs/") if e.size == 400_000)
    local_store.write(blob, b"short")
    again = open_artifacts(local_store).capture(folder)
    assert again.manifest == first.manifest
    assert len(open_artifacts(local_store).read(again.manifest, "big")) == 400_000


def test_another_store_at_the_same_place_is_not_taken_for_the_first(
    folder: Path, tmp_path: Path, open_artifacts: Open
) -> None:
    fill(folder)
    url = f"file://{tmp_path}/store"
    open_artifacts(open_store(url)).capture(folder)
    shutil.rmtree(tmp_path / "store")
    again = open_artifacts(open_store(url)).capture(folder)
    assert again.sent_bytes > again.bytes
    open_artifacts(open_store(url)).materialise(again.manifest, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(folder)


def test_two_stores_share_a_cache(folder: Path, tmp_path: Path, open_artifacts: Open) -> None:
    fill(folder)
    one, two = open_store(f"file://{tmp_path}/one"), open_store(f"file://{tmp_path}/two")
    for number in range(3):
        put(folder, f1=f"round {number}")
        for store in (one, two):
            capture = open_artifacts(store).capture(folder)
            out = tmp_path / f"out-{number}-{store.url[-3:]}"
            open_artifacts(store).materialise(capture.manifest, out)
            assert tree(out) == tree(folder)


def test_kill_9_in_the_middle_of_a_capture(
    folder: Path, local_store: Store, open_artifacts: Open, tmp_path: Path
) -> None:
    fill(folder)
    code = (
        "import sys, pathlib, os\nfrom studio.stores import open_store\n"
        "from studio.tracking.artifacts import Artifacts\n"
        "a = Artifacts(open_store(sys.argv[1]), pathlib.Path(sys.argv[2]))\nfolder = pathlib.Path(sys.argv[3])\n"
        "a.capture(folder)\nprint('ready', flush=True)\n"
        "for n in range(10**9):\n"
        "    (folder / 'f1').write_text(str(n))\n    (folder / 'big').write_bytes(os.urandom(400_000))\n"
        "    a.capture(folder)\n"
    )
    for number in range(8):
        command = [sys.executable, "-c", code, local_store.url, str(tmp_path / "home" / "cache"), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            child.stdout.close()
            try:
                child.wait(0.01 * number)
            except subprocess.TimeoutExpired:
                child.kill()
        capture = open_artifacts(local_store).capture(folder)
        out = tmp_path / f"out{number}"
        open_artifacts(local_store).materialise(capture.manifest, out)
        assert tree(out) == tree(folder)


def test_blobs_that_are_no_files(local_store: Store, open_artifacts: Open) -> None:
    artifacts = open_artifacts(local_store)
    digest = artifacts.write_blob(b"diff --git a/x b/x\n")
    assert digest == artifacts.write_blob(b"diff --git a/x b/x\n")
    assert artifacts.read_blob(digest) == b"diff --git a/x b/x\n"


def test_importing_artifacts_is_light() -> None:
    code = (
        "import sys; import studio.tracking.artifacts; "
        "heavy = ('numpy', 'sqlite3', 'subprocess', 'asyncio', 'flask', 'click', 'pathspec'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
