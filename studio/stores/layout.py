"""`store.json`, the object that says which layout a store has and which store it is."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from ..errors import Conflict, NotFound, StoreError

if TYPE_CHECKING:
    from .base import Store

LAYOUT = 1
LAYOUT_NAME = "store.json"


def new_layout() -> bytes:
    """The bytes of a fresh `store.json`; its `id` tells a store from another one that later stands in its place."""
    return json.dumps({"schema": 1, "layout": LAYOUT, "id": secrets.token_hex(16)}).encode() + b"\n"


def read_layout(data: bytes, url: str) -> str:
    """The id in a `store.json`.

    Raises:
        StoreError: it is not one, or a newer studio made it.
    """
    try:
        found = json.loads(data)
        layout, identity = int(found["layout"]), str(found["id"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as exc:
        raise StoreError(
            f"store {url}: {LAYOUT_NAME} is not a store's",
            hint="is this the right place? a fresh one: studio store init URL",
        ) from exc
    if layout > LAYOUT:
        raise StoreError(
            f"store {url} has layout {layout}, this studio knows up to {LAYOUT}", hint="pip install --upgrade studio"
        )
    return identity


def known_id(store: Store) -> str:
    """The id of `store` as it is; "" if there is no store, or one that nobody asked for its id yet.

    Raises:
        StoreError: the store cannot be used, or a newer studio made it.
    """
    try:
        return read_layout(store.read(LAYOUT_NAME)[0], store.url)
    except NotFound:
        return ""


def store_id(store: Store) -> str:
    """The id of `store`; makes its `store.json` if it has none.

    Raises:
        StoreError: the store cannot be used, or a newer studio made it.
    """
    for _ in range(3):
        if found := known_id(store):
            return found
        try:
            store.write(LAYOUT_NAME, new_layout(), if_absent=True)
        except Conflict:
            pass
    raise StoreError(f"store {store.url}: {LAYOUT_NAME} comes and goes", hint="studio store check " + store.url)
