"""Every back end passes the contract suite: one line each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.stores import Store, open_store
from studio.testing.store_contract import StoreContract


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> Store:
        return open_store(f"file://{tmp_path_factory.mktemp('store')}/store")


class TestLocalStoreOnAnotherFileSystem(StoreContract):
    rounds = 5

    @pytest.fixture
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> Store:
        memory = Path("/dev/shm")
        here = tmp_path_factory.mktemp("store")
        if not os.access(memory, os.W_OK) or memory.stat().st_dev == here.stat().st_dev:
            pytest.skip("no second file system: /dev/shm cannot be written")
        root = memory / f"studio-test-{os.getpid()}-{here.name}-{here.parent.name}"
        yield open_store(f"file://{root}")  # type: ignore[misc]
        import shutil

        shutil.rmtree(root, ignore_errors=True)


class TestMemoryStore(StoreContract):
    processes = False

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(f"memory://{tmp_path}")
