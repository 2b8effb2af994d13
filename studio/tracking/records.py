"""Experiment records and heartbeats in a store: created once, compared and swapped, written through to the index."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError, Conflict, ExperimentNotFound, NotFound, StoreError, nearest
from ..experiment import Experiment, Faults, check_name, from_json, put_back, readable, to_json
from ..stores.base import Store
from . import documents
from .index import Index

RETRY_S = 20.0
_random = secrets.SystemRandom()  # not the shared generator: scripts seed that one, and count on what it gives


class Records:
    """The records of one store. Any thread and process may use it at once.

    Raises, everywhere: StoreError when the store refuses.
    """

    def __init__(self, store: Store, index: Index) -> None:
        self.store = store
        self.index = index

    def create(self, experiment: Experiment) -> None:
        """Stores a new record.

        Raises:
            ConfigError: its key does not fit the grammar.
            Conflict: the key is taken.
        """
        name = _record(experiment.key)
        try:
            tag = self.store.write(name, _bytes(to_json(experiment)), if_absent=True)
        except Conflict as exc:
            raise Conflict(
                f"experiment {experiment.key!r} already exists in {self.store.url}",
                hint=f"choose another key, or go on with it: studio run --resume {experiment.key}",
            ) from exc
        self.index.put(experiment, tag)

    def get(self, key: str) -> Experiment:
        """The record as the store has it now.

        Raises:
            ExperimentNotFound: none has this key; the hint names near ones.
        """
        return self._read(key)[0]

    def update(self, key: str, change: Callable[[Experiment], Experiment]) -> Experiment:
        """Applies `change` to the newest record and stores the result, again and again until nobody came between.

        Args:
            change: a pure function; it may be called several times. Returning its argument writes nothing.

        Raises:
            ExperimentNotFound: there is no such record.
            Conflict: others kept coming between for 20 s.
        """
        until = time.monotonic() + RETRY_S
        wait_s = 0.001
        while True:
            before, tag, raw, faults = self._read(key)
            after = change(before)
            if after is before:
                return before
            if after.key != key:
                raise ConfigError(f"the key of {key!r} cannot change (to {after.key!r})")
            data = to_json(after)
            if faults:  # what this studio cannot read stays for one that can
                faults = put_back(data, to_json(before), raw, faults)
            try:
                tag = self.store.write(_record(key), _bytes(data), if_tag=tag)
            except Conflict as exc:
                if time.monotonic() > until:
                    raise Conflict(f"experiment {key!r} is changed by others all the time", hint="try again") from exc
                time.sleep(_random.uniform(0, wait_s))
                wait_s = min(2 * wait_s, 0.2)
                continue
            self.index.put(after, tag, faults)
            return after

    def delete(self, key: str, *, more: bool = False) -> None:
        """Removes the record and all that is kept beside it; blobs stay for `studio gc`. No error if there is none.

        Args:
            more: Others are deleted at once after it, the last one without `more`.
        """
        record = _record(key)
        for prefix in (f"runs/{key}/", f"live/{key}.json"):
            for entry in list(self.store.list(prefix)):
                self.store.remove(entry.name)
        self.store.remove(record)  # last: a delete that was interrupted can be repeated
        self.index.drop(key, more=more)

    def write_live(self, key: str, live: dict[str, Any]) -> None:
        """Writes the heartbeat of a running experiment (its supervisor alone does)."""
        self.store.write(_live(key), _bytes({"schema": 1, "key": key, **live}))

    def live(self, key: str) -> tuple[dict[str, Any], float] | None:
        """The live object and when it was written, by the store's clock; None if there is none."""
        try:
            modified = self.store.stat(_live(key)).modified
            found = json.loads(self.store.read(_live(key))[0])
        except (NotFound, ValueError):
            return None
        return (found, modified) if isinstance(found, dict) else None

    def remove_live(self, key: str) -> None:
        """Ends the heartbeat; no error if there is none."""
        self.store.remove(_live(key))

    def request_stop(self, key: str, by: str = "") -> None:
        """Asks the supervisor of a running experiment to stop it; `by` says who asks, such as `ada@laptop`."""
        self.store.write(_stop(key), json.dumps({"by": by}).encode() if by else b"")

    def stop_asked_by(self, key: str) -> str | None:
        """Who asked this experiment to stop; None if nobody did, or did not say who."""
        try:
            asked = json.loads(self.store.read(_stop(key))[0])
        except (NotFound, ValueError, RecursionError):
            return None
        by = asked.get("by") if isinstance(asked, dict) else None
        return by[:200] if isinstance(by, str) and by else None

    def stop_requested(self, key: str) -> bool:
        """Whether somebody asked this experiment to stop."""
        try:
            self.store.stat(_stop(key))
        except NotFound:
            return False
        return True

    def withdraw_stop(self, key: str) -> None:
        """Takes a request to stop back, such as before the experiment goes on."""
        self.store.remove(_stop(key))

    def _read(self, key: str) -> tuple[Experiment, str, dict[str, Any], Faults]:
        """The record, its tag, the object in the store, and what of it cannot be read."""
        name = _record(key)
        try:
            raw, tag = self.store.read(name)
        except NotFound as exc:
            raise ExperimentNotFound(
                f"no experiment {key!r} in {self.store.url}", hint=self._near(key) or "list them with: studio runs list"
            ) from exc
        try:
            data = documents.load(raw)
            kept, faults = readable(data)
            found = from_json(Experiment, kept)
            if found.key != key:
                raise ValueError(f"its key is {found.key[:200]!r}")
            return found, tag, data, faults
        except (ValueError, RecursionError, ConfigError) as exc:
            raise StoreError(
                f"{name} in {self.store.url} is not an experiment record: {exc}",
                hint=f"studio runs delete {key} removes it",
            ) from exc

    def _near(self, key: str) -> str:
        keys = self.index.keys(key)[:5]
        if keys:
            return "did you mean: " + ", ".join(keys)
        return nearest(key, [e.key for e in self.index.search("", limit=200)])


def _record(key: str) -> str:
    return f"records/{check_name(key, 'experiment key')}.json"


def _live(key: str) -> str:
    return f"live/{check_name(key, 'experiment key')}.json"


def _stop(key: str) -> str:
    return f"runs/{check_name(key, 'experiment key')}/stop"


def _bytes(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()
