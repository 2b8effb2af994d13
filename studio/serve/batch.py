"""Merges what waits into batches and runs them, by thread or on the event loop; answers are never mixed.

Work-conserving: an idle model takes what is there at once; while it is busy, its next batch gathers. There is no timer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ServeError, StudioError
from ..models.base import Run

if TYPE_CHECKING:
    from ..models.base import Array

log = logging.getLogger(__name__)

FLUSH_S = 0.01
"""A model on the event loop runs batches for so long before the loop gets its turn."""

Signature = tuple[Any, ...]
Answers = list[tuple["Item", Sequence["Array"] | StudioError]]


class Item:
    """One inference on its way through a batch.

    Attributes:
        tensors: One array for each input of the model, all with the same number of rows.
        rows: That number.
        signature: What must be equal for two items to share a batch.
        dropped: True once nobody waits for the answer any more.
        taken_at, model_s: When a batch took it (perf_counter) and how long the model ran, in seconds.
    """

    __slots__ = ("dropped", "key", "model_s", "owner", "rows", "signature", "single", "taken_at", "tensors")

    def __init__(self, tensors: list[Array], owner: Any, key: str | None, single: bool) -> None:
        self.tensors = tensors
        self.rows = len(tensors[0])
        self.signature: Signature = tuple([(t.dtype, t.shape[1:]) for t in tensors])
        self.owner = owner
        self.key = key
        self.single = single
        self.dropped = False
        self.taken_at = 0.0
        self.model_s = 0.0


class Waiting:
    """Items that wait, one line for each signature; the line whose head is oldest goes first. Not locked."""

    def __init__(self) -> None:
        self._lines: dict[Signature, deque[Item]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def put(self, item: Item) -> None:
        """Appends the item to its line."""
        line = self._lines.get(item.signature)
        if line is None:
            self._lines[item.signature] = deque((item,))
        else:
            line.append(item)

    def take(self, most: int) -> list[Item]:
        """Up to `most` rows of the oldest line; an item with more rows than that goes alone."""
        while self._lines:
            signature = next(iter(self._lines))
            line = self._lines.pop(signature)
            batch: list[Item] = []
            rows = 0
            while line and (not batch or rows + line[0].rows <= most):
                item = line.popleft()
                if not item.dropped:
                    batch.append(item)
                    rows += item.rows
            if line:
                self._lines[signature] = line  # to the back: other shapes get their turn
            if batch:
                return batch
        return []


def run_batch(run: Run, batch: list[Item]) -> Answers:
    """Every item with its own answer or its own error; if the batch fails, each is tried alone."""
    now = time.perf_counter()
    for item in batch:
        item.taken_at = now
    try:
        return _run_together(run, batch)
    except BaseException as exc:  # noqa: BLE001 - a model may raise anything, SystemExit included
        if len(batch) == 1:
            return [(batch[0], model_failure(exc))]
    return [pair for item in batch for pair in run_batch(run, [item])]


def _run_together(run: Run, batch: list[Item]) -> Answers:
    if len(batch) == 1:
        tensors: Sequence[Array] = batch[0].tensors
    else:
        import numpy as np

        tensors = [np.concatenate(parts) for parts in zip(*[i.tensors for i in batch], strict=True)]
    started = time.perf_counter()
    outputs = run(tensors)
    model_s = time.perf_counter() - started
    rows = len(tensors[0])
    for output in outputs:
        if len(output) != rows:
            raise ServeError(f"the model answered {len(output)} rows for {rows}")
    answers: Answers = []
    at = 0
    for item in batch:
        item.model_s = model_s
        answers.append((item, [output[at : at + item.rows] for output in outputs]))
        at += item.rows
    return answers


def model_failure(exc: BaseException) -> StudioError:
    """What the client is told of an exception of the model's; the exception itself is its cause."""
    if isinstance(exc, StudioError):
        return exc
    failure = ServeError(
        f"the model raised {type(exc).__name__}", hint="the server's log has the traceback; --debug sends it along"
    )
    failure.__cause__ = exc
    return failure


class _Batches:
    """What both ways of running batches have: the model, the most rows, where answers go, and what waits."""

    def __init__(self, run: Run, most: int, done: Callable[[Answers], None], loop: asyncio.AbstractEventLoop) -> None:
        self._run, self._most, self._done, self._loop = run, most, done, loop
        self._waiting = Waiting()


class LoopBatches(_Batches):
    """All that was parsed in one tick of the event loop is one batch; for models of microseconds."""

    def __init__(self, run: Run, most: int, done: Callable[[Answers], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(run, most, done, loop)
        self._called = False

    def put(self, item: Item) -> None:
        """Queues one item; call on the event loop."""
        self._waiting.put(item)
        if not self._called:
            self._called = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._called = False
        until = time.perf_counter() + FLUSH_S
        while self._waiting:
            if time.perf_counter() > until:
                self._called = True
                self._loop.call_soon(self._flush)
                return
            batch = self._waiting.take(self._most)
            if batch:
                self._done(run_batch(self._run, batch))

    def replace_if_hung(self, since: float) -> None:
        """Nothing to do: a call on the loop cannot be left behind."""

    def close(self) -> None:
        """Nothing to end."""


class ThreadBatches(_Batches):
    """One thread runs the model and takes whatever waits; one wake-up of the event loop per batch.

    A thread whose call has not returned within the time limit is left behind and replaced.
    """

    def __init__(self, run: Run, most: int, done: Callable[[Answers], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(run, most, done, loop)
        self._bell = threading.Condition()
        self._busy_since = 0.0
        self._generation = 0
        self._closed = False
        self._start()

    def _start(self) -> None:
        threading.Thread(target=self._work, args=(self._generation,), name="model", daemon=True).start()

    def put(self, item: Item) -> None:
        """Queues one item; call on the event loop."""
        with self._bell:
            self._waiting.put(item)
            if not self._busy_since:
                self._bell.notify()

    def _work(self, generation: int) -> None:
        while True:
            with self._bell:
                if generation != self._generation:
                    return
                self._busy_since = 0.0
                while not self._waiting and not self._closed and generation == self._generation:
                    self._bell.wait()
                if self._closed or generation != self._generation:
                    return
                batch = self._waiting.take(self._most)
                self._busy_since = time.monotonic()
            if batch:
                answers = run_batch(self._run, batch)
                try:
                    self._loop.call_soon_threadsafe(self._done, answers)
                except RuntimeError:  # the loop is closed: the server has ended
                    return

    def replace_if_hung(self, since: float) -> None:
        """Leaves the thread behind if it has been in one call since before `since` (monotonic)."""
        with self._bell:
            if self._busy_since and self._busy_since < since:
                log.error("the model has not answered within the time limit; its thread is left behind")
                self._generation += 1
                self._busy_since = 0.0
                self._start()

    def close(self) -> None:
        """Ends the thread when it is idle."""
        with self._bell:
            self._closed = True
            self._bell.notify_all()
