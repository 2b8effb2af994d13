"""Calls of a function of the whole request: in a few threads, or on the event loop where it is quick."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from ..errors import ServeError, StudioError
from ..models.base import DictModel
from ..pipe import Outcome
from .batch import model_failure
from .call import Call
from .threads import Threads

_Answered = tuple[dict[str, object], dict[str, StudioError], StudioError | None]


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

    def start(self, call: Call, values: Mapping[str, object]) -> None:
        """Begins to answer."""
        if self._threads is not None:
            self._threads.submit(lambda: self._in_thread(call, dict(values)))
        else:
            self._loop.call_soon(self._inline, call, dict(values))

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
            self._complete(call, *self._answer(values))

    def _in_thread(self, call: Call, values: dict[str, object]) -> None:
        if call.finished:
            return
        call.queue_s = time.perf_counter() - call.began
        started = time.perf_counter()
        outcome = self._answer(values)
        call.model_s = time.perf_counter() - started
        try:
            self._loop.call_soon_threadsafe(self._complete, call, *outcome)
        except RuntimeError:  # the loop is closed: the server has ended
            return

    def _answer(self, values: dict[str, object]) -> _Answered:
        errors: dict[str, StudioError] = {}
        try:
            answer = self._model.call(values)
        except BaseException as exc:  # noqa: BLE001 - a wrapper may raise anything, SystemExit included
            return {}, {}, model_failure(exc)
        if isinstance(answer, Outcome):
            errors = {str(key): model_failure(exc) for key, exc in answer.errors.items()}
            answer = answer.values
        if not isinstance(answer, Mapping):
            return (
                {},
                {},
                ServeError(
                    f"the model returned {type(answer).__name__}, not a dictionary",
                    hint="create_model() returns a function from dict to dict",
                ),
            )
        outputs = {str(k): v for k, v in answer.items()}
        if len(outputs) < len(answer):
            return {}, {}, _doubled(answer)
        return outputs, errors, None

    def _complete(
        self, call: Call, outputs: dict[str, object], errors: dict[str, StudioError], failure: StudioError | None
    ) -> None:
        call.outputs, call.errors, call.failure = outputs, errors, failure
        self._finish(call)


def _doubled(answer: Mapping[object, object]) -> ServeError:
    """The error that names the first key that is there twice once all are text."""
    seen: set[str] = set()
    name = next(name for name in map(str, answer) if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return ServeError(
        f"the model's answer has the key {name[:80]!r} twice: as text and as another type",
        hint="keys become text on the wire; use text keys only",
    )
