"""Why the script fails: the exception that nobody caught, or the text that `sys.exit` was called with, as one event."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, TracebackType
    from typing import Any


MOST_CHARS = 4000  # the record keeps half of it, so that no part of a secret stands at its end
MOST_INNER = 5
_here = os.path.dirname(os.path.abspath(__file__))
_folder = ""  # from where the script was started
_noted: Any = None  # the exception that was told already
_last_exit: Any = None  # what `sys.exit` was last called with, and where


def watch() -> None:
    """Begins: from here on `sys.exit` is noticed, and the end of the interpreter."""
    global _folder, _noted
    import atexit

    try:
        _folder = os.getcwd()
    except OSError:
        _folder = ""
    _noted = _last_value()
    _watch_exit()
    atexit.register(_at_end)


def note(value: BaseException, trace: TracebackType | None) -> None:
    """Tells the run which exception ends the script; Ctrl-C and `sys.exit` are no failures of their own."""
    global _noted
    if value is _noted or isinstance(value, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return
    _noted = value
    import _studio_track  # type: ignore[import-not-found]

    _studio_track.event("exception", **described(value, trace))
    _studio_track.flush()


def described(value: BaseException, trace: TracebackType | None) -> dict[str, Any]:
    """The fields of the event: `name` as a traceback spells it, `text`, `frame`, and whether memory ran out."""
    kind = type(value)
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    where = _of_syntax(value) if isinstance(value, SyntaxError) and not _own(trace) else ""
    return {
        "name": module + kind.__qualname__,
        "text": _message(value),
        "frame": where or _frame(trace),
        "memory": isinstance(value, MemoryError),
    }


def _message(value: BaseException) -> str:
    import _studio_text  # type: ignore[import-not-found]

    text: str = _studio_text.of(value, MOST_CHARS, "no message: its __str__ raised {error}")
    inner = getattr(value, "exceptions", None)  # of an exception group
    if isinstance(inner, tuple) and all(isinstance(one, BaseException) for one in inner):
        parts = [f"{type(one).__name__}: {_message(one)}" for one in inner[:MOST_INNER]]
        text += ": " + "; ".join(parts) + ("; …" if len(inner) > MOST_INNER else "")
    return text if len(text) <= MOST_CHARS else text[:MOST_CHARS] + "…"


def _of_syntax(value: SyntaxError) -> str:
    return f"{_shown(value.filename)}:{value.lineno or 0}" if value.filename else ""


def _places(trace: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    while trace is not None:
        yield trace.tb_frame.f_code, trace.tb_lineno or 0
        trace = trace.tb_next


def _own(trace: TracebackType | None) -> list[tuple[CodeType, int]]:
    """The places of a traceback that are in files of the user's, neither a library's nor Python's."""
    return [place for place in _places(trace) if _is_own(place[0].co_filename)]


def _is_own(file: str) -> bool:
    library = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
    parts = file.replace("\\", "/").split("/")
    return not (
        file.startswith(("<frozen", library))
        or "site-packages" in parts
        or "dist-packages" in parts
        or os.path.dirname(file) == _here
    )


def _frame(trace: TracebackType | None) -> str:
    """The last place in the user's own code; the last of all if there is none."""
    places = _own(trace) or list(_places(trace))
    return _spelled(*places[-1]) if places else ""


def _spelled(code: CodeType, line: int) -> str:
    return "{}:{} in {}".format(_shown(code.co_filename), line, getattr(code, "co_qualname", code.co_name))


def _shown(file: str) -> str:
    """A file's name from the folder where the script was started, if it lies there."""
    try:
        inside = os.path.join(_folder or os.getcwd(), "")
    except OSError:
        return file
    return file[len(inside) :] if file.startswith(inside) else file


def _last_value() -> Any:
    return getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)


def _watch_exit() -> None:
    """`sys.exit` notes what it is called with, then does what it did, without a frame of ours in any traceback.

    A call makes an object of this class: `__new__` notes and returns, then `__init__`, which is the built-in itself,
    raises.
    """
    original: Any = sys.exit

    class Exit:
        __init__ = original
        __doc__ = original.__doc__

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            try:
                _note_exit(args)
            except Exception:  # noqa: BLE001, S110  the script's exit goes on
                pass
            return object.__new__(cls)

    Exit.__name__, Exit.__qualname__, Exit.__module__ = "exit", "exit", "sys"  # so that it is pickled by its name
    sys.exit = Exit


def _note_exit(args: tuple[Any, ...]) -> None:
    global _last_exit
    threading = sys.modules.get("threading")
    if threading is not None and threading.current_thread() is not threading.main_thread():
        return  # ends a thread, not the script
    frame: Any = sys._getframe(2)
    while frame.f_back is not None and not _is_own(frame.f_code.co_filename):
        frame = frame.f_back
    _last_exit = (args[0] if args else None, frame.f_code, frame.f_lineno)


def _at_end() -> None:
    """What the exception hook did not see: the script has a hook of its own, or called `sys.exit("why")`."""
    import _studio_hooks  # type: ignore[import-not-found]

    if not _studio_hooks.working():
        return
    raised = _last_value()
    if isinstance(raised, BaseException) and raised is not _noted:
        _studio_hooks.guarded("failure", note, raised, raised.__traceback__)
    elif _last_exit is not None and isinstance(_last_exit[0], (str, BaseException)):
        _studio_hooks.guarded("failure", _tell_exit, *_last_exit)


def _tell_exit(value: Any, code: CodeType, line: int) -> None:
    import _studio_track

    _studio_track.event(
        "exception",
        name="SystemExit",
        text=_message(value) if isinstance(value, BaseException) else value[:MOST_CHARS],
        frame=_spelled(code, line),
    )
