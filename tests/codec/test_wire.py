# ruff: noqa: E501
"""The forms of the wire, as docs/reference/wire.md says them: in, out, answered in kind, refused with a hint."""

from __future__ import annotations

import base64
import io
import json
import pickle

import numpy as np
import pytest

from studio.errors import BadInput, RefusedPickle, ServeError, TooLarge, UnsupportedType
from studio.serve.codec import Form, Limits, decode, decode_answer, encode, encode_request

from .equality import same

JSON = "application/json"
PICKLE = "application/x-pickle"


def doubled(body: bytes, content_type: str | None, accept: str | None = None) -> tuple[bytes, str]:
    """A model that doubles what it gets."""
    inputs, form = decode(body, content_type, arrays=True)
    return encode({key: value * 2 for key, value in inputs.items()}, form, accept=accept)  # type: ignore[operator]


def echoed(body: bytes, content_type: str | None) -> tuple[bytes, str]:
    """The identity: JSON values stay what they are."""
    inputs, form = decode(body, content_type, arrays=False)
    return encode(inputs, form)


def npy(array: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


def test_lists_of_numbers() -> None:
    assert doubled(b'{"a": [1.0, 2.0]}', JSON) == (b'{"a":[2.0,4.0]}', JSON)
    assert doubled(b'{"a": [[1, 2], [3, 4]], "b": [5]}', JSON) == (b'{"a":[[2,4],[6,8]],"b":[10]}', JSON)
    assert doubled(b'{"a": 1.5, "b": 2}', JSON) == (b'{"a":3.0,"b":4}', JSON)


def test_typed_arrays_are_answered_likewise() -> None:
    body = b'{"a": {"dtype": "<f4", "shape": [2], "b64": "AACAPwAAAEA="}}'
    answer = json.loads(doubled(body, JSON)[0])["a"]
    assert (answer["dtype"], answer["shape"]) == ("<f4", [2])
    assert np.frombuffer(base64.b64decode(answer["b64"]), "<f4").tolist() == [2.0, 4.0]


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_in_strings_are_answered_likewise(protocol: int) -> None:
    data = pickle.dumps(np.array([1.0, 2.0], "f4"), protocol)
    answer = json.loads(doubled(json.dumps({"a": str(data, "latin-1")}).encode(), JSON)[0])["a"]
    assert same(pickle.loads(answer.encode("latin-1")), np.array([2, 4], "f4"))
    if protocol >= 2:
        assert answer[:2] == f"\x80{chr(protocol)}"
        sent = str(base64.b64encode(data), "ascii")
        answer = json.loads(doubled(json.dumps({"a": sent}).encode(), JSON)[0])["a"]
        assert answer.startswith("gA")
        assert base64.b64decode(answer)[1] == protocol
        assert same(pickle.loads(base64.b64decode(answer)), np.array([2, 4], "f4"))


@pytest.mark.parametrize("text", ["N.", "b", "", "gASV", "\u00e9\u4e2d", "gA==", "cos\nsystem\n."])
def test_strings_stay_verbatim_where_no_arrays_are_taken(text: str) -> None:
    assert json.loads(echoed(json.dumps({"a": text}).encode(), JSON)[0]) == {"a": text}


def test_identity_gives_any_json_back() -> None:
    body = {"i": 10**40, "f": 1e300, "n": None, "t": [True, [1, "x"], {}], "s": "\ud800", "o": {"dtype": 1, "7": [[]]}}
    assert json.loads(echoed(json.dumps(body).encode(), JSON)[0]) == body


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("content_type", [PICKLE, "application/python-pickle"])
def test_pickled_bodies_keep_their_protocol(protocol: int, content_type: str) -> None:
    values = {"a": np.arange(3, dtype="i4"), "b": pickle.dumps(np.ones(2), protocol)}
    body, answered = doubled(pickle.dumps(values, protocol), content_type)
    assert answered == PICKLE
    assert (body[:1] == b"\x80") == (protocol >= 2) and (protocol < 2 or body[1] == protocol)
    answer = pickle.loads(body)
    assert same(answer["a"], np.array([0, 2, 4], "i4"))
    assert type(answer["b"]) is bytes
    assert same(pickle.loads(answer["b"]), np.array([2.0, 2.0]))


def test_answers_name_numpy_as_every_version_knows_it() -> None:
    for protocol in range(6):
        assert b"numpy._core" not in doubled(pickle.dumps({"a": np.ones(2)}, protocol), PICKLE)[0]


def test_npy_npz_and_safetensors() -> None:
    array = np.arange(6, dtype="f4").reshape(2, 3)
    body, answered = doubled(npy(array), "application/x-npy")
    assert answered == "application/x-npy"
    assert same(np.load(io.BytesIO(body)), array * 2)
    target = io.BytesIO()
    np.savez_compressed(target, a=array, b=np.array(5))
    body, answered = doubled(target.getvalue(), "application/x-npz")
    assert answered == "application/x-npz"
    with np.load(io.BytesIO(body)) as found:
        assert same(found["a"], array * 2) and same(found["b"], np.array(10))
    body, answered = doubled(encode_request({"a": array}, "safetensors")[0], "application/vnd.safetensors")
    assert answered == "application/vnd.safetensors"
    assert same(decode_answer(body, answered)["a"], array * 2)


def test_two_answers_to_one_npy_are_an_npz() -> None:
    _, form = decode(npy(np.ones(2)), "application/x-npy", arrays=True)
    body, answered = encode({"p": np.ones(1), "q": np.zeros(1)}, form)
    assert answered == "application/x-npz"
    assert sorted(decode_answer(body, answered)) == ["p", "q"]


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/x-npz", "application/x-npz"),
        ("application/x-pickle;q=0.5, application/x-npz;q=0.9", "application/x-npz"),
        ("text/html, application/python-pickle", PICKLE),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
        ("image/png", JSON),
        ("application/x-npz;q=0", JSON),
        ("nonsense;q=x", JSON),
    ],
)
def test_accept_chooses_the_answer(accept: str | None, answered: str) -> None:
    assert doubled(b'{"a": [1, 2]}', JSON, accept)[1] == answered


@pytest.mark.parametrize(
    "content_type", [None, "", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=UTF-8"]
)
def test_a_plain_curl_is_found_out(content_type: str | None) -> None:
    array = np.arange(3.0)
    for body, answered in (
        (b' \n{"a": [1]}', JSON),
        (pickle.dumps({"a": array}, 0), PICKLE),
        (pickle.dumps({"a": array}, 1), PICKLE),
        (pickle.dumps({"a": array}, 5), PICKLE),
        (npy(array), "application/x-npy"),
        (encode_request({"a": array}, "npz")[0], "application/x-npz"),
        (encode_request({"a": array}, "safetensors")[0], "application/vnd.safetensors"),
    ):
        assert doubled(body, content_type)[1] == answered
    with pytest.raises(UnsupportedType) as caught:
        decode(b"a=1&b=2", content_type, arrays=True)
    assert "application/json" in caught.value.hint


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/octet-stream", "image/gif", "application/xml", "a", "text/plain"]
)
def test_other_types_are_415(content_type: str) -> None:
    with pytest.raises(UnsupportedType) as caught:
        decode(b"{}", content_type, arrays=True)
    assert caught.value.http_status == 415
    assert content_type in caught.value.message and "application/x-npz" in caught.value.hint


def test_other_charsets_are_415() -> None:
    assert decode(b'{"a": 1}', "application/json; charset=UTF-8", arrays=True)[0] == {"a": 1}
    with pytest.raises(UnsupportedType):
        decode('{"a": 1}'.encode("utf-16"), "application/json; charset=utf-16", arrays=True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not-json"), (b"{", "not-json"), (b"[1]", "not-an-object"), (b"3", "not-an-object"), (b"\xff{}", "UTF-8"),
        (b'{"a": 1, "a": 2}', "duplicate-key"), (b'{"a": [1], "a": [2]}', "duplicate-key"), (b'{"a": {"b": 1, "b": 1}}', "duplicate-key"),
        (b'{"a": [1, 2], "a": 3, "pad": "0123456789012345678901234567890123456789"}', "duplicate-key"),
        (b'{"a": [[1], [1, 2]]}', "ragged"), (b'{"a": [[1, 2], [3, 4, 5], [6]]}', "ragged"), (b'{"a": [[1], 2]}', "ragged"),
        (b'{"a": [1, "x"]}', "mixed"), (b'{"a": [1, {}]}', "mixed"), (b'{"a": [99999999999999999999]}', "huge-int"), (b'{"a": [-1, 9223372036854775808]}', "huge-int"),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", "too-deep"), (b'{"a": ' + b"[" * 100_000, "too-deep"), (b'{"a": "x"}', "no-stop"),
        (b'{"a": [1, 2,]}', "not-json"), (b'{"a": [01]}', "not-json"), (b'{"a": [+1]}', "not-json"), (b'{"a": [1.]}', "not-json"),
        (b'{"a": [1]} x', "not-json"), (b'{"a": [1]]}', "not-json"), (b"{'a': [1]}", "not-json"), (b'{"a": [0x1]}', "not-json"),
        (b'{"a": {"dtype": "O", "shape": [1], "b64": "AAAAAAAAAAA="}}', "dtype-refused"),
        (b'{"a": {"dtype": "<f4", "shape": [3], "b64": "AACAPwAAAEA="}}', "size-mismatch"),
        (b'{"a": {"dtype": "<f4", "shape": [-2], "b64": "AACAPwAAAEA="}}', "bad-shape"),
        (b'{"a": {"dtype": "<f4", "shape": 2, "b64": "AACAPwAAAEA="}}', "bad-typed"),
        (b'{"a": {"dtype": "<f4", "shape": [2], "b64": "AACAP!AAAEA="}}', "bad-base64"),
        (b'{"a": {"dtype": "<f4", "shape": [0, 4294967296], "b64": ""}}', "bad-shape"),
    ],
)  # fmt: skip
def test_bad_json_is_400_and_says_why(body: bytes, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        decode(body, JSON, arrays=True)
    assert caught.value.http_status == 400
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("body", [np.ones(2), [1], "x", {1: 2}, {"a": object}, None])
def test_a_pickle_must_be_a_dictionary_of_plain_values(body: object) -> None:
    with pytest.raises(BadInput):
        decode(pickle.dumps(body), PICKLE, arrays=True)


def test_a_refused_pickle_says_its_code() -> None:
    with pytest.raises(RefusedPickle) as caught:
        decode(b"cos\nsystem\n(S'true'\ntR.", PICKLE, arrays=False)
    assert caught.value.code == "global-refused"
    assert "os.system" in caught.value.message


@pytest.mark.parametrize(("text", "said"), [("hello", "must be a pickle"), ("cos\\nsystem\\n.", "os.system")])
def test_a_refused_text_in_json_is_named(text: str, said: str) -> None:
    with pytest.raises(RefusedPickle) as caught:
        decode(f'{{"good": [1], "the one": "{text}"}}'.encode(), JSON, arrays=True)
    assert "'the one'" in caught.value.message and said in caught.value.message


def test_too_large_is_413() -> None:
    small = Limits(max_bytes=1000)
    for body, content_type in ((b'{"a": "' + b"x" * 1000 + b'"}', JSON), (bytes(1001), PICKLE)):
        with pytest.raises(TooLarge) as caught:
            decode(body, content_type, arrays=False, limits=small)
        assert caught.value.http_status == 413
    with pytest.raises(TooLarge):
        decode(b'{"a": [' + b"1," * 2000 + b"1]}", JSON, arrays=True, limits=Limits(max_numbers=1000))
    with pytest.raises(TooLarge):
        decode(b'{"a": ["' + b"x" * 100_000 + b'"' + b',""' * 100_000 + b"]}", JSON, arrays=True)


def test_not_a_number_and_infinity() -> None:
    inputs, form = decode(b'{"a": [NaN, Infinity, -Infinity, 1, null]}', JSON, arrays=True, limits=Limits(nulls=True))
    assert np.array_equal(inputs["a"], [np.nan, np.inf, -np.inf, 1, np.nan], equal_nan=True)  # type: ignore[arg-type]
    assert encode(inputs, form) == (b'{"a":[null,null,null,1.0,null]}', JSON)
    assert encode({"a": float("nan"), "b": np.float32("inf")}, form)[0] == b'{"a":null,"b":null}'


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.float32(0.1), b"0.1"), (np.array([0.1, -1.5], "f4"), b"[0.1,-1.5]"), (np.array(0.1, "f4"), b"0.1"), (np.array(7), b"7"),
        (np.bool_(True), b"true"), (np.array([[True], [False]]), b"[[true],[false]]"), (np.uint64(2**64 - 1), b"18446744073709551615"),
        (np.int64(2**53 + 1), b"9007199254740993"), (np.zeros((0, 3)), b"[]"), (np.zeros((2, 0)), b"[[],[]]"), (10**30, b"1" + b"0" * 30),
        (np.array(["a", "\u00e9"]), '["a","\u00e9"]'.encode()), (np.array([b"cat", b"dog"]), b'["cat","dog"]'), (np.str_("x"), b'"x"'),
        (np.array(["cat", "dog"], object), b'["cat","dog"]'), (b"plain", b'"plain"'), (b"\xff\xfe", b'"//4="'), (np.bytes_(b"x"), b'"x"'),
        (np.array(["2020-01-01T12:30", "NaT"], "M8[m]"), b'["2020-01-01T12:30",null]'), (np.datetime64("2020-01-01"), b'"2020-01-01"'),
        (np.array([1], "m8[ms]"), b'{"dtype":"<m8[ms]","shape":[1],"b64":"AQAAAAAAAAA="}'),
        (np.complex64(1 + 2j), b'{"dtype":"<c8","shape":[],"b64":"AACAPwAAAEA="}'), (1 + 2j, b'{"dtype":"<c16","shape":[],"b64":"AAAAAAAA8D8AAAAAAAAAQA=="}'),
        (np.arange(4, dtype=">i4").reshape(2, 2).T, b"[[0,2],[1,3]]"), (np.arange(6)[::-2], b"[5,3,1]"), (np.float64(2.5), b"2.5"),
        ({"n": [np.ones(1), (np.int8(3), None)], 5: {1}}, b'{"n":[[1.0],[3,null]],"5":[1]}'), (np.float16(0.5), b"0.5"),
        (np.ma.array([1, 2], mask=[0, 1]), b"[1,null]"), (np.longdouble(1.5), b"1.5"), ([np.array([1.5], "f4")] * 2, b"[[1.5],[1.5]]"),
    ],
)  # fmt: skip
def test_what_json_answers_look_like(value: object, written: bytes) -> None:
    assert encode({"y": value}, Form())[0] == b'{"y":' + written + b"}"


@pytest.mark.parametrize("kind", ["json", "pickle", "npy", "npz", "safetensors"])
def test_what_cannot_be_written_names_its_key(kind: str) -> None:
    with pytest.raises(ServeError) as caught:
        encode({"fine": np.ones(1), "bad": {"x": object()}}, Form(kind))
    assert caught.value.http_status == 500
    assert "'bad'" in caught.value.message


def test_loops_and_depth_are_an_error_and_not_a_crash() -> None:
    loop: list[object] = []
    loop.append(loop)
    for kind in ("json", "pickle", "npz"):
        with pytest.raises(ServeError):
            encode({"bad": loop}, Form(kind))


def test_new_keys_are_answered_as_the_old_ones_were() -> None:
    data = str(base64.b64encode(pickle.dumps(np.ones(1))), "ascii")
    _, form = decode(json.dumps({"a": data, "b": data}).encode(), JSON, arrays=True)
    assert json.loads(encode({"other": np.ones(1)}, form)[0])["other"].startswith("gA")
    _, form = decode(json.dumps({"a": data, "b": [1]}).encode(), JSON, arrays=True)
    assert json.loads(encode({"other": np.ones(1)}, form)[0]) == {"other": [1.0]}


def test_a_tensor_of_any_framework_is_an_array() -> None:
    class Tensor:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return np.array([1.5, 2.5], "f4")

    assert encode({"y": Tensor()}, Form())[0] == b'{"y":[1.5,2.5]}'
    assert same(pickle.loads(encode({"y": Tensor()}, Form("pickle"))[0])["y"], np.array([1.5, 2.5], "f4"))


@pytest.mark.parametrize("kind", ["json", "pickle", "npz", "safetensors", "npy"])
def test_a_client_writes_and_reads(kind: str) -> None:
    array = np.arange(6, dtype="f8").reshape(2, 3)
    body, content_type = encode_request({"x": array}, kind)
    inputs, form = decode(body, content_type, arrays=True)
    assert same(inputs["x"], array)
    assert same(decode_answer(*encode({"x": array * 2}, form))["x"], array * 2)


def test_a_client_leaves_strings_and_what_is_no_array() -> None:
    answer = decode_answer(b'{"a": "N.", "b": [[1], [1, 2]], "c": [1.5], "d": {"x": 1}, "e": [1, "x"]}', JSON)
    assert same(answer.pop("c"), np.array([1.5]))
    assert answer == {"a": "N.", "b": [[1], [1, 2]], "d": {"x": 1}, "e": [1, "x"]}


def test_a_client_refuses_a_hostile_answer() -> None:
    with pytest.raises(RefusedPickle):
        decode_answer(b"cos\nsystem\n(S'true'\ntR.", PICKLE)


def test_an_unknown_kind_of_request_is_an_error() -> None:
    with pytest.raises(ServeError) as caught:
        encode_request({}, "xml")
    assert "safetensors" in caught.value.hint
