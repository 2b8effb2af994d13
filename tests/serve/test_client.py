"""`ModelClient`: typed errors, retries, pooled connections, tokens that stay home, pinned certificates."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import http.server
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.client import AsyncModelClient, ModelClient
from studio.client.answer import Reading
from studio.client.asking import _exchange
from studio.client.blocking import _Blocking, _done
from studio.client.settings import FORMS
from studio.client.tries import Tries
from studio.client.wire import Wire
from studio.errors import (
    BadInput,
    ConfigError,
    Forbidden,
    ModelNotFound,
    Overloaded,
    ServeError,
    Timeout,
    TooLarge,
    Unauthorized,
)
from studio.serve.codec import CONTENT_TYPES
from studio.serve.told import wait_of

from .conftest import Served, wait_until
from .test_client_elsewhere import forked


class Fake(http.server.BaseHTTPRequestHandler):
    """A server that answers by plan: (status, headers, body) one after the other; the last one again and again."""

    protocol_version = "HTTP/1.1"
    plan: list[tuple[int, dict[str, str], bytes]] = []
    asked = 0
    token: str | None = None
    hang_up = ""

    answered = 0

    def do_POST(self) -> None:
        Fake.token = self.headers["Authorization"]
        if self.hang_up.startswith("later") and self.answered:
            self._hang_up()
            return
        self.answered += 1
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        status, headers, body = self.plan[min(Fake.asked, len(self.plan) - 1)]
        Fake.asked += 1
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = "Connection" in headers
        if self.hang_up and not self.hang_up.startswith("later"):
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        if self.hang_up.endswith("in order"):
            self.connection.unwrap()  # type: ignore[attr-defined]
        elif self.hang_up.endswith("reset"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    do_GET = do_POST

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def fake() -> Iterator[Callable[..., str]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def plan(*answers: tuple[int, dict[str, str], bytes]) -> str:
        Fake.plan, Fake.asked = list(answers), 0
        return f"http://127.0.0.1:{server.server_port}"

    yield plan
    server.shutdown()
    server.server_close()
    thread.join()


BUSY = (503, {"Retry-After": "0"}, b'{"error": "full", "kind": "Overloaded", "hint": ""}')
FINE = (200, {"Content-Type": "application/json"}, b'{"a": 1}')


def test_arrays_go_there_and_back(identity: Served) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert set(FORMS) == set(CONTENT_TYPES)
    for form in FORMS:
        with ModelClient(identity.url, form=form) as client:
            np.testing.assert_array_equal(np.asarray(client.predict({"x": x})["x"]), x)
    with ModelClient(identity.url) as client:
        assert client.ready() and client.metadata()["style"] == "identity"


def test_busy_is_asked_again_and_then_told(fake: Callable[..., str]) -> None:
    with ModelClient(fake(BUSY, BUSY, FINE)) as client:
        assert client.predict({"a": 1})["a"] == 1
    with ModelClient(fake(BUSY), retries=2) as client, pytest.raises(Overloaded, match="full"):
        client.predict({"a": 1})
    assert Fake.asked == 3


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (413, b'{"error": "too much", "kind": "TooLarge"}', TooLarge),
        (401, b'{"error": "no", "kind": "Unauthorized"}', Unauthorized),
        (400, b'{"error": "no", "kind": "RefusedPickle"}', BadInput),
        (413, b'{"error": "no", "kind": "SomethingNew"}', TooLarge),
        (500, b'{"error": "no", "kind": "nearest"}', ServeError),
        (500, b'{"error": "no", "kind": "RunFailed"}', ServeError),
        (503, b'{"error": "no", "kind": "StoreError"}', Overloaded),
        (404, b'{"error": "no", "kind": "ModelNotFound"}', ModelNotFound),
        (500, b'{"error": "no", "kind": ["BadInput"]}', ServeError),
        (500, b"[" * 100_000, ServeError),
        (500, b'{"error": "no", "kind": "__class__"}', ServeError),
        (502, b"<html>a proxy</html>", ServeError),
        (401, b"<html>a proxy</html>", Unauthorized),
        (403, b'{"error": "no"}', Forbidden),
    ],
)
def test_errors_are_of_the_class_that_the_server_names(
    fake: Callable[..., str], status: int, body: bytes, kind: type[Exception]
) -> None:
    with ModelClient(fake((status, {}, body)), retries=0) as client, pytest.raises(kind) as caught:
        client.predict({"a": 1})
    assert caught.type is kind


def test_an_answer_is_read_as_strictly_as_a_request(fake: Callable[..., str]) -> None:
    import pickle

    evil = (200, {"Content-Type": "application/x-pickle"}, pickle.dumps({"a": print}))
    with ModelClient(fake(evil)) as client, pytest.raises(BadInput, match="pickle"):
        client.predict({"a": 1})


def test_a_busy_server_is_asked_while_there_is_time(fake: Callable[..., str]) -> None:
    with ModelClient(fake(*[BUSY] * 4, FINE)) as client:
        assert client.predict({"a": 1})["a"] == 1
    later = (503, {"Retry-After": "60"}, BUSY[2])
    with ModelClient(fake(later), timeout_s=59) as client, pytest.raises(Overloaded, match="full"):
        client.predict({"a": 1})  # at once: it could only be asked again too late
    assert Fake.asked == 1


def test_waits_grow_differ_and_fit_in_the_time() -> None:
    def waits(left_s: float, told_s: float, most: int | None, busy: bool = True) -> list[float]:
        tries, found = Tries(most), []
        while (wait_s := tries.wait_s(left_s - sum(found), told_s, busy=busy)) is not None:
            found.append(wait_s)
        return found

    for told_s in (0.0, 1.0, 7.5):
        found = waits(60.0, told_s, None)
        assert found and sum(found) < 60.0 and min(found) >= told_s
        assert waits(60.0, told_s, 3) != waits(60.0, told_s, 3) and len(waits(60.0, told_s, 3)) == 3
    for _ in range(20):
        found = waits(30.0, 0.0, None)
        assert all(b > a / 2 for a, b in pairwise(found[:-1])) and 30.0 - sum(found) < 15.0, found
    grown = waits(1e6, 0.0, 12)
    assert all(0.05 * 2**n <= wait_s <= 0.1 * 2**n for n, wait_s in enumerate(grown[:6]))
    assert max(grown) <= 10 and len(waits(60.0, 0.0, None)) < 40
    assert waits(1.0, 2.0, None) == waits(60.0, float("inf"), None) == waits(60.0, 0.0, 0) == []
    assert len(waits(60.0, 0.0, None, busy=False)) == 3


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("early", [b"", b"HTTP/1.1 103 Wait\r\n\r\n"])
def test_an_answer_counts_though_the_server_takes_no_more_of_the_request(closes: bool, early: bytes) -> None:
    """A refusal comes after the head of a large request; what is still to be sent meets a reset, or nobody reads it."""
    told = b'{"error": "too much", "kind": "TooLarge"}'
    refusal = early + b"HTTP/1.1 413 No\r\nContent-Length: %d\r\n\r\n" % len(told) + told
    held = []

    def answer(listener: socket.socket) -> None:
        for _ in range(2):
            held.append(listener.accept()[0])
            held[-1].recv(1000)
            held[-1].sendall(refusal)
            if closes:
                held[-1].close()  # with bytes unread, which is a reset

    async def ask(url: str) -> None:
        async with AsyncModelClient(url, retries=0) as client:
            await client.predict({"a": "x" * 20_000_000})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with ModelClient(url, retries=0) as client, pytest.raises(TooLarge, match="too much"):
            client.predict({"a": "x" * 20_000_000})
        assert client._asking.pool._idle == []
        with pytest.raises(TooLarge, match="too much"):
            asyncio.run(ask(url))
        thread.join()
    for sock in held:
        sock.close()


def test_an_answer_is_read_after_the_connection_broke() -> None:
    async def exchange(wire: Wire, reading: Reading) -> bool:
        return await _exchange(
            wire, [memoryview(b"POST"), memoryview(b"x" * 1_000_000)], reading, time.monotonic() + 60
        )

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as here:
        there = listener.accept()[0]
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.close()
        here.setblocking(False)
        reading = Reading("a server", 1000)
        assert _done(exchange(Wire(here, _Blocking()), reading)) is False  # not all was sent
        assert reading.answer().status == 413


def test_errors_by_key(fake: Callable[..., str]) -> None:
    some = (
        200,
        {"Content-Type": "application/json", "X-Studio-Errors": '{"b": {"error": "no", "kind": "BadInput"}}'},
        b'{"a": 1}',
    )
    with ModelClient(fake(some)) as client:
        answer = client.predict({"a": 1, "b": 2})
    assert answer == {"a": 1} and answer.errors["b"]["kind"] == "BadInput"


JSON = {"Content-Type": "application/json"}
CHUNKED = {**JSON, "Content-Length": "", "Transfer-Encoding": "chunked", "Connection": "close"}
BROKEN = [
    *({**JSON, "X-Studio-Errors": bad} for bad in ("{", "[1]", "null", '{"a": 1}', "[" * 5000)),
    {**JSON, "Content-Length": "100", "Connection": "close"},
    {**JSON, "Content-Length": "9" * 30, "Connection": "close"},
    {**JSON, "Content-Length": "8\r\nContent-Length: 9", "Connection": "close"},
    {**JSON, "Content-Length": "-1", "Connection": "close"},
    {**JSON, "Content-Length": "+8"},
    CHUNKED,
    {**JSON, **{f"X-{n}": "x" for n in range(300)}},
]


@pytest.mark.parametrize("headers", BROKEN, ids=lambda h: "".join(list(h)[-1:]) + list(h.values())[-1][:8])
def test_whatever_is_wrong_with_a_reply_is_one_typed_line(fake: Callable[..., str], headers: dict[str, str]) -> None:
    with ModelClient(fake((200, headers, b'{"a": 1}'))) as client, pytest.raises(ServeError) as caught:
        client.predict({"a": 1})
    assert "\n" not in caught.value.message and Fake.asked == 1


def test_text_of_a_server_is_one_printable_line(fake: Callable[..., str]) -> None:
    evil = b'{"error": "no\\n\\u001b[2Jgone", "kind": "BadInput", "hint": "a\\nb"}'
    with ModelClient(fake((400, {}, evil))) as client, pytest.raises(BadInput) as caught:
        client.predict({"a": 1})
    assert caught.value.message == "no ?[2Jgone" and caught.value.hint == "a b"


def test_retry_after_is_read_as_a_number_or_a_date() -> None:
    assert [wait_of(told) for told in ("3", " 120 ", "-1", "nan", "inf", "", "soon", None)] == [
        3,
        120,
        0,
        0,
        0,
        0,
        0,
        0,
    ]
    assert wait_of("9" * 400) == float("inf")
    then, now = "Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"
    assert wait_of(then, now) == 30 and wait_of(now, then) == 0 and wait_of(then) == 0


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_metadata_that_is_none(fake: Callable[..., str], body: bytes) -> None:
    with ModelClient(fake((200, {}, body))) as client, pytest.raises(ServeError, match="metadata"):
        client.metadata()


def test_what_a_client_cannot_be_made_of() -> None:
    for url in ("http://127.0.0.1:99999", "http://[::1", "http://a b/", "http://x/\u00fc", "http://x:y"):
        with pytest.raises(ConfigError, match="not an address"):
            ModelClient(url)
    wrong: dict[str, list[object]] = {
        "token": ["a\nb", "", b"t", 1], "timeout_s": [0, -1, float("nan"), "60", None, True, [1]],
        "fingerprint": ["z", 1, b"0" * 64], "retries": [-1, "3", 1.5, True], "form": ["xml", None, 1, ["pickle"]],
        "insecure": [1, "yes", None], "max_answer": [0, -1, "1m", 1.5, None],
    }  # fmt: skip
    for name, values in wrong.items():
        for value in values:
            for kind in (ModelClient, AsyncModelClient):
                with pytest.raises(ConfigError) as caught:
                    kind("https://127.0.0.1:1", **{name: value})
                assert "\n" not in caught.value.message
    for url in (None, 1, b"http://x", Path("x")):
        with pytest.raises(ConfigError, match="address must be a string"):
            ModelClient(url)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs https"):
        ModelClient("http://127.0.0.1:1", fingerprint="0" * 64)
    ModelClient("http://127.0.0.1:1", timeout_s=np.float32(3), retries=np.int64(2)).close()  # type: ignore[arg-type]
    ModelClient("http://127.0.0.1:1", timeout_s=float("inf")).close()
    ModelClient("http://127.0.0.1:1", timeout_s=10**400).close()


@pytest.mark.parametrize("inputs", [[1, 2], "text", None, 3, {1: 2}, {None: 1}, {b"a": 1}])
def test_inputs_that_are_no_dictionary_of_values_are_one_line(inputs: object) -> None:
    with ModelClient("http://127.0.0.1:1") as client, pytest.raises(BadInput) as caught:
        client.predict(inputs)  # type: ignore[arg-type]
    assert "\n" not in caught.value.message


def test_a_token_that_was_pasted_with_the_address_is_used(fake: Callable[..., str]) -> None:
    for url, given in (("?token=a-b_c", None), ("/?token=a-b_c", None), ("/?token=a-b_c#form", "a-b_c"), ("", "a-b_c")):
        with ModelClient(fake(FINE) + url, token=given) as client:
            assert client.predict({"a": 1})["a"] == 1
        assert Fake.token == "Bearer a-b_c"
    with ModelClient(fake(FINE) + "?token=a+b%2Fc") as client:
        assert client.predict({"a": 1})["a"] == 1 and Fake.token == "Bearer a+b/c"
    for url in ("?token=", "?token=hush&x=1", "?x=hush", "?hush", "?token=hush&token=hush", "?token=a%0Ahush"):
        with pytest.raises(ConfigError) as caught:
            ModelClient("http://127.0.0.1:1/" + url)
        assert "hush" not in str(caught.value) + caught.value.hint
    with pytest.raises(ConfigError, match="another") as caught:
        ModelClient("http://127.0.0.1:1/?token=hush", token="x")
    for url, said in (
        ("https://u:hush@x", "no user"),
        ("http://x:0", "not an address"),
        ("http://x/?token=…", "in place"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            ModelClient(url)
        assert "hush" not in str(caught.value)
    with pytest.raises(ConfigError, match="unencrypted"):
        ModelClient("http://model.example/?token=t")


def test_a_missing_token_and_a_wrong_one_have_different_hints(fake: Callable[..., str]) -> None:
    no = (401, {}, b'{"error": "no", "kind": "Unauthorized"}')
    for token, hint in ((None, "--token-file"), ("t", "did not take")):
        with ModelClient(fake(no), token=token) as client, pytest.raises(Unauthorized) as caught:
            client.predict({"a": 1})
        assert hint in caught.value.hint


def test_no_server_and_a_silent_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with ModelClient(url, timeout_s=0.2) as client, pytest.raises(Timeout, match="within"):
            client.predict({"a": 1})
    with ModelClient(url, retries=1) as client:
        with pytest.raises(ServeError, match=r"no answer|cannot reach") as caught:
            client.predict({"a": 1})
        assert "running" in caught.value.hint
        assert not client.ready()


def test_a_token_does_not_travel_in_the_open() -> None:
    with pytest.raises(ConfigError, match="unencrypted"):
        ModelClient("http://model.example:5000", token="t")
    ModelClient("https://model.example", token="t").close()
    ModelClient("http://model.example", token="t", insecure=True).close()
    for bad in ("model.example", "ftp://x", "http://"):
        with pytest.raises(ConfigError, match="not an address"):
            ModelClient(bad)


def test_a_connection_that_the_server_closed_is_replaced(serve: Callable[..., Served]) -> None:
    server = serve()
    with ModelClient(server.url, retries=0) as client:
        assert client.predict({"a": 1})["a"] == 1
        connection = client._asking.pool._idle[0]
        connection.sock.shutdown(2)
        assert client.predict({"a": 2})["a"] == 2


def test_many_threads_share_a_client(identity: Served) -> None:
    wrong: list[object] = []
    with ModelClient(identity.url) as client:

        def work(worker: int) -> None:
            for n in range(50):
                if client.predict({"k": [worker, n]})["k"].tolist() != [worker, n]:  # type: ignore[attr-defined]
                    wrong.append((worker, n))

        threads = [threading.Thread(target=work, args=(w,)) for w in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_the_async_client(identity: Served) -> None:
    async def main() -> list[object]:
        async with AsyncModelClient(identity.url) as client:
            assert await client.ready()
            return [a["n"] for a in await asyncio.gather(*(client.predict({"n": n}) for n in range(20)))]

    assert asyncio.run(main()) == list(range(20))


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that nobody signed, and its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert)]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return cert, key


@pytest.mark.parametrize("when", ["", "later "])  # before the next request, and when it is there
@pytest.mark.parametrize("how", ["in order", "cut off", "reset"])
def test_over_tls_too_a_connection_that_the_server_closed_is_replaced(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, when: str, how: str
) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).hexdigest()

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, address: Any) -> None:
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a reset drops what was not sent yet
            with contextlib.suppress(OSError), context.wrap_socket(request, server_side=True) as talk:
                super().finish_request(talk, address)

    async def three(url: str) -> list[object]:
        async with AsyncModelClient(url, fingerprint=shown, retries=0) as client:
            return [(await client.predict({"a": 1}))["a"] for _ in range(3)]

    monkeypatch.setattr(Fake, "hang_up", when + how)
    monkeypatch.setattr(Fake, "plan", [FINE])
    with Server(("127.0.0.1", 0), Fake) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}"
        with ModelClient(url, fingerprint=shown, retries=0) as client:
            assert [client.predict({"a": 1})["a"] for _ in range(3)] == [1, 1, 1]
        assert asyncio.run(three(url)) == [1, 1, 1]
        server.shutdown()


def test_tls_with_a_pinned_certificate(serve: Callable[..., Served], certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    server = serve("--tls-cert", cert, "--tls-key", key, "--token", "t")
    assert server.url.startswith("https://")
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).hexdigest()
    with ModelClient(server.url, token="t", fingerprint=shown) as client:
        wait_until(client.ready, "the server answers over TLS")
        assert client.predict({"a": 1})["a"] == 1
    forked(f"{server.url}?token=t", shown, 2, 8)
    with (
        ModelClient(server.url, token="t", fingerprint="0" * 64) as client,
        pytest.raises(ServeError, match="certificate"),
    ):
        client.predict({"a": 1})
    with ModelClient(server.url, token="t") as client, pytest.raises(ServeError, match="is not trusted") as refused:
        client.predict({"a": 1})
    assert "--fingerprint" in refused.value.hint
    wait_until(lambda: shown in server.errors, "the server's fingerprint is printed")
    assert f"curl {server.url}/ --cacert {cert} " in server.errors
    with contextlib.closing(
        http.client.HTTPSConnection("127.0.0.1", server.port, context=ssl._create_unverified_context())
    ) as page:
        page.request("GET", "/?token=t")
        assert "; Secure" in page.getresponse().headers["set-cookie"]
