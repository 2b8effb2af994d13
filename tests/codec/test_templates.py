# ruff: noqa: E501
"""A pickle that differs from one already read in its arrays' bytes alone is read by comparing: with the same meaning."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import RefusedPickle
from studio.serve.codec import Limits, pickle_templates, safepickle

from .equality import same
from .pickle_assembly import array, blob, p, shape, short
from .values import arrays


@pytest.fixture(autouse=True)
def empty() -> None:
    pickle_templates._templates.clear()


def known() -> int:
    return len(pickle_templates._templates)


@settings(max_examples=200, deadline=None)
@given(first=arrays(), second=arrays(), protocol=st.integers(0, 5), fill=st.integers(0, 255))
def test_the_second_is_read_as_the_first(first: np.ndarray, second: np.ndarray, protocol: int, fill: int) -> None:
    pickle_templates._templates.clear()
    other = (
        np.frombuffer(bytearray([fill % 100]) * first.nbytes, first.dtype).reshape(first.shape) if first.size else first
    )
    if first.dtype.kind == "U":
        other = first
    elif first.dtype.kind == "b":
        other = ~first
    for one in (first, other, second, first):
        for value in ({"x": one}, {"x": one, "y": second}, one):
            data = pickle.dumps(value, protocol)
            assert same(safepickle.loads(data), value)
            assert same(safepickle.loads(bytearray(data)), value)


def test_arrays_are_remembered_and_other_things_not() -> None:
    safepickle.loads(pickle.dumps({"x": np.ones(100)}))
    assert known() == 1
    safepickle.loads(pickle.dumps({"x": np.zeros(100)}))
    assert known() == 1
    for value in (
        {"x": 1},
        {"x": [np.ones(100)]},
        {"x": np.ones(100), "y": 2.0},
        {"x": np.array(["abc"])},
        [np.ones(9)],
        np.float32(1),
        {},
    ):
        safepickle.loads(pickle.dumps(value))
    assert known() == 1


def test_a_change_outside_the_arrays_is_no_hit() -> None:
    data = pickle.dumps({"x": np.arange(100.0)}, 4)
    safepickle.loads(data)
    start = data.index(np.arange(100.0).tobytes())
    for at in [*range(start), *range(start + 800, len(data))]:
        changed = bytearray(data)
        changed[at] ^= 0x20
        assert pickle_templates.again(changed, safepickle.DEFAULT) is None


def test_one_array_under_two_names_stays_one() -> None:
    one = np.ones(100)
    data = pickle.dumps({"x": one, "y": one})
    for _ in range(2):
        value = safepickle.loads(bytearray(data))
        value["x"][0] = 5  # type: ignore[index]
        assert value["y"][0] == 5  # type: ignore[index]
    assert known() == 0


def test_bytes_that_mean_more_than_data_are_not_remembered() -> None:
    # The same bytes are the data of one array and the type's name of the next.
    from .pickle_assembly import call, name

    typed = call(name("numpy", "dtype"), b"h\x00", b"\x89\x88")
    state = b"(K\x03" + short("|") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    data = p(
        b"}("
        + short("a")
        + array(b"C\x02i1\x94", shape(2), typed_i1())
        + short("b")
        + array(blob(b"ab"), shape(2), typed + state)
        + b"u"
    )
    value = safepickle.loads(data)
    assert value["b"].tolist() == [97, 98]  # type: ignore[index]
    assert known() == 0


def typed_i1() -> bytes:
    from .pickle_assembly import dtype

    return dtype("i1", order="|")


def test_other_limits_are_other_templates() -> None:
    data = pickle.dumps({"x": np.ones((2, 2, 2))})
    safepickle.loads(data)
    with pytest.raises(RefusedPickle):
        safepickle.loads(data, Limits(max_ndim=2))


def test_the_cache_is_bounded() -> None:
    for size in range(1, 500):
        safepickle.loads(pickle.dumps({"x": np.zeros(size)}))
    assert 0 < known() <= 64


def test_too_large_is_refused_before_it_is_compared() -> None:
    limits = Limits(max_bytes=500)
    with pytest.raises(RefusedPickle):
        safepickle.loads(pickle.dumps({"x": np.zeros(500)}), limits)
