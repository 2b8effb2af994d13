"""The interface of a loaded model: what the serving machine may know about it, whatever library runs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..experiment import JSON

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

Run = Callable[[Sequence["Array"]], Sequence["Array"]]
"""A model as a function of arrays: one for each input in, one for each output out; for one thread at a time."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named input or output. `shape` counts the batch axis; -1 is any length.

    Attributes:
        axes: The model's own names of its axes, "" where it gives none; axes of one name have one length.
        free: Even the number of axes is unknown: an array of any shape is taken as it is, and `shape` is empty.
        sample: One item to show in examples, where zeros would not do.
        columns: The names of the places of the last axis, where they are known.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    axes: tuple[str, ...] = ()
    free: bool = False
    sample: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()

    def as_json(self) -> dict[str, JSON]:
        """The form of `contracts.md`: the shape is null where it is unknown, `columns` is only there for names."""
        told: dict[str, JSON] = {
            "name": self.name,
            "dtype": self.dtype,
            "shape": None if self.free else list(self.shape),
        }
        return {**told, "columns": list(self.columns)} if self.columns else told


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
        handles_missing: Whether not-a-number means a missing value to it, so that `null` among numbers is one.
        warnings: What is degraded, one line each; shown in the terminal, on the page and in the metadata.
        helper: Whether it finds clusters, densities or outliers and predicts no target: it answers for no predictor.
        caveat: Value of the header `X-Studio-Model` of every answer: `identity`; `older; <why>` where another model was
            trained later; `other; <why>` where it answers in the place of one that was not. "" = no header.
    """

    style: str
    file: str | None = None
    runtime: Mapping[str, JSON] = field(default_factory=lambda: {"name": "python"})
    arrays: bool = False
    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None
    handles_missing: bool = False
    warnings: tuple[str, ...] = ()
    helper: bool = False
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
    """A function of arrays; rows of several requests are stacked if that is proven to change no answer.

    Attributes:
        run: Takes one array for each input, in the order of `inputs`, and returns one for each output. Called
            by one thread at a time.
        unmerged: Why requests are never merged; "" where they may be.
        by_row: For each output, whether its first axis is the rows of the input; all, if empty.
        probe: Inputs that the model has answered, as many rows as asked for; None if none were found.
        bounded: Whether the time of a call depends on the sizes of its inputs only; True only where the loader can
            show it. All others run in threads: they could hold the event loop for as long as a value says.
        call_s: Seconds that one call with one row takes, measured at load; None if unknown.
        batch: The most rows that are worth one call.
        unlike: What of the inputs is unlike all that the model was fitted on, as a clause; "" if nothing is known.
    """

    run: Run
    unmerged: str = ""
    by_row: tuple[bool, ...] = ()
    probe: Callable[[int], list[Array]] | None = None
    bounded: bool = False
    call_s: float | None = None
    batch: int = 64
    unlike: Callable[[Sequence[Array]], str] | None = None

    @property
    def stacks(self) -> bool:
        """Whether requests may be merged."""
        return not self.unmerged


def said(exc: BaseException) -> str:
    """An error of a library in one line: its class and its message, without the frames that some libraries add."""
    text = _ESCAPES.sub("", str(exc)).partition("Arguments received by")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("[[")]
    frames = [k for k, line in enumerate(lines) if line.startswith('File "')]
    lines = (lines[frames[-1] + 2 :] if frames else lines) or lines
    message = " ".join(lines[:4])[:400]
    name = type(exc).__name__
    return message if message.startswith(name) else f"{name}: {message}" if message else name
