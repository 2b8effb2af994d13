"""A stage's queue and its threads: who works, who sleeps, who is given up because its function hangs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, cast

from ..errors import Overloaded, Timeout
from .lineage import together, work_for
from .stage import Item, Judged, Spec, Verdict, evaluate

if TYPE_CHECKING:
    from .line import Line

IDLE_S = 30.0


class _Worker:
    """A thread's place in a stage. `park` is held locked while the thread has nothing to wait for."""

    __slots__ = ("abandoned", "batch", "fresh", "park", "started", "thread")

    def __init__(self) -> None:
        self.park = threading.Lock()
        self.park.acquire()
        self.batch: Sequence[Item] = ()
        self.started = 0.0
        self.abandoned = False
        self.fresh = True
        self.thread: threading.Thread | None = None


class Crew:
    """A stage's queue and workers. At most one worker is being woken at a time; it wakes the next."""

    def __init__(self, line: Line, number: int, spec: Spec) -> None:
        self.line = line
        self.number = number
        self.spec = spec
        self.after: Crew | None = None
        self.most_stuck = max(64, 8 * spec.workers)
        self._most = spec.workers
        self._refuses_none = spec.queued and spec.filterf is None
        self.reset()

    def reset(self) -> None:
        """Forget all threads and items; for the first use and for a forked child."""
        self._lock = threading.Lock()
        self._queue: deque[Item] = deque()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._threads: list[threading.Thread] = []
        self._waking = False
        self._stuck = 0

    # -- in ------------------------------------------------------------------------------------

    def put(self, items: list[Item]) -> None:
        """Queue items that came from outside or from the stage before."""
        if self._refuses_none and any([item.value is None for item in items]):  # noqa: C419 - a list is quicker
            left_out = [item for item in items if item.value is None]
            items = [item for item in items if item.value is not None]
            self._end(left_out, Verdict.FILTERED)
        with self._lock:
            hopeless = self._stuck >= self.most_stuck and not self._workers
            fresh = None
            if not hopeless:
                self._queue.extend(items)
                fresh = self._wake()
        if hopeless:
            self._dispatch([(item, Verdict.FAILED, self._hanging()) for item in items])
        elif fresh is not None:
            self._start(fresh)

    def _put_back(self, items: list[Item]) -> None:
        with self._lock:
            self._queue.extendleft(reversed(items))
            fresh = self._wake()
        if fresh is not None:
            self._start(fresh)

    def _wake(self) -> _Worker | None:
        """Under the lock: let one worker come, if none is coming; one to be started is returned."""
        if self._waking or not self._queue:
            return None
        try:
            worker = self._idle.pop()
        except IndexError:
            if len(self._workers) >= self._most or self._stuck >= self.most_stuck:
                return None
            worker = _Worker()
            self._workers.add(worker)
            self._waking = True
            return worker
        self._waking = True
        worker.park.release()
        return None

    def wake_all(self) -> None:
        """Let all idle workers look up. Takes no lock: it is called by the garbage collector too."""
        while True:
            try:
                worker = self._idle.pop()
            except IndexError:
                return
            worker.park.release()

    def _start(self, worker: _Worker) -> None:
        thread = threading.Thread(target=self._work, args=(worker,), name=f"studio-pipe-{self.number}", daemon=True)
        worker.thread = thread
        with self._lock:
            self._threads = [*(one for one in self._threads if one.is_alive() or one.ident is None), thread]
        try:
            thread.start()
        except RuntimeError as exc:  # no more threads are to be had
            with self._lock:
                self._waking = False
                self._workers.discard(worker)
                lost = [] if self._workers else list(self._queue)
                if lost:
                    self._queue.clear()
            error = Overloaded(f"no thread could be started for stage {self.number}")
            error.__cause__ = exc
            self._dispatch([(item, Verdict.FAILED, error) for item in lost])

    # -- work ----------------------------------------------------------------------------------

    def _work(self, worker: _Worker) -> None:
        own: frozenset[object] = frozenset({self.line})
        work_for(own)
        timed = self.spec.timeout is not None
        while True:
            batch = self._take(worker)
            if batch is None:
                self.line.dissolve()
                return
            waiting = together(batch)
            if waiting:
                work_for(own | waiting)
            judged = evaluate(self.spec, self.number, batch)
            if timed and not self._reclaim(worker):
                return
            self._dispatch(judged)
            if waiting:
                work_for(own)  # a parked thread keeps no other pipe alive
            del batch, judged, waiting

    def _take(self, worker: _Worker) -> Sequence[Item] | None:
        """What to work on next; None when the thread shall end."""
        with self._lock:
            worker.batch = ()
            if worker.fresh:
                worker.fresh = self._waking = False
            while not self._queue:
                woken = self._sleep(worker, 0.0 if self.line.finished else IDLE_S)
                if not woken and not self._queue:
                    self._workers.discard(worker)
                    return None
            batch = self._grab(worker)
            worker.batch = batch
            worker.started = monotonic()
            fresh = self._wake()
        if fresh is not None:
            self._start(fresh)
        return batch

    def _grab(self, worker: _Worker) -> list[Item]:
        """Under the lock: the first item and, for a batch, what waits behind it."""
        queue, size = self._queue, self.spec.batch_size
        batch = [queue.popleft()]
        if size == 1 or batch[0].alone:
            return batch
        until = 0.0
        while len(batch) < size:
            if queue:
                if queue[0].alone:
                    break
                batch.append(queue.popleft())
                continue
            if not self.spec.max_delay or self.line.closing:
                break
            now = monotonic()
            until = until or now + self.spec.max_delay
            if now >= until or (not self._sleep(worker, until - now) and not queue):
                break
        return batch

    def _sleep(self, worker: _Worker, seconds: float) -> bool:
        """Under the lock, which is given up meanwhile: wait to be woken; False if the time was up."""
        self._idle.append(worker)
        if self.line.finished:  # seen only now by those who wake all
            seconds = 0.0
        self._lock.release()
        try:
            woken = worker.park.acquire(timeout=seconds)
        finally:
            self._lock.acquire()
        if not woken:
            try:
                self._idle.remove(worker)
                return False
            except ValueError:  # taken out by a waker at the same moment
                worker.park.acquire()
        self._waking = False
        return True

    def _reclaim(self, worker: _Worker) -> bool:
        """Whether the worker's batch is still its own, or was timed out meanwhile."""
        with self._lock:
            worker.batch = ()
            if not worker.abandoned:
                return True
            self._stuck -= 1
            fresh = self._wake()
        if fresh is not None:
            self._start(fresh)
        return False

    # -- out -----------------------------------------------------------------------------------

    def _dispatch(self, judged: Sequence[Judged]) -> None:
        """Send items on: to the next stage, back to this one, or home."""
        onward, again = [], []
        for item, verdict, outcome in judged:
            if verdict is Verdict.DONE:
                item.value = outcome
                item.alone, item.spoiled = False, None
                onward.append(item)
            elif verdict is Verdict.RETRY:
                item.alone, item.spoiled = True, cast("BaseException", outcome)
                again.append(item)
            elif verdict is Verdict.FAILED:
                if self._fail(item, cast("BaseException", outcome)):
                    onward.append(item)
                else:
                    self._end([item], verdict)
            else:
                self._end([item], verdict)
        if again:
            self._put_back(again)
        if onward:
            if self.after is not None:
                self.after.put(onward)
            else:
                self._end(onward, Verdict.DONE)

    @staticmethod
    def _fail(item: Item, error: BaseException) -> bool:
        """Note the item's first error; whether it goes on, as None."""
        if item.error is None:
            item.error = error
        item.value = None
        item.alone, item.spoiled = False, None
        return item.sink.carry and isinstance(error, Exception)

    def _end(self, items: list[Item], verdict: Verdict) -> None:
        self.line.release(len(items))
        for item in items:
            item.verdict = verdict
            item.sink.settle(item)

    # -- time ----------------------------------------------------------------------------------

    def expire(self, now: float) -> float:
        """Fail what has taken too long by `now`; when to look again."""
        limit = self.spec.timeout
        if limit is None:
            return float("inf")
        items: list[Item] = []
        due = float("inf")
        fresh = None
        with self._lock:
            for worker in list(self._workers):
                if not worker.batch:
                    continue
                if worker.started + limit > now:
                    due = min(due, worker.started + limit)
                    continue
                worker.abandoned = True
                self._workers.discard(worker)
                if worker.thread in self._threads:
                    self._threads.remove(worker.thread)
                self._stuck += 1
                items.extend(worker.batch)
            if items:
                fresh = self._wake()
                if self._stuck >= self.most_stuck and not self._workers:
                    items.extend(self._queue)
                    self._queue.clear()
        if fresh is not None:
            self._start(fresh)
        if items:
            error = Timeout(f"stage {self.number} took longer than {limit:g} s")
            self._dispatch([(item, Verdict.FAILED, error) for item in items])
        return due

    def _hanging(self) -> Timeout:
        return Timeout(
            f"stage {self.number}: {self.most_stuck} calls of its function hang beyond {self.spec.timeout} s",
            hint="give the function a limit of its own, such as urlopen(url, timeout=5)",
        )

    @property
    def manned(self) -> bool:
        """Whether any thread is left that is not given up."""
        return bool(self._workers)

    def threads(self) -> list[threading.Thread]:
        """The threads that will end when the line does."""
        with self._lock:
            return list(self._threads)
