"""Does the trial of a model in a thread, so that a call that never returns ends the trial and not the start."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar

from .base import Run

if TYPE_CHECKING:
    from .base import Array

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_S = 300.0
"""The first call may compile the model, for minutes."""

LATER = 5
"""Calls after the first that was answered have a fifth of that, or ten times what the longest has taken."""

TELL = 30
"""A call that takes so long a part of the first limit is told of, once."""

LOOK_S = 0.2


class Hangs(Exception):
    """A call has not returned within `limit_s` seconds."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"no answer within {limit_s:g} s")
        self.limit_s = limit_s


class Watch:
    """Keeps the time of a model's calls while it is tried.

    Args:
        run: The model.
        name: Of its file, for the line that tells of a long call.
        first_s: Limit of the first call.
    """

    def __init__(self, run: Run, name: str, first_s: float = FIRST_S) -> None:
        self._model, self._name, self._first_s = run, name, first_s
        self._thread = 0
        self._since: float | None = None
        self._longest = 0.0
        self._left_behind = self._told = False

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """The model; its time counts in the trial's thread only."""
        if threading.get_ident() != self._thread:
            return self._model(arrays)
        if self._left_behind:
            raise SystemExit  # the model belongs to the server now
        self._since = began = time.monotonic()
        try:
            answer = self._model(arrays)
            self._longest = max(self._longest, time.monotonic() - began)
        finally:
            self._since = None
        return answer

    def result(self, trial: Callable[[], T]) -> T:
        """What `trial`, which calls `run`, returns or raises.

        Raises:
            Hangs: one of the calls takes too long; its thread is left behind.
        """
        outcome: Future[T] = Future()

        def work() -> None:
            self._thread = threading.get_ident()
            try:
                outcome.set_result(trial())
            except BaseException as exc:  # noqa: BLE001 - raised where the result is asked for
                outcome.set_exception(exc)
            finally:
                self._thread = 0  # a thread of the server may get the same number

        threading.Thread(target=work, name="trial", daemon=True).start()
        while not wait([outcome], LOOK_S).done:
            self._look()
        return outcome.result()

    def _look(self) -> None:
        limit_s = max(self._first_s / LATER, 10 * self._longest) if self._longest else self._first_s
        took_s = 0.0 if (since := self._since) is None else time.monotonic() - since
        if took_s > limit_s:
            self._left_behind = True
            raise Hangs(limit_s)
        if took_s > self._first_s / TELL and not self._told:
            self._told = True
            log.warning("%s has worked on one input for %.0f s; studio gives it %.0f s", self._name, took_s, limit_s)
