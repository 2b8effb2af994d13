"""Every way to be refused: status, body, and that the server lives on."""

from __future__ import annotations

import contextlib
import json
import pickle
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from .conftest import Served, wait_until


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, ("/tmp/studio-was-here",)


@pytest.mark.parametrize(
    ("body", "headers", "status", "kind"),
    [
        (b'{"a": ', {}, 400, "BadInput"),
        (b"[1, 2]", {"Content_Type": "application/json"}, 400, "BadInput"),
        (b"", {"Content_Type": "application/json"}, 400, "BadInput"),
        (b'{"a": 1}', {"Content_Type": "text/csv"}, 415, "UnsupportedType"),
        (b'{"a": 1}', {"Content_Encoding": "gzip"}, 415, "UnsupportedType"),
        (pickle.dumps({"a": Evil()}), {"Content_Type": "application/x-pickle"}, 400, "RefusedPickle"),
        (b'{"a": 1}', {"Host": "evil.example"}, 403, "Forbidden"),
        (b'{"a": 1}', {"Origin": "http://evil.example"}, 403, "Forbidden"),
        (b'{"a": 1}', {"Origin": "null"}, 403, "Forbidden"),
        (b'{"a": 1}', {"Sec_Fetch_Site": "cross-site"}, 403, "Forbidden"),
    ],
)
def test_refusals(identity: Served, body: bytes, headers: dict[str, str], status: int, kind: str) -> None:
    answer = identity.ask("POST", "/", body, **headers)
    assert (answer.status, answer.json["kind"]) == (status, kind), answer.body
    assert set(answer.json) == {"error", "kind", "hint", "request_id"}
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.body.decode()
    assert "access-control-allow-origin" not in answer.headers
    assert identity.post({"a": 1}).json == {"a": 1}
    assert not Path("/tmp/studio-was-here").exists()


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GARBAGE\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_400_as_json(identity: Served, head: bytes) -> None:
    got = identity.raw(head)
    assert got.startswith(b"HTTP/1.1 400 ")
    assert json.loads(got.partition(b"\r\n\r\n")[2])["kind"] == "BadInput"


def test_no_host_or_two_hosts_are_refused(identity: Served) -> None:
    for lines in (b"", b"Host: localhost\r\nHost: localhost\r\n"):
        got = identity.raw(b"POST / HTTP/1.1\r\n" + lines + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")
        assert got.startswith(b"HTTP/1.1 400 ")


def test_a_head_without_end_is_cut_off(identity: Served) -> None:
    with identity.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n")
        got = b""
        try:
            for _ in range(64):
                sock.sendall(b"X-Filler: " + b"y" * 65000 + b"\r\n")
            got = sock.recv(65536)
        except ConnectionError:
            pass
    assert got == b"" or got.startswith(b"HTTP/1.1 431 ")
    assert identity.post({}).status == 200


def test_a_body_over_the_limit_is_refused_by_its_head_and_while_it_comes(serve: Callable[..., Served]) -> None:
    server = serve("--max-body", "1000")
    with server.connect() as sock:  # nothing of the body is sent: the head is enough
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")
    chunk = b"3e8\r\n" + b" " * 1000 + b"\r\n"
    got = server.raw(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunk * 3
        + b"0\r\n\r\n"
    )
    assert got.startswith(b"HTTP/1.1 413 ")
    assert server.ask("POST", "/", b'{"a": "' + b"x" * 5000 + b'"}').json["kind"] == "TooLarge"
    assert server.post({"a": 1}).status == 200


def test_expect_continue_is_answered_before_the_body(identity: Served) -> None:
    with identity.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b'{"a": 1}')
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
        sock.sendall(b"POST / HTTP/1.1\r\nHost: evil\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 403 ")


FAULTS = """\
import sys, time, threading

def create_model(modeldir):
    def model(data):
        what = data.get("do")
        if what == "raise":
            raise RuntimeError("secret-text-of-the-exception")
        if what == "exit":
            sys.exit(3)
        if what == "none":
            return None
        if what == "list":
            return [1]
        if what == "unwritable":
            return {"do": object()}
        if what == "hang":
            threading.Event().wait()
        return {"do": what}
    return model
"""


def test_a_wrappers_faults_are_5xx_and_the_server_lives(
    serve: Callable[..., Served], wrapper: Callable[..., Path]
) -> None:
    server = serve("--wrapper", wrapper(FAULTS), "--timeout", "3")
    for what in ("raise", "exit", "none", "list", "unwritable"):
        answer = server.post({"do": what})
        assert (answer.status, answer.json["kind"]) == (500, "ServeError"), answer.body
        assert b"secret-text" not in answer.body and b"Traceback" not in answer.body
        assert what in ("none", "list", "unwritable") or answer.json["request_id"] in server.errors
    assert "secret-text-of-the-exception" in server.errors
    with ThreadPoolExecutor(10) as clients:  # more than there are threads: each hanging one is replaced
        assert [a.status for a in clients.map(server.post, [{"do": "hang"}] * 10)] == [504] * 10
    assert server.post({"do": "fine"}).json == {"do": "fine"}
    assert server.stop() == 0


def test_debug_sends_the_traceback_along(serve: Callable[..., Served], wrapper: Callable[..., Path]) -> None:
    server = serve("--wrapper", wrapper(FAULTS), "--debug")
    assert "RuntimeError: secret-text" in server.post({"do": "raise"}).json["traceback"]


def test_overload_is_503_with_retry_after_at_once(serve: Callable[..., Served], wrapper: Callable[..., Path]) -> None:
    server = serve("--wrapper", wrapper(FAULTS), "--max-inflight", "2", "--timeout", "30")
    body = b'{"do": "hang"}'
    request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    held = [server.connect() for _ in range(2)]
    for sock in held:
        sock.sendall(request)
    wait_until(lambda: server.post({"do": "fine"}).status == 503, "the server is full")
    answer = server.post({"do": "fine"})
    assert answer.headers["retry-after"] == "1" and answer.json["kind"] == "Overloaded"
    for sock in held:  # a client that has gone frees its place
        sock.close()
    wait_until(lambda: server.post({"do": "fine"}).status == 200, "the places are free again")


def test_numpy_from_a_wrapper_is_written(serve: Callable[..., Served], wrapper: Callable[..., Path]) -> None:
    text = "import numpy as np\ndef create_model(d):\n    return lambda x: {k: np.asarray(x[k]) * 2 for k in x}\n"
    server = serve("--wrapper", wrapper(text))
    assert server.post({"a": [1, 2]}).json == {"a": [2, 4]}
    body = pickle.dumps({"a": np.float32([1, 2])})
    answer = server.ask("POST", "/", body, Content_Type="application/x-pickle")
    assert pickle.loads(answer.body)["a"].dtype == np.float32


def test_half_sent_bodies_of_many_clients_are_bounded_together(serve: Callable[..., Served]) -> None:
    server = serve("--max-body", "100000")
    held = [server.connect() for _ in range(12)]
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for sock in held:  # 12 times 90 kB, of which 8 times 100 kB may be held
        sock.sendall(head + b"15f90\r\n" + b" " * 90000 + b"\r\n")
        sock.setblocking(False)
    refused: dict[socket.socket, bytes] = {}

    def look() -> int:
        for sock in set(held) - set(refused):
            with contextlib.suppress(BlockingIOError):
                refused[sock] = sock.recv(20)
        return len(refused)

    wait_until(lambda: look() >= 3, "three are refused")
    assert look() <= 4 and {told[:13] for told in refused.values()} == {b"HTTP/1.1 503 "}
    for sock in held:
        sock.close()
    wait_until(lambda: server.ask("POST", "/", b'{"a": "' + b"x" * 99000 + b'"}').status == 200, "all is free again")
