"""Calls of a model of arrays: each value becomes rows of a batch, each answer finds the way back to its key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import ContractViolation, StudioError
from ..models.base import TensorModel
from .batch import Answers, Batches, Item, Stacking, model_failure
from .call import Call, Fitted, Plan
from .columns import refuse_columns
from .contract import fit, fit_named, mismatch, named_inputs, with_rows

if TYPE_CHECKING:
    from ..models.base import Array

KEPT_ERRORS = 256
"""A request whose keys fail in greater number: the others share one error, more than the answer's header holds."""

_OF_THE_MACHINE = (MemoryError, OSError)
"""What a model raises that no value of a request is to blame for."""

_MORE_FAILED = ContractViolation("this value does not fit either", hint="GET /metadata shows the contract", field="")


class TensorCalls:
    """Starts calls and hands each to `finish` when it has all its answers.

    Args:
        model: What answers.
        loop: The server's event loop, to whose thread all methods and `finish` belong.
        batch_size: The most rows of one batch; None = what the model says, which is also the most.
        batch_mode: `auto`, `loop` or `thread`; see `Batches`.
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
        self._names = [spec.name for spec in model.outputs or ()]
        self._rows = with_rows(self._inputs)
        names = self._inputs[0].columns if len(self._inputs) == 1 else ()
        self._columns = frozenset([name for name in names if not name.isdigit()])
        self.stacking = Stacking(self._names, model.by_row, model.unmerged)
        self.batch_size = min(batch_size or model.batch, model.batch) if model.stacks else 1
        self._batches = Batches(
            model.run, self.batch_size, self._settle, loop, batch_mode, self.stacking, bounded=model.bounded
        )

    def prepare(self, values: Mapping[str, object]) -> Plan:
        """What of the request fits the contract, as arrays, and the errors of what does not. In any thread.

        Raises:
            BadInput: its keys are the names of columns.
        """
        inputs, errors = self._inputs, dict[str, StudioError]()
        if self._columns:
            refuse_columns(values, inputs[0], self._columns)
        plan: list[tuple[str | None, object]] = list(values.items())
        if named_inputs(inputs, values):
            plan = [(None, values)]
        elif len(inputs) > 1 and values and not any(isinstance(value, Mapping) for value in values.values()):
            wrong, plan = mismatch(inputs, values), []
            errors[wrong.field] = wrong
        fitted: list[Fitted] = []
        for key, value in plan:
            try:
                fitted.append((key, *self._fit(key, value)))
            except StudioError as exc:
                errors[key or ""] = exc if len(errors) < KEPT_ERRORS else _MORE_FAILED
        return Plan(tuple(values), fitted=fitted, errors=errors)

    def start(self, call: Call, plan: Plan) -> None:
        """Queues what fits."""
        call.errors = plan.errors
        axis = self._rows[0] if self._rows else None
        call.items = [
            Item(arrays, call, key, single, 1 if axis is None else len(arrays[axis]))
            for key, arrays, single in plan.fitted
        ]
        call.left = len(call.items)
        for item in call.items:
            self._batches.put(item)
        if not call.items:
            self._loop.call_soon(self._finish, call)

    @property
    def exhausted(self) -> bool:
        """Whether so many calls hang that the model cannot be trusted to answer any more."""
        return self._batches.exhausted

    def replace_hung(self, since: float) -> None:
        """Leaves a call of the model behind that has run since before `since` (monotonic)."""
        self._batches.replace_hung(since)

    def close(self) -> None:
        """Ends the thread; calls in flight get no answer."""
        self._batches.close()

    def _fit(self, key: str | None, value: object) -> tuple[list[Array], bool]:
        inputs = self._inputs
        if len(inputs) == 1:
            array, single = fit(inputs[0], value, key or "", nulls=self._model.handles_missing)
            return [array], single
        if not isinstance(value, Mapping):
            raise ContractViolation(
                f"{key!r}: expected an object with the inputs {', '.join(s.name for s in inputs)}, got bare values",
                hint="send one array for each input name", field=key or "",
            )  # fmt: skip
        return fit_named(inputs, value, f"{key}." if key else "", nulls=self._model.handles_missing)

    def _settle(self, answers: Answers) -> None:
        """Hands a batch's answers to their calls; the only place where an answer meets its key."""
        for item, outcome in answers:
            call: Call = item.owner
            if call.finished:
                continue
            if isinstance(outcome, StudioError):
                call.errors[item.key or ""] = self._explained(item, outcome)
            else:
                try:
                    self._keep(call, item, outcome)
                except Exception as exc:  # noqa: BLE001 - another number of outputs than the contract has, say
                    call.errors[item.key or ""] = model_failure(exc)
            call.left -= 1
            if call.left == 0:
                _time(call)
                self._finish(call)

    def _explained(self, item: Item, failure: StudioError) -> StudioError:
        """The failure; one of the model's with what of the request it may come from."""
        cause = failure.__cause__
        if self._model.unlike is None or not isinstance(cause, Exception) or isinstance(cause, _OF_THE_MACHINE):
            return failure
        try:
            found = self._model.unlike(item.tensors)
        except Exception:  # noqa: BLE001 - the record of a run may be of another model
            return failure
        if not found:
            return failure
        told = ContractViolation(
            f"{failure.message}; unlike all that it was fitted on: {found}", hint=failure.hint, field=item.key or ""
        )
        told.__cause__ = cause
        return told

    def _keep(self, call: Call, item: Item, outcome: Sequence[Array]) -> None:
        values, names = outcome, self._names
        for output in outcome:
            call.size = None if call.size is None or output.dtype.kind == "O" else call.size + output.nbytes
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
