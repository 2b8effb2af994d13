"""The one data plane: named values in, named answers out; every protocol of the server is a translator over it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ..errors import BadInput, ContractViolation, Overloaded, ServeError, StudioError, Timeout
from ..models.base import DictModel, LoadedModel, TensorModel
from ..pipe import Outcome
from .batch import Item, LoopBatches, ThreadBatches, model_failure
from .contract import fit, fit_named, mismatch, named_inputs
from .threads import Threads

if TYPE_CHECKING:
    from ..models.base import Array

LOOP_BELOW_S = 300e-6
"""Models quicker than this run on the event loop: a hand-off to a thread would cost more than it frees."""

TICK_S = 0.1

KEPT_ERRORS = 256
"""A request whose keys fail in greater number: the others share one error, more than the answer's header holds."""

_Answered = tuple[dict[str, object], dict[str, StudioError], StudioError | None]


class Call:
    """One request in the data plane. `done` is called exactly once, on the event loop, unless it was cancelled.

    Attributes:
        outputs: Answers by key, in the order of the request.
        errors: Errors by key; such a key is not in `outputs`.
        failure: The error of the request as a whole, if it failed.
        queue_s, model_s, batch_s: Seconds it waited, the model ran, and were spent around the model.
    """

    __slots__ = (
        "batch_s",
        "began",
        "deadline",
        "done",
        "errors",
        "failure",
        "finished",
        "items",
        "left",
        "model_s",
        "order",
        "outputs",
        "queue_s",
    )  # fmt: skip

    def __init__(self, done: Callable[[Call], None], order: tuple[str, ...], timeout_s: float) -> None:
        self.done = done
        self.order = order
        self.began = time.perf_counter()
        self.deadline = self.began + timeout_s
        self.outputs: dict[str, object] = {}
        self.errors: dict[str, StudioError] = {}
        self.failure: StudioError | None = None
        self.items: list[Item] = []
        self.left = 0
        self.finished = False
        self.queue_s = self.model_s = self.batch_s = 0.0


class Predictor:
    """Runs a loaded model for many callers at once. All methods belong to the event loop's thread.

    Args:
        model: What answers.
        loop: The server's event loop.
        timeout_s: A call that has no answer by then gets `Timeout`.
        max_inflight: More calls than this at once are `Overloaded`.
        batch_size: The most rows of one batch; None = what the model says.
        batch_mode: `auto`, `loop` or `thread`.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        loop: asyncio.AbstractEventLoop,
        timeout_s: float = 60.0,
        max_inflight: int = 1024,
        batch_size: int | None = None,
        batch_mode: str = "auto",
    ) -> None:
        self.model = model
        self.max_inflight = max_inflight
        self._loop, self._timeout_s = loop, timeout_s
        self._calls: dict[Call, None] = {}
        self._ticking = False
        self._batches: LoopBatches | ThreadBatches | None = None
        self._threads: Threads | None = None
        if isinstance(model, TensorModel):
            quick = model.call_s is not None and model.call_s < LOOP_BELOW_S
            on_loop = batch_mode == "loop" or (batch_mode == "auto" and quick)
            self.batch_size = (batch_size or model.batch) if model.stacks else 1
            self._batches = (LoopBatches if on_loop else ThreadBatches)(model.run, self.batch_size, self._settle, loop)
        elif isinstance(model, DictModel):
            self.batch_size = 1
            self._threads = Threads(model.threads, "wrapper") if model.threads else None
        else:
            raise TypeError(f"not a model: {model!r}")

    @property
    def inflight(self) -> int:
        """How many calls have no answer yet."""
        return len(self._calls)

    def check_room(self) -> None:
        """Raises:
        Overloaded: as many calls as allowed are in flight.
        """
        if len(self._calls) >= self.max_inflight:
            raise Overloaded(f"{self.max_inflight} requests are in flight", hint="retry after the time in Retry-After")

    def start(self, values: Mapping[str, object], done: Callable[[Call], None]) -> Call:
        """Begins one call; `done` gets it when all its keys have an answer or an error.

        Raises:
            Overloaded: too many calls are in flight; `done` is not called.
        """
        self.check_room()
        call = Call(done, tuple(values), self._timeout_s)
        self._calls[call] = None
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_S, self._tick)
        if self._batches is not None:
            self._start_items(call, values)
        elif self._threads is not None:
            self._threads.submit(lambda: self._in_thread(call, dict(values)))
        else:
            self._loop.call_soon(self._inline, call, dict(values))
        return call

    async def predict(self, values: Mapping[str, object]) -> Call:
        """The finished call. Cancelling the coroutine cancels the call.

        Raises:
            Overloaded: too many calls are in flight.
        """
        future: asyncio.Future[Call] = self._loop.create_future()
        call = self.start(values, lambda c: None if future.done() else future.set_result(c))
        try:
            return await future
        finally:
            self.cancel(call)

    def cancel(self, call: Call) -> None:
        """Nobody waits any more: what has not begun is dropped, what has begun is thrown away."""
        if not call.finished:
            self._retire(call)

    def close(self) -> None:
        """Ends the threads; calls in flight get no answer."""
        if self._batches is not None:
            self._batches.close()
        if self._threads is not None:
            self._threads.close()
        if isinstance(self.model, DictModel):
            self.model.close()

    # -- arrays ------------------------------------------------------------------------------------

    def _start_items(self, call: Call, values: Mapping[str, object]) -> None:
        inputs = self.model.inputs or ()
        batches = cast("LoopBatches | ThreadBatches", self._batches)
        plan: list[tuple[str | None, object]] = list(values.items())
        if named_inputs(inputs, values):
            plan = [(None, values)]
        elif len(inputs) > 1 and values and not any(isinstance(value, Mapping) for value in values.values()):
            wrong, plan = mismatch(inputs, values), []
            call.errors[wrong.field] = wrong
        for key, value in plan:
            try:
                item = self._item(call, key, value)
            except StudioError as exc:
                call.errors[key or ""] = exc if len(call.errors) < KEPT_ERRORS else _MORE_FAILED
                continue
            call.items.append(item)
        call.left = len(call.items)
        for item in call.items:
            batches.put(item)
        if not call.items:
            self._loop.call_soon(self._finish, call)

    def _item(self, call: Call, key: str | None, value: object) -> Item:
        inputs = self.model.inputs or ()
        if len(inputs) == 1:
            array, single = fit(inputs[0], value, key or "")
            return Item([array], call, key, single)
        if not isinstance(value, Mapping):
            raise ContractViolation(
                f"{key!r}: expected an object with the inputs {', '.join(s.name for s in inputs)}, got bare values",
                hint="send one array for each input name", field=key or "",
            )  # fmt: skip
        arrays, single = fit_named(inputs, value, f"{key}." if key else "")
        return Item(arrays, call, key, single)

    def _settle(self, answers: list[tuple[Item, Sequence[Array] | StudioError]]) -> None:
        """Hands a batch's answers to their calls; the only place where an answer meets its key."""
        for item, outcome in answers:
            call: Call = item.owner
            if call.finished:
                continue
            if isinstance(outcome, StudioError):
                call.errors[item.key or ""] = outcome
            else:
                self._keep(call, item, outcome)
            call.left -= 1
            if call.left == 0:
                self._time(call)
                self._finish(call)

    def _keep(self, call: Call, item: Item, outcome: Sequence[Array]) -> None:
        values: list[object] = [output[0] for output in outcome] if item.single else list(outcome)
        names = [spec.name for spec in self.model.outputs or ()]
        if item.key is None:
            call.outputs = dict(zip(names, values, strict=True))
        elif len(values) == 1:
            call.outputs[item.key] = values[0]
        else:
            call.outputs[item.key] = dict(zip(names, values, strict=True))

    def _time(self, call: Call) -> None:
        now = time.perf_counter()
        first, last = min(i.taken_at for i in call.items), max(call.items, key=lambda i: i.taken_at)
        call.queue_s = first - call.began
        call.model_s = last.model_s
        call.batch_s = max(0.0, now - first - last.model_s)

    # -- dictionaries --------------------------------------------------------------------------------

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
            answer = cast(DictModel, self.model).call(values)
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

    # -- ends ----------------------------------------------------------------------------------------

    def _finish(self, call: Call) -> None:
        if call.finished:
            return
        self._retire(call)
        if call.errors and not call.outputs and call.failure is None:
            call.failure = next(iter(call.errors.values()))
        if len(call.outputs) > 1 and tuple(call.outputs) != call.order:
            ordered: dict[str, Any] = {k: call.outputs[k] for k in call.order if k in call.outputs}
            call.outputs = ordered | call.outputs
        call.done(call)

    def _retire(self, call: Call) -> None:
        call.finished = True
        self._calls.pop(call, None)
        for item in call.items:
            item.dropped = True

    def _tick(self) -> None:
        """Every 0.1 s while calls are in flight: deadlines (all equal, so the oldest call is first), hung threads."""
        now = time.perf_counter()
        while self._calls and (call := next(iter(self._calls))).deadline <= now:
            call.failure = Timeout(f"no answer within {self._timeout_s:g} s", hint="raise --timeout, or send less")
            self._finish(call)
        hung_since = time.monotonic() - self._timeout_s
        if self._batches is not None:
            self._batches.replace_if_hung(hung_since)
        if self._threads is not None:
            self._threads.replace_hung(hung_since)
        self._ticking = bool(self._calls)
        if self._ticking:
            self._loop.call_later(TICK_S, self._tick)


def _doubled(answer: Mapping[object, object]) -> ServeError:
    """The error that names the first key that is there twice once all are text."""
    seen: set[str] = set()
    name = next(name for name in map(str, answer) if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return ServeError(
        f"the model's answer has the key {name[:80]!r} twice: as text and as another type",
        hint="keys become text on the wire; use text keys only",
    )


_MORE_FAILED = ContractViolation("this value does not fit either", hint="GET /metadata shows the contract", field="")


def check_values(values: object) -> dict[str, object]:
    """The decoded body, if it is a dictionary with text keys.

    Raises:
        BadInput: it is not.
    """
    if not isinstance(values, dict) or not all(isinstance(k, str) for k in values):
        raise BadInput("the body must be a dictionary with text keys", hint='for example {"x": [[1.0, 2.0]]}')
    return values
