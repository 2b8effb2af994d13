"""What hooks leave for the end of a run: called once, in the order it was left, by the logging process only."""

from __future__ import annotations

import atexit
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from . import _studio_hooks, _studio_track
else:
    import _studio_hooks
    import _studio_track


def _todo() -> list[tuple[str, Callable[[], None]]]:
    known: list[tuple[str, Callable[[], None]]] = _studio_track.memory("end", list)
    return known


def at_end(topic: str, function: Callable[[], None]) -> None:
    """Calls `function` when the run ends; a function that is already noted is not noted again."""
    if (topic, function) not in _todo():
        _todo().append((topic, function))


def run() -> None:
    """Does what was left for the end of this run; once."""
    if not _studio_hooks.working():
        return
    _look_at_models()
    _do()


def before_it() -> None:
    """Does the same while the script goes on, which may be stopped; it is all done again at the end."""
    if _studio_hooks.working():
        _look_at_models()
        _studio_hooks.guarded("modules", _studio_hooks.tell_imports)
        for topic, function in list(_todo()):
            _studio_hooks.guarded(topic, function)


def _look_at_models() -> None:
    """Also where nothing was fitted: `__main__` may hold what came from elsewhere."""
    keep = sys.modules.get("_studio_keep")
    if keep is not None:
        at_end("models", keep.finish)


def _do() -> None:
    todo = _todo()
    while todo:
        topic, function = todo.pop(0)
        _studio_hooks.guarded(topic, function)


def _at_exit() -> None:
    """The script is over: Ctrl-C ends what takes long now, and nothing else."""
    if not _studio_hooks.working():
        return
    _look_at_models()
    while _todo():
        try:
            _do()
        except KeyboardInterrupt:
            pass


atexit.register(_at_exit)
