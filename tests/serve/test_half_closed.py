"""Clients that close their sending side, and transfer codings that are not taken."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.errors import TooLarge
from studio.serve.codec import decode

from .conftest import Served, read_all, wait_until

SLOW = """\
import threading

gate = threading.Event()
begun = []

def create_model(modeldir):
    def model(data):
        if data.get("x") == "begun":
            return {"x": len(begun)}
        if data.get("x") == "wait":
            begun.append(1)
            gate.wait(4)
        return data
    return model
"""


def request(body: bytes, path: str = "/", more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def half_closed(server: Served, data: bytes) -> bytes:
    with server.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def test_half_closed_clients_get_their_answers(serve: Callable[..., Served], wrapper: Callable[..., Path]) -> None:
    server = serve("--wrapper", wrapper(SLOW))
    quick = half_closed(server, request(b'{"x": 1}'))
    assert quick.startswith(b"HTTP/1.1 200 ") and quick.endswith(b'{"x":1}')
    got = half_closed(server, request(b'{"x": 1}') + request(b'{"x": 2}') + request(b'{"x": 3}'))
    assert [got.count(b'{"x":%d}' % n) for n in (1, 2, 3)] == [1, 1, 1] and got.count(b"HTTP/1.1 200 ") == 3
    late = half_closed(server, request(b'{"x": "wait"}'))
    assert late.endswith(b'{"x":"wait"}')
    assert late.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").startswith(b"HTTP/1.1 200 ")
    page = half_closed(server, b"GET /metadata HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert page.startswith(b"HTTP/1.1 200 ") and b'"name"' in page
    whole = request(b'{"x": 1}')
    assert half_closed(server, whole[:-3]) == b""  # a request that is not whole gets none


def test_a_client_that_has_gone_altogether_frees_its_place(
    serve: Callable[..., Served], wrapper: Callable[..., Path]
) -> None:
    server = serve("--wrapper", wrapper(SLOW.replace("gate.wait(4)", "gate.wait()")), "--max-inflight", "2")
    for _ in range(2):
        with server.connect() as sock:
            sock.sendall(request(b'{"x": "wait"}'))
    wait_until(lambda: server.post({"x": 1}).status == 200, "the places are free again")


@pytest.mark.parametrize("coding", ["identity", "gzip", "gzip, chunked", "identity, chunked", "Chunked, identity", ""])
@pytest.mark.parametrize("path", ["/", "/metadata", "/v2/models/identity/infer"])
def test_only_chunked_is_taken(identity: Served, coding: str, path: str) -> None:
    body = b'{"a": 1}'
    for length in ("", f"Content-Length: {len(body)}\r\n"):
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n{length}\r\n"
        assert identity.raw(head.encode() + body).startswith(b"HTTP/1.1 400 ")
    chunked = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n"
    assert identity.raw(chunked + b"8\r\n" + body + b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("empty", [b"[]", b"{}", b"[ ]", b"[[[]]]", b'{"a": []}'])
@pytest.mark.parametrize("arrays", [True, False])
def test_a_million_empty_lists_are_refused_before_they_are_made(empty: bytes, arrays: bool) -> None:
    body = b'{"x": [' + b",".join([empty] * 300_000) + b"]}"
    with pytest.raises(TooLarge, match="empty"):
        decode(body, "application/json", arrays=arrays)
    texts = json.dumps({"x": ["[]{}" * 50_000], "y": [[1]] * 40, "z": [[] for _ in range(5000)]}).encode()
    assert len(decode(texts, "application/json", arrays=False)[0]) == 3
