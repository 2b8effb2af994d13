"""Named bytes with conditional writes; `open_store` hides which back end holds them."""

from __future__ import annotations

from .base import Entry, Progress, Store

__all__ = ["Entry", "Progress", "Store", "open_store"]


def open_store(url: str) -> Store:
    """The store at `url` (`file:///folder`, `memory://name`, or a plain folder path).

    Raises:
        ConfigError: no back end has this scheme.
        StoreError: it exists but cannot be used.
    """
    from .. import plugins

    scheme, found, _ = url.partition("://")
    store: Store = plugins.load("studio.stores", scheme if found else "file")(url)
    return store
