"""A wrapper may fork (`multiprocessing`, joblib): the child lets go of what is the server's alone.

Signals: the event loop hears of them over a socket, on which a child's would end the server too. Connections: one that
the child holds open as well does not end for the client when the server closes it, and the port stays taken.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

_here: dict[str, Any] = {}
_masks: dict[int, set[Any]] = {}


@contextlib.contextmanager
def kept_from_children(
    sock: socket.socket, connections: Callable[[], Iterable[Any]], handlers: Mapping[signal.Signals, Any]
) -> Iterator[None]:
    """While it lasts, a forked child of this process has neither the server's sockets nor its signals.

    Args:
        sock: Where the server listens.
        connections: The protocols of those that are open.
        handlers: What the signals meant before the event loop took them.
    """
    _here.update(sock=sock, connections=connections, handlers=handlers)
    try:
        yield
    finally:
        _here.clear()


def _before() -> None:
    """The child meets no signal before it has handlers of its own: one that is sent at once waits."""
    if _here:
        _masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, _here["handlers"])


def _after() -> None:
    mask = _masks.pop(threading.get_ident(), None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_in_child() -> None:
    try:
        _let_go()
    finally:
        _after()


def _let_go() -> None:
    if not _here:
        return
    signal.set_wakeup_fd(-1)
    for number, handler in _here["handlers"].items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
    sockets = [_here["sock"], *(c.transport.get_extra_info("socket") for c in list(_here["connections"]()))]
    nothing = os.open(os.devnull, os.O_RDWR)
    for one in sockets:
        if one is not None and one.fileno() >= 0:
            os.dup2(
                nothing, one.fileno(), inheritable=False
            )  # not closed: the number is the loop's, which closes it once
    os.close(nothing)
    _here.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
