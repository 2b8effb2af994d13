"""Asks a served model: pooled connections, binary on the wire, answers decoded as strictly as requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .asking import PartialAnswer
from .blocking import ModelClient

if TYPE_CHECKING:
    from .awaiting import AsyncModelClient

__all__ = ["AsyncModelClient", "ModelClient", "PartialAnswer"]


def __getattr__(name: str) -> object:
    if name != "AsyncModelClient":  # asyncio takes longer to import than all the rest
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .awaiting import AsyncModelClient

    globals()[name] = AsyncModelClient
    return AsyncModelClient
