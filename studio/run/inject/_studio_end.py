"""What hooks leave for the end of the process: called once, in the order it was left, by the logging process only."""

from __future__ import annotations

import atexit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from . import _studio_hooks
else:
    import _studio_hooks

_todo: list[tuple[str, Callable[[], None]]] = []


def at_end(topic: str, function: Callable[[], None]) -> None:
    """Calls `function` when the interpreter ends; a function that is already noted is not noted again."""
    if not _todo:
        atexit.register(run)
    if (topic, function) not in _todo:
        _todo.append((topic, function))


def run() -> None:
    """Does what was left; once."""
    if not _studio_hooks.working():
        return
    while _todo:
        topic, function = _todo.pop(0)
        _studio_hooks.guarded(topic, function)
