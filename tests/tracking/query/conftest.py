"""An index of the made-up records."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from studio.stores.memory import MemoryStore
from studio.tracking.index import Index, open_index
from studio.tracking.records import Records
from tests.tracking.query.records import made


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("index")
    store = MemoryStore(f"memory://{folder.name}")
    found = open_index(store, folder)
    records = Records(store, found)
    for one in sorted(made(), key=lambda one: one.key[::-1]):  # not in the order of their keys
        records.create(one)
    yield found
    found.close()
