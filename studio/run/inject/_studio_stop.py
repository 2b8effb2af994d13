"""Before a run is stopped, its models are saved as they are then, while the script goes on.

SIGTERM ends a script between any two instructions, and the script would notice a handler of studio's. So the guard
writes into a FIFO first. A thread here reads it, does what the end of the script would do, and closes it. The guard
sends SIGTERM as soon as nobody reads the FIFO, or after three seconds.

The thread must change nothing that the script sees: `threading` does not list it, it blocks all signals, so that a
script that waits for one by `sigwait` still gets it, and it is gone while the process forks.
"""

from __future__ import annotations

import _thread
import os
import select
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any

    from . import _studio_end, _studio_hooks, _studio_track
else:
    import _signal

    import _studio_end
    import _studio_hooks
    import _studio_track

NAME = "stopping"
"""The FIFO's name in the spool; the guard has it too."""
FORK_WAIT_S = 3.0
BATCH_WAIT_S = 1.5  # for Keras to come to the end of a batch, before the other models are saved
ALL_S = 2.8  # from the guard's word on: it sends SIGTERM soon
LOOK_MS = 2500  # between looks at fits that take long
PATIENCE_S = 1.0  # from the guard's word on, for fits and writes that are under way to end

_FAULTS = {getattr(_signal, "SIG" + name) for name in ("SEGV", "BUS", "FPE", "ILL", "ABRT", "TRAP", "SYS")}
_SIGNALS = _signal.valid_signals() if hasattr(_signal, "valid_signals") else set(range(1, _signal.NSIG))  # Python 3.7
_changing = threading.Lock()
_ear: _Ear | None = None
_worker = 0  # the thread that saves
_since = 0.0  # when it began
_forking_now: dict[int, bool] = {}  # thread that forks -> whether it has ended the one that hears


class _Ear:
    """The thread that waits for the guard's word."""

    def __init__(self, path: str) -> None:
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:  # of an earlier process of this run
            pass
        self._word = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # not read-only: there would be an end of file
        self._leave, self._wake = os.pipe()
        self._identities = {fd: _identity(fd) for fd in (self._word, self._leave, self._wake)}
        self._over = threading.Lock()
        self._over.acquire()
        self._thread = 0
        self._handle: Any = None
        start = getattr(_thread, "start_joinable_thread", None)  # from Python 3.13 on
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _SIGNALS - _FAULTS)  # a thread inherits it
        try:
            if start is None:
                _thread.start_new_thread(self._listen, ())
            else:
                self._handle = start(self._listen, daemon=True)
        except BaseException:
            self.close()
            self._close(self._wake)
            raise
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)

    def _listen(self) -> None:
        try:
            if hasattr(_thread, "get_native_id"):  # from Python 3.8 on
                self._thread = _thread.get_native_id()
            wanted = select.poll()  # `select` takes no descriptor from 1,024 on
            wanted.register(self._word, select.POLLIN)
            wanted.register(self._leave, select.POLLIN)
            found: list[tuple[int, int]] = []
            while not found:
                found = wanted.poll(LOOK_MS)
                fits = sys.modules.get("_studio_fits")
                if not found and fits is not None:
                    _studio_hooks.guarded("models", fits.tell_of_long)
                    _unlist()
            if [fd for fd, _ in found] == [self._word]:
                _look()
        except Exception:  # noqa: BLE001, S110  (the interpreter ends, or there are no more threads)
            pass
        finally:
            self.close()
            _unlist()
            self._over.release()

    def stop(self) -> bool:
        """Ends the thread; False if it saves, and that takes long."""
        if self._is_ours(self._wake):
            try:
                os.write(self._wake, b"x")
            except BrokenPipeError:  # it has done its work
                pass
        if not self._over.acquire(timeout=FORK_WAIT_S):
            return False
        self._close(self._wake)
        if self._handle is not None:
            self._handle.join(1.0)
            return True
        until = time.monotonic() + 1.0
        while os.path.exists(f"/proc/self/task/{self._thread}") and time.monotonic() < until:
            time.sleep(0.0001)  # Python 3.12 warns of a fork while there is one thread more
        return True

    def close(self) -> None:
        """Nobody hears the guard any more."""
        word, self._word = self._word, -1
        if word >= 0:
            self._close(word)
            self._close(self._leave)

    def _close(self, fd: int) -> None:
        if self._is_ours(fd):
            os.close(fd)

    def _is_ours(self, fd: int) -> bool:
        """Scripts that become daemons close all descriptors; their numbers may belong to other files since."""
        try:
            return _identity(fd) == self._identities[fd]
        except OSError:
            return False


def _unlist() -> None:
    """Takes this thread out of `threading`'s list, where libraries that ask for the current thread have put it."""
    try:
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined]
    except AttributeError:
        pass


def _identity(fd: int) -> tuple[int, int]:
    about = os.fstat(fd)
    return about.st_dev, about.st_ino


def listen() -> None:
    """Hears the guard from now on, in the process whose hooks work; called once there may be models."""
    global _ear
    home = _studio_track.home()
    if home is None or not _studio_hooks.working() or not hasattr(os, "mkfifo"):
        return
    with _changing:
        if _ear is None:
            try:
                _ear = _Ear(os.path.join(home.folder, NAME))
            except (OSError, RuntimeError):  # a file system without FIFOs, no more descriptors or threads
                return
    _register()


def saving() -> bool:
    """Whether the models are saved now, while the script goes on: no fit begins then."""
    return _worker != 0


def holds() -> bool:
    """Whether no batch may begin, so that nothing is trained between the save and SIGTERM."""
    return _worker != 0 and time.monotonic() < _since + ALL_S


def has_patience() -> bool:
    """Whether a fit or a write that is under way may still be waited for."""
    return saving() and time.monotonic() < _since + PATIENCE_S


def _look() -> None:
    """What the end of the script would do, for every run of this process."""
    global _since, _worker
    _since, _worker = time.monotonic(), threading.get_ident()
    try:
        places = _studio_track.places()
        checkpoints: Any = sys.modules.get("_studio_checkpoints")
        for place in places:
            with _studio_track.within(place):
                _studio_track.flush()
                if checkpoints is not None:
                    _studio_hooks.guarded("keras", checkpoints.stopping, _since + BATCH_WAIT_S)
                _studio_end.before_it()
                if checkpoints is not None:  # a long batch may be over now
                    _studio_hooks.guarded("keras", _again, checkpoints)
    finally:
        _worker = 0


def _again(checkpoints: Any) -> None:
    checkpoints.stopping(_since + ALL_S, again=True)


def _forking() -> None:
    me = threading.get_ident()
    if me == _worker or not _changing.acquire(timeout=FORK_WAIT_S):
        return
    _forking_now[me] = _ear is not None and _ear.stop()


def _forked_parent() -> None:
    global _ear
    stopped = _forking_now.pop(threading.get_ident(), None)
    if stopped is None:
        return
    if stopped:
        _ear = None
    _changing.release()
    if stopped:
        listen()


def _forked_child() -> None:
    global _ear, _changing, _worker
    former, _ear, _worker = _ear, None, 0
    _changing = threading.Lock()
    _forking_now.clear()
    if former is not None:
        former.close()


_registered = False


def _register() -> None:
    """Last of all modules here: handlers that were registered last run first, before others take their locks."""
    global _registered
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(before=_forking, after_in_parent=_forked_parent, after_in_child=_forked_child)
