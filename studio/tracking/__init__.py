"""Experiments' meaning over a store: records, artifacts, metrics and the index that searches them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..stores import Store, open_store

if TYPE_CHECKING:
    from .artifacts import Artifacts
    from .index import Index
    from .records import Records

__all__ = ["Tracking"]


@dataclass
class Tracking:
    """One store with everything that reads and writes experiments in it; each part is opened at its first use.

    Args:
        url: The store's URL.
        home: The local home folder, for index and caches.
        lost_after_s: Silence after which a running experiment counts as lost.
    """

    url: str
    home: Path
    lost_after_s: float = 60.0

    @cached_property
    def store(self) -> Store:
        """The named bytes."""
        if self.url.startswith(f"file://{self.home}/"):
            with contextlib.suppress(OSError):  # the store itself says what is wrong, when it is written
                self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return open_store(self.url)

    @cached_property
    def index(self) -> Index:
        """The searchable copy of all records."""
        from .index import shared_index

        return shared_index(self.store, self.home, lost_after_s=self.lost_after_s)

    @cached_property
    def records(self) -> Records:
        """The records themselves."""
        from .records import Records

        return Records(self.store, self.index)

    @cached_property
    def artifacts(self) -> Artifacts:
        """Captured trees of files."""
        from .artifacts import Artifacts

        return Artifacts(self.store, self.home / "cache")


Notify = Callable[[str], None]
"""Takes one line for the user."""


def _forked() -> None:
    """Before Python 3.12 a cached property has a lock, which a thread may hold that the child has not."""
    for one in vars(Tracking).values():
        if hasattr(one, "lock"):
            one.lock = threading.RLock()


os.register_at_fork(after_in_child=_forked)
