"""A file that is written to while it is read: the digest is always that of the bytes that were kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from studio.tracking.reading import ATTEMPTS, take_file


class Shelf:
    """Keeps what it is given, and does something to the file each time."""

    def __init__(self, path: Path, *acts: bytes) -> None:
        self.path = path
        self.acts = list(acts)
        self.kept: dict[str, bytes] = {}
        self.calls = 0

    def __call__(self, data: bytes, digest: str) -> None:
        assert hashlib.sha256(data).hexdigest() == digest
        self.kept[digest] = data
        self.calls += 1
        if self.acts:
            stamp = os.stat(self.path).st_mtime_ns
            while os.stat(self.path).st_mtime_ns == stamp:  # until the clock has moved
                self.path.write_bytes(self.acts[0])
            self.acts.pop(0)


def joined(shelf: Shelf, taken: object) -> bytes:
    parts = [p.sha256 for p in taken.parts] or [taken.sha256]  # type: ignore[attr-defined]
    return b"".join(shelf.kept[p] for p in parts)


def test_a_quiet_file_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789" * 10)
    for part_bytes, calls in ((1000, 1), (100, 1), (99, 2), (30, 4)):
        shelf = Shelf(path)
        taken = take_file(path, shelf, part_bytes=part_bytes)
        assert shelf.calls == calls
        assert (taken.changed, taken.settled, taken.size) == (False, True, 100)
        assert joined(shelf, taken) == path.read_bytes()
        assert taken.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_that_changes_once_is_read_again_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a" * 100)
    shelf = Shelf(path, b"b" * 120)
    taken = take_file(path, shelf, part_bytes=30)
    assert (taken.changed, taken.settled) == (False, True)
    assert joined(shelf, taken) == b"b" * 120
    assert taken.sha256 == hashlib.sha256(b"b" * 120).hexdigest()


def test_a_log_that_grows_settles_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = [b"line %03d\n" % n for n in range(200)]
    path.write_bytes(b"".join(lines[:10]))
    shelf = Shelf(path, *(b"".join(lines[: 10 + n]) for n in range(1, 60)))
    taken = take_file(path, shelf, part_bytes=40)
    assert (taken.changed, taken.settled) == (True, True)
    assert b"".join(lines).startswith(joined(shelf, taken))
    assert taken.size == len(joined(shelf, taken)) >= 90


def test_a_file_that_never_settles_is_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"?" * 100)
    shelf = Shelf(path, *(bytes([n]) * 100 for n in range(200)))
    taken = take_file(path, shelf, part_bytes=30)
    assert (taken.changed, taken.settled) == (True, False)
    assert hashlib.sha256(joined(shelf, taken)).hexdigest() == taken.sha256
    assert shelf.calls <= ATTEMPTS * 4


def test_a_file_that_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a" * 100)
    shelf = Shelf(path, b"b" * 10)
    taken = take_file(path, shelf, part_bytes=30)
    assert (taken.settled, joined(shelf, taken)) == (True, b"b" * 10)
    shelf = Shelf(path, b"")
    path.write_bytes(b"a" * 100)
    taken = take_file(path, shelf, part_bytes=30)
    assert (taken.settled, joined(shelf, taken), taken.size) == (True, b"", 0)


def test_what_is_no_file_any_more_counts_as_gone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        take_file(tmp_path / "pipe", Shelf(tmp_path))
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(OSError, match="symbolic links"):
        take_file(tmp_path / "link", Shelf(tmp_path))
