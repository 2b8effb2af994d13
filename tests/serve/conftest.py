"""Real server processes on a loopback port; ready when they say so."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.studio_process import readable

START_S = 200.0
END_S = 90.0


class Answer:
    """Status, lower-case headers and body of a reply."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """One server process."""

    command: tuple[str, ...] = ("-m", "studio.serve_main")

    def __init__(self, words: list[str], folder: Path, env: dict[str, str]) -> None:
        self.errors_file = folder / f"stderr-{time.monotonic_ns()}"
        with self.errors_file.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *self.command, *words], stdout=subprocess.PIPE, stderr=errors, env=env
            )
        self.line = self._first_line()
        self.url = self.line.rpartition(" at ")[2]
        self.port = int(self.url.rpartition(":")[2])

    def _first_line(self) -> str:
        assert self.process.stdout is not None
        found = readable(self.process.stdout, START_S)
        line = self.process.stdout.readline().decode().strip() if found else ""
        if not line.startswith("Serving "):
            self.process.kill()
            raise AssertionError(f"not ready: {line!r}\n{self.errors}")
        return line

    @property
    def errors(self) -> str:
        return self.errors_file.read_text()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=120)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, told, response.read())

    def post(self, values: object, **headers: str) -> Answer:
        headers.setdefault("Content_Type", "application/json")
        return self.ask("POST", "/", json.dumps(values).encode(), **headers)

    def raw(self, data: bytes) -> bytes:
        """All that comes back for these bytes until the server closes."""
        with self.connect() as sock:
            sock.sendall(data)
            return read_all(sock)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(END_S)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def read_all(sock: socket.socket) -> bytes:
    """Bytes until the peer closes or resets."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := sock.recv(65536):
            got += part
    return got


def wait_until(check: Callable[[], bool], what: str, seconds: float = 200.0) -> None:
    """Polls until `check` holds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def environment(home: Path) -> dict[str, str]:
    """This process's environment with a home of its own."""
    return {**os.environ, "STUDIOML_HOME": str(home / ".studioml"), "HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture
def serve(tmp_path: Path, home: Path) -> Iterator[Callable[..., Served]]:
    """Starts servers; `serve("--wrapper", path)`; they end with the test."""
    started: list[Served] = []

    def start(*words: object, port: int | None = 0) -> Served:
        options = [str(w) for w in words] + ([] if port is None else ["--port", str(port)])
        started.append(Served(options, tmp_path, environment(home)))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server of the identity for all tests of a module that leave it as it is."""
    folder = tmp_path_factory.mktemp("identity")
    server = Served(["--port", "0"], folder, environment(folder))
    yield server
    server.end()


@pytest.fixture
def wrapper(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a wrapper's text into a file of its own folder."""

    def write(text: str, name: str = "wrapper.py") -> Path:
        path = tmp_path / "wrapped" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write
