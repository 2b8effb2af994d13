"""Whether a Keras model's weights are at rest: hides how batches are counted, and how the next one is held back.

Keras changes the weights within a batch alone. So another thread may save the model while the training thread is in a
callback of the script's, validates, or waits here for the save to end.

Keras may tell of the ends of batches in threads, late and in any order; of their begins it tells at once. A model is at
rest when as many have ended as begun. Each side sets its own mark first and then looks at the other's, so that a batch
and a save never miss each other.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from . import _studio_stop
else:
    import _studio_stop

TICK_S = 0.002


class Batches:
    """The batches of one model's `fit`, or those of all loops of the script's own.

    Attributes:
        begun: How many have begun, in all epochs.
        ended: How many of these are over.
        done: How far the epoch under way has come, in batches.
        alone: Whether the weights can be read only while the training thread waits here. So it is with JAX, which
            keeps them elsewhere meanwhile.
    """

    def __init__(self) -> None:
        self.begun = self.ended = self.done = 0
        self.alone = False
        self._process = os.getpid()  # nobody saves in a fork
        self._held = 0
        self._waits = False
        self._counting = threading.Lock()

    def begins(self) -> bool:
        """A batch begins; False if `wait` has to be called first."""
        self._count(1)
        return not self._is_held()

    def wait(self) -> None:
        """Takes the begin back until nobody saves the model."""
        while self._is_held():
            self._count(-1)
            self._waits = True
            try:
                while self._is_held():
                    time.sleep(TICK_S)
            finally:
                self._waits = False
                self._count(1)

    def _count(self, more: int) -> None:
        with self._counting:
            self.begun += more

    def _is_held(self) -> bool:
        return (self._held > 0 or _studio_stop.holds()) and os.getpid() == self._process

    def ends(self, batch: int) -> None:
        """A batch is over, whose number within the epoch is `batch`; -1 for what is no batch of the training."""
        with self._counting:
            self.ended += 1
            self.done = max(self.done, batch + 1)

    def all_ended(self) -> None:
        """No batch is under way, whatever became of it."""
        with self._counting:
            self.ended = self.begun

    @contextlib.contextmanager
    def held(self, wait_s: float) -> Iterator[bool]:
        """Whether the model is at rest, for which it waits so long; no batch begins until the block ends."""
        with self._counting:
            self._held += 1
        try:
            until = time.monotonic() + wait_s
            while not self._is_at_rest() and time.monotonic() < until:
                time.sleep(TICK_S)
            yield self._is_at_rest()
        finally:
            with self._counting:
                self._held -= 1

    def _is_at_rest(self) -> bool:
        return self._waits if self.alone else self.begun == self.ended
