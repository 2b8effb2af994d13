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
from ..units import counted
from .cost import LOOP_BELOW_S, TOO_LONG_S, Cost
from .threads import FEW, call_soon

if TYPE_CHECKING:
    from ..models.base import Array

log = logging.getLogger(__name__)

FLUSH_S = 0.01
"""A model on the event loop runs batches for so long before the loop gets its turn."""

Signature = tuple[Any, ...]
Answers = list[tuple["Item", Sequence["Array"] | StudioError]]


class Stacking:
    """Whether rows of several requests share a call of the model; off for good once an answer shows they must not.

    Args:
        outputs: Their names.
        by_row: For each, whether its first axis is the rows of the input; as found at load, for the server's life.
        why: Why requests are not merged; "" = they are.
    """

    __slots__ = ("by_row", "names", "why")

    def __init__(self, outputs: Sequence[str], by_row: Sequence[bool] = (), why: str = "") -> None:
        self.names, self.why = tuple(outputs), why
        self.by_row = tuple(by_row) or (True,) * len(self.names)

    def holds(self, outputs: Sequence[Array], rows: int) -> bool:
        """Whether each output has its rows; where one has not, requests are not merged any more."""
        for k, (output, by_row) in enumerate(zip(outputs, self.by_row, strict=True)):
            if by_row and not _has_rows(output, rows):
                shown = counted(len(output), "row") if output.ndim else "a single value"
                self._stop(f"the model answered {shown} for {rows} in the output {self.names[k]!r}")
                return False
        return True

    def _stop(self, why: str) -> None:
        if not self.why:
            self.why = why
            log.warning("requests are not merged any more: %s", why)


def _has_rows(output: Array, rows: int) -> bool:
    return bool(output.ndim) and len(output) == rows


class Item:
    """One inference on its way through a batch.

    Attributes:
        tensors: One array for each input of the model, all with the same number of rows.
        rows: That number; 1 where the model has no axis of rows.
        signature: What must be equal for two items to share a batch.
        dropped: True once nobody waits for the answer any more.
        taken_at, model_s: When a batch took it (perf_counter) and how long the model ran, in seconds.
    """

    __slots__ = ("dropped", "key", "model_s", "owner", "rows", "signature", "single", "taken_at", "tensors")

    def __init__(self, tensors: list[Array], owner: Any, key: str | None, single: bool, rows: int) -> None:
        self.tensors = tensors
        self.rows = rows
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
        """Up to `most` rows of the oldest line; an item with more rows than that goes alone. 0 = one item."""
        while self._lines:
            signature = next(iter(self._lines))
            line = self._lines.pop(signature)
            batch: list[Item] = []
            rows = 0
            while line and (not batch or (most and rows + line[0].rows <= most)):
                item = line.popleft()
                if not item.dropped:
                    batch.append(item)
                    rows += item.rows
            if line:
                self._lines[signature] = line  # to the back: other shapes get their turn
            if batch:
                return batch
        return []


def run_batch(run: Run, batch: list[Item], stacking: Stacking) -> Answers:
    """Every item with its own answer or its own error; if the batch fails, each is tried alone."""
    now = time.perf_counter()
    for item in batch:
        item.taken_at = now
    try:
        answers = _run_together(run, batch, stacking)
        if answers is not None:
            return answers
    except BaseException as exc:  # noqa: BLE001 - a model may raise anything, SystemExit included
        if len(batch) == 1:
            return [(batch[0], model_failure(exc))]
    return [pair for item in batch for pair in run_batch(run, [item], stacking)]


def _run_together(run: Run, batch: list[Item], stacking: Stacking) -> Answers | None:
    """The answers; None where it cannot be told which of their rows are whose."""
    alone = len(batch) == 1
    if alone:
        tensors: Sequence[Array] = batch[0].tensors
    else:
        import numpy as np

        tensors = [np.concatenate(parts) for parts in zip(*[i.tensors for i in batch], strict=True)]
    started = time.perf_counter()
    outputs = run(tensors)
    model_s = time.perf_counter() - started
    rows = sum([item.rows for item in batch])
    whole = stacking.holds(outputs, rows)
    if alone:
        item = batch[0]
        item.model_s = model_s
        if item.single:
            outputs = [
                y[0] if by_row and _has_rows(y, 1) else y for y, by_row in zip(outputs, stacking.by_row, strict=True)
            ]
        return [(item, outputs)]
    if not whole:
        return None
    answers: Answers = []
    at = 0
    for item in batch:
        item.model_s = model_s
        end = at + item.rows
        answers.append((item, [y[at] for y in outputs] if item.single else [y[at:end] for y in outputs]))
        at = end
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


class Batches:
    """Runs what waits, batch by batch: on the event loop where that is known to be quick, else in a thread.

    At most one batch runs at a time, and answers reach `done` on the event loop. A thread whose call has not returned
    within the time limit is left behind and replaced.

    Args:
        run: The model.
        most: The most rows of one batch.
        done: Gets the answers of a batch.
        loop: The server's event loop, to whose thread all methods belong.
        where: `auto`: a batch runs on the event loop if that is quicker than a hand-off; `loop`: if it takes less than
            `TOO_LONG_S`; `thread`: never.
        stacking: Whether requests share a batch.
        bounded: Whether a call's time depends on sizes only; else all batches run in the thread.
    """

    def __init__(
        self,
        run: Run,
        most: int,
        done: Callable[[Answers], None],
        loop: asyncio.AbstractEventLoop,
        where: str,
        stacking: Stacking,
        *,
        bounded: bool,
    ) -> None:
        self._run, self._most, self._done, self._loop = run, most, done, loop
        self._on_loop = bounded and where != "thread"
        self._stacking = stacking
        self._cost = Cost(TOO_LONG_S if where == "loop" else LOOP_BELOW_S)
        self._waiting = Waiting()
        self._bell = threading.Condition()
        self._next: list[Item] = []  # the batch that the thread, or the loop, runs next
        self._flushing = False
        self._busy_since = 0.0
        self._threads = 0
        self._generation = 0
        self._closed = False
        self.lost = 0

    @property
    def exhausted(self) -> bool:
        """Whether so many calls hang that it cannot be chance: those that hang from now on are not replaced."""
        return self.lost >= FEW

    def put(self, item: Item) -> None:
        """Queues one item."""
        with self._bell:
            self._waiting.put(item)
            if self._busy_since:
                return  # the thread looks for more when it is done
        self._wake()

    def replace_hung(self, since: float) -> None:
        """Leaves the thread behind if it has been in one call since before `since` (monotonic)."""
        with self._bell:
            if not self._busy_since or self._busy_since >= since or self.exhausted:
                return
            log.error("the model has not answered within the time limit; its thread is left behind")
            self._generation += 1
            self.lost += 1
            self._threads -= 1
            self._busy_since = 0.0
            self._on_loop = False  # it may hold a lock that the next call waits for: not on the event loop
        self._wake()

    def close(self) -> None:
        """Ends the thread when it is idle."""
        with self._bell:
            self._closed = True
            self._bell.notify_all()

    # -- on the event loop ------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._on_loop:
            self._hand_over()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """All that was parsed in one tick of the event loop is one batch."""
        self._flushing = False
        until = time.perf_counter() + FLUSH_S
        while not self._busy_since:
            batch = self._take()
            if not batch:
                return
            if not (self._on_loop and self._cost.quick(batch)):
                self._next = batch
                self._hand_over()
                return
            self._done(self._timed(batch))
            if time.perf_counter() > until:
                self._wake()
                return

    def _hand_over(self) -> None:
        """From now on the thread has the model, until nothing waits that is worth a thread."""
        with self._bell:
            if self._busy_since or self._closed or not (self._next or self._waiting):
                return
            self._busy_since = time.monotonic()
            if self._threads:
                self._bell.notify()
                return
            self._threads = 1
            generation = self._generation
        threading.Thread(target=self._work, args=(generation,), name="model", daemon=True).start()

    # -- wherever the model is --------------------------------------------------------------------

    def _take(self) -> list[Item]:
        batch, self._next = self._next, []
        return batch or self._waiting.take(0 if self._stacking.why else self._most)

    def _timed(self, batch: list[Item]) -> Answers:
        started = time.perf_counter()
        try:
            answers = run_batch(self._run, batch, self._stacking)
        except BaseException as exc:  # noqa: BLE001 - out of memory, say, while the answers are taken apart
            failure = model_failure(exc)
            answers = [(item, failure) for item in batch]
        self._cost.learn(batch, time.perf_counter() - started)
        return answers

    # -- in the thread ----------------------------------------------------------------------------

    def _work(self, generation: int) -> None:
        while batch := self._wait(generation):
            answers = self._timed(batch)
            call_soon(self._loop, self._done, answers)
            del batch, answers  # an idle thread holds nothing of the last request

    def _wait(self, generation: int) -> list[Item]:
        """The next batch for the thread; none when it shall end."""
        with self._bell:
            while generation == self._generation and not self._closed:
                batch = self._take() if self._busy_since else []
                if batch and not (self._on_loop and self._cost.quick(batch)):
                    self._busy_since = time.monotonic()
                    return batch
                self._next = batch
                if self._busy_since:
                    self._busy_since = 0.0
                    if batch:
                        call_soon(self._loop, self._wake)
                del batch
                self._bell.wait()
            if generation != self._generation:
                self.lost -= 1
            return []
