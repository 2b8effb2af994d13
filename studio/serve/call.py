"""One request in the data plane: what was asked, what is answered, how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import StudioError

if TYPE_CHECKING:
    from ..models.base import Array
    from .batch import Item

Fitted = tuple[str | None, list["Array"], bool]


@dataclass(slots=True)
class Plan:
    """A request that is ready to begin: what `Predictor.prepare` makes of its values, in any thread.

    Attributes:
        order: Its keys.
        values: All of them, for a model of the whole request.
        fitted: Key, one array for each input, and whether the batch axis was added; for a model of arrays.
        errors: By key, of what does not fit the contract.
    """

    order: tuple[str, ...]
    values: dict[str, object] = field(default_factory=dict)
    fitted: list[Fitted] = field(default_factory=list)
    errors: dict[str, StudioError] = field(default_factory=dict)


class Call:
    """One request in the data plane. `done` is called exactly once, on the event loop, unless it was cancelled.

    Attributes:
        outputs: Answers by key, in the order of the request.
        errors: Errors by key; such a key is not in `outputs`.
        failure: The error of the request as a whole, if it failed.
        size: About how many bytes the outputs hold; None where they are not plain values: to write them may take
            any time.
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
        "size",
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
        self.size: int | None = 0
        self.finished = False
        self.queue_s = self.model_s = self.batch_s = 0.0
