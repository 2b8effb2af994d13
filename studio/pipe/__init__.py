"""The pipe: plain functions become stages with workers, queues and batches; answers are never mixed.

`ModelPipe` is all there is to it. Inside: `modelpipe` is how a pipe is used, `description` how it grows, `collection`
what goes in and comes out, `call` one use, `line` and `crew` threads and queues, `lineage` who waits for whom, `stage`
what one stage does to a batch, `awaiting` its async functions.
"""

from __future__ import annotations

from .awaiting import settled
from .modelpipe import ModelPipe, Outcome

__all__ = ["ModelPipe", "Outcome", "settled"]
