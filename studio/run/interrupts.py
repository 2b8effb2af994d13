"""Ctrl-C at moments that must not be torn: noticed at once, raised when they are over."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def held_interrupts() -> Iterator[None]:
    """Runs the block to its end before KeyboardInterrupt is raised; a third Ctrl-C breaks a block that hangs.

    Outside the main thread, where no interrupt arrives, it does nothing; nor where the signal is handled otherwise.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return
    seen = 0

    def notice(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen > 2:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, notice)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt
