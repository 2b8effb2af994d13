# ruff: noqa: E501
"""Every dtype, order, byte order, empty and 0-d, through every form: what comes out is what went in, to the bit."""

from __future__ import annotations

import base64
import io
import json
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from studio.errors import BadInput, TooLarge
from studio.serve.codec import Form, Limits, decode, encode, encode_request
from studio.serve.codec.json_numbers import list_to_array, only_number_lists
from studio.serve.codec.json_read import parse
from studio.serve.codec.limits import Budget, Malformed

from .equality import same
from .values import arrays

JSON = "application/json"
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0.:"), min_size=1, max_size=10)


def through(body: bytes, content_type: str | None) -> object:
    """Decoded, encoded in kind, decoded again; both must agree."""
    once, form = decode(body, content_type, arrays=True)
    answer, answered = encode(once, form)
    again, second = decode(answer, answered, arrays=True)
    assert form == second
    assert same(again, once)
    return once


@settings(max_examples=150, deadline=None)
@given(array=arrays(), protocol=st.integers(0, 5))
def test_pickles(array: np.ndarray, protocol: int) -> None:
    data = pickle.dumps(array, protocol)
    assert same(
        through(pickle.dumps({"a": array, "b": data}, protocol), "application/x-pickle"), {"a": array, "b": array}
    )
    assert same(through(json.dumps({"a": str(data, "latin-1")}).encode(), JSON), {"a": array})
    if protocol >= 2:
        assert same(through(json.dumps({"a": str(base64.b64encode(data), "ascii")}).encode(), JSON), {"a": array})


@settings(max_examples=150, deadline=None)
@given(array=arrays())
def test_npy(array: np.ndarray) -> None:
    target = io.BytesIO()
    np.save(target, array)
    assert same(through(target.getvalue(), "application/x-npy"), {"x": array})
    body, _ = encode({"y": array}, Form("npy"))
    read = np.load(io.BytesIO(body))
    assert same(np.asarray(read), array)
    if array.flags.forc:
        assert read.flags.f_contiguous == array.flags.f_contiguous or array.ndim < 2


@settings(max_examples=100, deadline=None)
@given(values=st.dictionaries(NAMES, arrays(), max_size=3), squeezed=st.booleans())
def test_npz(values: dict[str, np.ndarray], squeezed: bool) -> None:
    assume("file" not in values)
    target = io.BytesIO()
    (np.savez_compressed if squeezed else np.savez)(target, **values)
    assert same(through(target.getvalue(), "application/x-npz"), values)
    with np.load(io.BytesIO(encode_request(values, "npz")[0])) as read:
        assert same(dict(read), values)


@settings(max_examples=150, deadline=None)
@given(array=arrays())
def test_safetensors_and_typed_json(array: np.ndarray) -> None:
    raw = base64.b64encode(np.ascontiguousarray(array).tobytes())
    body = json.dumps({"a": {"dtype": array.dtype.str, "shape": list(array.shape), "b64": raw.decode()}}).encode()
    assert same(through(body, JSON), {"a": array})
    if array.dtype.kind in "biuf" or array.dtype.str in ("<c8", ">c8"):
        body, content_type = encode_request({"a": array}, "safetensors")
        assert same(through(body, content_type), {"a": array})


@settings(max_examples=100, deadline=None)
@given(array=arrays())
def test_our_safetensors_are_everybodys(array: np.ndarray) -> None:
    reference = pytest.importorskip("safetensors.numpy", reason="the reference reader is not installed")
    assume(array.dtype.kind in "biuf")
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    assert same(reference.load(encode_request({"a": array}, "safetensors")[0])["a"], native.reshape(array.shape))
    assert same(decode(reference.save({"a": native.reshape(array.shape)}), None, arrays=True)[0]["a"], array)


@settings(max_examples=200, deadline=None)
@given(array=arrays())
def test_json_numbers(array: np.ndarray) -> None:
    assume(array.dtype.kind in "iuf" and array.ndim)
    body, content_type = encode({"y": array}, Form())
    if array.dtype.kind == "f":
        want = np.where(np.isfinite(array), array, np.nan).astype(array.dtype.newbyteorder("="))
        assert np.array_equal(
            np.asarray(json.loads(body)["y"], float).astype(want.dtype).reshape(want.shape), want, equal_nan=True
        )
    else:
        assert json.loads(body)["y"] == array.tolist()
    if array.size:
        once = decode(body, content_type, arrays=True, limits=Limits(nulls=True))[0]["y"]
        assert np.array_equal(
            np.asarray(once).astype(array.dtype),
            np.where(np.isfinite(array), array, np.nan) if array.dtype.kind == "f" else array,
            equal_nan=True,
        )


NUMBER = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.integers(-9, 9)
)
LISTS = st.recursive(NUMBER, lambda inner: st.lists(inner, max_size=4), max_leaves=12)


@settings(max_examples=400, deadline=None)
@given(values=st.dictionaries(NAMES, LISTS, min_size=1, max_size=3), indent=st.sampled_from([None, 0, 2]))
def test_the_quick_way_reads_what_the_slow_way_reads(values: dict[str, object], indent: int | None) -> None:
    body = json.dumps(values, indent=indent, ensure_ascii=False).encode()
    quick = only_number_lists(body, Budget())
    if quick is None:
        return
    slow = {key: list_to_array(value, Budget()) for key, value in values.items()}  # type: ignore[arg-type]
    assert quick.keys() == slow.keys()
    for key, array in quick.items():
        assert array.shape == slow[key].shape and array.dtype == slow[key].dtype, (array, slow[key])
        assert array.tobytes() == slow[key].tobytes() or np.array_equal(array, slow[key])  # 0 and -0


@settings(max_examples=300, deadline=None)
@given(data=st.data(), array=st.sampled_from([[1.5, -2], [[1, 2], [3, 4]], [[[0.1], [2e-7]], [[3], [4]]]]))
def test_the_quick_way_reads_no_json_that_is_none(data: st.DataObject, array: list[object]) -> None:
    body = bytearray(json.dumps({"a": array, "bc": array}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b"[", b"]", b",", b'"', b"0", b"-", b".", b" ", b":", b"e", b"{"])
        )
    quick = only_number_lists(bytes(body), Budget())
    if quick is not None:
        slow = json.loads(body)
        assert {key: value.tolist() for key, value in quick.items()} == slow


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.sampled_from('[]{}"\\,:1 ae-.'), max_size=60), key=st.text(max_size=5))
def test_any_text_is_read_as_json_is_or_refused(text: str, key: str) -> None:
    for body in (text.encode(), ("{" + json.dumps(key) + ":" + text + "}").encode()):
        try:
            ours = parse(body, Budget())
        except Malformed:
            ours = Malformed
        try:
            theirs = json.loads(body)
        except ValueError:
            assert ours is Malformed
            continue
        assert ours is Malformed or ours == theirs  # we refuse more: keys twice, depth


@settings(max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=300),
    content_type=st.sampled_from(
        [
            None,
            JSON,
            "application/x-pickle",
            "application/x-npy",
            "application/x-npz",
            "application/vnd.safetensors",
            "image/png",
            "multipart/form-data; boundary=b",
        ]
    ),
    arrays=st.booleans(),
)
def test_any_bytes_are_refused_in_words(body: bytes, content_type: str | None, arrays: bool) -> None:
    from studio.errors import UnsupportedType

    try:
        decode(body, content_type, arrays=arrays)
    except (BadInput, TooLarge, UnsupportedType) as exc:
        assert exc.message


def test_all_is_read_without_simdjson() -> None:
    import subprocess
    import sys

    program = (
        "import sys; sys.modules['simdjson'] = None\n"
        "from studio.serve.codec import decode\n"
        'values, _ = decode(b\'{"a": [[1, 2], [3, 4]], "b": [0.5], "c": [0, 18446744073709551615]}\', None, arrays=True)\n'
        "print({key: (str(value.dtype), value.tolist()) for key, value in values.items()})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    expected = {"a": ("int64", [[1, 2], [3, 4]]), "b": ("float64", [0.5]), "c": ("uint64", [0, 2**64 - 1])}
    assert done.stdout.strip() == str(expected)
