"""`ModelPipe`: how a pipe is described and used."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Generator, Hashable, Iterator, Mapping, Set
from concurrent.futures import Future
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, TypeVar, overload

from ..errors import ConfigError, Overloaded
from .call import AsyncCall, Call, Promise, refuse_own_worker
from .collection import Given, Report, inline, read
from .description import Keywords, refuse_fractions
from .line import Line
from .predict import Predicts, as_function
from .stage import Function, Item, Spec

OnError = Literal["filter", "none", "drop", "raise"]
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_KEPT_OF_STREAM = 10_000
_building = threading.Lock()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `ModelPipe.call` gives.

    Attributes:
        values: What `pipe(data)` would give.
        errors: The error of each value that had one, by key, by index, or by the element of a set.
            For a stream it fills while the answers are taken, and keeps the first 10,000.
    """

    values: object
    errors: dict[object, BaseException] = field(default_factory=dict)


class ModelPipe:
    """Functions in a row, applied to whole collections by threads and in batches.

    Every method may be called from any thread. Concurrent calls share workers and batches; each gets
    its own answers. Threads start with the first item and end after half a minute without one, with
    `close`, or when the pipe is garbage.

    Args:
        on_error: What becomes of a value whose function fails or takes too long.
            "filter": it goes on as None; a later stage leaves it out (its default filter refuses
            None), after the last stage None is the answer. "none": its answer is None, always.
            "drop": it has no answer. "raise": the call raises the error, the rest is given up.
        max_inflight: How many values may be inside at once, of all calls together; more wait
            outside. Default: twice what all workers can hold, at least 64.
    """

    def __init__(self, *, on_error: OnError = "filter", max_inflight: int | None = None) -> None:
        Report(on_error, None, None, None)  # refuses an unknown mode now and not at the first call
        self._on_error: OnError = on_error
        refuse_fractions(max_inflight=max_inflight)
        if max_inflight is not None and max_inflight < 1:
            raise ConfigError(f"max_inflight must be at least 1, not {max_inflight}")
        self._max_inflight = max_inflight
        self._specs: tuple[Spec, ...] = (Spec(),)
        self._line: Line | None = None
        self._retired: list[Line] = []
        self._closed = False

    # -- description -------------------------------------------------------------------------------

    def add(
        self,
        func: Function | Predicts,
        num_workers: int | None = None,
        batch_size: int | None = None,
        filterf: Function | None = None,
        batcher: Function | None = None,
        timeout: float | None = None,
        *,
        max_delay: float | None = None,
    ) -> ModelPipe:
        """Append a function or a model.

        Without a keyword, `func` is applied right after the one before, by the same worker; after a
        stage with `batch_size` it gets the whole batch. Any keyword starts a new stage with a queue
        and workers of its own; what is not given is taken over from the stage before.

        Args:
            func: Takes one value; with `batch_size` over 1 a batch, and gives one answer for each.
                A model is anything with a method `predict`.
            num_workers: Threads of the stage. Default 1.
            batch_size: Most values in a batch. A free worker takes what waits. Default 1.
            filterf: Values for which this is false are left out before the stage. Default: None is.
            batcher: Makes the batch from the list of values, such as `numpy.vstack`.
            timeout: Seconds that the stage may take for one value, or one batch; 0 is no limit.
                Threads cannot be killed: the caller is freed, a new thread takes the place of the
                hanging one. Default: no limit.
            max_delay: Seconds that a batch may wait to be filled. Default 0.

        Returns:
            The pipe itself.

        Raises:
            ConfigError: an argument that cannot be.
        """
        function = as_function(func)
        keywords = Keywords(
            num_workers=num_workers, batch_size=batch_size, filterf=filterf, batcher=batcher, timeout=timeout,
            max_delay=max_delay,
        )  # fmt: skip
        with _building:
            if self._closed:
                raise ConfigError("the pipe is closed")
            self._specs = keywords.extend(self._specs, function)
            if self._line is not None:  # what is inside goes the old way, what comes the new
                self._retired.append(self._line)
                self._line = None
        return self

    # -- use ---------------------------------------------------------------------------------------

    @overload
    def apply_unordered(self, data: Mapping[K, object]) -> dict[K, object]: ...
    @overload
    def apply_unordered(self, data: Set[object]) -> set[object]: ...
    @overload
    def apply_unordered(self, data: tuple[object, ...]) -> tuple[tuple[int, object], ...]: ...
    @overload
    def apply_unordered(self, data: AsyncIterable[object]) -> AsyncIterator[tuple[int, object]]: ...
    @overload
    def apply_unordered(self, data: Iterator[object]) -> Iterator[tuple[int, object]]: ...
    @overload
    def apply_unordered(self, data: list[T] | range) -> list[tuple[int, object]]: ...
    @overload
    def apply_unordered(self, data: object) -> object: ...

    def apply_unordered(self, data: object) -> object:
        """The answers as they come.

        Args:
            data: A dictionary gives a dictionary with the same keys; a set a set of answers; a list,
                a range, an array (its rows) or any other sized iterable a list of `(index, answer)`
                in the order of completion, a tuple a tuple of them; a generator or another iterator
                a generator of them; an async iterable an async generator of them.

        Raises:
            BadInput: nothing that can be iterated, or a single string.
        """
        return self._apply(data, ordered=False, on_error=self._on_error, errors=None)

    __call__ = apply_unordered

    @overload
    def apply_ordered(self, data: Mapping[K, object]) -> dict[K, object]: ...
    @overload
    def apply_ordered(self, data: Set[object]) -> set[object]: ...
    @overload
    def apply_ordered(self, data: tuple[object, ...]) -> tuple[object, ...]: ...
    @overload
    def apply_ordered(self, data: AsyncIterable[object]) -> AsyncIterator[object]: ...
    @overload
    def apply_ordered(self, data: Iterator[object]) -> Iterator[object]: ...
    @overload
    def apply_ordered(self, data: list[T] | range) -> list[object]: ...
    @overload
    def apply_ordered(self, data: object) -> object: ...

    def apply_ordered(self, data: object) -> object:
        """As `apply_unordered`, but bare answers in the order of the input, without their index."""
        return self._apply(data, ordered=True, on_error=self._on_error, errors=None)

    def call(self, data: object, *, ordered: bool = False, on_error: OnError | None = None) -> Outcome:
        """The answers together with the errors of this call.

        Args:
            data: As for `apply_unordered`.
            ordered: As `apply_ordered`.
            on_error: In place of the pipe's own.
        """
        mode = self._on_error if on_error is None else on_error
        errors: dict[object, BaseException] = {}
        return Outcome(self._apply(data, ordered=ordered, on_error=mode, errors=errors), errors)

    async def apply_async(self, data: object, *, ordered: bool = False) -> object:
        """`pipe(data)` for a coroutine: blocks no event loop.

        A generator is taken from on a thread; it and an async iterable give an async generator.
        """
        given = read(data)
        if given.kind in ("stream", "async"):
            return self._stream_async(given, ordered, self._report(given, self._on_error, None))
        report = self._report(given, self._on_error, None)
        items = AsyncCall(self._open_line(), carry=report.carry).answers(given.stream_async(), ordered=False)
        async with aclosing(items):
            pairs = [(item.key, item.value) async for item in items if report.keeps(item)]
        report.close()
        return given.assemble(pairs, ordered=ordered)

    def submit(self, value: object, *, wait: bool = True) -> Future[object]:
        """Send one value through; the future has its answer or its error, whatever `on_error` says.

        Callbacks of the future run on a worker's thread. A cancelled value is not started. A value
        that a filter leaves out raises FilteredOut from the future.

        Args:
            wait: Whether to wait for room when `max_inflight` values are inside. False, as an event
                loop needs it, raises Overloaded instead.

        Raises:
            Overloaded: no room, or the pipe is closed.
            ConfigError: `wait` in a function of this same pipe, which could wait for itself.
        """
        line = self._open_line()
        if wait:
            refuse_own_worker(line)
            line.wait_to_admit(1)
        elif not line.admit(1):
            raise Overloaded(f"{line.max_inflight} values are in the pipe", hint="try again, or raise max_inflight")
        promise = Promise()
        line.enter([Item(value, 0, promise)])
        return promise.future

    def close(self) -> None:
        """Take nothing more, wait for what is inside and for the threads. Harmless when repeated.

        Does not wait for functions that outlived their timeout. Streams under way raise Overloaded
        for what was not taken in yet.
        """
        with _building:
            self._closed = True
            lines = [*self._retired, *([self._line] if self._line is not None else ())]
        for line in lines:
            line.close()

    def __enter__(self) -> ModelPipe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------

    def _apply(
        self, data: object, *, ordered: bool, on_error: str, errors: dict[object, BaseException] | None
    ) -> object:
        given = read(data)
        report = self._report(given, on_error, errors)
        if given.kind == "async":
            return self._stream_async(given, ordered, report)
        if given.kind == "stream":
            return self._stream(given, ordered, report)
        with closing(self._settled(given, report)) as items:
            pairs = [(item.key, item.value) for item in items if report.keeps(item)]
        report.close()
        return given.assemble(pairs, ordered=ordered)

    def _report(self, given: Given, on_error: str, errors: dict[object, BaseException] | None) -> Report:
        if self._closed:
            raise Overloaded("the pipe is closed")
        most = _KEPT_OF_STREAM if given.kind in ("stream", "async") else None
        return Report(on_error, given.names, errors, most)

    def _settled(self, given: Given, report: Report, *, ordered: bool = False) -> Generator[Item, None, None]:
        if len(self._specs) == 1:
            return inline(self._specs[0], given.values, carry=report.carry)
        call = Call(self._open_line(), carry=report.carry)
        return call.stream(iter(given.values), ordered=ordered) if given.kind == "stream" else call.run(given.values)

    def _stream(self, given: Given, ordered: bool, report: Report) -> Iterator[object]:
        with closing(self._settled(given, report, ordered=ordered)) as items:
            for item in items:
                if report.keeps(item):
                    yield item.value if ordered else (item.key, item.value)
        report.close()

    async def _stream_async(self, given: Given, ordered: bool, report: Report) -> AsyncIterator[object]:
        call = AsyncCall(self._open_line(), carry=report.carry)
        async with aclosing(call.answers(given.stream_async(), ordered=ordered)) as items:
            async for item in items:
                if report.keeps(item):
                    yield item.value if ordered else (item.key, item.value)
        report.close()

    def _open_line(self) -> Line:
        line = self._line
        if line is not None:
            return line
        with _building:
            if self._line is None:
                if self._closed:
                    raise Overloaded("the pipe is closed")
                specs = self._specs if self._specs[0].functions else self._specs[1:] or self._specs
                most = self._max_inflight or max(64, 2 * sum(spec.workers * spec.batch_size for spec in specs))
                self._line = Line(specs, most)
                weakref.finalize(self, self._line.shutdown).atexit = False
            return self._line


def _after_fork() -> None:
    global _building
    _building = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
