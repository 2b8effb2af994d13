"""When a request is sent again: after a time that grows, differs from client to client, and fits in the time limit."""

from __future__ import annotations

import secrets

FIRST_BUSY_S = 0.1
FIRST_BROKEN_S = 0.05
LONGEST_WAIT_S = 10.0
BROKEN = 3
"""Further tries where no answer comes, if the user names no number: no server runs there, and the user waits."""

_random = secrets.SystemRandom()  # not the shared generator: scripts seed that one, and a fork copies its state


class Tries:
    """Those of one request.

    Args:
        most: Further tries; None = `BROKEN`, and where the server is busy as many as there is time for.
    """

    def __init__(self, most: int | None) -> None:
        self._most, self._made, self._late = most, 0, False

    def wait_s(self, left_s: float, told_s: float = 0.0, *, busy: bool) -> float | None:
        """Seconds to wait until the next try; None: give up.

        Args:
            left_s: Seconds of the time limit that are left.
            told_s: What the server asked for (`Retry-After`): never less.
            busy: It answered that it is busy; else no answer came.
        """
        most = self._most if self._most is not None else None if busy else BROKEN
        first = FIRST_BUSY_S if busy else FIRST_BROKEN_S
        if self._late or (most is not None and self._made >= most) or left_s <= max(told_s, first):
            return None
        grown = min(LONGEST_WAIT_S, first * 2.0 ** min(self._made, 16)) * _random.uniform(0.5, 1.0)
        self._made += 1
        wished: float = max(grown, told_s * _random.uniform(1.0, 1.25))
        self._late = wished > left_s / 2  # the last one comes half way at the latest: an answer takes time, too
        return min(wished, max(told_s, left_s / 2))
