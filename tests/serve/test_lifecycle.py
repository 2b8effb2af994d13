"""Start, ports, idle end, drain: what the process does around its requests."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.errors import ConfigError, ServeError
from studio.models.base import DictModel
from studio.serve.address import DEFAULT_PORT, listen, url_of
from studio.serve.idle import Idle
from studio.serve.options import check_mode

from .conftest import END_S, Served, environment, read_all, wait_until

SLOW = """\
import time

def create_model(modeldir):
    def model(data):
        time.sleep(data.get("s", 0))
        return data
    return model
"""


FORKS = """\
import os, signal, time

def create_model(modeldir):
    def model(data):
        pid = os.fork()
        if pid == 0:
            try:
                time.sleep(300)
            finally:
                os._exit(7)
        if not data.get("end"):
            return {"pid": pid}
        os.kill(pid, signal.SIGTERM)
        return {"ended by": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}
    return model
"""


INFER = b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}'


def refuses(server: Served) -> bool:
    """Whether the server takes no connections any more."""
    try:
        server.connect().close()
    except OSError:
        return True
    return False


def run(home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "studio.serve_main", *map(str, words)]
    return subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=120)


def test_children_that_a_wrapper_forks_have_neither_signals_nor_sockets_of_the_server(
    serve: Callable[..., Served], wrapper: Callable[..., Path]
) -> None:
    server = serve("--wrapper", wrapper(FORKS))
    assert server.post({"end": True}).json == {"ended by": -signal.SIGTERM}
    with server.connect() as open_one:
        wait_until(lambda: server.ask("GET", "/readyz").status == 200, "the server answers on another connection")
        child = server.post({"end": False}).json["pid"]
        try:
            server.process.kill()
            server.process.wait(END_S)
            with contextlib.suppress(ConnectionResetError):
                assert open_one.recv(100) == b""  # with a time limit: the child does not keep it open
            assert refuses(server)
        finally:
            os.kill(child, signal.SIGKILL)


def test_an_explicit_port_that_is_taken_is_an_error_and_the_default_moves_on() -> None:
    with listen("127.0.0.1", 0)[0] as taken, pytest.raises(ServeError, match="is taken"):
        listen("127.0.0.1", taken.getsockname()[1])
    first, note = listen("127.0.0.1", None)
    second, told = listen("127.0.0.1", None)
    with first, second:
        assert first.getsockname()[1] >= DEFAULT_PORT
        assert second.getsockname()[1] > first.getsockname()[1]
        assert "taken, using" in told
        assert not note or "taken" in note
    with pytest.raises(ConfigError, match=r"cannot listen on 203\.0\.113\.7"):
        listen("203.0.113.7", 0)


def test_urls_can_be_typed() -> None:
    with listen("127.0.0.1", 0)[0] as sock:
        port = sock.getsockname()[1]
        assert url_of(sock, "myhost", tls=False) == f"http://myhost:{port}"
        assert url_of(sock, "::1", tls=True) == f"https://[::1]:{port}"


def test_a_taken_port_ends_the_command_with_one_line(home: Path) -> None:
    with listen("127.0.0.1", 0)[0] as taken:
        done = run(home, "--port", taken.getsockname()[1])
    assert done.returncode == 8 and done.stdout == ""
    assert done.stderr.splitlines()[0].endswith("is taken") and "hint:" in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--killafter", "soon"), 3),
        (("--max-body", "much"), 3),
        (("--timeout", "0"), 3),
        (("--tls-cert", "x.pem"), 3),
        (("--tls-cert", __file__, "--tls-key", __file__), 3),
        (("--max-body", "0"), 3),
        (("--host", "0.0.0.0", "--no-token"), 3),
        (("--wrapper", "no_such_wrapper.py"), 3),
        (("--modeldir", "/no/such/folder"), 8),
        (("--no-such-option",), 2),
    ],
)
def test_options_that_cannot_be_used(home: Path, words: tuple[str, ...], code: int) -> None:
    done = run(home, "--port", "0", *words)
    assert done.returncode == code and done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_model_that_may_take_long_is_not_put_on_the_event_loop(home: Path, wrapper: Callable[..., Path]) -> None:
    path = wrapper("def create_model(modeldir):\n    return lambda data: data\n")
    done = run(home, "--wrapper", path, "--batch-mode", "loop", "--port", "0")
    assert (done.returncode, done.stdout) == (3, "")
    assert "--batch-mode loop: a call of wrapper.py may take long" in done.stderr
    check_mode("loop", DictModel(style="identity", call=dict, threads=0))


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_a_fault_of_studios_own_is_one_line(home: Path, debug: tuple[str, ...]) -> None:
    words = ["--modeldir", "no\0folder", "--port", "0", *debug]
    code = f"from studio.serve_main import main; main({words!r})"
    done = subprocess.run([sys.executable, "-c", code], env=environment(home), capture_output=True, text=True)
    assert done.returncode == 1 and "studio serve: ValueError: " in done.stderr
    assert ("Traceback" in done.stderr) == bool(debug)


def test_no_librarys_exit_code_runs_while_a_call_of_the_model_hangs(home: Path) -> None:
    code = "import atexit, threading\nfrom studio.serve_main import main\natexit.register(print, 'at exit')\n"
    hangs = "threading.Thread(target=threading.Event().wait, name='trial', daemon=True).start()\n"
    for before, said in (("", "at exit\n"), (hangs, "")):
        words = [sys.executable, "-c", f"{code}{before}main(['--no-such-option'])"]
        done = subprocess.run(words, env=environment(home), capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, said), done.stderr


def test_idle_counts_from_the_last_answer_and_never_while_busy() -> None:
    assert Idle(0).remaining_s(0) is None
    idle = Idle(0.05)
    wait_until(lambda: idle.remaining_s(0) == 0.0, "the time is over")
    assert idle.remaining_s(1) == 0.05

    def left_after_a_touch() -> float:
        idle.touch()
        return idle.remaining_s(0) or 0.0

    wait_until(lambda: 0 < left_after_a_touch() <= 0.05, "an answer starts the time anew")


def test_killafter_ends_the_server_whatever_health_checks_and_refusals_say(serve: Callable[..., Served]) -> None:
    server = serve("--killafter", "2s", "--token", "t")
    stop = threading.Event()

    def poke() -> None:
        while not stop.wait(0.05):
            try:
                server.ask("GET", "/healthz")
                server.post({"a": 1})
                server.ask("GET", "/metadata", Authorization="Bearer t")
                server.ask("POST", "/", b"{", Authorization="Bearer t")
            except OSError:
                return

    thread = threading.Thread(target=poke)
    thread.start()
    try:
        assert server.process.wait(END_S) == 0
    finally:
        stop.set()
        thread.join()
    assert "ending" in server.errors


def test_killafter_waits_for_what_is_in_flight(serve: Callable[..., Served], wrapper: Callable[..., Path]) -> None:
    server = serve("--wrapper", wrapper(SLOW), "--killafter", "3")
    assert server.post({"s": 4}).json == {"s": 4}
    assert server.process.wait(END_S) == 0


def test_sigterm_answers_what_is_in_flight_and_is_not_ready_meanwhile(
    serve: Callable[..., Served], wrapper: Callable[..., Path]
) -> None:
    server = serve("--wrapper", wrapper(SLOW))
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(server.post({"s": 3}).json))
    idle = server.connect()  # an open connection without a request does not hold the end up
    thread.start()
    wait_until(lambda: server.ask("GET", "/metadata").json["idle"]["remaining"] == 3600, "the request is in flight")
    server.process.send_signal(signal.SIGTERM)
    statuses = []
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        statuses.append(sock.recv(15))
    assert server.process.wait(END_S) == 0
    thread.join()
    idle.close()
    assert got == [{"s": 3}]
    assert statuses == [b"HTTP/1.1 503 Se"]


def test_a_request_that_has_begun_to_arrive_is_answered_after_sigterm(serve: Callable[..., Served]) -> None:
    server = serve()
    request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n" + b'{"a": 1}'
    with server.connect() as sock:
        sock.sendall(request)
        assert sock.recv(4096).endswith(b'{"a":1}')
        sock.sendall(request[:20])  # half a head on a kept connection
        server.process.send_signal(signal.SIGTERM)

        wait_until(lambda: refuses(server), "nothing new is accepted")
        sock.sendall(request[20:])
        got = sock.recv(4096)
        assert got.endswith(b'{"a":1}') and b"connection: close" in got
    assert server.process.wait(END_S) == 0


def test_ctrl_c_ends_with_130(serve: Callable[..., Served]) -> None:
    assert serve().stop(signal.SIGINT) == 130


def test_a_hanging_wrapper_cannot_keep_the_server_alive(
    serve: Callable[..., Served], wrapper: Callable[..., Path]
) -> None:
    text = "import threading\ndef create_model(d):\n    return lambda data: threading.Event().wait()\n"
    server = serve("--wrapper", wrapper(text))
    with server.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        assert server.stop() == 0


def ask_on(sock: socket.socket, body: bytes) -> bytes:
    """The reply on this connection, b"" if there is none."""
    try:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return sock.recv(65536)
    except ConnectionError:
        return b""


class Load:
    """Connections that ask one request after the other, and connect anew where the server ends one.

    One thread, so that none of them waits for its turn with an answer in hand: what is quiet for a while is ended.
    """

    def __init__(self, server: Served, count: int) -> None:
        self.server, self.done = server, [0] * count
        self.lost: list[object] = []

    def run(self) -> None:
        """Until nothing new is accepted."""
        with selectors.DefaultSelector() as selector:
            self.selector = selector
            for worker in range(len(self.done)):
                self.connect(worker)
            while selector.get_map():
                for key, _ in selector.select():
                    assert isinstance(key.fileobj, socket.socket)
                    self.go_on(key.fileobj, key.data)

    def go_on(self, sock: socket.socket, worker: int) -> None:
        asked = self.selector.get_key(sock).events == selectors.EVENT_READ
        refused = not asked and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        try:
            if not refused and (not asked or self.answered(sock, worker)) and self.ask(sock, worker):
                return
        except ConnectionError as exc:
            self.lost.append((self.body(worker), exc))
        self.selector.unregister(sock)
        sock.close()
        if not refused:
            self.connect(worker)

    def connect(self, worker: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", self.server.port))
        self.selector.register(sock, selectors.EVENT_WRITE, worker)

    def body(self, worker: int) -> bytes:
        return b'{"id":"%d-%d"}' % (worker, self.done[worker])

    def ask(self, sock: socket.socket, worker: int) -> bool:
        """Whether it could be asked: not where the server's end has come already."""
        with contextlib.suppress(BlockingIOError):
            if sock.recv(1, socket.MSG_PEEK) == b"":
                return False
        body = self.body(worker)
        sock.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        self.selector.modify(sock, selectors.EVENT_READ, worker)
        return True

    def answered(self, sock: socket.socket, worker: int) -> bool:
        """Whether more may be asked here."""
        got = sock.recv(65536)
        if not (got.startswith(b"HTTP/1.1 200") and got.endswith(b"\r\n\r\n" + self.body(worker))):
            self.lost.append((self.body(worker), got))
            return False
        self.done[worker] += 1
        return b"connection: close" not in got


@pytest.mark.parametrize("run", range(3))
def test_drain_under_load_loses_nothing_that_was_accepted(
    serve: Callable[..., Served], wrapper: Callable[..., Path], run: int
) -> None:
    load = Load(serve("--wrapper", wrapper(SLOW.replace("time.sleep", "time.sleep(0.002) or "))), 64)
    thread = threading.Thread(target=load.run)
    thread.start()
    wait_until(lambda: all(load.done), "the load runs")
    assert load.server.stop() == 0
    thread.join()
    assert load.lost == []


def test_requests_that_reach_idle_connections_during_the_drain_are_answered(serve: Callable[..., Served]) -> None:
    server = serve()
    kept, new = server.connect(), server.connect()
    with kept, new:
        assert ask_on(kept, b'{"a": 1}').endswith(b'{"a":1}')
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses(server), "nothing new is accepted")
        assert new.recv(100) == b""  # ended, not reset, and only after a while
        assert kept.recv(100) == b""
    assert server.process.wait(END_S) == 0


def test_a_half_closed_connection_still_reads(serve: Callable[..., Served]) -> None:
    server = serve()
    with server.connect() as sock:
        server.process.send_signal(signal.SIGTERM)
        assert sock.recv(100) == b""
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n")  # too late, but no reset answers it
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert server.process.wait(END_S) == 0


@pytest.mark.parametrize(("path", "body"), [("/", b'{"a": 1}'), ("/v2/models/identity/infer", INFER)])
def test_offers_of_other_protocols_are_ignored(serve: Callable[..., Served], path: str, body: bytes) -> None:
    server = serve()
    offer = b"Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % path.encode()
    sized = head + b"Content-Length: %d\r\n" % len(body)
    plain = server.raw(sized + b"Connection: close\r\n\r\n" + body)
    assert plain.startswith(b"HTTP/1.1 200")
    chunks = head + b"Transfer-Encoding: chunked\r\n" + offer + b"\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    for parts in ([sized + offer + b"\r\n" + body], [sized + offer + b"\r\n", body], [sized, offer + b"\r\n" + body],
                  [sized + offer.replace(b"close, ", b"") + b"\r\n" + body, sized + offer + b"\r\n" + body],
                  [chunks]):  # fmt: skip
        with server.connect() as sock:
            for part in parts:
                sock.sendall(part)
            got = read_all(sock)
        assert got.startswith(b"HTTP/1.1 200") and got.endswith(plain.rpartition(b"\r\n\r\n")[2])
    page = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert server.raw(page).startswith(b"HTTP/1.1 200")
    assert server.raw(b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 405")
    assert "websockets" not in server.errors


@pytest.mark.parametrize("method", [b"POST", b"GET"])
def test_heads_beyond_64_kib_are_refused(serve: Callable[..., Served], method: bytes) -> None:
    server = serve()
    for size, status in ((60_000, b"200"), (66_000, b"431"), (70_000, b"431"), (3_000_000, b"431")):
        with server.connect() as sock:
            head = method + b" / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nX-A: " + b"a" * size
            with contextlib.suppress(ConnectionError):
                sock.sendall(head + b"\r\n\r\n{}")
            assert sock.recv(65536)[9:12] == status, size
    large = json.dumps({"a": "b" * 200_000}).encode()  # bytes of a body before it are none of a head
    with server.connect() as sock:
        request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(large) + large
        sock.sendall(request + b"GET /healthz HTTP/1.1\r\nHost: loc")
        sock.sendall(b"alhost\r\nConnection: close\r\n\r\n")
        got = read_all(sock)
        assert got.count(b"HTTP/1.1 200") == 2 and got.endswith(b'{"ready": true}\n')


def test_allow_names_post(serve: Callable[..., Served]) -> None:
    server = serve()
    assert server.ask("OPTIONS", "/").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert "POST" not in server.ask("OPTIONS", "/metadata").headers["allow"]


def test_a_server_without_a_model_imports_no_framework(serve: Callable[..., Served]) -> None:
    import psutil

    server = serve()
    assert server.post({"a": 1}).status == 200
    process = psutil.Process(server.process.pid)
    names = {Path(m.path).name for m in process.memory_maps()}
    assert not any("tensorflow" in n or "torch" in n or "onnxruntime" in n for n in names)
    assert process.memory_info().rss < 70 << 20
