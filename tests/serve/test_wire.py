"""What `POST /` answers: the forms of the contract, headers, and the original's two acceptance cases."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from .conftest import Served, wait_until

INCREMENT = Path(__file__).parents[2] / "examples" / "serving" / "model_increment.py"


def test_identity_returns_its_input_and_says_loudly_that_it_is_one(identity: Served) -> None:
    assert identity.post({"a": "b"}).json == {"a": "b"}
    assert "WARNING: " in identity.errors and "identity" in identity.errors
    assert "identity" in identity.ask("GET", "/metadata").json["warnings"][0]
    assert b"the identity is served" in identity.ask("GET", "/").body


def test_the_originals_increment_wrapper_serves_unmodified(serve: Callable[..., Served]) -> None:
    server = serve("--wrapper", INCREMENT)
    assert server.post({"a": 1}).json == {"a": 2}
    assert server.ask("GET", "/metadata").json["style"] == "create_model"
    wait_until(
        lambda: "create_model without a contract: the body of that line shows" in server.errors, "what curl sends"
    )


@pytest.mark.parametrize("value", ["N.", "gASV", "", "ü", None, True, 0, 1.5, [1, [2]], {"b": "c"}])
def test_values_for_the_identity_stay_as_they_are(identity: Served, value: object) -> None:
    assert identity.post({"a": value}).json == {"a": value}


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_answered_by_a_pickle_of_its_protocol(identity: Served, protocol: int) -> None:
    body = pickle.dumps({"a": np.arange(6.0).reshape(2, 3)}, protocol)
    answer = identity.ask("POST", "/", body, Content_Type="application/x-pickle")
    assert answer.headers["content-type"] == "application/x-pickle"
    np.testing.assert_array_equal(pickle.loads(answer.body)["a"], np.arange(6.0).reshape(2, 3))
    assert answer.body[:2] == body[:2] if protocol >= 2 else not answer.body.startswith(b"\x80")


def test_plain_curl_data_is_sniffed(identity: Served) -> None:
    answer = identity.ask("POST", "/", b'{"a": 1}', Content_Type="application/x-www-form-urlencoded")
    assert answer.json == {"a": 1}


def test_a_request_id_is_echoed_if_it_is_one_and_made_otherwise(identity: Served) -> None:
    assert identity.post({}, X_Request_ID="abc-1").headers["x-request-id"] == "abc-1"
    for bad in ("x" * 129, "a b", "<script>"):
        made = identity.post({}, X_Request_ID=bad).headers["x-request-id"]
        assert made != bad and re.fullmatch(r"[0-9a-f]+-[0-9a-f]+", made)


def test_server_timing_tells_queue_batch_model_and_total(identity: Served) -> None:
    told = identity.post({"a": 1}).headers["server-timing"]
    assert re.fullmatch(r"queue;dur=[\d.]+, batch;dur=[\d.]+, model;dur=[\d.]+, total;dur=[\d.]+", told)


def test_a_body_in_many_small_pieces_and_chunked_is_put_together(identity: Served) -> None:
    text = json.dumps({"a": list(range(200))}).encode()
    with identity.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for at in range(0, len(text), 97):
            part = text[at : at + 97]
            sock.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        sock.sendall(b"0\r\n\r\n")
        got = b""
        while part := sock.recv(65536):
            got += part
    assert json.loads(got.partition(b"\r\n\r\n")[2]) == {"a": list(range(200))}


def test_pipelined_requests_are_answered_in_order(identity: Served) -> None:
    def request(n: int, close: bool) -> bytes:
        body = b'{"n": %d}' % n
        return b"POST / HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s" % (
            b"Connection: close\r\n" if close else b"",
            len(body),
            body,
        )

    got = identity.raw(b"".join(request(n, n == 9) for n in range(10)))
    assert [int(n) for n in re.findall(rb'"n": ?(\d+)', got)] == list(range(10))


def test_a_large_body_takes_the_thread_and_comes_back_whole(identity: Served) -> None:
    array = np.random.default_rng(1).random((300, 1000), dtype=np.float32)
    answer = identity.ask("POST", "/", pickle.dumps({"a": array}, 5), Content_Type="application/x-pickle")
    np.testing.assert_array_equal(pickle.loads(answer.body)["a"], array)


def test_pages_health_and_unknown_routes(identity: Served) -> None:
    page = identity.ask("GET", "/")
    assert page.status == 200 and b"curl http" in page.body and b"ModelClient" in page.body
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert b"<script>" not in page.body and b"style=" not in page.body and b"onclick" not in page.body
    for path in ("/static/serve.js", "/static/serve.css"):
        assert identity.ask("GET", path).status == 200
    for path in ("/healthz", "/readyz"):
        assert identity.ask("GET", path).status == 200
        assert identity.ask("HEAD", path).body == b""
    missing = identity.ask("GET", "/no/such")
    assert missing.status == 404 and missing.json["kind"] == "NotFound" and missing.json["request_id"]
    refused = identity.ask("PUT", "/")
    assert refused.status == 405 and "POST" in refused.headers["allow"]


def test_metadata_has_the_form_of_the_contract(identity: Served) -> None:
    told = identity.ask("GET", "/metadata").json
    assert set(told) == {
        "name", "version", "source", "style", "file", "runtime", "inputs", "outputs", "stacking",
        "unmerged", "warnings", "idle", "studio",
    }  # fmt: skip
    assert told["idle"]["killafter"] == 3600 and 0 < told["idle"]["remaining"] <= 3600


def test_the_printed_curl_line_works(identity: Served) -> None:
    wait_until(lambda: "curl " in identity.errors, "the line")  # it is written after the one on stdout
    line = next(x for x in identity.errors.splitlines() if x.startswith("curl "))
    assert identity.url in line and "-d" in line and "form only" not in identity.errors
    assert identity.line == f"Serving identity at {identity.url}"
