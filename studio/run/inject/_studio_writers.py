"""The metric writers of this process, flushed in whichever way it ends; the end itself stays what it was."""

from __future__ import annotations

import atexit
import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ._studio_metrics import Writer, is_worker
else:
    from _studio_metrics import Writer, is_worker

RANKS = (("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"))

WAIT_S = 2.0  # for a disk that hangs; an end is not put off for longer

FORK_WAIT_S = 0.5

_open: list[Writer] = []


def open_writer(folder: str, warn: Callable[[str], None], *, ranks: bool) -> Writer:
    """A writer that this process flushes at its end, also when the end is SIGTERM or `os._exit`.

    Args:
        folder: Where stream files are.
        warn: Called once with a line of text when points had to be dropped.
        ranks: Whether the run is shared with other ranks of a launcher: all but rank 0 then name their metrics
            `rank<n>/…`, so that none writes over another's.
    """
    writer = Writer(folder, warn, _rank() if ranks else "")
    _open.append(writer)
    if is_worker():
        # A pool ends it by SIGTERM, at any moment: nothing may wait to be written. It keeps the system's own way to die
        # of that: a handler in Python only runs when the main thread comes by, and one that has just begun to wait for
        # its queue never does.
        writer.write_at_once()
    else:
        _flush_on_sigterm()
    _flush_on_exit()
    return writer


def _rank() -> str:
    for name, size in RANKS:
        rank = os.environ.get(name, "0")
        if rank != "0" and rank.isdigit() and os.environ.get(size, "1") != "1":
            return f"rank{rank}/"
    return ""


def close(writer: Writer) -> None:
    """Closes a writer whose run is over."""
    writer.close()
    if writer in _open:
        _open.remove(writer)


def close_writers() -> None:
    """Closes every writer of this process."""
    for writer in list(_open):
        writer.close()


def _flush_on_sigterm() -> None:
    """Only where nobody else cares about SIGTERM: flush, then die of it exactly as without studio."""
    import signal

    if not hasattr(signal, "SIGTERM") or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    try:
        signal.signal(signal.SIGTERM, _flush_and_die)
    except ValueError:
        pass  # not the main interpreter


def _flush_and_die(number: int, frame: object) -> None:
    import signal

    for writer in _open:
        if writer.is_interrupted():  # it has points in its hands: die when it has written them
            writer.afterwards = lambda: _flush_and_die(number, None)
            return
        writer.flush(WAIT_S)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _flush_on_exit() -> None:
    """`os._exit`, by which forked children end, passes over `atexit`."""
    original = os._exit
    if getattr(original, "_studio", False):
        return

    def _exit(status: int) -> NoReturn:
        for writer in list(_open):
            writer.flush(WAIT_S)
        original(status)

    _exit.__module__, _exit.__qualname__, _exit.__doc__ = "os", "_exit", original.__doc__
    _exit._studio = True  # type: ignore[attr-defined]
    os._exit = _exit


def _forking() -> None:
    for writer in list(_open):
        writer.rest(FORK_WAIT_S)


def _forked() -> None:
    if _open:
        import signal

        if signal.getsignal(signal.SIGTERM) is _flush_and_die and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until it logs itself
    for writer in _open:
        writer.forget()
    _open.clear()


atexit.register(close_writers)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
    if sys.version_info >= (3, 12):  # which warns of a fork while threads run: of ours it need not
        os.register_at_fork(before=_forking)

READY = True  # the last name to be defined: who finds it finds all
