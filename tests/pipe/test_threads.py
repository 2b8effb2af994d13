"""Concurrent calls, threads that end, forks, interpreter exit, pipes within pipes."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed, wait

import pytest

from studio.errors import ConfigError, FilteredOut, Overloaded, Timeout
from studio.pipe import ModelPipe


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def pipe_threads() -> int:
    return sum(thread.name.startswith("studio-pipe") for thread in threading.enumerate())


def mixed(threads: int, calls: int) -> list[object]:
    """The answers that were not those of their call."""
    pipe = ModelPipe().add(lambda x: (x[0], x[1] + 1), num_workers=8)
    pipe.add(lambda b: [(who, n * 2) for who, n in b], num_workers=2, batch_size=16, timeout=600)
    wrong: list[object] = []

    def caller(who: int) -> None:
        for n in range(calls):
            kind = n % 4
            values = [(who, n * 10 + i) for i in range(1 + n % 3)]
            expected = [(who, (x[1] + 1) * 2) for x in values]
            if kind == 0:
                found = list(pipe(dict(enumerate(values))).values())
            elif kind == 1:
                found = pipe.apply_ordered(values)
            elif kind == 2:
                found = [pipe.submit(v).result(600) for v in values]
            else:
                found = list(pipe.apply_ordered(iter(values))) if n % 16 == 3 else list(pipe.apply_ordered(values))
            if found != expected:
                wrong.append((found, expected))

    everybody = [threading.Thread(target=caller, args=(who,)) for who in range(threads)]
    for thread in everybody:
        thread.start()
    for thread in everybody:
        thread.join()
    pipe.close()
    return wrong


def test_concurrent_calls_get_their_own_answers() -> None:
    assert mixed(threads=64, calls=20) == []


@pytest.mark.soak
def test_concurrent_calls_get_their_own_answers_for_long() -> None:
    assert mixed(threads=64, calls=10_000) == []


def test_concurrent_calls_share_batches() -> None:
    gate, sizes = threading.Event(), []

    def func(batch: list[int]) -> list[int]:
        gate.wait(120)
        sizes.append(len(batch))
        return batch

    pipe = ModelPipe().add(func, num_workers=1, batch_size=32)
    with ThreadPoolExecutor(16) as callers:
        answers = [callers.submit(pipe, {"k": n}) for n in range(16)]
        until(lambda: pipe._line is not None and pipe._line.inflight == 16)
        gate.set()
        assert [answer.result(120) for answer in answers] == [{"k": n} for n in range(16)]
    assert len(sizes) <= 2


def test_all_workers_work_at_once() -> None:
    barrier = threading.Barrier(32)
    pipe = ModelPipe(on_error="raise").add(lambda x: barrier.wait(120), num_workers=32)
    assert sorted(pipe({x: x for x in range(64)}).values()) == sorted([*range(32)] * 2)


def test_no_more_is_inside_than_allowed() -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def func(x: int) -> int:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0)
        with lock:
            inside -= 1
        return x

    pipe = ModelPipe(max_inflight=3).add(func, num_workers=16)
    with ThreadPoolExecutor(8) as callers:
        for answer in [callers.submit(pipe.apply_ordered, range(100)) for _ in range(8)]:
            assert answer.result(120) == list(range(100))
    assert most <= 3


def test_submit_gives_a_future() -> None:
    pipe = ModelPipe(on_error="none").add(lambda x: 1 / x, num_workers=2)
    futures = [pipe.submit(x) for x in (1, 2, 4)]
    assert {future.result() for future in as_completed(futures, timeout=120)} == {1, 0.5, 0.25}
    assert isinstance(pipe.submit(0).exception(30), ZeroDivisionError)
    with pytest.raises(FilteredOut) as caught:
        pipe.submit(None).result(120)
    assert (caught.value.http_status, caught.value.exit_code) == (422, 8)
    called: Future[object] = Future()
    pipe.submit(5).add_done_callback(lambda future: called.set_result(future.result()))
    assert called.result(120) == 0.2


def test_a_cancelled_value_is_not_started_and_takes_no_room() -> None:
    gate, seen = threading.Event(), []
    pipe = ModelPipe().add(lambda x: (seen.append(x), gate.wait(120), x)[2], num_workers=1)
    first, second, third = (pipe.submit(x) for x in (1, 2, 3))
    until(lambda: seen == [1])
    assert second.cancel()
    gate.set()
    assert third.result(120) == 3
    assert seen == [1, 3]
    with pytest.raises(CancelledError):
        second.result(120)
    assert not wait([first, second], timeout=120).not_done
    until(lambda: pipe._line is not None and pipe._line.inflight == 0)


def test_a_cancelled_value_that_runs_already_is_given_up() -> None:
    gate, started = threading.Event(), threading.Event()
    pipe = ModelPipe().add(lambda x: (started.set(), gate.wait(120), x)[2], num_workers=1)
    future = pipe.submit(1)
    assert started.wait(120)
    assert future.cancel()
    gate.set()
    assert not wait([future], timeout=120).not_done
    assert pipe.submit(2).result(120) == 2


def test_a_full_pipe_waits_or_says_so() -> None:
    gate = threading.Event()
    pipe = ModelPipe(max_inflight=2).add(lambda x: gate.wait(120) and x, num_workers=1)
    futures = [pipe.submit(x, wait=False) for x in (1, 2)]
    with pytest.raises(Overloaded, match="2 values"):
        pipe.submit(3, wait=False)
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(pipe.submit, 3)
        gate.set()
        assert [future.result(120) for future in (*futures, waiting.result(120))] == [1, 2, 3]


def test_close_waits_for_what_is_inside_and_refuses_the_rest() -> None:
    pipe = ModelPipe().add(lambda x: x, num_workers=4).add(lambda b: b, batch_size=4)
    with pipe:
        futures = [pipe.submit(x) for x in range(50)]
    assert [future.result(0) for future in futures] == list(range(50))
    assert pipe_threads() == 0
    pipe.close()
    for use in (lambda: pipe([1]), lambda: pipe.submit(1), lambda: list(pipe(iter([1]))), lambda: pipe.call({})):
        with pytest.raises(Overloaded, match="closed"):
            use()
    with pytest.raises(ConfigError, match="closed"):
        pipe.add(abs)


def test_close_frees_those_who_wait_for_room() -> None:
    gate = threading.Event()
    pipe = ModelPipe(max_inflight=1).add(lambda x: gate.wait(120) and x, num_workers=1)
    first = pipe.submit(1)
    with ThreadPoolExecutor(2) as others:
        second = others.submit(pipe.submit, 2)
        until(lambda: pipe._line is not None and bool(pipe._line._waiters))
        closing = others.submit(pipe.close)
        assert isinstance(second.exception(30), Overloaded)
        gate.set()
        closing.result(120)
    assert first.result(0) == 1


def test_close_from_a_function_of_the_pipe_does_not_wait_for_itself() -> None:
    pipe = ModelPipe().add(lambda x: pipe.close() or x, num_workers=1)
    assert pipe.submit(1).result(120) == 1


def drop(count: int) -> None:
    """Makes pipes, uses them and forgets them, until all their threads have ended."""
    for n in range(count):
        pipe = ModelPipe().add(lambda x: x, num_workers=2, timeout=120).add(lambda b: b, batch_size=2)
        assert pipe({"a": n}) == {"a": n}
        if n % 3 == 0:
            next(pipe(iter(range(1000))))
    del pipe
    gc.collect()
    until(lambda: pipe_threads() == 0)


def test_dropped_pipes_leave_no_thread() -> None:
    before = threading.active_count()
    drop(300)
    assert threading.active_count() <= before


@pytest.mark.soak
def test_ten_thousand_dropped_pipes_leave_no_thread_and_no_memory() -> None:
    import psutil

    drop(500)
    process = psutil.Process()
    before = process.memory_info().rss
    drop(10_000)
    assert process.memory_info().rss - before < 8 << 20


def test_a_dropped_pipe_finishes_what_was_submitted() -> None:
    gate = threading.Event()
    future = ModelPipe().add(lambda x: gate.wait(120) and x, num_workers=1).add(lambda b: b, batch_size=2).submit(3)
    gc.collect()
    gate.set()
    assert future.result(120) == 3


def test_values_and_functions_are_not_kept() -> None:
    class Value:
        pass

    pipe = ModelPipe().add(lambda x: x, num_workers=2).add(lambda b: b, batch_size=2)
    value = Value()
    gone = weakref.ref(value)
    assert pipe({"a": value})["a"] is value
    del value
    until(lambda: gc.collect() >= 0 and gone() is None)


def test_idle_threads_end_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.pipe import crew, line

    monkeypatch.setattr(crew, "IDLE_S", 0.05)
    monkeypatch.setattr(line, "IDLE_S", 0.05)
    pipe = ModelPipe().add(lambda x: x, num_workers=4, timeout=1)
    for _ in range(3):
        assert pipe.apply_ordered(range(100)) == list(range(100))
        until(lambda: pipe_threads() == 0)
    for n in range(200):  # threads that are about to end while work comes
        assert pipe({"a": n}) == {"a": n}
        if n % 10 == 0:
            there = pipe_threads()
            until(lambda there=there: pipe_threads() < max(there, 1))


def test_a_pipe_that_calls_itself_says_so() -> None:
    pipe = ModelPipe(on_error="raise")
    pipe.add(lambda x: pipe([x]), num_workers=1)
    with pytest.raises(ConfigError, match="waits for the pipe itself"):
        pipe([1])
    outer = ModelPipe(on_error="raise")
    inner = ModelPipe(on_error="raise").add(lambda x: outer([x]), num_workers=1)
    outer.add(lambda x: inner([x]), num_workers=1)
    with pytest.raises(ConfigError, match="waits for the pipe itself"):
        outer([1])
    through = ModelPipe(on_error="raise")
    through.add(lambda x: through.submit(x).result(), num_workers=1)
    with pytest.raises(ConfigError):
        through([1])
    assert outer._line is not None
    assert inner._line is not None
    for one in (pipe, outer, inner, through):
        one.close()


def test_a_value_may_hand_on_others_without_waiting() -> None:
    found: list[Future[object]] = []

    def func(x: int) -> int:
        if x:
            found.append(pipe.submit(x - 1, wait=False))
        return x

    pipe = ModelPipe().add(func, num_workers=2)
    assert pipe.submit(5).result(120) == 5
    until(lambda: len(found) == 5)
    assert sorted(future.result(120) for future in found) == [0, 1, 2, 3, 4]
    pipe.close()


def test_pipes_within_pipes_work() -> None:
    inner = ModelPipe().add(lambda b: [x * 2 for x in b], num_workers=1, batch_size=8)
    outer = ModelPipe().add(lambda x: sum(inner.apply_ordered(range(x))), num_workers=4)
    assert outer.apply_ordered(range(20)) == [x * (x - 1) for x in range(20)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_starts_its_own_threads() -> None:
    program = """
import os, sys, threading, time
from studio.pipe import ModelPipe
pipe = ModelPipe().add(lambda x: x * 2, num_workers=4, timeout=120).add(lambda b: b, batch_size=2)
stop = threading.Event()
def busy():
    while not stop.is_set():
        assert pipe.apply_ordered(range(20)) == [x * 2 for x in range(20)]
others = [threading.Thread(target=busy) for _ in range(3)]
[t.start() for t in others]
codes = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        ok = pipe.apply_ordered(range(50)) == [x * 2 for x in range(50)] and pipe.submit(4).result(120) == 8
        os._exit(0 if ok else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
[t.join() for t in others]
assert codes == [0] * 20, codes
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "ending",
    [
        "pipe([1, 2])",
        "pipe.submit(1)",
        "g = pipe(iter(range(10**6))); next(g)",
        "hang.submit(1); begun.wait()",
        "hang.submit(1); pipe([1]); raise SystemExit(0)",
    ],
)
def test_the_interpreter_ends_whatever_is_under_way(ending: str) -> None:
    program = f"""
import threading
from studio.pipe import ModelPipe
pipe = ModelPipe().add(lambda x: x, num_workers=4, timeout=3600).add(lambda b: b, batch_size=4)
begun = threading.Event()
hang = ModelPipe().add(lambda x: (begun.set(), threading.Event().wait()), num_workers=1)
{ending}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_pipe_imports_no_library() -> None:
    program = (
        "import sys; before = set(sys.modules); import studio.pipe, studio.model_util;"
        "print({m.partition('.')[0] for m in set(sys.modules) - before} & {'numpy', 'PIL', 'keras', 'tensorflow'})"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"


def test_a_timeout_reaches_a_future_too() -> None:
    gate = threading.Event()
    pipe = ModelPipe().add(lambda x: gate.wait(120), num_workers=1, timeout=0.05)
    assert isinstance(pipe.submit(1).exception(30), Timeout)
    gate.set()


def test_all_who_wait_come_in_when_a_batch_leaves() -> None:
    gates = {0: threading.Event(), 1: threading.Event()}
    pipe = ModelPipe(max_inflight=4).add(lambda b: (gates[b[0]].wait(120), b)[1], batch_size=4, max_delay=30)
    first = [pipe.submit(0) for _ in range(4)]
    with ThreadPoolExecutor(4) as others:
        second = [others.submit(pipe.submit, 1) for _ in range(4)]
        until(lambda: pipe._line is not None and len(pipe._line._waiters) == 4)
        gates[0].set()
        wait(first, timeout=120)
        until(lambda: pipe._line is not None and pipe._line.inflight == 4)
        gates[1].set()
        assert [future.result(120).result(120) for future in second] == [1] * 4


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads on this system")
def test_one_who_gives_up_waiting_leaves_the_place_to_the_next() -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    gate = threading.Event()
    pipe = ModelPipe(max_inflight=1).add(lambda x: gate.wait(120) and x, num_workers=1)
    first = pipe.submit(1)
    before = signal.signal(signal.SIGUSR1, interrupt)

    def interrupt_who_waits() -> None:
        until(lambda: pipe._line is not None and bool(pipe._line._waiters))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    with ThreadPoolExecutor(1) as others:
        try:
            done = others.submit(interrupt_who_waits)
            with pytest.raises(Interrupted):
                pipe.submit(2)
            done.result(120)
        finally:
            signal.signal(signal.SIGUSR1, before)
        third = others.submit(pipe.submit, 3)
        until(lambda: pipe._line is not None and bool(pipe._line._waiters))
        gate.set()
        assert third.result(120).result(120) == 3
    assert first.result(120) == 1
