"""Shows each warning of a library once in the server's log, however many requests raise it.

Python's own rule, once for each place, does not hold here: whenever a library changes the filters, which scikit-learn
does at each call, Python forgets what it has shown. A table's model would write two lines for each request.
"""

from __future__ import annotations

import logging
import warnings
from typing import TextIO

MOST_PLACES = 1000
LONGEST = 500

log = logging.getLogger(__name__)


def show_once() -> None:
    """From here on a warning of one class from one line of code is logged once in this process."""
    shown: set[tuple[str, str, int]] = set()
    before = warnings.showwarning

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        if file is not None:
            before(message, category, filename, lineno, file, line)
            return
        place = (category.__name__, filename, lineno)
        if place in shown or len(shown) >= MOST_PLACES:
            return
        shown.add(place)
        text = " ".join(str(message).split())[:LONGEST]
        log.warning("%s: %s (%s:%d; shown once)", category.__name__, text, filename, lineno)

    warnings.showwarning = show
