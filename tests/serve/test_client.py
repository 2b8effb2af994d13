"""`ModelClient`: typed errors, retries, pooled connections, tokens that stay home, pinned certificates."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import http.server
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.client import AsyncModelClient, ModelClient
from studio.errors import BadInput, ConfigError, ModelNotFound, Overloaded, ServeError, Timeout, TooLarge, Unauthorized
from studio.serve.told import wait_of

from .conftest import Served, wait_until


class Fake(http.server.BaseHTTPRequestHandler):
    """A server that answers by plan: (status, headers, body) one after the other; the last one again and again."""

    protocol_version = "HTTP/1.1"
    plan: list[tuple[int, dict[str, str], bytes]] = []
    asked = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        status, headers, body = self.plan[min(Fake.asked, len(self.plan) - 1)]
        Fake.asked += 1
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = "Connection" in headers

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
    for form in ("pickle", "json", "npz", "safetensors"):
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


@pytest.mark.parametrize("told", ["Wed, 21 Oct 2015 07:28:00 GMT", "-1", "nan", "inf", ""])
def test_a_strange_retry_after_is_a_second(fake: Callable[..., str], told: str) -> None:
    assert wait_of(told) == 1.0 and wait_of("9" * 400) == 10.0 and wait_of("3") == 3.0
    with ModelClient(fake((503, {"Retry-After": told}, BUSY[2]), FINE)) as client:
        assert client.predict({"a": 1})["a"] == 1


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_metadata_that_is_none(fake: Callable[..., str], body: bytes) -> None:
    with ModelClient(fake((200, {}, body))) as client, pytest.raises(ServeError, match="metadata"):
        client.metadata()


def test_what_a_client_cannot_be_made_of() -> None:
    for url in ("http://127.0.0.1:99999", "http://[::1", "http://a b/", "http://x/\u00fc", "http://x:y"):
        with pytest.raises(ConfigError, match="not an address"):
            ModelClient(url)
    for words in (
        {"token": "a\nb"},
        {"token": ""},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"fingerprint": "z"},
    ):
        with pytest.raises(ConfigError):
            ModelClient("http://127.0.0.1:1", **words)
    ModelClient("http://127.0.0.1:1", timeout_s=float("inf")).close()


def test_no_server_and_a_silent_one() -> None:
    import socket

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
        connection = client._idle[0]
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
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
               "-keyout", str(key), "-out", str(cert)]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return cert, key


def test_tls_with_a_pinned_certificate(serve: Callable[..., Served], certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    server = serve("--tls-cert", cert, "--tls-key", key, "--token", "t")
    assert server.url.startswith("https://")
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).hexdigest()
    with ModelClient(server.url, token="t", fingerprint=shown) as client:
        wait_until(client.ready, "the server answers over TLS")
        assert client.predict({"a": 1})["a"] == 1
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
