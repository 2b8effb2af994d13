"""What a capture keeps, leaves out, refuses and reads again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.errors import ArtifactNotFound, ConfigError, StoreError
from studio.stores import Store, open_store
from studio.tracking.artifacts import Artifacts
from studio.tracking.manifest import Manifest
from studio.tracking.selection import MOST_FILES, LeftOut
from tests.artifacts.trees import put, tree

Open = Callable[..., Artifacts]


def names(manifest: Manifest) -> list[str]:
    return [f.path for f in manifest.files]


def test_a_folder_comes_back_as_it_was(
    folder: Path, content_store: Store, open_artifacts: Open, tmp_path: Path
) -> None:
    put(folder, a="a", b__c="c" * 1000, b__d__e=b"\0\xff", big=os.urandom(700_000), nothing="", run="#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "a").chmod(0o440)
    os.utime(folder / "a", ns=(1, 1_500_000_000_123_456_000))
    (folder / "hollow" / "inner").mkdir(parents=True)
    (folder / "link").symlink_to("b/c")
    (folder / "b" / "up").symlink_to("../a")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "to-folder").symlink_to("b")
    artifacts = open_artifacts(content_store)
    capture = artifacts.capture(folder)
    assert (capture.files, capture.skipped) == (10, ())
    assert capture.bytes == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    assert artifacts.materialise(capture.manifest, tmp_path / "out") == ()
    assert tree(tmp_path / "out") == tree(folder)
    assert names(artifacts.manifest(capture.manifest)) == sorted(names(artifacts.manifest(capture.manifest)))
    assert artifacts.read(capture.manifest, "b/d/e") == b"\0\xff"


def test_only_what_changed_is_read_and_sent(
    folder: Path, content_store: Store, open_artifacts: Open, opened: list[str]
) -> None:
    put(folder, **{f"d{n % 7}__f{n}": f"content {n}" for n in range(100)})
    artifacts = open_artifacts(content_store)
    first = artifacts.capture(folder)
    assert first.sent_bytes > first.bytes
    opened.clear()
    again = open_artifacts(content_store).capture(folder)
    assert (again.manifest, again.files, again.bytes, again.sent_bytes) == (first.manifest, 100, first.bytes, 0)
    assert [p for p in opened if p.startswith(f"{folder}/")] == []
    put(folder, d0__f0="changed")
    opened.clear()
    changed = open_artifacts(content_store).capture(folder)
    assert [p for p in opened if p.startswith(f"{folder}/")] == [f"{folder}/d0/f0"]
    assert changed.manifest != first.manifest
    before = {f.path: (f.pack, f.at) for f in artifacts.manifest(first.manifest).files}
    after = {f.path: (f.pack, f.at) for f in artifacts.manifest(changed.manifest).files}
    assert [p for p in before if before[p] != after[p]] == ["d0/f0"]


def test_equal_contents_are_stored_once(folder: Path, local_store: Store, open_artifacts: Open) -> None:
    big = os.urandom(400_000)
    put(folder, a=big, b=big, c="same", d="same", e="same")
    artifacts = open_artifacts(local_store)
    first = artifacts.capture(folder)
    assert first.sent_bytes < 402_000
    put(folder, moved__a=big, moved__c="same")
    assert artifacts.capture(folder).sent_bytes < 2000  # the manifest


def test_a_first_capture_of_many_small_files_makes_few_objects(
    folder: Path, local_store: Store, open_artifacts: Open
) -> None:
    put(folder, **{f"f{n}": os.urandom(500) for n in range(500)})
    open_artifacts(local_store).capture(folder)
    objects = [e.name.partition("/")[0] for e in local_store.list("")]
    assert sorted(objects) == ["blobs", "packs", "store.json"]


def test_a_large_file_is_kept_in_parts(
    folder: Path, content_store: Store, open_artifacts: Open, tmp_path: Path
) -> None:
    data = os.urandom(3_500_000)
    put(folder, large=data, small="x")
    artifacts = open_artifacts(content_store, part_bytes=1_000_000)
    first = artifacts.capture(folder)
    entry = artifacts.manifest(first.manifest).entry("large")
    assert entry is not None
    assert [p.size for p in entry.parts] == [1_000_000] * 3 + [500_000]
    artifacts.materialise(first.manifest, tmp_path / "out")
    assert (tmp_path / "out" / "large").read_bytes() == data
    put(folder, large=data[:1_000_001] + b"!" + data[1_000_002:])
    second = artifacts.capture(folder)
    assert 1_000_000 < second.sent_bytes < 1_010_000  # one part
    assert artifacts.read(second.manifest, "large") == (folder / "large").read_bytes()


@pytest.mark.parametrize(
    "name",
    [b"sp ace", b"new\nline", b"tab\t", b"quote\"'", b"back\\slash", "ümläut-日本".encode(), b"\xff\xfe-bytes",
     b"-dash", b"*star?[x]", b"..dots..", b"x" * 255, b"#hash", b"!bang", b"\x01\x7f", b"+temp"],
)  # fmt: skip
def test_any_legal_name_comes_back(
    folder: Path, content_store: Store, open_artifacts: Open, tmp_path: Path, name: bytes
) -> None:
    path = os.fsencode(folder) + b"/" + name
    try:
        with open(path, "wb") as file:
            file.write(name)
    except OSError as exc:
        pytest.skip(f"this file system has no such names: {exc}")
    os.symlink(name, os.fsencode(folder) + b"/link")
    artifacts = open_artifacts(content_store)
    for rules in ("plain", "workspace"):
        capture = artifacts.capture(folder, rules=rules)
        out = tmp_path / f"out-{rules}"
        artifacts.materialise(capture.manifest, out)
        assert sorted(os.listdir(os.fsencode(out))) == sorted([name, b"link"])
        assert os.readlink(os.fsencode(out) + b"/link") == name
        assert artifacts.read(capture.manifest, os.fsdecode(name)) == name


def test_one_file_is_an_artifact_too(tmp_path: Path, content_store: Store, open_artifacts: Open) -> None:
    (tmp_path / "data.csv").write_text("1,2\n")
    (tmp_path / "alias.csv").symlink_to("data.csv")
    artifacts = open_artifacts(content_store)
    for name in ("data.csv", "alias.csv"):
        capture = artifacts.capture(tmp_path / name)
        manifest = artifacts.manifest(capture.manifest)
        assert manifest.single
        assert names(manifest) == [name]
        assert artifacts.read(capture.manifest, name) == b"1,2\n"
        artifacts.materialise(capture.manifest, tmp_path / f"out-{name}")
        assert (tmp_path / f"out-{name}" / name).read_text() == "1,2\n"


def test_an_empty_folder_is_an_artifact(
    folder: Path, content_store: Store, open_artifacts: Open, tmp_path: Path
) -> None:
    artifacts = open_artifacts(content_store)
    capture = artifacts.capture(folder)
    assert (capture.files, capture.bytes) == (0, 0)
    artifacts.materialise(capture.manifest, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_there_is_not_found(tmp_path: Path, content_store: Store, open_artifacts: Open) -> None:
    artifacts = open_artifacts(content_store)
    with pytest.raises(ArtifactNotFound, match="nothing to capture at"):
        artifacts.capture(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="neither a file nor a folder"):
        artifacts.capture(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no rules are called 'x'"):
        artifacts.capture(tmp_path, rules="x")


def test_sockets_and_pipes_are_named_and_skipped(
    folder: Path, content_store: Store, open_artifacts: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, a="a")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(folder)
        server.bind("socket")
        capture = open_artifacts(content_store).capture(folder)
    assert sorted(capture.skipped) == [f"{n}: is a socket, a pipe or a device" for n in ("pipe", "socket")]
    assert capture.files == 1


def test_what_cannot_be_read_is_named_and_the_rest_kept(folder: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    put(folder, open="x", closed="x", shut__in="x", dir__closed="y", dir__open="z")
    for path in (folder, *folder.rglob("*"), *folder.parents):
        if path == folder or folder in path.parents or not path.stat().st_mode & 0o1:
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    for path in (folder / "closed", folder / "dir" / "closed", folder / "shut"):
        path.chmod(0)
    (tmp_path / "shut" / "cache").mkdir(mode=0o700, parents=True)
    code = f"""
import os, pathlib
from studio.tracking.artifacts import Artifacts
import studio.tracking.materialise, studio.stores.memory, sqlite3, json
from studio.stores import open_store
store = open_store("memory://x")
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
capture = Artifacts(store, pathlib.Path({str(tmp_path / "shut" / "cache")!r})).capture(pathlib.Path({str(folder)!r}))
print(capture.files, sorted(capture.skipped))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    why = "cannot be read: Permission denied"
    assert done.stdout == f"2 {[f'closed: {why}', f'dir/closed: {why}', f'shut: {why}']}\n"
    for path in (folder / "shut", folder / "closed"):
        path.chmod(0o755)


def test_what_is_too_much_is_left_out_and_named(folder: Path, content_store: Store, open_artifacts: Open) -> None:
    put(folder, data__train__a=b"x" * 50_000, data__train__b=b"x" * 60_000, video=b"x" * 150_000, code="y")
    put(folder, **{"data__load.py": "z", "src__deep__net.py": "n", "src__weights.bin": b"w" * 2_000_000})
    artifacts = open_artifacts(content_store)
    found = artifacts.capture(folder, rules="workspace", limit_bytes=200_000)
    assert names(artifacts.manifest(found.manifest)) == ["code", "data/load.py", "src/deep/net.py"]
    assert found.left_out == (
        LeftOut("src/weights.bin", 1, 2_000_000), LeftOut("video", 1, 150_000), LeftOut("data/train/b", 1, 60_000),
        LeftOut("data/train/a", 1, 50_000),
    )  # fmt: skip
    again = artifacts.capture(folder, rules="workspace", limit_bytes=200_000)
    assert (again.manifest, again.sent_bytes, again.left_out) == (found.manifest, 0, found.left_out)
    put(folder, **{".studioml_ignore": "data\nweights.bin\n"})
    found = artifacts.capture(folder, rules="workspace", limit_bytes=2_000_000)
    assert names(artifacts.manifest(found.manifest)) == [".studioml_ignore", "code", "src/deep/net.py", "video"]
    assert found.left_out == () and artifacts.capture(folder).files == 4


def test_what_the_users_ignore_files_leave_out_is_listed(
    folder: Path, content_store: Store, open_artifacts: Open
) -> None:
    """The topmost names only, and those alone that would else be captured."""
    put(folder, data__a__b="x", env__bin__python="x", sub__out__c="x", sub__kept="y", x="y", node_modules__m="x")
    put(folder, **{"env__pyvenv.cfg": "", "a.pyc": "x", "sub__.gitignore": "out\n", "z.log": "x", ".cache__c": "x"})
    put(folder, **{".gitignore": "data/\nenv\n*.pyc\n*.log\nnode_modules\n.cache\n", ".studioml_ignore": "raw\n"})
    put(folder, raw="x")
    artifacts = open_artifacts(content_store)
    found = artifacts.capture(folder, rules="workspace", limit_bytes=1 << 30)
    assert [(one.path, one.reason) for one in found.ignored] == [
        ("data/", ".gitignore"), ("raw", ".studioml_ignore"), ("z.log", ".gitignore"), ("sub/out/", ".gitignore"),
    ]  # fmt: skip
    assert artifacts.capture(folder, rules="workspace", limit_bytes=1 << 30).ignored == found.ignored
    assert [one.path for one in artifacts.capture(folder).ignored] == ["raw"]
    put(folder, **{f"{number:04}.log": "x" for number in range(1200)})
    many = artifacts.capture(folder, rules="workspace").ignored
    assert (len(many), many[0].path, many[-1].path, many[-1].files) == (21, "data/", "./", 1204 - 20)


def test_a_sparse_giant_and_a_crowd_of_files_are_not_read(
    folder: Path, content_store: Store, open_artifacts: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, **{"train.py": "x", "images__label.py": "l"})
    with open(folder / "giant", "wb") as file:
        file.truncate(50 << 30)
    for number in range(MOST_FILES + 10):
        (folder / "images" / f"{number}.jpg").touch()
    found = open_artifacts(content_store).capture(folder, rules="workspace", limit_bytes=1 << 30)
    assert names(open_artifacts(content_store).manifest(found.manifest)) == ["images/label.py", "train.py"]
    assert found.left_out == (LeftOut("giant", 1, 50 << 30), LeftOut("images/", MOST_FILES + 10, 0))


def test_progress_rises_to_all(folder: Path, content_store: Store, open_artifacts: Open, tmp_path: Path) -> None:
    put(folder, **{f"f{n}": b"x" * 1000 for n in range(20)})
    steps: list[tuple[int, int]] = []
    artifacts = open_artifacts(content_store)
    capture = artifacts.capture(folder, progress=lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert steps[-1] == (20_000, 20_000)
    steps.clear()
    artifacts.materialise(capture.manifest, tmp_path / "out", progress=lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert steps[-1] == (20_000, 20_000)


# what stays out


def test_some_folders_are_never_captured(folder: Path, tmp_path: Path, open_artifacts: Open) -> None:
    store = open_store(f"file://{folder}/the-store")
    put(folder, keep="x")
    for name in (".git/config", "pkg/__pycache__/m.pyc", "js/node_modules/x/index.js", "env/pyvenv.cfg",
                 "env/bin/python", "conda/conda-meta/history", "home/cache/x", "home/config.yaml"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    store.write("records/a.json", b"{}")
    artifacts = Artifacts(store, folder / "home" / "cache")
    plain = artifacts.capture(folder)
    assert names(artifacts.manifest(plain.manifest)) == ["js", "keep", "pkg"]
    assert sorted(plain.skipped) == [
        ".git: never captured", "conda: a Python environment", "env: a Python environment", "home: studio's own folder",
        "js/node_modules: never captured", "pkg/__pycache__: never captured", "the-store: studio's own folder",
    ]  # fmt: skip
    workspace = artifacts.capture(folder, rules="workspace")
    assert (workspace.manifest, workspace.skipped) == (plain.manifest, ())


def test_ignore_files_by_rules(folder: Path, content_store: Store, open_artifacts: Open) -> None:
    put(
        folder,
        **{".studioml_ignore": "# heavy\n*.tmp\n/top\ndata/raw\n"},
        **{".gitignore": "*.log\nbuild/\n!keep.log\n"},
    )
    put(folder, a__tmp="x", top="x", sub__top="x", data__raw__x="x", x__data__raw="x", build__o="x", sub__build="x")
    for name in ("a.tmp", "sub/b.tmp", "c.log", "keep.log", "sub/d.log", "sub/deep/e.log"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    put(folder / "sub", **{".gitignore": "!d.log\n/deep\n"})
    artifacts = open_artifacts(content_store)
    plain = names(artifacts.manifest(artifacts.capture(folder).manifest))
    assert plain == sorted(
        [".gitignore", ".studioml_ignore", "a/tmp", "build/o", "c.log", "data", "keep.log", "sub/.gitignore",
         "sub/build", "sub/d.log", "sub/deep/e.log", "sub/top", "x/data"]
    )  # fmt: skip
    workspace = names(artifacts.manifest(artifacts.capture(folder, rules="workspace").manifest))
    assert set(plain) - set(workspace) == {"build/o", "c.log", "sub/deep/e.log"}
    assert set(workspace) <= set(plain)


def test_a_workspace_below_the_top_of_a_repository_keeps_its_rules(
    folder: Path, content_store: Store, open_artifacts: Open
) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    put(folder, **{".gitignore": "*.log\n/exp/out\n", "exp__.gitignore": "*.tmp\n", ".git__info__exclude": "mine\n"})
    for name in ("x.log", "x.py", "x.tmp", "out/y", "mine", "deep/z.log"):
        (folder / "exp" / name).parent.mkdir(exist_ok=True)
        (folder / "exp" / name).write_text("x")
    artifacts = open_artifacts(content_store)
    capture = artifacts.capture(folder / "exp", rules="workspace")
    assert names(artifacts.manifest(capture.manifest)) == [".gitignore", "deep", "x.py"]


SECRETS = [
    ".env", ".env.local", ".envrc", "server.pem", "id_rsa", "id_ed25519.pub", "id_work", ".netrc", ".npmrc", "x.p12",
    ".aws/credentials", ".ssh/config", ".gnupg/x", ".kube/config", "sub/.env", "sub/.aws/x", "client_secret_1.json",
    ".config/gcloud/x", ".docker/config.json", "credentials.json",
]  # fmt: skip
HARMLESS = ["id_mapping.csv", "id_utils.py", "environment.yml", "env.py", "pem.txt", "secret.py", "aws/x", "README"]


def test_secrets_by_name_stay_out_of_a_workspace_only(folder: Path, content_store: Store, open_artifacts: Open) -> None:
    for name in SECRETS + HARMLESS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("canary")
    artifacts = open_artifacts(content_store)
    capture = artifacts.capture(folder, rules="workspace")
    kept = names(artifacts.manifest(capture.manifest))
    assert kept == sorted([*HARMLESS, ".config", "sub"])  # a folder that only held secrets stays, empty
    said = {line.partition(": ")[0] for line in capture.skipped}
    assert all(s in said or s.rpartition("/")[0] in said for s in SECRETS)
    plain = artifacts.capture(folder)
    assert set(SECRETS) <= set(names(artifacts.manifest(plain.manifest)))


def key_file(kind: str) -> str:
    """A text of the form of a private key; it is none."""
    body = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"] * 4)
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("name", "text", "secret"),
    [
        ("key.txt", key_file(""), True),
        ("key.txt", "some words\n" + key_file("RSA "), True),
        ("key.txt", key_file("ENCRYPTED "), True),
        ("key.txt", key_file("OPENSSH ").replace("\n", "\r\n"), True),
        (
            "account.json",
            '{"type": "service_account", "private_key": "' + key_file("").replace("\n", "\\n") + '"}',
            True,
        ),
        ("scan.py", 'MARK = "-----BEGIN PRIVATE KEY-----"\n' + "x = 1\n" * 100, False),
        ("doc.md", "A PRIVATE KEY is secret.\n", False),
        ("public.txt", key_file("").replace("PRIVATE", "PUBLIC"), False),
    ],
)
def test_private_keys_stay_out_of_a_workspace(
    folder: Path, local_store: Store, open_artifacts: Open, name: str, text: str, secret: bool
) -> None:
    put(folder, a="a", **{name: text})
    for _ in range(2):  # from the file, then from the cache
        capture = open_artifacts(local_store).capture(folder, rules="workspace")
        assert capture.skipped == ((f"{name}: holds a private key",) if secret else ())
        assert capture.files == 2 - secret
    store_bytes = b"".join(local_store.read(e.name)[0] for e in local_store.list(""))
    assert (text.encode() in store_bytes) is not secret


def test_what_is_said_of_secrets_keeps_its_order_whatever_is_known_already(
    folder: Path, local_store: Store, open_artifacts: Open
) -> None:
    put(folder, a=key_file(""), b=key_file(""))
    for attempt in range(3):  # read, then read but for b, then known from that
        assert open_artifacts(local_store).capture(folder, rules="workspace").skipped == (
            "a: holds a private key", "b: holds a private key"
        )  # fmt: skip
        if attempt == 0:
            put(folder, a=key_file("RSA "))


def test_a_folder_that_lies_in_itself_is_entered_once(folder: Path, content_store: Store, open_artifacts: Open) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    put(folder, a="a", sub__b="b")
    (folder / "sub" / "loop").mkdir()
    (folder / "link").symlink_to(".")
    if subprocess.run(["mount", "--bind", str(folder), str(folder / "sub" / "loop")], check=False).returncode:
        pytest.skip("cannot mount a folder in itself")
    try:
        capture = open_artifacts(content_store).capture(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder / "sub" / "loop")], check=True)
    assert capture.skipped == ("sub/loop: is a folder that it lies in itself",)
    assert names(open_artifacts(content_store).manifest(capture.manifest)) == ["a", "link", "sub/b"]


def test_a_manifest_has_the_form_of_the_contract(folder: Path, local_store: Store, open_artifacts: Open) -> None:
    put(folder, large=b"x" * 600_000, big=b"y" * 300_000, s1="one", s2="two")
    (folder / "link").symlink_to("s1")
    (folder / "empty").mkdir()
    artifacts = open_artifacts(local_store, part_bytes=400_000)
    form = json.loads(artifacts.read_blob(artifacts.capture(folder).manifest))
    files = {f["path"]: f for f in form["files"]}
    assert form["schema"] == 1
    assert [f["path"] for f in form["files"]] == sorted(files)
    assert files["link"] == {"path": "link", "link": "s1"}
    assert files["empty"] == {"path": "empty", "folder": True}
    assert set(files["big"]) == {"path", "size", "mode", "mtime", "sha256"}
    assert set(files["s1"]) == {"path", "size", "mode", "mtime", "sha256", "pack", "at"}
    assert [p["size"] for p in files["large"]["parts"]] == [400_000, 200_000]
    assert files["s1"]["mode"] == (folder / "s1").stat().st_mode & 0o777
    assert abs(files["s1"]["mtime"] - (folder / "s1").stat().st_mtime) < 2e-6
    pack = local_store.read(f"packs/{files['s1']['pack']}")[0]
    assert pack[files["s2"]["at"] :][:3] == b"two"
    assert hashlib.sha256(pack).hexdigest() == files["s1"]["pack"]


# what moves


def test_a_change_within_a_tick_of_the_clock_is_seen(folder: Path, local_store: Store, tmp_path: Path) -> None:
    artifacts = Artifacts(local_store, tmp_path / "home" / "cache")
    stamp = (1_600_000_000_000_000_000,) * 2
    for number in range(30):
        put(folder, f=f"{number:04d}")
        os.utime(folder / "f", ns=stamp)
        capture = artifacts.capture(folder)
        assert artifacts.read(capture.manifest, "f") == b"%04d" % number


def test_a_file_that_was_written_just_before_is_read_again(
    folder: Path, local_store: Store, open_artifacts: Open, opened: list[str]
) -> None:
    put(folder, f="x")
    first = open_artifacts(local_store, ahead_s=0).capture(folder)
    opened.clear()
    again = open_artifacts(local_store).capture(folder)  # ten seconds later
    assert f"{folder}/f" in opened
    opened.clear()
    third = open_artifacts(local_store).capture(folder)
    assert f"{folder}/f" not in opened
    assert first.manifest == again.manifest == third.manifest


def test_a_change_that_keeps_size_and_times_is_seen_later_too(
    folder: Path, local_store: Store, open_artifacts: Open
) -> None:
    stamp = (1_600_000_000_000_000_000,) * 2
    put(folder, f="one")
    os.utime(folder / "f", ns=stamp)
    artifacts = open_artifacts(local_store)
    first = artifacts.capture(folder)
    changed = os.stat(folder / "f").st_ctime_ns
    while os.stat(folder / "f").st_ctime_ns == changed:  # until the clock has moved
        put(folder, f="two")
        os.utime(folder / "f", ns=stamp)
    second = artifacts.capture(folder)
    assert artifacts.read(first.manifest, "f") == b"one"
    assert artifacts.read(second.manifest, "f") == b"two"


def test_files_that_are_written_to_and_vanish_do_not_stop_a_capture(
    folder: Path, local_store: Store, tmp_path: Path
) -> None:
    stop = threading.Event()

    def disturb() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with open(folder / "log", "ab") as log:
                log.write(b"%08d\n" % number * 50)
            put(folder, **{f"flicker{number % 5}": "x" * number, "rewritten": f"{number % 10}" * 300_000})
            (folder / f"flicker{(number + 2) % 5}").unlink(missing_ok=True)

    put(folder, steady="steady", log="")
    disturber = threading.Thread(target=disturb)
    disturber.start()
    artifacts = Artifacts(local_store, tmp_path / "home" / "cache")
    try:
        captures = [artifacts.capture(folder) for _ in range(15)]
    finally:
        stop.set()
        disturber.join()
    whole = (folder / "log").read_bytes()
    for number, capture in enumerate(captures):
        out = tmp_path / f"out{number}"
        artifacts.materialise(capture.manifest, out)  # verifies every digest
        assert (out / "steady").read_text() == "steady"
        assert whole.startswith((out / "log").read_bytes())
        assert all("vanished" in s or "was written to all the time" in s for s in capture.skipped)
    final = artifacts.capture(folder)
    assert artifacts.read(final.manifest, "log") == whole
    assert final.skipped == ()


def test_eight_captures_at_once(folder: Path, local_store: Store, open_artifacts: Open) -> None:
    put(folder, **{f"f{n}": os.urandom(300) for n in range(200)}, big=os.urandom(500_000))
    results: list[str] = []

    def act() -> None:
        results.append(open_artifacts(local_store).capture(folder).manifest)

    threads = [threading.Thread(target=act) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for manifest in set(results):
        assert len(open_artifacts(local_store).manifest(manifest).files) == 201
    assert open_artifacts(local_store).capture(folder).manifest in results


def test_a_full_store_says_so_and_the_next_capture_is_right(folder: Path, tmp_path: Path, open_artifacts: Open) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs")
    try:
        put(folder, a=os.urandom(400_000), b=os.urandom(900_000), **{f"s{n}": "x" * n for n in range(9)})
        store = open_store(f"file://{small}/store")
        artifacts = open_artifacts(store)
        with pytest.raises(StoreError, match="the disk is full"):
            artifacts.capture(folder)
        (folder / "b").unlink()
        capture = artifacts.capture(folder)
        artifacts.materialise(capture.manifest, tmp_path / "out")
        assert tree(tmp_path / "out") == tree(folder)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_five_thousand_files_changed_at_random(folder: Path, local_store: Store, tmp_path: Path) -> None:
    artifacts = Artifacts(local_store, tmp_path / "home" / "cache")
    for round_ in range(10):
        for _ in range(300):
            path = folder / f"d{random.randrange(30)}" / f"f{random.randrange(300)}"
            path.parent.mkdir(exist_ok=True)
            if random.random() < 0.2:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(random.randbytes(random.choice([0, 1, 100, 5000, 300_000])))
        capture = artifacts.capture(folder)
        out = tmp_path / f"out{round_}"
        artifacts.materialise(capture.manifest, out)
        assert tree(out) == tree(folder)
        shutil.rmtree(out)
