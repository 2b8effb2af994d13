"""`ModelClient` and `studio predict` against servers that drip, flood, lie about lengths, or never end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.client import AsyncModelClient, ModelClient
from studio.client.blocking import _Blocking, _done
from studio.client.wire import connect
from studio.errors import Overloaded, ServeError, Timeout, TooLarge

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
FINE = HEAD + b'Content-Length: 8\r\n\r\n{"a": 1}'
LATE_S = 60.0
"""Much more than the client's time, much less than the servers go on for."""


class Raw:
    """A server that sends what it is told: the first bytes, and others for ever, with a pause between them."""

    def __init__(self, first: bytes, more: bytes = b"", pause_s: float = 0.0, *, reads: bool = True) -> None:
        self.first, self.more, self.pause_s, self.reads = first, more, pause_s, reads
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.asked = 0
        self.ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            while not self.ended:
                if self.reads and not sock.recv(65536):
                    return
                self.asked += 1
                sock.sendall(self.first)
                while self.more and not self.ended:
                    sock.sendall(self.more)
                    time.sleep(self.pause_s)
                if not self.reads:
                    time.sleep(LATE_S)

    def close(self) -> None:
        self.ended = True
        self.listener.close()


@pytest.fixture
def raw() -> Iterator[Callable[..., Raw]]:
    made: list[Raw] = []

    def make(*words: object, **named: object) -> Raw:
        made.append(Raw(*words, **named))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for server in made:
        server.close()


def fails(server: Raw, kind: type[Exception], **options: object) -> float:
    began = time.monotonic()
    with ModelClient(server.url, **{"timeout_s": 1.0, "retries": 0, **options}) as client:  # type: ignore[arg-type]
        with pytest.raises(kind) as caught:
            client.predict({"a": 1.0})
        assert caught.type is kind and "\n" not in str(caught.value)
    return time.monotonic() - began


DRIP_S = 0.3
DRIPS = {
    "nothing": (b"", b""),
    "status line": (b"HTTP/1.1 200 O", b"K"),
    "head": (b"HTTP/1.1 200 OK\r\n", b"X-a: b\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX-a: ", b"b"),
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
    "body to the end": (HEAD + b"\r\n", b" "),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "chunk extension": (CHUNKED + b"1;", b"x"),
    "trailers": (CHUNKED + b"0\r\n", b"X-a: b\r\n"),
}


@pytest.mark.parametrize("kind", DRIPS)
def test_a_server_that_drips_is_left_when_the_time_is_over(raw: Callable[..., Raw], kind: str) -> None:
    assert fails(raw(*DRIPS[kind], DRIP_S), Timeout) < LATE_S


def test_a_server_that_does_not_read_is_left_too(raw: Callable[..., Raw]) -> None:
    server = raw(b"", reads=False)
    with ModelClient(server.url, timeout_s=1.0, retries=0) as client, pytest.raises(Timeout):
        client.predict({"a": "x" * 50_000_000})


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose queue is full: the system answers no further connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a connection")
def test_connecting_counts_and_leaves_time_for_a_further_address(raw: Callable[..., Raw], full: int) -> None:
    async def awaited() -> None:
        async with AsyncModelClient(f"http://127.0.0.1:{full}", timeout_s=0.5) as client:
            await client.predict({"a": 1.0})

    with ModelClient(f"http://127.0.0.1:{full}", timeout_s=0.5) as client, pytest.raises(Timeout, match="within"):
        client.predict({"a": 1.0})
    with pytest.raises(Timeout, match="within"):
        asyncio.run(awaited())

    class Two(_Blocking):
        async def addresses(self, host: str, port: int, deadline: float) -> list[Any]:
            good = raw(FINE).listener.getsockname()
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", at) for at in (("127.0.0.1", full), good)]

    sock = _done(connect("two.example", 80, Two(), time.monotonic() + 2))
    sock.close()


def test_the_handshake_of_tls_counts_too(raw: Callable[..., Raw]) -> None:
    server = raw(b"\x16\x03\x03\x00\x7a", b"\x02", 0.1)  # a record of 122 bytes, one by one
    server.url = server.url.replace("http:", "https:")
    assert fails(server, Timeout, fingerprint="0" * 64) < LATE_S


def test_tries_share_the_time(raw: Callable[..., Raw]) -> None:
    busy = raw(b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n")
    assert fails(busy, Overloaded, retries=50) < LATE_S
    assert busy.asked <= 2  # one more when the time is nearly over


FLOODS = {
    "head": (b"HTTP/1.1 200 OK\r\n", b"X-a: " + b"b" * 60_000 + b"\r\n"),
    "body": (HEAD + b"\r\n", b" " * 65536),
    "longer than declared": (HEAD + b"Content-Length: 99999999999\r\n\r\n", b" " * 65536),
    "chunks": (CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
    "small chunks": (CHUNKED, b"1\r\n \r\n" * 10_000),
    "trailers": (CHUNKED + b"0\r\n", b"X-a: b\r\n" * 10_000),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_an_answer_without_end_is_too_large(raw: Callable[..., Raw], kind: str) -> None:
    fails(raw(*FLOODS[kind]), TooLarge, timeout_s=LATE_S, max_answer=2_000_000)


def test_an_error_or_metadata_may_not_be_as_large_as_an_answer(raw: Callable[..., Raw]) -> None:
    fails(raw(b"HTTP/1.1 500 No\r\n\r\n", b" " * 65536), TooLarge, timeout_s=LATE_S)
    server = raw(HEAD + b"\r\n", b" " * 65536)
    with ModelClient(server.url, timeout_s=LATE_S) as client, pytest.raises(TooLarge):
        client.metadata()


@pytest.mark.parametrize(
    "lie", [b"zz\r\n", b"-5\r\n     ", b"1\r\n  \r\n", b"5\r\n1\r\n", b"\r\n", b"FFFFFFFFFFFFFFFFFF\r\n"]
)
def test_hostile_chunks_are_an_error(raw: Callable[..., Raw], lie: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as sock:
            sock.recv(65536)
            sock.sendall(CHUNKED + lie)

    threading.Thread(target=serve, daemon=True).start()
    with (
        listener,
        ModelClient(f"http://127.0.0.1:{listener.getsockname()[1]}", retries=0) as client,
        pytest.raises(ServeError),
    ):
        client.predict({"a": 1.0})


def test_interim_answers_come_before_the_one_that_counts_but_not_without_end(raw: Callable[..., Raw]) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    with ModelClient(raw(interim * 3 + FINE).url) as client:
        assert client.predict({"a": 1.0}) == {"a": 1}
    for status in (b"100 Continue", b"102 Processing", b"199 ?"):
        fails(
            raw(b"HTTP/1.1 " + status + b"\r\n\r\n", b"HTTP/1.1 " + status + b"\r\n\r\n"), ServeError, timeout_s=LATE_S
        )


def test_a_redirect_is_not_followed(raw: Callable[..., Raw]) -> None:
    there = raw(FINE)
    moved = f"HTTP/1.1 307 Moved\r\nLocation: {there.url}/\r\nContent-Length: 0\r\n\r\n".encode()
    fails(raw(moved), ServeError, token="secret")
    assert there.asked == 0


def test_what_nobody_asked_for_is_no_answer_to_the_next_question(raw: Callable[..., Raw]) -> None:
    server = raw(FINE + HEAD + b'Content-Length: 9\r\n\r\n{"a": 66}')
    with ModelClient(server.url) as client:
        assert [client.predict({"a": 1.0})["a"] for _ in range(3)] == [1, 1, 1]


def test_studio_predict_gives_up_as_well(raw: Callable[..., Raw], tmp_path: Path, home: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"a": [1.0]}))
    for words, server, said in (
        (["--timeout", "1"], raw(CHUNKED, b"1\r\n \r\n", 0.1), "within 1 s"),
        (["--max-answer", "1m"], raw(HEAD + b"\r\n", b" " * 65536), "more than"),
    ):
        command = [sys.executable, "-m", "studio", "predict", server.url, "--input", str(tmp_path / "x.json"), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LATE_S, check=False)
        assert done.returncode == 8 and said in done.stderr and "Traceback" not in done.stderr
