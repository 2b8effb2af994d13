"""What one stage does to a batch of items; knows nothing of threads and queues.

An item carries one value of one call through the stages; a verdict says what a stage made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Protocol

from ..errors import ServeError
from .awaiting import settled

Function = Callable[..., object]

_NOT_ROWS = "a function with batch_size gives a list or an array with one entry for each item"
_MISCOUNTED = "a function with batch_size gives one answer, one row, for each item"


class Verdict(Enum):
    """What became of an item in a stage."""

    DONE = "done"
    FAILED = "failed"
    FILTERED = "filtered"
    RETRY = "retry"
    GONE = "gone"


class Sink(Protocol):
    """Where an item's answer goes. `settle` is called once for each item, from any thread.

    Attributes:
        carry: A failed value goes on as None instead of ending its way.
        lineage: The lines whose workers wait for this answer.
    """

    carry: bool
    lineage: frozenset[object]

    @property
    def wanted(self) -> bool:
        """False when nobody waits any more; the item is then not started."""

    def settle(self, item: Item) -> None:
        """Take the item back with its verdict, value and error."""


class Item:
    """One value on its way; `key` is its ticket in the call that `sink` stands for."""

    __slots__ = ("alone", "error", "key", "sink", "spoiled", "value", "verdict")

    def __init__(self, value: object, key: int, sink: Sink) -> None:
        self.value = value
        self.key = key
        self.sink = sink
        self.error: BaseException | None = None
        self.verdict = Verdict.DONE
        self.alone = False
        self.spoiled: BaseException | None = None  # what the batch failed with that it was in before


@dataclass(frozen=True, slots=True)
class Spec:
    """A stage as `ModelPipe.add` describes it.

    Attributes:
        functions: Applied one after the other; to the value, or to the whole batch if `batch_size` > 1.
        filterf: None stands for the documented default, "is not None".
        batcher: None stands for the list of values itself.
        timeout: Seconds that one item or one batch may take, or None.
        queued: False for the functions that were added before the first keyword.
    """

    functions: tuple[Function, ...] = ()
    num_workers: int = 0
    batch_size: int = 1
    filterf: Function | None = None
    batcher: Function | None = None
    timeout: float | None = None
    max_delay: float = 0.0
    queued: bool = False

    @property
    def workers(self) -> int:
        """How many threads the stage may have."""
        return max(1, self.num_workers)


Judged = tuple[Item, Verdict, object]


def evaluate(spec: Spec, number: int, batch: Sequence[Item]) -> list[Judged]:
    """Apply a stage to what a worker took. Changes no item and raises nothing."""
    if len(batch) == 1 and spec.batch_size == 1 and spec.filterf is None:
        return [_apply(spec, batch[0])]
    judged: list[Judged] = []
    kept = _sift(spec, batch, judged)
    if spec.batch_size > 1:
        _apply_batch(spec, number, kept, judged)
    else:
        judged.extend([_apply(spec, item) for item in kept])
    return judged


def _apply(spec: Spec, item: Item) -> Judged:
    if not item.sink.wanted:
        return item, Verdict.GONE, None
    try:
        value = item.value
        for function in spec.functions:
            value = settled(function(value))
    except BaseException as exc:  # noqa: BLE001 - a worker's loop: the error belongs to the item
        return item, Verdict.FAILED, _presentable(exc)
    return item, Verdict.DONE, value


def _sift(spec: Spec, batch: Sequence[Item], judged: list[Judged]) -> Sequence[Item]:
    """The items that somebody waits for and that the stage's filter lets through."""
    if spec.filterf is None and all([item.sink.wanted for item in batch]):  # noqa: C419 - a list is quicker
        return batch
    kept = []
    for item in batch:
        try:
            if not item.sink.wanted:
                judged.append((item, Verdict.GONE, None))
            elif spec.filterf is None or settled(spec.filterf(item.value)):
                kept.append(item)
            else:
                judged.append((item, Verdict.FILTERED, None))
        except BaseException as exc:  # noqa: BLE001 - a worker's loop
            judged.append((item, Verdict.FAILED, _presentable(exc)))
    return kept


def _apply_batch(spec: Spec, number: int, batch: Sequence[Item], judged: list[Judged]) -> None:
    if not batch:
        return
    try:
        values: object = [item.value for item in batch]
        if spec.batcher is not None:
            values = settled(spec.batcher(values))
        for function in spec.functions:
            values = settled(function(values))
        answers = split_rows(values, len(batch), number)
    except BaseException as exc:  # noqa: BLE001 - a worker's loop: all items fail, or are tried one by one
        error = _presentable(exc)
        single = len(batch) == 1 or not isinstance(exc, Exception)
        if not single:
            judged.extend((item, Verdict.RETRY, error) for item in batch)
        else:
            judged.extend((item, Verdict.FAILED, _with_batch(item, error)) for item in batch)
    else:
        judged.extend((item, Verdict.DONE, answer) for item, answer in zip(batch, answers, strict=True))


def _with_batch(item: Item, error: BaseException) -> BaseException:
    """The error of an item tried alone; where answers were miscounted, the batch's own count comes first."""
    first = item.spoiled
    for one in (first, error):
        if not isinstance(one, ServeError) or one.hint not in (_NOT_ROWS, _MISCOUNTED):
            return error
    both = ServeError(f"{first}; tried one by one: {error}", hint=_MISCOUNTED)
    both.__cause__ = first
    return both


def split_rows(answers: object, count: int, number: int = 0) -> list[object]:
    """One answer for each item of a batch.

    Args:
        answers: A sequence or an array with one entry or row for each item, or a mapping of such
            (then each answer is a dictionary of one row of each).
        count: The number of items.
        number: The stage, for the message.

    Raises:
        ServeError: another number of answers, or no sequence at all.
    """
    if isinstance(answers, Mapping):
        columns = {name: split_rows(column, count, number) for name, column in answers.items()}
        return [{name: column[i] for name, column in columns.items()} for i in range(count)]
    if isinstance(answers, (str, bytes, set, frozenset)) or not isinstance(answers, Iterable):
        raise ServeError(
            f"stage {number} answered a batch of {count} with one {type(answers).__name__}",
            hint=_NOT_ROWS,
        )
    rows = list(islice(answers, count + 1))
    if len(rows) != count:
        found = len(answers) if isinstance(answers, Sized) else f"{len(rows)} or more"
        raise ServeError(
            f"stage {number} gave {found} answers for a batch of {count}",
            hint=_MISCOUNTED,
        )
    return rows


def _presentable(exc: BaseException) -> BaseException:
    """The error itself; StopIteration, which no generator and no future can carry, as a ServeError."""
    if not isinstance(exc, (StopIteration, StopAsyncIteration)):
        return exc
    error = ServeError(f"a stage raised {type(exc).__name__}")
    error.__cause__ = exc
    return error
