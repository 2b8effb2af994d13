"""The one data plane: named values in, named answers out; every protocol of the server is a translator over it.

Hides how a model is called: `TensorCalls` for one of arrays, `DictCalls` for a function of the whole request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import Overloaded, Timeout
from ..models.base import DictModel, LoadedModel, TensorModel
from .call import Call, Plan
from .dict_calls import DictCalls
from .tensor_calls import TensorCalls

TICK_S = 0.1


class Predictor:
    """Runs a loaded model for many callers at once. All methods belong to the event loop's thread.

    Args:
        model: What answers.
        loop: The server's event loop.
        timeout_s: A call that has no answer by then gets `Timeout`.
        max_inflight: More calls than this at once are `Overloaded`.
        batch_size: The most rows of one batch; None = what the model says.
        batch_mode: `auto`, `loop` or `thread`; see `Batches`.
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
        self._way: TensorCalls | DictCalls
        if isinstance(model, TensorModel):
            self._way = TensorCalls(model, self._finish, loop=loop, batch_size=batch_size, batch_mode=batch_mode)
        elif isinstance(model, DictModel):
            self._way = DictCalls(model, self._finish, loop=loop)
        else:
            raise TypeError(f"not a model: {model!r}")
        self.batch_size = self._way.batch_size

    @property
    def unmerged(self) -> str | None:
        """Why requests are not merged, "" if they are; None where the model takes whole requests."""
        return self._way.stacking.why if isinstance(self._way, TensorCalls) else None

    @property
    def inflight(self) -> int:
        """How many calls have no answer yet."""
        return len(self._calls)

    def check_room(self) -> None:
        """Raises:
        Overloaded: as many calls as allowed are in flight, or so many hang that none is begun any more.
        """
        if self._way.exhausted:
            raise Overloaded("the model's calls hang", hint="the server's log has more")
        if len(self._calls) >= self.max_inflight:
            raise Overloaded(f"{self.max_inflight} requests are in flight", hint="retry after the time in Retry-After")

    @property
    def exhausted(self) -> bool:
        """Whether so many calls hang that the model cannot be trusted to answer any more."""
        return self._way.exhausted

    def prepare(self, values: Mapping[str, object]) -> Plan:
        """What `begin` takes, checked against the contract; in any thread, as it takes time for large values."""
        return self._way.prepare(values)

    def begin(self, plan: Plan, done: Callable[[Call], None]) -> Call:
        """Begins one call; `done` gets it when all its keys have an answer or an error.

        Raises:
            Overloaded: too many calls are in flight; `done` is not called.
        """
        self.check_room()
        call = Call(done, plan.order, self._timeout_s)
        self._way.start(call, plan)
        self._calls[call] = None
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_S, self._tick)
        return call

    def start(self, values: Mapping[str, object], done: Callable[[Call], None]) -> Call:
        """`prepare` and `begin` at once."""
        return self.begin(self.prepare(values), done)

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

    def replace_hung(self) -> None:
        """Leaves threads behind whose call has run for longer than the time limit; call now and then."""
        self._way.replace_hung(time.monotonic() - self._timeout_s)

    def close(self) -> None:
        """Ends the threads; calls in flight get no answer."""
        self._way.close()

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
        call.items = []  # each of them holds the call

    def _tick(self) -> None:
        """Every 0.1 s while calls are in flight: deadlines (all equal, so the oldest call is first), hung threads."""
        now = time.perf_counter()
        while self._calls and (call := next(iter(self._calls))).deadline <= now:
            call.failure = Timeout(f"no answer within {self._timeout_s:g} s", hint="raise --timeout, or send less")
            self._finish(call)
        self.replace_hung()
        self._ticking = bool(self._calls)
        if self._ticking:
            self._loop.call_later(TICK_S, self._tick)
