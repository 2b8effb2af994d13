"""Pickles that six Pythons with many numpys really wrote: right, or refused by policy."""

from __future__ import annotations

import importlib.util
import tarfile
from pathlib import Path

import numpy as np
import pytest

from studio.errors import RefusedPickle
from studio.serve.codec import safepickle
from studio.serve.codec.limits import Budget

from .equality import same

FIXTURES = Path(__file__).parent.parent / "fixtures"


def _corpus() -> dict[str, bytes]:
    with tarfile.open(FIXTURES / "numpy-pickles.tar.gz") as archive:
        return {Path(m.name).name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]


def _cases() -> dict[str, object]:
    spec = importlib.util.spec_from_file_location("gen_numpy_pickles", FIXTURES / "gen_numpy_pickles.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.cases()


@pytest.fixture(scope="module")
def corpus() -> dict[str, bytes]:
    return _corpus()


@pytest.fixture(scope="module")
def expected() -> dict[str, object]:
    with pytest.warns(PendingDeprecationWarning):  # np.matrix
        return _cases()


def test_every_real_pickle_is_right_or_refused_by_policy(corpus: dict[str, bytes], expected: dict[str, object]) -> None:
    accepted = refused = 0
    for name, data in corpus.items():
        tag, case, _ = name.split("__")
        want = expected[case]
        if case == "py_bytes_empty" and tag.startswith("py27"):
            want = ""  # the empty `str` of Python 2
        try:
            value = safepickle.loads(data)
        except RefusedPickle:
            assert case.startswith("no_"), name
            refused += 1
            continue
        assert not case.startswith("no_"), name
        assert same(value, want), name
        accepted += 1
    assert (accepted, refused) == (1292, 266)


def test_every_accepted_array_is_writable_and_native(corpus: dict[str, bytes]) -> None:
    for name, data in corpus.items():
        if "__no_" in name or "__py_" in name:
            continue
        value = safepickle.loads(data)
        if isinstance(value, np.ndarray):
            assert value.flags.writeable and value.flags.aligned and value.dtype.isnative, name


def test_the_protocol_is_known_again(corpus: dict[str, bytes]) -> None:
    for name, data in corpus.items():
        protocol = int(name[-5])
        if "dict_arrays" in name or "f4_c" in name or "shared" in name:
            assert safepickle.read(data, Budget())[1] == protocol, name


def test_only_the_whole_pickle_is_a_pickle(corpus: dict[str, bytes]) -> None:
    for name in sorted(corpus)[::97]:
        data = corpus[name]
        for cut in {1, len(data) // 2, len(data) - 1}:
            with pytest.raises(RefusedPickle):
                safepickle.loads(data[:cut])
        with pytest.raises(RefusedPickle):
            safepickle.loads(data + b".")
