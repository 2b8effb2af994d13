"""The interface of a loaded model: what the serving machine may know about it, whatever library runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..experiment import JSON

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

Run = Callable[[Sequence["Array"]], Sequence["Array"]]
"""A model as a function of arrays: one for each input in, one for each output out; for one thread at a time."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named input or output. `shape` counts the batch axis; -1 is any length."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def as_json(self) -> dict[str, JSON]:
        """The form of `contracts.md`."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What every loaded model says of itself.

    Attributes:
        style: `checkpoint`, `create_model`, `identity`, …: the entry style that recognised it.
        file: Name of the file that it came from, or None.
        runtime: `{"name": …}` and what the runtime tells of itself.
        arrays: Whether values that are lists or pickled strings become numpy arrays before the call.
        inputs: The contract on the way in, or None where there is none.
        outputs: The contract on the way out, or None.
        warnings: What is degraded, one line each; shown in the terminal, on the page and in the metadata.
        caveat: Value of the header `X-Studio-Model` of every answer: `identity`, or `older; <why>` where another model
            was trained later. "" = no header.
    """

    style: str
    file: str | None = None
    runtime: Mapping[str, JSON] = field(default_factory=lambda: {"name": "python"})
    arrays: bool = False
    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None
    warnings: tuple[str, ...] = ()
    caveat: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DictModel(LoadedModel):
    """A function of the whole request: dict → dict.

    Attributes:
        call: The function. It may be called by `threads` threads at once. It answers with the value
            itself: `load_wrapper` awaits what a wrapper leaves to be awaited, and refuses generators.
        threads: How many calls may run at once; 0 = it is so quick that it runs on the event loop.
        close: Called once when the server ends.

    The call returns a mapping, or a `studio.pipe.Outcome`, whose errors go with their keys.
    """

    call: Callable[[dict[str, object]], object]
    threads: int = 8
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorModel(LoadedModel):
    """A function of arrays with a batch axis: rows of several requests may be stacked.

    Attributes:
        run: Takes one array for each input, in the order of `inputs`, and returns one for each output. Called
            by one thread at a time.
        stacks: False where the batch axis has a fixed length, so that requests are never merged.
        call_s: Seconds that one call with one row takes, measured at load; None if unknown.
        batch: The most rows that are worth one call.
    """

    run: Run
    stacks: bool = True
    call_s: float | None = None
    batch: int = 64
