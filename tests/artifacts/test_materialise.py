"""Nothing but what was captured, nowhere but in the target, all or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.errors import ArtifactNotFound, ConfigError, StoreError
from studio.stores import Store
from studio.tracking.artifacts import Artifacts
from studio.tracking.materialise import link_stays_inside
from tests.artifacts.trees import put, tree

Open = Callable[..., Artifacts]


@pytest.fixture
def artifacts(local_store: Store, open_artifacts: Open) -> Artifacts:
    return open_artifacts(local_store)


def forged(artifacts: Artifacts, *files: dict[str, object]) -> str:
    """The digest of a manifest that no capture would make."""
    return artifacts.write_blob(json.dumps({"schema": 1, "files": list(files)}).encode())


def member(artifacts: Artifacts, path: str, data: bytes = b"evil", **more: object) -> dict[str, object]:
    sha = artifacts.write_blob(data).partition(":")[2]
    return {"path": path, "size": len(data), "mode": 420, "mtime": 1.0, "sha256": sha, **more}


@pytest.mark.parametrize(
    "path", ["../evil", "/evil", "a/../../evil", "..", ".", "", "a//b", "a/", "./a", "a/.", "x\0y"]
)
def test_a_name_that_leaves_the_target_is_refused(artifacts: Artifacts, tmp_path: Path, path: str) -> None:
    digest = forged(artifacts, member(artifacts, path))
    with pytest.raises(StoreError, match="which would leave its folder"):
        artifacts.materialise(digest, tmp_path / "in" / "out")
    assert not (tmp_path / "in").exists()
    assert not (tmp_path / "evil").exists()


def test_a_link_is_no_way_out(artifacts: Artifacts, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    below_link = forged(artifacts, {"path": "l", "link": str(outside)}, member(artifacts, "l/evil"))
    with pytest.raises(StoreError, match="lies below 'l', which is no folder"):
        artifacts.materialise(below_link, tmp_path / "out")
    twice = forged(artifacts, {"path": "l", "link": str(outside)}, member(artifacts, "l"))
    with pytest.raises(StoreError, match="is there twice"):
        artifacts.materialise(twice, tmp_path / "out")
    good = forged(artifacts, member(artifacts, "l/evil"))
    target = tmp_path / "target"
    target.mkdir()
    (target / "l").symlink_to(outside)  # somebody's link in the target is replaced, not followed
    artifacts.materialise(good, target)
    assert (target / "l" / "evil").read_bytes() == b"evil"
    assert not (target / "l").is_symlink()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "text", "inside"),
    [
        ("l", "a", True), ("l", "a/b", True), ("l", "./a", True), ("l", ".", True), ("d/l", "../a", True),
        ("d/e/l", "../../a", True), ("l", "/etc/passwd", False), ("l", "..", False), ("l", "../a", False),
        ("d/l", "../../a", False), ("d/l", "a/../../b", False), ("l", "a/..", False), ("l", "", False),
        ("l", "..a", True),
    ],
)  # fmt: skip
def test_which_links_stay_inside(path: str, text: str, inside: bool) -> None:
    assert link_stays_inside(path, text) is inside


def test_links_that_lead_out_are_kept_but_not_made(artifacts: Artifacts, folder: Path, tmp_path: Path) -> None:
    put(folder, a="a")
    (folder / "abs").symlink_to("/etc/passwd")
    (folder / "rel").symlink_to("../../x")
    (folder / "ok").symlink_to("a")
    capture = artifacts.capture(folder)
    assert {f.path: f.link for f in artifacts.manifest(capture.manifest).files if f.link} == {
        "abs": "/etc/passwd", "rel": "../../x", "ok": "a",
    }  # fmt: skip
    skipped = artifacts.materialise(capture.manifest, tmp_path / "out")
    assert skipped == (
        "abs: is a link that leads out of the folder, to /etc/passwd",
        "rel: is a link that leads out of the folder, to ../../x",
    )
    assert sorted(os.listdir(tmp_path / "out")) == ["a", "ok"]


@pytest.mark.parametrize("what", ["blob", "pack", "part", "manifest", "lost"])
def test_a_damaged_content_is_named_and_nothing_is_left(
    local_store: Store, open_artifacts: Open, folder: Path, tmp_path: Path, what: str
) -> None:
    put(folder, s1="small one", s2="small two", blob=os.urandom(300_000), large=os.urandom(2_000_000))
    artifacts = open_artifacts(local_store, part_bytes=1_000_000)
    capture = artifacts.capture(folder)
    entries = {f.path: f for f in artifacts.manifest(capture.manifest).files}
    shas = {
        "blob": entries["blob"].sha256,
        "lost": entries["blob"].sha256,
        "part": entries["large"].parts[1].sha256 if entries["large"].parts else "",
        "manifest": capture.manifest.partition(":")[2],
    }
    name = f"packs/{entries['s1'].pack}" if what == "pack" else f"blobs/{shas[what][:2]}/{shas[what]}"
    damaged = bytearray(local_store.read(name)[0])
    damaged[0] ^= 1
    local_store.remove(name)
    if what != "lost":
        local_store.write(name, bytes(damaged))
    put(tmp_path / "there", s1="mine", other="other")
    before = tree(tmp_path / "there")
    for target in ("new", "there"):
        with pytest.raises(ArtifactNotFound if what == "lost" else StoreError, match=name) as caught:
            open_artifacts(local_store).materialise(capture.manifest, tmp_path / target)
        assert ("has lost" if what == "lost" else "is damaged") in caught.value.message
    assert tree(tmp_path / "there") == before
    assert not (tmp_path / "new").exists()
    assert list(tmp_path.rglob(".studio-*")) == []


def test_parts_in_the_wrong_order_are_found(artifacts: Artifacts, tmp_path: Path) -> None:
    one, two = (artifacts.write_blob(d).partition(":")[2] for d in (b"one", b"two"))
    parts = [{"sha256": two, "size": 3}, {"sha256": one, "size": 3}]
    sha = hashlib.sha256(b"onetwo").hexdigest()
    entry = {"path": "a", "size": 6, "mode": 420, "mtime": 1.0, "sha256": sha, "parts": parts}
    with pytest.raises(StoreError, match="the parts of 'a' are not those of its digest"):
        artifacts.materialise(forged(artifacts, entry), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"schema": 1}', b'{"schema": 1, "files": [{"path": "a"}]}', b"\xff", b'{"schema": "x"}',
     b'{"schema": 1, "files": [{"path": "a", "size": -1, "mode": 420, "mtime": 1, "sha256": "' + b"0" * 64 + b'"}]}',
     b'{"schema": 1, "files": [{"path": "a", "size": 1, "mode": 420, "mtime": 1, "sha256": "../../x"}]}'],
)  # fmt: skip
def test_what_is_no_manifest_is_one_line(artifacts: Artifacts, text: bytes) -> None:
    digest = artifacts.write_blob(text)
    with pytest.raises(StoreError, match="is not an artifact's manifest"):
        artifacts.manifest(digest)


@pytest.mark.parametrize(
    ("field", "value"),
    [("mtime", float("nan")), ("mtime", 1e300), ("mtime", -1e11), ("mtime", "soon"), ("mtime", True), ("size", 10**30),
     ("size", 1e3), ("mode", -1), ("at", 10**20), ("path", "a/" * 9000), ("path", "half \ud83d"), ("path", "../a"),
     ("path", "/a"), ("path", "a/./b"), ("sha256", "x" * 10**6), ("pack", 7), ("parts", {"a": 1}),
     ("parts", [{"sha256": "0" * 64, "size": 10**30}])],
)  # fmt: skip
def test_forged_fields_are_one_line(artifacts: Artifacts, tmp_path: Path, field: str, value: object) -> None:
    digest = forged(artifacts, {**member(artifacts, "a"), field: value})
    for use in (
        artifacts.manifest,
        lambda d: artifacts.materialise(d, tmp_path / "out"),
        lambda d: artifacts.read(d, "a"),
    ):
        with pytest.raises(StoreError) as caught:
            use(digest)
        assert len(caught.value.message) < 400 and caught.value.hint
    assert not (tmp_path / "out").exists()


def test_deep_and_endless_json_is_one_line(artifacts: Artifacts) -> None:
    for text in (b"[" * 200_000, b'{"schema": 1, "files": ' + b"[" * 200_000, b'{"schema": 1e999, "files": []}'):
        with pytest.raises(StoreError, match="is not an artifact's manifest"):
            artifacts.manifest(artifacts.write_blob(text))


def test_a_size_that_the_content_does_not_have_is_found(artifacts: Artifacts, tmp_path: Path) -> None:
    digest = forged(artifacts, member(artifacts, "a", size=10**12))
    with pytest.raises(StoreError, match="has 4 bytes, its manifest says 1000000000000"):
        artifacts.materialise(digest, tmp_path / "out")


def test_a_newer_manifest_asks_for_an_upgrade(artifacts: Artifacts) -> None:
    with pytest.raises(StoreError, match="has schema 2") as caught:
        artifacts.manifest(artifacts.write_blob(b'{"schema": 2, "files": {}}'))
    assert "upgrade" in caught.value.hint


def test_digests_that_are_none_or_unknown(artifacts: Artifacts) -> None:
    for digest in ("", "sha256:", "sha256:xyz", "md5:" + "0" * 64, "0" * 64, "sha256:" + "../" * 22):
        with pytest.raises(ConfigError, match="is not a digest"):
            artifacts.manifest(digest)
    with pytest.raises(ArtifactNotFound):
        artifacts.manifest("sha256:" + "0" * 64)
    empty = artifacts.write_blob(b'{"schema": 1, "files": []}')
    with pytest.raises(ArtifactNotFound, match="has no file 'x'"):
        artifacts.read(empty, "x")


def test_a_target_that_exists_keeps_the_rest(artifacts: Artifacts, folder: Path, tmp_path: Path) -> None:
    put(folder, same="new", deep__a="new", was_folder="new", was_file__x="new")
    (folder / "hollow").mkdir()
    target = tmp_path / "target"
    put(target, same="old", deep__mine="mine", was_folder__y="old", was_file="old", hollow="old", mine="mine")
    artifacts.materialise(artifacts.capture(folder).manifest, target)
    expected = tree(folder)
    assert {k: v for k, v in tree(target).items() if k in expected} == expected
    assert set(tree(target)) - set(expected) == {"mine", "deep/mine"}


def test_files_are_copies(artifacts: Artifacts, folder: Path, tmp_path: Path) -> None:
    put(folder, a=os.urandom(300_000), b="b")
    capture = artifacts.capture(folder)
    artifacts.materialise(capture.manifest, tmp_path / "out")
    for name in ("a", "b"):
        assert (tmp_path / "out" / name).stat().st_nlink == 1
        with open(tmp_path / "out" / name, "r+b") as file:
            file.write(b"in place")
    artifacts.materialise(capture.manifest, tmp_path / "out2")
    assert tree(tmp_path / "out2") == tree(folder)


def test_a_target_that_cannot_be_written_is_one_line(artifacts: Artifacts, folder: Path, tmp_path: Path) -> None:
    put(folder, a="a")
    manifest = artifacts.capture(folder).manifest
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="cannot write") as caught:
            artifacts.materialise(manifest, target)
        assert "ls -la" in caught.value.hint
    assert (tmp_path / "file").read_text() == "x"


def test_setuid_is_never_restored(artifacts: Artifacts, tmp_path: Path) -> None:
    digest = forged(artifacts, member(artifacts, "a", mode=0o6755))
    artifacts.materialise(digest, tmp_path / "out")
    assert (tmp_path / "out" / "a").stat().st_mode & 0o7777 == 0o755


def test_kill_9_leaves_no_half_target(local_store: Store, artifacts: Artifacts, folder: Path, tmp_path: Path) -> None:
    put(folder, **{f"f{n:03d}": os.urandom(20_000) for n in range(300)})
    manifest = artifacts.capture(folder).manifest
    code = (
        "import sys, pathlib\nfrom studio.stores import open_store\nfrom studio.tracking.artifacts import Artifacts\n"
        "a = Artifacts(open_store(sys.argv[1]), pathlib.Path(sys.argv[2]))\nprint('ready', flush=True)\n"
        "a.materialise(sys.argv[3], pathlib.Path(sys.argv[4]))\n"
    )
    cut = 0
    for number in range(8):
        target = tmp_path / f"out{number}"
        command = [sys.executable, "-c", code, local_store.url, str(tmp_path / "home" / "cache"), manifest, str(target)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            end = time.monotonic() + 0.004 * number
            while time.monotonic() < end:
                pass
            child.send_signal(signal.SIGKILL)
        assert not target.exists() or tree(target) == tree(folder)
        cut += not target.exists()
        artifacts.materialise(manifest, target)
        assert tree(target) == tree(folder)
    assert cut
    for leftover in tmp_path.glob(".studio-partial-*"):
        os.utime(leftover, (1, 1))
    artifacts.materialise(manifest, tmp_path / "last")
    assert list(tmp_path.glob(".studio-partial-*")) == []
