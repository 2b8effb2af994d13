"""What goes in decides what comes out; the original's documented examples among them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from types import GeneratorType

import numpy as np
import pytest

from studio.errors import BadInput, ConfigError
from studio.model_util import BufferedPipe
from studio.pipe import ModelPipe


def square(**keywords: object) -> ModelPipe:
    return ModelPipe().add(lambda x: x * x, **keywords)


@pytest.fixture(params=[{}, {"num_workers": 4}, {"num_workers": 32, "timeout": 60}], ids=["inline", "4", "32-timed"])
def pipe(request: pytest.FixtureRequest) -> Iterator[ModelPipe]:
    with square(**request.param) as made:
        yield made


def test_a_dictionary_keeps_its_keys_and_their_order(pipe: ModelPipe) -> None:
    data = {f"k{x}": x for x in range(1000)}
    for answer in (pipe(data), pipe.apply_ordered(data)):
        assert list(answer.items()) == [(k, v * v) for k, v in data.items()]


def test_a_list_gives_pairs_and_ordered_bare_answers(pipe: ModelPipe) -> None:
    data = list(range(-500, 500))
    pairs = pipe(data)
    assert isinstance(pairs, list)
    assert sorted(pairs) == [(i, x * x) for i, x in enumerate(data)]
    assert pipe.apply_ordered(data) == [x * x for x in data]


def test_pairs_come_in_the_order_of_completion() -> None:
    import threading

    last_is_done = threading.Event()

    def func(x: int) -> int:
        if x == 0:
            assert last_is_done.wait(120)
        if x == 3:
            last_is_done.set()
        return x

    pipe = ModelPipe().add(func, num_workers=2)
    assert pipe([0, 1, 2, 3]) == [(1, 1), (2, 2), (3, 3), (0, 0)]


def test_a_set_gives_a_set_of_answers(pipe: ModelPipe) -> None:
    assert pipe({-2, -1, 1, 2, 3}) == {1, 4, 9}
    assert pipe.apply_ordered(frozenset({-2, 2})) == {4}


def test_answers_that_no_set_can_hold_say_so() -> None:
    with pytest.raises(BadInput, match="hashable"):
        ModelPipe().add(lambda x: [x])({1})


def test_a_tuple_gives_a_tuple(pipe: ModelPipe) -> None:
    assert pipe.apply_ordered((1, 2, 3)) == (1, 4, 9)
    assert sorted(pipe((1, 2))) == [(0, 1), (1, 4)]
    assert isinstance(pipe((1, 2)), tuple)


@pytest.mark.parametrize("data", [range(5), deque(range(5)), np.arange(5), dict.fromkeys(range(5)).keys() | set()])
def test_what_is_sized_is_a_list_or_a_set(pipe: ModelPipe, data: object) -> None:
    answer = pipe.apply_ordered(data)
    assert answer in ([0, 1, 4, 9, 16], {0, 1, 4, 9, 16})


def test_rows_of_an_array_are_the_values(pipe: ModelPipe) -> None:
    rows = np.arange(12.0).reshape(4, 3)
    for answer, row in zip(pipe.apply_ordered(rows), rows, strict=True):
        assert np.array_equal(answer, row * row)


def test_a_data_set_with_length_and_index_is_a_list(pipe: ModelPipe) -> None:
    class Numbers:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> int:
            return index + 1  # never IndexError, as in many data sets

    assert pipe.apply_ordered(Numbers()) == [1, 4, 9]


def test_a_generator_gives_a_generator(pipe: ModelPipe) -> None:
    assert isinstance(pipe(x for x in range(3)), GeneratorType)
    assert sorted(pipe(x for x in range(100))) == [(x, x * x) for x in range(100)]
    assert list(pipe.apply_ordered(x for x in range(100))) == [x * x for x in range(100)]
    assert list(pipe.apply_ordered(map(int, "123"))) == [1, 4, 9]


@pytest.mark.parametrize("empty", [{}, [], (), set(), range(0), np.empty((0, 3))])
def test_nothing_gives_nothing(pipe: ModelPipe, empty: object) -> None:
    assert len(pipe(empty)) == 0
    assert list(pipe(iter(()))) == []


@pytest.mark.parametrize("one", ["http://example.org", b"x", 3, None, np.float32(3), np.array(3)])
def test_one_value_is_not_a_collection(pipe: ModelPipe, one: object) -> None:
    with pytest.raises(BadInput, match="takes a collection") as caught:
        pipe(one)
    assert "submit" in caught.value.hint


@pytest.mark.parametrize("keywords", [{"num_workers": 2}, {"batch_size": 3}])
def test_unusual_values_are_ordinary(keywords: dict[str, int]) -> None:
    values = [0, False, 0.0, "", b"", [], {}, (), math.nan, np.nan, np.empty(0), np.array(False), -1, math.inf]
    pipe = ModelPipe().add(lambda x: x, **keywords)
    answers = pipe.apply_ordered(values)
    assert all(a is b for a, b in zip(answers, values, strict=True))


def test_none_is_what_the_default_filter_leaves_out() -> None:
    assert square(num_workers=1)({"a": None, "b": 0}) == {"b": 0}
    assert ModelPipe().add(lambda x: x, filterf=lambda x: True)({"a": None}) == {"a": None}
    assert ModelPipe().add(lambda x: None, num_workers=1)({"a": 1}) == {"a": None}
    assert ModelPipe().add(lambda x: x)({"a": None}) == {"a": None}


def test_filterf_sees_what_comes_into_its_stage() -> None:
    pipe = ModelPipe().add(lambda x: x + 1, num_workers=2).add(lambda x: x * 10, filterf=lambda x: x != 3)
    assert pipe({x: x for x in range(5)}) == {0: 10, 1: 20, 3: 40, 4: 50}
    outcome = pipe.call({2: 2})
    assert (outcome.values, outcome.errors) == ({}, {})


def test_functions_without_keywords_run_in_the_stage_before() -> None:
    import threading

    threads: list[set[str]] = [set(), set(), set()]

    def seen(index: int):
        def func(x: object) -> object:
            threads[index].add(threading.current_thread().name)
            return x

        return func

    ModelPipe().add(seen(0), num_workers=1).add(seen(1)).add(seen(2), num_workers=1)([1, 2, 3])
    assert threads[0] == threads[1] != threads[2]


def test_after_a_batched_stage_a_plain_function_sees_the_batch() -> None:
    pipe = ModelPipe().add(lambda x: x, num_workers=3)
    pipe.add(lambda batch: batch @ np.eye(3), batch_size=4, batcher=np.vstack)
    pipe.add(lambda rows: np.argmax(rows, axis=1))
    data = [np.eye(3)[[i % 3]] for i in range(10)]
    assert pipe.apply_ordered(data) == [i % 3 for i in range(10)]


def test_unspecified_options_are_taken_over() -> None:
    sizes: list[int] = []

    def count(batch: list[int]) -> list[int]:
        sizes.append(len(batch))
        return batch

    pipe = ModelPipe().add(lambda b: b, batch_size=4, batcher=list).add(count, num_workers=1)
    assert pipe.apply_ordered(range(64)) == list(range(64))
    assert max(sizes) <= 4


def test_a_batch_is_never_larger_than_asked_and_rows_keep_their_shape() -> None:
    sizes: list[int] = []

    def func(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return batch * 2

    pipe = ModelPipe().add(func, batch_size=8, batcher=np.stack)
    answers = pipe.apply_ordered([np.full((3, 2), i) for i in range(50)])
    assert [a.shape for a in answers] == [(3, 2)] * 50
    assert [a[0, 0] for a in answers] == [2 * i for i in range(50)]
    assert max(sizes) <= 8
    assert sum(sizes) == 50


def test_a_batch_may_answer_with_columns() -> None:
    pipe = ModelPipe().add(lambda b: {"double": b * 2, "text": [str(x) for x in b]}, batch_size=4, batcher=np.array)
    assert pipe.apply_ordered([1, 2, 3]) == [{"double": 2 * x, "text": str(x)} for x in (1, 2, 3)]


def test_max_delay_fills_a_batch_with_what_comes_later() -> None:
    import threading

    sizes: list[int] = []
    pipe = ModelPipe().add(lambda b: [sizes.append(len(b)), *b][1:], batch_size=4, max_delay=60)
    futures = [pipe.submit(1)]
    barrier = threading.Thread(target=lambda: futures.extend(pipe.submit(x) for x in (2, 3, 4)))
    barrier.start()
    barrier.join()
    assert [future.result(timeout=120) for future in futures] == [1, 2, 3, 4]
    assert sizes == [4]


def test_close_does_not_wait_for_a_batch_to_fill() -> None:
    pipe = ModelPipe().add(lambda b: b, batch_size=4, max_delay=3600)
    future = pipe.submit(1)
    pipe.close()
    assert future.result(timeout=0) == 1


def test_a_model_is_anything_with_predict() -> None:
    class Model:
        def predict(self, rows: np.ndarray) -> np.ndarray:
            return rows.sum(axis=1)

    pipe = ModelPipe().add(Model(), batch_size=32, batcher=np.vstack)
    assert pipe.apply_ordered([np.full((1, 4), x) for x in range(5)]) == [0, 4, 8, 12, 16]
    assert ModelPipe().add(Model().predict, batch_size=2, batcher=np.vstack).apply_ordered([np.ones((1, 2))]) == [2]


@pytest.mark.parametrize(
    "keywords", [{"num_workers": -1}, {"batch_size": -2}, {"timeout": -1.0}, {"timeout": math.nan}, {"max_delay": -1}]
)
def test_impossible_options_are_refused(keywords: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(keywords))):
        ModelPipe().add(abs, **keywords)


def test_impossible_pipes_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be a stage"):
        ModelPipe().add(3)
    with pytest.raises(ConfigError, match="ignore"):
        ModelPipe(on_error="ignore")
    with pytest.raises(ConfigError, match="max_inflight"):
        ModelPipe(max_inflight=0)


def test_a_pipe_without_functions_is_the_identity() -> None:
    assert ModelPipe()({"a": 1}) == {"a": 1}
    assert ModelPipe().submit(3).result(120) == 3


def test_the_originals_inner_pipe_gives_bare_answers() -> None:
    pipe = BufferedPipe().add(lambda x: x + 1).add(lambda x: x * x)
    assert list(pipe(x for x in range(1, 5))) == [4, 9, 16, 25]
    buffered = BufferedPipe().add(lambda x: x + 1, num_workers=32).add(lambda x: x * x)
    assert sorted(buffered(x for x in range(1, 5))) == [4, 9, 16, 25]


def test_a_stage_can_be_added_to_a_pipe_in_use() -> None:
    pipe = square(num_workers=2)
    assert pipe.apply_ordered([2]) == [4]
    under_way = pipe.apply_ordered(iter(range(100)))
    assert next(under_way) == 0
    pipe.add(lambda x: -x, num_workers=1)
    assert pipe.apply_ordered([2]) == [-4]
    assert list(under_way) == [x * x for x in range(1, 100)]


@pytest.mark.parametrize(
    "keywords", [{"num_workers": 1.5}, {"num_workers": "2"}, {"batch_size": "x"}, {"batch_size": 2.0},
                 {"timeout": "1"}, {"max_delay": "x"}],
)  # fmt: skip
def test_what_is_no_number_is_refused_by_name(keywords: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(keywords))} must be a"):
        ModelPipe().add(str, **keywords)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_inflight must be a whole number"):
        ModelPipe(max_inflight=2.5)  # type: ignore[arg-type]
