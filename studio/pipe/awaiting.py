"""Awaits what a function leaves to be awaited, for the thread that called it: `async` functions as stages.

All of it runs on one private event loop, never on the caller's: sessions of HTTP clients belong to one loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable
from types import AsyncGeneratorType
from typing import cast

from ..errors import ServeError

_starting = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def settled(value: object) -> object:
    """`value`, or what it comes to if it is to be awaited; blocks the calling thread until then.

    Raises:
        ServeError: an async generator, or a call that would wait for itself.
        BaseException: whatever the awaited function raises.
    """
    if isinstance(value, AsyncGeneratorType):
        raise ServeError(
            "the function is an async generator: its values come one by one, and one answer is expected",
            hint="return one value, with return instead of yield",
        )
    if not hasattr(type(value), "__await__"):
        return value
    loop = _running()
    if asyncio._get_running_loop() is loop:
        if asyncio.iscoroutine(value):
            value.close()
        raise ServeError(
            "an async function waits for a pipe with async functions, on the loop that both need",
            hint="await pipe.apply_async(…) inside of async functions",
        )
    answer: object = asyncio.run_coroutine_threadsafe(_awaited(cast("Awaitable[object]", value)), loop).result()
    return answer


async def _awaited(value: Awaitable[object]) -> object:
    try:
        return await value
    except (SystemExit, KeyboardInterrupt) as exc:  # which would end the loop, for all others too
        raise ServeError(f"an async function raised {type(exc).__name__}") from exc


def _running() -> asyncio.AbstractEventLoop:
    global _loop
    with _starting:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="studio-async", daemon=True).start()
        return _loop


def _after_fork() -> None:
    """The child has neither the thread nor its loop."""
    global _starting, _loop
    _starting, _loop = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
