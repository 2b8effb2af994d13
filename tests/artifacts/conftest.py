"""Folders to capture and the stores that take them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.stores import Store, open_store
from studio.tracking.artifacts import Artifacts

_opened: list[str] | None = None


def _watch(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append(os.fsdecode(args[0]) if isinstance(args[0], str | bytes) else "")


sys.addaudithook(_watch)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The paths of all files opened during the test; clear it to begin anew."""
    global _opened
    _opened = []
    yield _opened
    _opened = None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to capture."""
    out = tmp_path / "work"
    out.mkdir()
    return out


@pytest.fixture(params=["file", "memory"])
def content_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store, local and in memory."""
    return open_store(f"file://{tmp_path}/store" if request.param == "file" else f"memory://{tmp_path}")


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    """An empty local store."""
    return open_store(f"file://{tmp_path}/store")


@pytest.fixture
def open_artifacts(tmp_path: Path) -> Callable[..., Artifacts]:
    """Opens the artifacts of a store, with the clock 10 s ahead: no file counts as just changed."""

    def act(store: Store, *, part_bytes: int = 64 << 20, ahead_s: int = 10, cache: str = "home/cache") -> Artifacts:
        return Artifacts(store, tmp_path / cache, part_bytes=part_bytes, clock=lambda: time.time_ns() + ahead_s * 10**9)

    return act
