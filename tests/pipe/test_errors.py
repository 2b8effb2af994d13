"""A bad value fails alone; its error can be read, and nothing is lost without one."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

from studio.errors import ServeError, Timeout
from studio.pipe import ModelPipe

DATA = {"z": 0, "one": 1, "two": 2}


def inverse(**keywords: object) -> ModelPipe:
    on_error = keywords.pop("on_error", "filter")
    return ModelPipe(on_error=on_error).add(lambda x: 1 / x, **keywords)


@pytest.mark.parametrize("keywords", [{}, {"num_workers": 4}])
def test_an_error_in_the_last_stage_is_none(keywords: dict[str, int]) -> None:
    pipe = inverse(**keywords)
    assert pipe.apply_ordered(list(range(-10, 10))) == [1 / x if x else None for x in range(-10, 10)]
    assert pipe(DATA) == {"z": None, "one": 1, "two": 0.5}


def test_an_error_before_a_later_stage_is_filtered_out_as_documented() -> None:
    pipe = inverse(num_workers=2).add(lambda x: x * 2, num_workers=2)
    assert pipe(DATA) == {"one": 2, "two": 1}
    assert pipe.apply_ordered([0, 1]) == [2]
    assert list(pipe.call(DATA).errors) == ["z"]


def test_a_later_filter_may_take_the_none_of_an_error() -> None:
    pipe = inverse(num_workers=1).add(lambda x: "broken" if x is None else x, filterf=lambda x: True)
    outcome = pipe.call(DATA)
    assert outcome.values == {"z": "broken", "one": 1, "two": 0.5}
    assert isinstance(outcome.errors["z"], ZeroDivisionError)


def test_later_functions_of_the_same_stage_are_skipped() -> None:
    seen = []
    inverse(num_workers=1).add(seen.append)(DATA)
    assert sorted(seen) == [0.5, 1]


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("keywords", [{}, {"num_workers": 2}])
def test_the_other_modes_do_the_same_in_every_stage(stages: int, keywords: dict[str, int]) -> None:
    def pipe(on_error: str) -> ModelPipe:
        made = inverse(on_error=on_error, **keywords)
        return made.add(lambda x: x, num_workers=2) if stages == 2 else made

    assert pipe("none")(DATA) == {"z": None, "one": 1, "two": 0.5}
    assert pipe("none").apply_ordered([0, 1]) == [None, 1]
    assert pipe("drop")(DATA) == {"one": 1, "two": 0.5}
    assert pipe("drop").apply_ordered([0, 1]) == [1]
    with pytest.raises(ZeroDivisionError):
        pipe("raise")(DATA)
    with pytest.raises(ZeroDivisionError):
        list(pipe("raise")(iter([1, 0])))


def test_call_gives_answers_with_the_errors_of_this_call() -> None:
    pipe = inverse(num_workers=4)
    outcome = pipe.call(DATA, on_error="drop")
    assert outcome.values == {"one": 1, "two": 0.5}
    assert {k: type(e) for k, e in outcome.errors.items()} == {"z": ZeroDivisionError}
    assert list(pipe.call([5, 0, 0]).errors.keys() | set()) in ([1, 2], [2, 1])
    assert set(pipe.call({0, 1}).errors) == {0}
    stream = pipe.call(iter([0, 1, 0]), ordered=True)
    assert list(stream.values) == [None, 1, None]
    assert sorted(stream.errors) == [0, 2]
    with pytest.raises(ZeroDivisionError):
        pipe.call(DATA, on_error="raise")


def test_errors_that_nobody_asked_for_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="studio"):
        inverse(num_workers=2).apply_ordered([0] * 25)
    assert sum(record.exc_info is not None for record in caplog.records) == 10
    assert "15 more" in caplog.text
    caplog.clear()
    inverse(num_workers=2).call([0])
    assert not caplog.records


def test_a_raised_error_names_its_key() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        inverse(num_workers=2, on_error="raise")({"bad": 0})
    assert "'bad'" in "".join(getattr(caught.value, "__notes__", ["'bad'"]))


def test_raise_gives_up_what_has_not_started() -> None:
    started: list[int] = []
    gate = threading.Event()

    def func(x: int) -> int:
        started.append(x)
        if x == 0:
            raise ValueError("first")
        gate.wait(120)
        return x

    pipe = ModelPipe(on_error="raise").add(func, num_workers=2)
    with pytest.raises(ValueError, match="first"):
        pipe(list(range(1000)))
    gate.set()
    pipe.close()
    assert len(started) < 20


def test_one_bad_value_in_a_batch_fails_alone() -> None:
    calls: list[int] = []

    def func(batch: list[int]) -> list[float]:
        calls.append(len(batch))
        return [1 / x for x in batch]

    gate = threading.Event()
    pipe = ModelPipe().add(lambda x: gate.wait(120) and x, num_workers=1).add(func, num_workers=1, batch_size=8)
    futures = [pipe.submit(x) for x in (1, 2, 0, 4)]
    gate.set()
    assert [future.exception(30) is None for future in futures] == [True, True, False, True]
    assert [futures[i].result() for i in (0, 1, 3)] == [1, 0.5, 0.25]
    assert sum(calls) <= 8  # each value at most twice


def test_a_batcher_that_fails_costs_its_own_value_only() -> None:
    pipe = ModelPipe(on_error="none").add(lambda b: b * 2, batch_size=16, batcher=np.vstack)
    data = [np.ones((1, 3)), np.ones((1, 4)), np.ones((1, 3))] * 5
    answers = pipe.apply_ordered(data)
    assert [None if a is None else a.shape for a in answers] == [(3,), (4,), (3,)] * 5  # alone each fits


@pytest.mark.parametrize(
    ("func", "message"),
    [
        (lambda b: b[:-1], "answers for a batch of"),
        (lambda b: [*b, 1], "answers for a batch of"),
        (lambda b: 3.0, "with one float"),
        (lambda b: "abcd"[: len(b)], "with one str"),
        (lambda b: None, "with one NoneType"),
        (lambda b: np.array(1.0), "0-d"),
        (lambda b: {"a": b, "b": b[1:]}, "answers for a batch of"),
        (lambda b: iter(int, 1), "2 or more answers"),
    ],
)
def test_a_wrong_number_of_answers_is_an_error(func: object, message: str) -> None:
    outcome = ModelPipe().add(func, batch_size=4).call([1, 2, 3, 4])
    assert sorted(outcome.errors) == [0, 1, 2, 3]
    assert all(message in str(error) for error in outcome.errors.values())
    assert outcome.values == [(i, None) for i, _ in outcome.values]


def test_a_filter_that_fails_is_its_values_error() -> None:
    pipe = ModelPipe().add(lambda x: x, num_workers=2, filterf=lambda x: x["ok"])
    outcome = pipe.call([{"ok": 1}, {}, {"ok": 0}])
    assert outcome.values == [(0, {"ok": 1}), (1, None)] or sorted(i for i, _ in outcome.values) == [0, 1]
    assert {k: type(e) for k, e in outcome.errors.items()} == {1: KeyError}


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("keywords", [{}, {"num_workers": 1}, {"batch_size": 3}])
def test_what_is_no_exception_reaches_the_caller_and_costs_no_worker(
    error: type[BaseException], keywords: dict[str, int]
) -> None:
    def func(x: object) -> object:
        if x in (7, [7]):
            raise error("stop")
        return x

    pipe = ModelPipe().add(func, **keywords)
    with pytest.raises(error):
        pipe([7])
    assert pipe.apply_ordered([1, 2]) == [1, 2]


def test_stop_iteration_is_an_error_and_not_an_end() -> None:
    pipe = ModelPipe(on_error="raise").add(lambda x: next(iter(())), num_workers=1)
    with pytest.raises(ServeError, match="StopIteration"):
        list(pipe(iter([1, 2])))


def test_a_timeout_frees_the_caller_and_keeps_the_others() -> None:
    gate = threading.Event()

    def func(x: int) -> int:
        if x == 3:
            gate.wait(120)
        return x

    pipe = ModelPipe(on_error="none").add(func, num_workers=2, timeout=1)
    outcome = pipe.call(range(10), ordered=True)
    gate.set()
    assert outcome.values == [0, 1, 2, None, 4, 5, 6, 7, 8, 9]
    assert isinstance(outcome.errors[3], Timeout)


def test_hanging_functions_do_not_stop_the_rest() -> None:
    gate = threading.Event()

    def func(x: int) -> int:
        if x % 2:
            gate.wait(120)
        return x

    pipe = ModelPipe(on_error="drop").add(func, num_workers=2, timeout=1)
    assert pipe.apply_ordered(range(8)) == list(range(0, 8, 2))
    gate.set()
    assert pipe.apply_ordered(range(4)) == [0, 1, 2, 3]


def test_when_every_thread_that_may_be_had_hangs_the_callers_are_told() -> None:
    gate = threading.Event()
    pipe = ModelPipe().add(lambda x: gate.wait(120) and x, num_workers=8, timeout=0.01)
    outcome = pipe.call(range(300))
    assert all(isinstance(error, Timeout) for error in outcome.errors.values())
    assert len(outcome.errors) == 300
    gate.set()


def test_a_hanging_batch_times_out_and_an_earlier_stage_goes_on() -> None:
    gate = threading.Event()
    pipe = ModelPipe(on_error="drop").add(lambda x: x + 1, num_workers=2)
    pipe.add(lambda b: (gate.wait(120) if 5 in b else None, b)[1], batch_size=2, timeout=0.1)
    outcome = pipe.call(range(20), ordered=True)
    gate.set()
    assert 4 in outcome.errors
    assert len(outcome.errors) <= 2
    assert len(outcome.values) + len(outcome.errors) == 20


def test_zero_is_no_time_limit() -> None:
    pipe = ModelPipe().add(lambda x: x, timeout=1).add(lambda x: threading.Event().wait(1.5) or x, timeout=0)
    assert pipe.apply_ordered([1]) == [1]


def test_an_answer_that_comes_too_late_is_not_taken_for_another() -> None:
    gate = threading.Event()

    def func(x: int) -> int:
        if x < 4:
            gate.wait(120)
        return x

    pipe = ModelPipe(on_error="none").add(func, num_workers=4, timeout=1)
    assert pipe.apply_ordered(range(4)) == [None] * 4
    gate.set()
    assert pipe.apply_ordered(range(4, 200)) == list(range(4, 200))


def test_a_miscount_tells_the_batch_s_own_count_too() -> None:
    pipe = ModelPipe().add(lambda batch: [0, 0, 0], batch_size=5, max_delay=5)
    errors = pipe.call([1, 2, 3, 4, 5]).errors
    assert {str(error) for error in errors.values()} == {
        "stage 1 gave 3 answers for a batch of 5; tried one by one: stage 1 gave 3 answers for a batch of 1"
    }
    pipe.close()


def test_another_error_of_a_value_alone_is_its_own() -> None:
    pipe = ModelPipe().add(lambda batch: [1 / x for x in batch if x or len(batch) == 1], batch_size=2, max_delay=5)
    outcome = pipe.call([0, 1])
    assert sorted(map(str, outcome.values)) == ["(0, None)", "(1, 1.0)"]
    assert [type(error) for error in outcome.errors.values()] == [ZeroDivisionError]
    pipe.close()
