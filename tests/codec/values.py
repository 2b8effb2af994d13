"""Hypothesis strategies for what the wire can carry."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

NUMBERS = ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
KINDS = [
    *(f"{order}{kind}" for order in "<>" for kind in NUMBERS),
    "|b1", "|i1", "|u1", "|S1", "|S7", "<U1", ">U5", "<M8[s]", ">M8[ns]", "<M8[25D]", "<m8[ms]", ">m8[Y]", "<m8",
]  # fmt: skip


def dtypes() -> st.SearchStrategy[np.dtype]:
    """Every kind, size and byte order."""
    return st.sampled_from(KINDS).map(np.dtype)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Any dtype; empty, 0-d to 4-d; C, Fortran, reversed and strided."""
    dtype = draw(dtypes())
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    size = int(np.prod(shape)) * dtype.itemsize
    if dtype.kind == "U":
        array = draw(hnp.arrays(dtype, shape))
    else:
        raw = draw(st.binary(min_size=size, max_size=size))
        array = np.frombuffer(bytearray(raw), dtype).reshape(shape) if size else np.empty(shape, dtype)
        if dtype.kind == "b":
            array = np.asarray(array.view(np.uint8) > 127)
    layout = draw(st.sampled_from(("C", "F", "reversed", "strided")))
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "reversed" and array.ndim:
        return array[::-1]
    if layout == "strided" and array.ndim:
        return np.repeat(array, 2, axis=0)[::2]
    return array


def scalars() -> st.SearchStrategy[object]:
    """Plain values and scalars of numpy."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**80), 2**80),
        st.floats(),
        st.text(max_size=20),
        st.binary(max_size=20),
        st.complex_numbers(allow_nan=False),
        st.sampled_from(
            [np.float32(0.1), np.int64(-9), np.bool_(True), np.complex64(1 + 1j), np.uint8(255), np.float16(2)]
        ),
        st.sampled_from([np.datetime64("2020-01-01"), np.datetime64("NaT", "s"), np.timedelta64(5, "ms")]),
    )


def plain_values() -> st.SearchStrategy[object]:
    """Nested containers of arrays and scalars."""
    keys = st.one_of(st.text(max_size=8), st.integers(-(2**31), 2**31 - 1))
    members = st.one_of(st.text(max_size=5), st.integers(-1000, 1000), st.binary(max_size=5))
    return st.recursive(
        st.one_of(scalars(), arrays(), st.sets(members, max_size=4), st.frozensets(members, max_size=4)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(keys, inner, max_size=4),
            st.tuples(inner, inner),
            st.lists(inner, max_size=5).map(tuple),
        ),
        max_leaves=6,
    )
