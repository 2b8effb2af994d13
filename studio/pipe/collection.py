"""What goes into a pipe and what comes out: kinds of collections, and what becomes of errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence, Set, Sized
from dataclasses import dataclass
from typing import Literal, cast

from ..errors import BadInput, ConfigError
from .stage import Item, Spec, Verdict, evaluate

log = logging.getLogger(__name__)

_LOGGED = 10
_END = object()
MODES = ("filter", "none", "drop", "raise")


@dataclass(frozen=True, slots=True)
class Given:
    """A collection as a pipe sees it.

    Attributes:
        kind: What it is, and so what its answer is.
        values: In the order of their tickets 0, 1, 2 …; of an async iterable, nothing.
        names: What the tickets stand for in errors and dictionaries; None: themselves.
    """

    kind: Literal["mapping", "set", "tuple", "list", "stream", "async"]
    values: Iterable[object]
    names: Sequence[object] | None = None
    later: AsyncIterable[object] | None = None

    def assemble(self, pairs: list[tuple[int, object]], *, ordered: bool) -> object:
        """The answer to a collection that is no stream.

        Args:
            pairs: Tickets and answers in the order of completion.

        Raises:
            BadInput: answers that no set can hold.
        """
        if self.kind == "mapping":
            names = cast("Sequence[object]", self.names)
            return {names[key]: value for key, value in sorted(pairs, key=_ticket)}
        if self.kind == "set":
            return _as_set([value for _, value in pairs])
        if ordered:
            pairs.sort(key=_ticket)
        answer: list[object] = [value for _, value in pairs] if ordered else list(pairs)
        return tuple(answer) if self.kind == "tuple" else answer

    async def stream_async(self) -> AsyncIterator[object]:
        """The values for a coroutine; those of an iterator are taken on a thread."""
        if self.later is not None:
            async for value in self.later:
                yield value
        elif self.kind == "stream":
            source, loop = iter(self.values), asyncio.get_running_loop()
            while (value := await loop.run_in_executor(None, next, source, _END)) is not _END:
                yield value
        else:
            for value in self.values:
                yield value


def read(data: object) -> Given:
    """Recognise a collection.

    Raises:
        BadInput: nothing that can be iterated, or one string.
    """
    if isinstance(data, Mapping):
        names = list(data)
        return Given("mapping", [data[name] for name in names], names)
    if isinstance(data, Set):
        elements = list(data)
        return Given("set", elements, elements)
    if isinstance(data, tuple):
        return Given("tuple", data)
    if isinstance(data, AsyncIterable):
        return Given("async", (), later=data)
    if isinstance(data, (str, bytes, bytearray, memoryview)):
        raise BadInput(
            f"a pipe takes a collection of values, not one {type(data).__name__}",
            hint="give a list of one, or use pipe.submit(value).result()",
        )
    if isinstance(data, Iterator):
        return Given("stream", data)
    if isinstance(data, Sized) and not isinstance(data, Iterable) and hasattr(data, "__getitem__"):
        return Given("list", (data[index] for index in range(len(data))))
    try:
        values = iter(cast("Iterable[object]", data))
    except TypeError as exc:
        raise BadInput(
            f"a pipe takes a collection of values, not one {type(data).__name__}",
            hint="give a dictionary, a list, a set, a generator …, or use pipe.submit(value).result()",
        ) from exc
    return Given("list" if isinstance(data, Sized) else "stream", values)


class Report:
    """Decides which settled values are answers, and keeps or logs the errors of one call.

    Args:
        mode: See `ModelPipe`.
        names: See `Given`.
        errors: Where errors are kept; None: they are logged.
        most: How many are kept at most.
    """

    def __init__(
        self,
        mode: str,
        names: Sequence[object] | None,
        errors: dict[object, BaseException] | None,
        most: int | None,
    ) -> None:
        if mode not in MODES:
            raise ConfigError(f"on_error cannot be {mode!r}", hint="one of: " + ", ".join(MODES))
        self.carry = mode == "filter"
        self._mode = mode
        self._names = names
        self._errors = errors
        self._most = most
        self._failed = 0

    def keeps(self, item: Item) -> bool:
        """Whether the item has an answer; `item.value` is it.

        Raises:
            BaseException: the item's own error, if the mode says so or it is no Exception.
        """
        error = item.error
        if error is None:
            return item.verdict is Verdict.DONE
        name = item.key if self._names is None else self._names[item.key]
        if self._mode == "raise" or not isinstance(error, Exception):
            _note(error, f"in the pipe, for {name!r:.200}")
            raise error
        self._keep(name, error)
        return item.verdict is Verdict.DONE or (item.verdict is Verdict.FAILED and self._mode == "none")

    def _keep(self, name: object, error: BaseException) -> None:
        self._failed += 1
        if self._errors is None:
            if self._failed <= _LOGGED:
                log.warning("pipe: %.200r has no answer", name, exc_info=error)
        elif self._most is None or len(self._errors) < self._most:
            self._errors[name] = error

    def close(self) -> None:
        """The end of the call."""
        if self._errors is None and self._failed > _LOGGED:
            log.warning("pipe: %d more values have no answer", self._failed - _LOGGED)


class _Here:
    """The sink of values that never leave the calling thread."""

    wanted = True
    lineage: frozenset[object] = frozenset()

    def __init__(self, carry: bool) -> None:
        self.carry = carry

    def settle(self, item: Item) -> None:
        """Nothing to do."""


def inline(spec: Spec, values: Iterable[object], *, carry: bool) -> Generator[Item, None, None]:
    """Values through a pipe of no stages but its first functions, in the calling thread."""
    sink = _Here(carry)
    for key, value in enumerate(values):
        item = Item(value, key, sink)
        [(_, verdict, outcome)] = evaluate(spec, 0, [item])
        if verdict is Verdict.DONE:
            item.value = outcome
        else:
            item.error, item.value = cast("BaseException", outcome), None
            item.verdict = Verdict.DONE if carry else verdict
        yield item


def _ticket(pair: tuple[int, object]) -> int:
    return pair[0]


def _as_set(values: list[object]) -> set[object]:
    try:
        answer = set(values)
    except TypeError as exc:
        raise BadInput(
            f"the answers to a set must be hashable: {exc}", hint="give a list or a dictionary instead"
        ) from exc
    if len(answer) < len(values):
        log.info("pipe: %d values of a set have %d different answers", len(values), len(answer))
    return answer


def _note(error: BaseException, text: str) -> None:
    if hasattr(error, "add_note") and text not in getattr(error, "__notes__", ()):
        error.add_note(text)
