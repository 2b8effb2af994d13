"""Hides how metrics reach the disk: buffers in memory, one appending thread, blocks that survive a kill -9."""

from __future__ import annotations

import os
import sys
import threading
import time
from array import array
from struct import error as StructError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from . import _studio_hold, _studio_points
else:
    import _studio_hold
    import _studio_points

FLUSH_S = 0.25
FSYNC_S = 5.0
FLUSH_POINTS = 1 << 16
HELD_POINTS = 1 << 21  # in memory, not yet encoded: 50 MB
HELD_BYTES = 32 << 20  # encoded, not yet written (the disk is full)

_pack = _studio_points.POINT.pack
_time = time.time


class Curve:
    """The points of one name that are not yet written: 24 bytes each, as `POINT` packs them.

    `extend` is one step of the interpreter, so threads and signal handlers append without a lock, and the flushing
    thread takes from the front while they do.
    """

    __slots__ = ("extend", "next", "points")

    def __init__(self) -> None:
        self.points = bytearray()
        self.extend = self.points.extend
        self.next = 0

    def take(self) -> bytes:
        """Removes and returns all points that are there now."""
        points = bytes(self.points)
        del self.points[: len(points)]
        return points


class Writer:
    """One stream file of one process. Thread-safe; `log` and `log_many` never touch the disk.

    Args:
        folder: Where stream files are; made if it is not there.
        warn: Called once with a line of text when points had to be dropped.
        prefix: Comes before every name, in the file.
    """

    def __init__(self, folder: str, warn: Callable[[str], None], prefix: str = "") -> None:
        self._folder, self._warn, self._prefix = folder, warn, prefix
        self._curves: dict[str, Curve] = {}
        self._count = 0  # points in the curves; racing threads may miscount, the flush sets it right
        self._limit = 0  # points at which log() turns to _press(); 0 until the thread runs
        self._lock = threading.RLock()  # re-entrant: a signal handler may log
        self._io = threading.RLock()
        self._wake = threading.Lock()  # held, but for a moment after _rouse(); an Event is not for signal handlers
        self._wake.acquire()
        self._flushing = self._again = False
        self._flusher = 0  # the thread that flushes
        self.afterwards: Callable[[], None] | None = None  # called once when a flush is through
        self._unwritten: list[tuple[memoryview, int]] = []
        self._fd = -1
        self._identity = (0, 0)
        self._synced = time.monotonic()
        self._dirty = False
        self._thread: threading.Thread | None = None
        self._fsync: threading.Thread | None = None
        self._warned = self._closed = self._finishes = False
        self.dropped = 0

    # -- called by the script's threads -------------------------------------------------------------------------

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Appends one point to each named curve."""
        now = _time()
        curves = self._curves
        if step.__class__ is int and len(values) == 1:  # what training loops do a million times
            for name, value in values.items():
                if value.__class__ is float and name in curves:
                    curve = curves[name]
                    try:
                        curve.extend(_pack(step, now, value))
                    except StructError:
                        raise _studio_points.too_large(name, step) from None
                    curve.next = step + 1
                    self._count = count = self._count + 1
                    if count >= self._limit:
                        self._press()
                    return
        self._log_any(values, None if step is None else _studio_points.whole_step(step), now)

    def _log_any(self, values: Mapping[str, float], step: int | None, now: float) -> None:
        numbers = _studio_points.checked(values)
        with self._lock:
            for name, value in numbers.items():
                curve = self._curves.get(name) or self._curves.setdefault(name, Curve())
                at = curve.next if step is None else step
                try:
                    curve.extend(_pack(at, now, value))
                except StructError:
                    raise _studio_points.too_large(name, at) from None
                curve.next = at + 1
            self._count = count = self._count + len(numbers)
        if count >= self._limit:
            self._press()

    def log_many(self, name: str, steps: Iterable[int] | None, values: Iterable[float]) -> None:
        """Appends many points to one curve; `steps` None counts on from the last one."""
        if name.__class__ is not str:
            raise TypeError(f"the name of a metric is a str, not {type(name).__name__}")
        points = _studio_points.numbers("d", values, name)
        n = len(points)
        given = None if steps is None else _studio_points.numbers("q", steps, name)
        if given is not None and len(given) != n:
            raise TypeError(
                f"metric {name!r}: {len(given)} step{'s' * (len(given) != 1)} but {n} value{'s' * (n != 1)}"
            )
        if not n:
            return
        mixed = array("q", bytes(24 * n))
        mixed[1::3] = _studio_points.bits(array("d", [_time()]) * n)
        mixed[2::3] = _studio_points.bits(points)
        with self._lock:
            curve = self._curves.get(name) or self._curves.setdefault(name, Curve())
            mixed[0::3] = at = array("q", range(curve.next, curve.next + n)) if given is None else given
            if sys.byteorder == "big":
                mixed.byteswap()
            curve.extend(mixed.tobytes())
            curve.next = at[-1] + 1
            self._count = count = self._count + n
        if count >= self._limit:
            self._press()

    def _press(self) -> None:
        """The first point starts the thread; a full buffer wakes it; one that it cannot empty loses its oldest half."""
        with self._lock:
            if not self._limit and not self._closed and self._start():
                self._limit = FLUSH_POINTS
            if self._count >= HELD_POINTS:
                for curve in list(self._curves.values()):
                    many = len(curve.points) // 48
                    del curve.points[: 24 * many]
                    self.dropped += many
                self._count //= 2
        if self._closed:  # outside the lock: flush() takes the two locks in the other order
            self.flush()
        elif self._count >= FLUSH_POINTS:
            self._rouse()

    def _rouse(self) -> None:
        try:
            self._wake.release()
        except RuntimeError:
            pass  # it is awake already

    def _start(self) -> bool:
        self._thread = threading.Thread(target=self._run, name="studio-metrics", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is ending
            self._thread, self._closed = None, True
            return False
        if not self._finishes:
            self._finishes = True
            _finish_with_multiprocessing(self.close)
        return True

    def rest(self, wait_s: float) -> None:
        """Writes what was logged and ends the threads, for a fork; the next point starts them again."""
        if self.is_interrupted():
            return
        self._limit = 0
        thread, self._thread = self._thread, None
        self._rouse()
        for ending in thread, self._fsync:
            if ending is not None and ending is not threading.current_thread():
                ending.join(wait_s)
                until = time.monotonic() + wait_s  # Python 3.12 joins before the system's thread has ended
                while os.path.exists(f"/proc/self/task/{ending.native_id}") and time.monotonic() < until:
                    time.sleep(0.0001)

    def _run(self) -> None:
        goes_on = True
        while goes_on and not self._closed:
            self._wake.acquire(timeout=FLUSH_S)
            goes_on = self._thread is threading.current_thread()  # before the flush, so that the last one takes all
            try:
                self.flush()
                self._sync_now_and_then()
            except Exception as exc:  # noqa: BLE001  the thread must outlive whatever happens: points are what it is for
                self._say(f"metrics: {type(exc).__name__}: {exc}")

    # -- the disk -----------------------------------------------------------------------------------------------

    def flush(self, wait_s: float = -1) -> None:
        """Writes all that was logged before the call; what the disk refuses stays for the next time."""
        if not self._io.acquire(timeout=wait_s):
            return
        self._again = True
        try:
            while self._again and not self._flushing:  # a signal handler that logs may come here a second time
                self._again, self._flusher, self._flushing = False, threading.get_ident(), True
                try:
                    _studio_hold.call(self._flush)
                finally:
                    self._flushing = False
        finally:
            self._io.release()
        if self.afterwards is not None and threading.current_thread() is threading.main_thread():
            afterwards, self.afterwards = self.afterwards, None
            afterwards()

    def is_interrupted(self) -> bool:
        """Whether this is a signal handler that runs in the midst of a flush of its own thread."""
        return self._flushing and self._flusher == threading.get_ident()

    def _flush(self) -> None:
        with self._lock:
            self._count = 0
            curves = list(self._curves.items())  # at once: a signal handler may log a new name while we go through them
            taken = [(name, curve.take()) for name, curve in curves if curve.points]
        if taken:
            blocks = b"".join(
                [block for name, points in taken for block in _studio_points.blocks(self._prefix + name, points)]
            )
            self._unwritten.append((memoryview(blocks), sum(len(points) for _, points in taken) // 24))
        self._write()

    def _write(self) -> None:
        try:
            if self._unwritten and not self._is_open():
                self._fd = _open_stream(self._folder)
                self._identity = _identity(self._fd)
            while self._unwritten:
                data, count = self._unwritten[0]
                written = os.write(self._fd, data)
                self._dirty = True
                if written == len(data):
                    self._unwritten.pop(0)
                else:
                    self._unwritten[0] = (data[written:], count)
        except OSError as exc:
            while len(self._unwritten) > 1 and sum(len(data) for data, _ in self._unwritten) > HELD_BYTES:
                self.dropped += self._unwritten.pop(0)[1]
            self._say(f"metrics cannot be written now, the newest are kept in memory: {exc.strerror or exc}")

    def _is_open(self) -> bool:
        """Whether the descriptor still is the stream: a script may have closed it, its number now be another file's."""
        try:
            return self._fd >= 0 and _identity(self._fd) == self._identity
        except OSError:
            return False

    def _sync_now_and_then(self) -> None:
        """In a thread of its own: an fsync that takes long must not delay the next write."""
        now = time.monotonic()
        if not self._dirty or now - self._synced < FSYNC_S or (self._fsync is not None and self._fsync.is_alive()):
            return
        self._synced, self._dirty = now, False
        self._fsync = threading.Thread(target=_fsync, args=(self._fd,), name="studio-fsync", daemon=True)
        self._fsync.start()

    def _say(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(text)

    def close(self) -> None:
        """Writes and syncs what is left. Points that are logged later still arrive, each by a write of its own."""
        with self._lock:
            self._closed, self._limit = True, 0
        self._rouse()
        self.flush()
        if self._unwritten:  # there is no next time
            self.flush()
        with self._io:
            if self._dirty:
                self._dirty = False
                _fsync(self._fd)
            if self.dropped:
                self._warned = False
                points = "1 point was" if self.dropped == 1 else f"{self.dropped} points were"
                self._say(f"metrics: {points} dropped, the disk did not take them in time")

    def write_at_once(self) -> None:
        """From here on every point is written when it is logged, by the thread that logs it."""
        self._closed, self._limit, self._finishes = True, 0, True
        _finish_with_multiprocessing(self.close)

    def forget(self) -> None:
        """In a forked child: the parent's points and its file are the parent's."""
        if self._is_open():
            try:
                os.close(self._fd)
            except OSError:
                pass
        self._fd = -1


def _open_stream(folder: str) -> int:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, f"{os.getpid()}-{time.time_ns():x}")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)


def _identity(fd: int) -> tuple[int, int]:
    about = os.fstat(fd)
    return about.st_dev, about.st_ino


def _fsync(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError:
        pass  # a file system without fsync, or one that is full: the next flush says so


def _finish_with_multiprocessing(close: Callable[[], None]) -> None:
    """Children of `multiprocessing` end without `atexit`; their own finalizers do run."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and is_worker():
        util.Finalize(None, close, exitpriority=100)


def is_worker() -> bool:
    """Whether this process is a child of `multiprocessing`."""
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return False
    if hasattr(process, "parent_process"):
        return process.parent_process() is not None
    return process.current_process()._parent_pid is not None  # Python 3.7
