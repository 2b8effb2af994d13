"""A hook's work is finished or undone: hides that what a signal handler raises waits while a hook works.

Python calls handlers between any two steps of the main thread. The KeyboardInterrupt of Ctrl-C, or the TimeoutError of
a script's alarm, would leave a hook's work half done, or be taken for a mistake of the hook. So for the moments of a
hook another function stands in the handlers' places. It calls them at once, as always, but keeps what they raise until
the hook is through. After a second, or at a second signal, `Interrupted` ends the hook's work.
"""

from __future__ import annotations

import sys
import time
from _thread import allocate_lock, get_ident, interrupt_main, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from . import _studio_frames
else:
    import _signal  # what `signal` is made of, which takes longer to import

    import _studio_frames

PATIENCE_S = 1.0
_NAMES = "INT TERM ALRM HUP QUIT USR1 USR2 VTALRM PROF XCPU CHLD CONT TSTP WINCH IO PIPE BREAK"
_NUMBERS = [getattr(_signal, "SIG" + name) for name in _NAMES.split() if hasattr(_signal, "SIG" + name)]


class Interrupted(BaseException):
    """Ends the work of a hook; never leaves `call`."""


_depth = 0
_works = False  # whether a hook can be interrupted now
_former: dict[int, Any] = {}  # signal -> the handler whose place is taken
_raised: list[BaseException] = []
_turn = 0  # counts the calls, for the thread that ends one
_turns = allocate_lock()
_late = False


def call(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`; what signal handlers raise meanwhile is raised when it is through.

    Returns None where that took too long and was interrupted.
    """
    global _works
    if _depth or not _is_main_thread():
        return function(*args)
    _begin()
    result = None
    try:
        try:
            _works = True
            result = function(*args)
            _works = False
        except Interrupted:
            pass
    except BaseException:
        _end()
        raise
    _end()
    return result


def _is_main_thread() -> bool:
    threading = sys.modules.get("threading")
    return threading is None or threading.main_thread().ident == get_ident()


def _begin() -> None:
    global _depth
    _depth = 1
    try:
        for number in _NUMBERS:
            handler = _signal.getsignal(number)
            if callable(handler) and not str(getattr(handler, "__module__", "")).startswith("_studio_"):
                _former[number] = handler
                _signal.signal(number, _handle)
    except BaseException as exc:  # a handler that raised before its place was taken
        _restore()
        if isinstance(exc, ValueError) and "main thread" in str(exc):  # that of another interpreter
            return
        raise


def _end() -> None:
    global _works, _turn, _late
    _works = False
    with _turns:
        _turn += 1
    _late = False
    _restore()
    if _raised:
        first = _raised[0]
        _raised.clear()
        raise first


def _restore() -> None:
    """Gives the handlers their places back, also if one of them raises in the midst of it."""
    global _depth
    try:
        for number in list(_former):
            if _signal.getsignal(number) is _handle:
                _signal.signal(number, _former[number])
            _former.pop(number, None)
        _depth = 0
    except BaseException:
        _restore()
        raise


def _handle(number: int, frame: FrameType | None) -> None:
    global _late
    if _late:
        _late = False
        if _works:
            raise Interrupted
        return
    impatient = bool(_raised)
    handler = _former.get(number)
    try:
        if handler is not None:
            handler(number, _studio_frames.outside(frame))
        return
    except BaseException as exc:  # noqa: BLE001  whatever it is, `_end` raises it
        exc.__traceback__ = _studio_frames.visible(exc.__traceback__)
        _raised.append(exc)
    if impatient and _works:
        raise Interrupted
    if not impatient:
        start_new_thread(_hurry, (_turn, number))


def _hurry(turn: int, number: int) -> None:
    """Interrupts the hook if it still works when patience is over."""
    global _late
    time.sleep(PATIENCE_S)
    with _turns:
        if turn == _turn:
            _late = True
            try:
                interrupt_main(number)  # type: ignore[arg-type]
            except TypeError:  # before Python 3.10 it takes none, and is Ctrl-C
                interrupt_main()


def _forked() -> None:
    """The child works for nobody; a hook of the parent may have forked."""
    global _turns, _works, _late
    _turns, _works, _late = allocate_lock(), False, False
    _raised.clear()
    _restore()


def _register() -> None:
    import os

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)


_register()
