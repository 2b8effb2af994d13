"""Requests per second and latency of `studio serve` against servers that run the same model, in the same run.

    python benchmarks/serving.py [--seconds 2] [--rounds 3]

The model is a multilayer perceptron (784-128-128-10) in numpy, so that no framework's cost hides the server's. The load
generator shares the machine's cores with the server: where others use them too, compare the CPU time per request.
Peers that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import pickle
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]

MODEL = """
import numpy as np

_rng = np.random.default_rng(0)
_w = [_rng.standard_normal(s).astype("f4") * 0.05 for s in ((784, 128), (128, 128), (128, 10))]


def mlp(x):
    for w in _w[:-1]:
        x = np.maximum(x @ w, 0)
    return x @ _w[-1]
"""

STUDIO = """
import sys
from studio.models.base import TensorModel, TensorSpec
from studio.models import load as loading
from model import mlp

def _load(*args, **kwargs):
    return TensorModel(style="checkpoint", arrays=True, inputs=(TensorSpec("x", "float32", (-1, 784)),),
                       outputs=(TensorSpec("y", "float32", (-1, 10)),), run=lambda a: [mlp(a[0])], call_s=3e-5)

if "--mlp" in sys.argv:
    sys.argv.remove("--mlp")
    loading.load_model = _load
if "--asgi" in sys.argv:
    sys.argv.remove("--asgi")
    import studio.serve.server as server
    server.supported = lambda: False
from studio.serve_main import main
main()
"""

FLASK = """
import pickle, sys
import numpy as np
from flask import Flask, request, jsonify
from model import mlp

app = Flask("peer")

@app.post("/")
def answer():
    if request.content_type == "application/json":
        values = request.get_json()
        return jsonify({k: mlp(np.asarray(v, "f4")[None])[0].tolist() if sys.argv[-1] == "--mlp" else v
                        for k, v in values.items()})
    values = pickle.loads(request.data)
    out = {k: mlp(v[None])[0] if sys.argv[-1] == "--mlp" else v for k, v in values.items()}
    return pickle.dumps(out), 200, {"content-type": "application/x-pickle"}

if __name__ == "__main__":
    import uvicorn
    from a2wsgi import WSGIMiddleware
    uvicorn.run(WSGIMiddleware(app), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
"""

FASTAPI = """
import pickle, sys
import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from model import mlp

app = FastAPI()

@app.post("/")
async def answer(request: Request):
    body = await request.body()
    if request.headers["content-type"] == "application/json":
        import json
        values = json.loads(body)
        return {k: mlp(np.asarray(v, "f4")[None])[0].tolist() if sys.argv[-1] == "--mlp" else v
                for k, v in values.items()}
    values = pickle.loads(body)
    out = {k: mlp(v[None])[0] if sys.argv[-1] == "--mlp" else v for k, v in values.items()}
    return Response(pickle.dumps(out), media_type="application/x-pickle")

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def command(peer: str, folder: Path, port: int, what: str) -> list[str]:
    end = ["--mlp"] if what == "mlp" else []
    if peer.startswith("studio"):
        asgi = ["--asgi"] if peer == "studio, plain ASGI" else []
        return [sys.executable, str(folder / "run_studio.py"), "--port", str(port), *asgi, *end]
    name = "run_fastapi.py" if peer == "fastapi" else "run_flask.py"
    return [sys.executable, str(folder / name), str(port), *end]


@contextlib.contextmanager
def running(peer: str, folder: Path, what: str) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port()
    process = subprocess.Popen(
        command(peer, folder, port, what),
        cwd=folder,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit(f"{peer} does not start")
            time.sleep(0.05)
        yield port, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


class Asker(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer."""

    def __init__(self, request: bytes, until: float, took: list[float], done: asyncio.Future[None]) -> None:
        self.request, self.until, self.took, self.done = request, until, took, done
        self.buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + 15
        if len(body) < int(head[at : at + 20].split(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(self.buffer[:500].decode("latin-1")))
            return
        self.buffer = b""
        now = time.perf_counter()
        self.took.append(now - self.began)
        if now < self.until:
            self.ask()
        else:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed"))


async def load(port: int, request: bytes, connections: int, seconds: float) -> tuple[float, float]:
    """Requests per second and the median latency in ms."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    until = time.perf_counter() + seconds
    done = [loop.create_future() for _ in range(connections)]
    for future in done:
        await loop.create_connection(lambda f=future: Asker(request, until, took, f), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.wait_for(asyncio.gather(*done), seconds + 30)
    return len(took) / seconds, statistics.median(took) * 1e3


def request(form: str, what: str) -> bytes:
    x = np.random.default_rng(1).random(784 if what == "mlp" else 16, dtype="f4")
    body = json.dumps({"x": x.tolist()}).encode() if form == "json" else pickle.dumps({"x": x}, 4)
    kind = b"application/json" if form == "json" else b"application/x-pickle"
    return b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        kind,
        len(body),
        body,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    peers = ["studio", "studio, plain ASGI", "flask on uvicorn, threads"]
    if importlib.util.find_spec("fastapi"):
        peers.append("fastapi")
    else:
        print("left out, not installed: fastapi")
    import uvloop

    print(f"{'what':30}{'peer':26}{'requests/s min - median - max':>34}{'p50 ms':>9}{'CPU µs':>9}{'studio / peer':>15}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (
            ("model.py", MODEL), ("run_studio.py", STUDIO), ("run_flask.py", FLASK), ("run_fastapi.py", FASTAPI),
        ):  # fmt: skip
            (folder / file).write_text(text)
        for what in ("echo", "mlp"):
            for form in ("pickle", "json"):
                for connections in (1, 64):
                    compare(peers, folder, (what, form, connections), options, uvloop.new_event_loop)


def compare(peers, folder, case, options, loop_factory) -> None:  # type: ignore[no-untyped-def]
    what, form, connections = case
    rates: dict[str, list[float]] = {peer: [] for peer in peers}
    medians: dict[str, list[float]] = {peer: [] for peer in peers}
    cost: dict[str, list[float]] = {peer: [] for peer in peers}
    for _ in range(options.rounds):
        for peer in peers:
            with running(peer, folder, what) as (port, process):
                loop = loop_factory()
                loop.run_until_complete(load(port, request(form, what), connections, 0.3))
                before = process.cpu_times()
                rate, median = loop.run_until_complete(load(port, request(form, what), connections, options.seconds))
                after = process.cpu_times()
                loop.close()
            used_s = after.user + after.system - before.user - before.system
            cost[peer].append(used_s / (rate * options.seconds) * 1e6)
            rates[peer].append(rate)
            medians[peer].append(median)
    own = statistics.median(rates["studio"])
    for peer in peers:
        low, middle, high = min(rates[peer]), statistics.median(rates[peer]), max(rates[peer])
        label = f"{what}, {form}, {connections} connection{'s' if connections > 1 else ''}"
        print(
            f"{label:30}{peer:26}{low:>14,.0f} - {middle:,.0f} - {high:,.0f}".ljust(90)
            + f"{statistics.median(medians[peer]):>9.2f}{statistics.median(cost[peer]):>9.0f}{own / middle:>15.1f}"
        )


if __name__ == "__main__":
    main()
