"""Calls of a model of arrays: each value becomes rows of a batch, each answer finds the way back to its key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import ContractViolation, StudioError
from ..models.base import TensorModel
from .batch import Answers, Item, LoopBatches, ThreadBatches
from .call import Call
from .contract import fit, fit_named, mismatch, named_inputs

if TYPE_CHECKING:
    from ..models.base import Array

LOOP_BELOW_S = 300e-6
"""Models quicker than this run on the event loop: a hand-off to a thread would cost more than it frees."""

KEPT_ERRORS = 256
"""A request whose keys fail in greater number: the others share one error, more than the answer's header holds."""

_MORE_FAILED = ContractViolation("this value does not fit either", hint="GET /metadata shows the contract", field="")


class TensorCalls:
    """Starts calls and hands each to `finish` when it has all its answers.

    Args:
        model: What answers.
        loop: The server's event loop, to whose thread all methods and `finish` belong.
        batch_size: The most rows of one batch; None = what the model says.
        batch_mode: `auto`, `loop` or `thread`.
    """

    def __init__(
        self,
        model: TensorModel,
        finish: Callable[[Call], None],
        *,
        loop: asyncio.AbstractEventLoop,
        batch_size: int | None,
        batch_mode: str,
    ) -> None:
        self._model, self._finish, self._loop = model, finish, loop
        self._inputs = model.inputs or ()
        self.batch_size = (batch_size or model.batch) if model.stacks else 1
        quick = model.call_s is not None and model.call_s < LOOP_BELOW_S
        on_loop = batch_mode == "loop" or (batch_mode == "auto" and quick)
        self._batches = (LoopBatches if on_loop else ThreadBatches)(model.run, self.batch_size, self._settle, loop)

    def start(self, call: Call, values: Mapping[str, object]) -> None:
        """Queues what fits the contract; what does not has its error at once."""
        inputs = self._inputs
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
            self._batches.put(item)
        if not call.items:
            self._loop.call_soon(self._finish, call)

    def replace_hung(self, since: float) -> None:
        """Leaves a call of the model behind that has run since before `since` (monotonic)."""
        self._batches.replace_if_hung(since)

    def close(self) -> None:
        """Ends the thread; calls in flight get no answer."""
        self._batches.close()

    def _item(self, call: Call, key: str | None, value: object) -> Item:
        inputs = self._inputs
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

    def _settle(self, answers: Answers) -> None:
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
                _time(call)
                self._finish(call)

    def _keep(self, call: Call, item: Item, outcome: Sequence[Array]) -> None:
        values: list[object] = [output[0] for output in outcome] if item.single else list(outcome)
        names = [spec.name for spec in self._model.outputs or ()]
        if item.key is None:
            call.outputs = dict(zip(names, values, strict=True))
        elif len(values) == 1:
            call.outputs[item.key] = values[0]
        else:
            call.outputs[item.key] = dict(zip(names, values, strict=True))


def _time(call: Call) -> None:
    now = time.perf_counter()
    first, last = min(i.taken_at for i in call.items), max(call.items, key=lambda i: i.taken_at)
    call.queue_s = first - call.began
    call.model_s = last.model_s
    call.batch_s = max(0.0, now - first - last.model_s)
