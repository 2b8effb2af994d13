"""The pipe: plain functions become stages with workers, queues and batches; answers are never mixed.

`ModelPipe` is all there is to it. Inside: `modelpipe` knows collections, `call` one use of a pipe,
`line` threads and queues, `stage` what one stage does to a batch.
"""

from __future__ import annotations

from .modelpipe import ModelPipe, Outcome

__all__ = ["ModelPipe", "Outcome"]
