"""How a command begins and ends as a process: usable streams, one line for whatever went wrong, results delivered."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Any

from ..errors import StoreError, StudioError
from .outlet import Outlet


class NobodyReads(StudioError):
    """The reader of our output has enough, as in `studio runs list | head -1`."""

    exit_code = 0


class _Results(Outlet):
    """What stdout writes to: its trouble cannot be taken for that of another file, by us or by click."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as exc:
            raise NobodyReads("nobody reads the results") from exc
        except OSError as exc:
            raise StoreError(
                f"cannot write the results to stdout: {exc.strerror or exc}", hint="send them elsewhere: > FILE"
            ) from exc


def standard_streams() -> None:
    """Makes the three streams usable, whatever the caller made of them.

    One that is closed would else be taken by the next file that is opened, which others then write to. A closed stdout
    refuses what is written to it, so that the loss of a result is noticed. What an encoding has no form for is spelled.
    """
    for fd, name, mode in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            _open(fd, mode)
            setattr(sys, name, open(fd, "r" if fd == 0 else "w", closefd=False))  # noqa: SIM115 - until the end
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        if sys.stderr.fileno() == 2 and sys.stderr.isatty():
            sys.stderr = _stream(Outlet(2, sys.stderr.encoding), sys.stderr.encoding)
        if sys.stdout.fileno() == 1:
            sys.stdout = _stream(_Results(1, sys.stdout.encoding), sys.stdout.encoding)


def _stream(end: Outlet, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(end), encoding, "backslashreplace", line_buffering=end.isatty())


def _open(fd: int, mode: int) -> None:
    with contextlib.suppress(OSError):
        os.fstat(fd)  # something else is there already
        return
    found = os.open(os.devnull, mode)
    if found != fd:
        os.dup2(found, fd)
        os.close(found)


def delivered(code: int) -> int:
    """The exit code, once all that was written has reached its reader; another one if it cannot."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (StudioError, OSError) as exc:
        return nobody_reads() if isinstance(exc, BrokenPipeError) else explain(exc)
    return code


def nobody_reads() -> int:
    """The exit code when nobody reads what we say."""
    _silence()
    return NobodyReads.exit_code


def explain(exc: Exception) -> int:
    """Says what went wrong, in one line and a hint, or as a traceback with `--debug`; returns the exit code."""
    if isinstance(exc, NobodyReads):
        return nobody_reads()
    shown = _translated(exc)
    if isinstance(exc, StoreError) and isinstance(exc.__cause__, OSError):
        _silence()  # it may be stdout that refuses: the interpreter is not to try it again at its end
    if "--debug" in sys.argv or os.environ.get("STUDIOML_DEBUG"):
        import traceback

        traceback.print_exception(exc)
    else:
        from .cells import one_line

        with contextlib.suppress(OSError, ValueError):  # nobody reads stderr either
            print(f"studio: {one_line(shown.message, most=2000)}", file=sys.stderr)
            if shown.hint:
                print(f"  hint: {one_line(shown.hint, most=2000)}", file=sys.stderr)
            sys.stderr.flush()
    return shown.exit_code


def _translated(exc: Exception) -> StudioError:
    """What an exception means for the user: one of studio's own as it is, trouble of the system, or a fault of ours."""
    if isinstance(exc, StudioError):
        return exc
    if isinstance(exc, OSError):
        reason = exc.strerror or str(exc)
        where = f"{exc.filename}: " if exc.filename else ""
        return StoreError(f"{where}{reason}", hint=_HINTS.get(exc.errno or 0, "repeat with --debug to see where"))
    kind = type(exc).__name__
    return StudioError(
        f"internal error: {kind}: {exc}", hint="repeat with --debug for the traceback, and please report it"
    )


_HINTS = {
    errno.ENOSPC: "free some space (df -h), then repeat",
    errno.EMFILE: "this process may open too few files; look at: ulimit -n",
    errno.EROFS: "choose another folder: export STUDIOML_HOME=FOLDER",
    errno.EACCES: "choose another folder: export STUDIOML_HOME=FOLDER",
    errno.EFBIG: "look at: ulimit -f",
}


def _silence() -> None:
    """Sends what is still to be written nowhere, so that the interpreter does not try it again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream, fd in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (StudioError, OSError, ValueError):
            os.dup2(nowhere, fd)
    os.close(nowhere)
