"""Calls of a function of the whole request: in a few threads, or on the event loop where it is quick."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..errors import ServeError, StudioError
from ..models.base import DictModel
from ..pipe import Outcome
from .batch import model_failure
from .call import Call, Plan
from .codec import weight_of_plain
from .threads import Threads, call_soon


@dataclass(slots=True)
class _Answer:
    """What becomes of a call; the fields are those of `Call`."""

    outputs: dict[str, object] = field(default_factory=dict)
    errors: dict[str, StudioError] = field(default_factory=dict)
    failure: StudioError | None = None
    size: int | None = 0


class DictCalls:
    """Starts calls and hands each to `finish` when it has its answer.

    Args:
        model: What answers.
        loop: The server's event loop, to whose thread all methods and `finish` belong.
    """

    batch_size = 1

    def __init__(self, model: DictModel, finish: Callable[[Call], None], *, loop: asyncio.AbstractEventLoop) -> None:
        self._model, self._finish, self._loop = model, finish, loop
        self._threads = Threads(model.threads, "wrapper") if model.threads else None

    def prepare(self, values: Mapping[str, object]) -> Plan:
        """The request as it is."""
        return Plan(tuple(values), values=dict(values))

    def start(self, call: Call, plan: Plan) -> None:
        """Begins to answer.

        Raises:
            Overloaded: there is no thread for it.
        """
        values = plan.values
        if self._threads is not None:
            self._threads.submit(lambda: self._in_thread(call, values))
        else:
            self._loop.call_soon(self._inline, call, values)

    @property
    def exhausted(self) -> bool:
        """Whether so many calls hang that the model cannot be trusted to answer any more."""
        return self._threads is not None and self._threads.exhausted

    def replace_hung(self, since: float) -> None:
        """Leaves threads behind whose call has run since before `since` (monotonic)."""
        if self._threads is not None:
            self._threads.replace_hung(since)

    def close(self) -> None:
        """Ends the threads and the model; calls in flight get no answer."""
        if self._threads is not None:
            self._threads.close()
        self._model.close()

    def _inline(self, call: Call, values: dict[str, object]) -> None:
        if not call.finished:
            self._complete(call, self._answer(values))

    def _in_thread(self, call: Call, values: dict[str, object]) -> None:
        if call.finished:
            return
        call.queue_s = time.perf_counter() - call.began
        started = time.perf_counter()
        answer = self._answer(values)
        call.model_s = time.perf_counter() - started
        call_soon(self._loop, self._complete, call, answer)

    def _answer(self, values: dict[str, object]) -> _Answer:
        """The model's answer as a plain dictionary, or what went wrong: whatever that is, the request is answered."""
        try:
            return self._read(self._model.call(values))
        except BaseException as exc:  # noqa: BLE001 - a wrapper may raise anything, SystemExit included; its answers too
            return _Answer(failure=model_failure(exc))

    @staticmethod
    def _read(answer: object) -> _Answer:
        errors: dict[str, StudioError] = {}
        if isinstance(answer, Outcome):
            errors = {str(key): model_failure(exc) for key, exc in answer.errors.items()}
            answer = answer.values
        if not isinstance(answer, Mapping):
            raise ServeError(
                f"the model returned {type(answer).__name__}, not a dictionary",
                hint="create_model() returns a function from dict to dict",
            )
        given = dict(answer.items())
        outputs = {str(key): value for key, value in given.items()}
        if len(outputs) < len(given):
            raise _doubled(given)
        return _Answer(outputs, errors, size=weight_of_plain(outputs))

    def _complete(self, call: Call, answer: _Answer) -> None:
        if call.finished:
            return
        call.outputs, call.errors, call.failure, call.size = answer.outputs, answer.errors, answer.failure, answer.size
        self._finish(call)


def _doubled(answer: Mapping[object, object]) -> ServeError:
    """The error that names the first key that is there twice once all are text."""
    seen: set[str] = set()
    name = next(name for name in map(str, answer) if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return ServeError(
        f"the model's answer has the key {name[:80]!r} twice: as text and as another type",
        hint="keys become text on the wire; use text keys only",
    )
