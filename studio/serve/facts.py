"""What a server tells of itself: `GET /metadata`, the page, the example request."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import __version__
from ..experiment import JSON
from ..models.base import LoadedModel
from .idle import Idle

LONGEST_EXAMPLE = 20_000


@dataclass(slots=True)
class Facts:
    """What the metadata and the page tell.

    Attributes:
        source: Where the model came from: kind, key, commit, store or path.
        unmerged: Why requests are not merged at the moment, "" if they are; None where that is not the question.
        name: What is served, for people.
    """

    model: LoadedModel
    idle: Idle
    name: str
    source: Mapping[str, JSON]
    needs_token: bool = False
    debug: bool = False
    version: str | None = None
    warnings: list[str] = field(default_factory=list)
    inflight: Callable[[], int] = lambda: 0
    unmerged: Callable[[], str | None] = lambda: None
    runtime: dict[str, JSON] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """`GET /metadata` of contracts.md."""
        model, unmerged = self.model, self.unmerged()
        late = [f"requests are not merged any more: {unmerged}"] if unmerged and unmerged != self._at_load() else []
        return {
            "name": self.name, "version": self.version, "source": dict(self.source), "style": model.style,
            "file": model.file, "runtime": {**model.runtime, **self.runtime},
            "inputs": None if model.inputs is None else [s.as_json() for s in model.inputs],
            "outputs": None if model.outputs is None else [s.as_json() for s in model.outputs],
            "stacking": None if unmerged is None else not unmerged, "unmerged": unmerged or None,
            "warnings": [*model.warnings, *self.warnings, *late],
            "idle": {"killafter": self.idle.killafter_s, "remaining": self.idle.remaining_s(self.inflight())},
            "studio": __version__,
        }  # fmt: skip

    def _at_load(self) -> str:
        return getattr(self.model, "unmerged", "")

    def example(self) -> str:
        """A JSON body that the model takes, a small dictionary where it has no contract; "" if it would be long."""
        inputs = self.model.inputs
        if not inputs:
            return '{"a": 1}'
        text = json.dumps(
            {s.name: list(s.sample) or _zeros([1 if n < 0 else n for n in s.shape[1:]], s.dtype) for s in inputs}
        )
        return text if len(text) <= LONGEST_EXAMPLE else ""


def _zeros(shape: list[int], dtype: str) -> Any:
    if not shape:
        return 0.0 if dtype.startswith(("float", "bfloat")) else 0
    return [_zeros(shape[1:], dtype)] * shape[0]
