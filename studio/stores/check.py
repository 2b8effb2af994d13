"""Proves on the spot that a store keeps the contract: a service that ignores conditions is refused by name."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import Conflict, NotFound, StoreError, StudioError
from . import open_store
from .base import Store
from .layout import store_id

PROBES = "probes"


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise of the contract. `why` is empty when it is kept."""

    name: str
    ok: bool
    why: str = ""


def check_store(store: Store | str) -> list[Finding]:
    """Tries every promise on objects of its own under `probes/`, which it removes again.

    Args:
        store: A store, or the URL of one.

    Returns:
        One finding for each promise, in the order tried; a store that cannot be written has one finding only.

    Raises:
        ConfigError: no back end has this URL's scheme.
    """
    if isinstance(store, str):
        try:
            store = open_store(store)
        except StoreError as exc:
            return [Finding("can be reached", False, exc.message)]
    root = f"{PROBES}/{secrets.token_hex(8)}"
    findings = []
    with _swept(store, root):
        for name, probe in _PROBES:
            try:
                why = probe(store, f"{root}/{name.replace(' ', '-')}")
            except (StudioError, OSError) as exc:
                why = str(exc)
            findings.append(Finding(name, not why, why))
            if why and probe is _write_and_read:
                break
    return findings


def init_store(url: str) -> list[Finding]:
    """Makes `url` a store (its `store.json`) if it is none yet, and checks it.

    Raises:
        StoreError: it cannot be written, or does not keep the contract: the message names what it does not.
        ConfigError: no back end has this URL's scheme.
    """
    store = open_store(url)
    findings = check_store(store)
    bad = [f for f in findings if not f.ok]
    if bad:
        raise StoreError(
            f"store {store.url} cannot be used: " + "; ".join(f"{f.name}: {f.why}" for f in bad),
            hint="choose a store with conditional writes, such as a folder: --store file:///FOLDER",
        )
    store_id(store)
    return findings


@contextlib.contextmanager
def _swept(store: Store, root: str) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(StudioError, OSError):
            for entry in list(store.list(root + "/")):
                store.remove(entry.name)


def _write_and_read(store: Store, name: str) -> str:
    tag = store.write(name, b"one")
    data, seen = store.read(name)
    if data != b"one":
        return "what is read is not what was written"
    if seen != tag or store.stat(name).tag != tag:
        return "the tag of a read is not the tag of the write"
    return "" if store.read(name, (1, 2))[0] == b"n" else "a span is not the bytes asked for"


def _second_create_loses(store: Store, name: str) -> str:
    store.write(name, b"first", if_absent=True)
    try:
        store.write(name, b"second", if_absent=True)
    except Conflict:
        return "" if store.read(name)[0] == b"first" else "it refused the second create, but kept its bytes"
    return "it ignores the condition of a create: two clients could both make one experiment"


def _wrong_tag_is_refused(store: Store, name: str) -> str:
    old = store.write(name, b"one")
    new = store.write(name, b"two", if_tag=old)
    if new == old:
        return "two writes have the same tag"
    try:
        store.write(name, b"three", if_tag=old)
    except Conflict:
        return "" if store.read(name)[0] == b"two" else "it refused the write, but kept its bytes"
    return "it ignores the condition of a change: one client's change could vanish under another's"


def _gone_is_refused(store: Store, name: str) -> str:
    tag = store.write(name, b"one")
    store.remove(name)
    store.remove(name)
    try:
        store.write(name, b"two", if_tag=tag)
    except Conflict:
        pass
    else:
        return "a change of a removed object makes it anew"
    try:
        store.read(name)
    except NotFound:
        return ""
    return "a removed object can still be read"


def _listing_is_ordered(store: Store, name: str) -> str:
    names = [f"{name}/{leaf}" for leaf in ("a-b", "a.b", "a/b", "a/c/d", "a0", "ab", "b")]
    for one in reversed(names):
        store.write(one, b"x")
        if one not in [e.name for e in store.list(name + "/")]:
            return "a listing does not see a write that was before it"
    if [e.name for e in store.list(name + "/")] != names:
        return "a listing is not in the order of names"
    return "" if [e.name for e in store.list(name + "/", after=names[2])] == names[3:] else "`after` is not kept to"


def _stream_conflicts(store: Store, name: str) -> str:
    end = store.append(name, 0, b"abc")
    end = store.append(name, end, b"de")
    try:
        store.append(name, 3, b"xx")
    except Conflict:
        return "" if end == 5 and store.read(name)[0] == b"abcde" else "a stream is not what was appended"
    return "it ignores the offset of an append: a stream could be torn"


_PROBES: tuple[tuple[str, Callable[[Store, str], str]], ...] = (
    ("can be written and read", _write_and_read),
    ("a second create loses", _second_create_loses),
    ("a wrong tag is refused", _wrong_tag_is_refused),
    ("a removed object is gone", _gone_is_refused),
    ("a listing is ordered and sees every write", _listing_is_ordered),
    ("a stream refuses a wrong offset", _stream_conflicts),
)
