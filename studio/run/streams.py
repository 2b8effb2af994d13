"""The script's stdout and stderr: a pseudo-terminal where the user's is a terminal, a pipe elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from dataclasses import dataclass

CHUNK_BYTES = 65536


@dataclass(slots=True)
class Stream:
    """One stream of the script: read at `source`, passed on to the user's descriptor `sink` (-1: nobody listens)."""

    source: int
    sink: int
    terminal: bool


@dataclass(slots=True)
class Streams:
    """What the supervisor reads, and the descriptors that become the script's 0, 1 and 2."""

    read: list[Stream]
    child: list[int]

    def close_child_ends(self) -> None:
        """Closes the ends that only the script is to hold."""
        for fd in {fd for fd in self.child if fd > 2}:
            os.close(fd)

    def resize(self) -> bool:
        """Gives the pseudo-terminals the size of the user's; whether there are any."""
        for stream in self.read:
            if stream.terminal:
                _copy_size(stream.sink, stream.source)
        return any(stream.terminal for stream in self.read)


def open_streams() -> Streams:
    """Two streams, or one where stdout and stderr are the same terminal or file, so that their order is kept."""
    stdin = 0 if _is_open(0) else os.open(os.devnull, os.O_RDONLY)
    if _same(1, 2):
        both = _open(1)
        return Streams([both[0]], [stdin, both[1], both[1]])
    out, err = _open(1), _open(2)
    return Streams([out[0], err[0]], [stdin, out[1], err[1]])


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def write_all(fd: int, data: bytes) -> None:
    """Writes all of `data`, also to a descriptor that another program made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            import select

            select.select([], [fd], [], 1.0)


def _open(fd: int) -> tuple[Stream, int]:
    if not _is_open(fd):
        source, child = os.pipe()
        return Stream(source, -1, False), child
    if not os.isatty(fd):
        source, child = os.pipe()
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, 1 << 20)
        return Stream(source, fd, False), child
    source, child = os.openpty()
    settings = termios.tcgetattr(child)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(child, termios.TCSANOW, settings)
    _copy_size(fd, source)
    return Stream(source, fd, True), child


def _copy_size(user: int, pty: int) -> None:
    with contextlib.suppress(OSError):
        rows_columns = fcntl.ioctl(user, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        fcntl.ioctl(pty, termios.TIOCSWINSZ, rows_columns)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _same(one: int, other: int) -> bool:
    if not (_is_open(one) and _is_open(other)):
        return False
    a, b = os.fstat(one), os.fstat(other)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
