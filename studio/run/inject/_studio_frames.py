"""Wrapped functions that nobody sees: no frame of studio in a traceback, none counted by the `stacklevel` of a warning.

`warnings` passes over frames whose file is part of importlib, as `HIDDEN` pretends. In tracebacks the exception is
handed on without the wrapper's own entry, which Python 3.11 and later leave as it is; the exception hook does the rest.
"""

from __future__ import annotations

import functools
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, TracebackType
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

HIDDEN = "<frozen importlib._bootstrap of studio>"
_here = os.path.dirname(os.path.abspath(__file__))
_codes: dict[CodeType, CodeType] = {}


def hidden(function: F) -> F:
    """The same function, which warnings pass over."""
    code = function.__code__
    known = _codes.get(code)
    if known is None:
        known = _codes[code] = _hidden_code(code)
    function.__code__ = known
    return function


def _hidden_code(code: CodeType) -> CodeType:
    if hasattr(code, "replace"):
        return code.replace(co_filename=HIDDEN)
    whole: Any = code  # Python 3.7
    kind: Any = type(code)
    known: CodeType = kind(
        whole.co_argcount, whole.co_kwonlyargcount, whole.co_nlocals, whole.co_stacksize, whole.co_flags,
        whole.co_code, whole.co_consts, whole.co_names, whole.co_varnames, HIDDEN, whole.co_name,
        whole.co_firstlineno, whole.co_lnotab, whole.co_freevars, whole.co_cellvars,
    )  # fmt: skip
    return known


def around(original: Any, work: Callable[..., Any]) -> Any:
    """What stands in the place of `original`: calls `work(original, *args, **kwargs)`, which calls `original`."""
    hidden(work)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return work(original, *args, **kwargs)
        except BaseException as exc:
            exc.__traceback__ = visible(exc.__traceback__)
            raise

    call._studio = True  # type: ignore[attr-defined]
    return hidden(call)


def is_ours(code: CodeType) -> bool:
    """Whether it is of a hook."""
    return code.co_filename == HIDDEN or os.path.dirname(code.co_filename) == _here


def outside(frame: FrameType | None) -> FrameType | None:
    """The frame, or the next around it that is none of a hook."""
    while frame is not None and is_ours(frame.f_code):
        frame = frame.f_back
    return frame


def visible(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of hooks."""
    while trace is not None and is_ours(trace.tb_frame.f_code):
        trace = trace.tb_next
    at = trace
    while at is not None:
        while at.tb_next is not None and is_ours(at.tb_next.tb_frame.f_code):
            at.tb_next = at.tb_next.tb_next
        at = at.tb_next
    return trace


def clear(value: BaseException | None) -> None:
    """Makes the tracebacks of an exception, of its causes and of its parts `visible`."""
    waiting, seen = [value], set()
    while waiting:
        exc = waiting.pop()
        if exc is None or id(exc) in seen:
            continue
        seen.add(id(exc))
        exc.__traceback__ = visible(exc.__traceback__)
        parts = getattr(exc, "exceptions", ())
        waiting += [exc.__cause__, exc.__context__]
        waiting += [part for part in parts if isinstance(part, BaseException)] if isinstance(parts, tuple) else []
