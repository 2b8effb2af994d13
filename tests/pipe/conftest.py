"""No test of the pipe leaves a thread of it behind."""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Pipes that a test dropped have ended their threads soon after."""
    yield
    deadline = time.monotonic() + 20
    while left := [t for t in threading.enumerate() if t.name.startswith("studio-pipe")]:
        gc.collect()
        if time.monotonic() > deadline:
            frames = sys._current_frames()
            stacks = ["".join(traceback.format_stack(frames[t.ident])[-3:]) for t in left if t.ident in frames]
            pytest.fail(f"threads are left: {[t.name for t in left]}\n" + "\n".join(stacks))
        time.sleep(0.005)
