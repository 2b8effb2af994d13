"""Clients that drip, hold or do not read: they go, and others are answered meanwhile."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable

from tests.studio_process import readable

from .conftest import Served

GONE_S = 120.0
"""They are gone after some 20 s; a busy machine may take longer, a server that holds them never ends them."""

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


class Drip:
    """A client that sends one byte a second of something endless."""

    def __init__(self, server: Served, start: bytes, unit: bytes) -> None:
        self.sock = server.connect()
        self.sock.sendall(start)
        self.unit, self.at, self.gone = unit, 0, False
        self.got = b""

    def step(self) -> None:
        if self.gone:
            return
        try:
            if readable(self.sock, 0):
                part = self.sock.recv(4096)
                self.got += part
                self.gone = not part
            if self.unit and not self.gone:
                self.sock.send(self.unit[self.at : self.at + 1])
                self.at = (self.at + 1) % len(self.unit)
        except OSError:
            self.gone = True


def test_slow_senders_are_ended_and_others_are_answered(serve: Callable[..., Served]) -> None:
    server = serve()
    kinds = {
        "silent": (b"", b""),
        "head": (b"POST", b"X" * 50),
        "header lines": (HEAD, b"A: b\r\n"),
        "body": (HEAD + b"Content-Length: 1000\r\n\r\n", b" "),
        "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        "other route": (b"GET /metadata HTTP/1.1\r\nHost: localhost\r\n", b"A: b\r\n"),
        "second request": (HEAD + b"Content-Length: 2\r\n\r\n{}" + HEAD, b"A: b\r\n"),
    }
    drips = [(name, Drip(server, *kind)) for name, kind in kinds.items() for _ in range(20)]
    began = time.monotonic()
    while time.monotonic() - began < GONE_S and not all(d.gone for _, d in drips):
        for _, drip in drips:
            drip.step()
        asked = time.monotonic()
        assert server.post({"a": 1}).json == {"a": 1}
        time.sleep(max(0.0, 1.0 - (time.monotonic() - asked)))
    assert {name for name, d in drips if not d.gone} == set()
    told = next(d.got for name, d in drips if name == "body")
    assert told.startswith(b"HTTP/1.1 408 ")
    for _, drip in drips:
        drip.sock.close()


def test_a_client_that_does_not_read_costs_others_nothing(serve: Callable[..., Served]) -> None:
    server = serve("--timeout", "2")
    body = json.dumps({"a": "x" * 2_000_000}).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(0.5)
        sock.connect(("127.0.0.1", server.port))
        sent, gone = 0, False
        deadline = time.monotonic() + GONE_S
        while not gone and time.monotonic() < deadline:
            try:
                sent += sock.send(request[sent % len(request) :])
            except TimeoutError:
                assert server.post({"a": 1}).status == 200
            except OSError:
                gone = True
        assert gone
        assert sent < 100 * len(request)
    assert server.post({"a": 1}).status == 200


def test_a_thousand_idle_connections_do_not_disturb(serve: Callable[..., Served]) -> None:
    server = serve()
    with contextlib.ExitStack() as held:
        for _ in range(500):
            sock = held.enter_context(server.connect())
            sock.sendall(HEAD + b"Content-Length: 8\r\n\r\n" + b'{"a": 1}')
        assert server.post({"a": 1}).json == {"a": 1}
