"""What the safe decoder accepts is what a stock unpickler makes of the same bytes: by mutation, and by generation."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.serve.codec import pickle_write, safepickle

from .equality import same
from .values import arrays, plain_values

ROOT = Path(__file__).parent.parent.parent


def _fuzz(count: int, seed: int) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.codec.fuzz_child", str(count), str(seed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]  # a crash of the stock unpickler on what ours accepted
    return json.loads(done.stdout.splitlines()[-1])


def test_ten_thousand_mutations() -> None:
    found = _fuzz(10_000, seed=20261120)
    assert found["different"] == []
    assert int(str(found["accepted"])) > 200  # or it would say nothing


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_million_mutations() -> None:
    seed = int(os.environ.get("STUDIO_FUZZ_SEED", "1"))
    for part in range(10):
        assert _fuzz(100_000, seed=seed * 1000 + part)["different"] == []


@settings(max_examples=300, deadline=None)
@given(value=plain_values(), protocol=st.integers(0, 5))
def test_what_stock_pickle_writes_we_read(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert same(safepickle.loads(data), value)
    assert same(safepickle.loads(bytearray(data)), value)


@settings(max_examples=300, deadline=None)
@given(value=plain_values(), protocol=st.integers(0, 5))
def test_what_we_write_stock_pickle_reads(value: object, protocol: int) -> None:
    data = pickle_write.dumps(value, protocol)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(pickle.loads(data), value)
    assert same(safepickle.loads(data), value)


@settings(max_examples=200, deadline=None)
@given(array=arrays(), protocol=st.integers(0, 5))
def test_memory_is_shared_with_a_writable_body_only(array: np.ndarray, protocol: int) -> None:
    body = bytearray(pickle.dumps({"x": array}, protocol))
    value = safepickle.loads(body)["x"]  # type: ignore[index]
    assert value.flags.writeable and value.flags.aligned
    frozen = safepickle.loads(bytes(body))["x"]  # type: ignore[index]
    assert frozen.flags.writeable and same(frozen, array)


def test_two_arrays_over_one_buffer_do_not_share_it() -> None:
    from .pickle_assembly import blob, call, dtype, name, p, shape, short

    one = call(name("numpy._core.numeric", "_frombuffer"), b"h\x00", dtype("i1", order="|"), shape(512), short("C"))
    body = bytearray(p(b"(" + blob(bytes(512)) + b"\x94" + one + one + b"l"))
    _, first, second = safepickle.loads(body)  # type: ignore[misc]
    first[:] = 1
    assert not second.any()
