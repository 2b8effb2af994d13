"""The documented example: URLs to labels, one by one and through a pipe.

A server on loopback answers after a while, and some of its pictures are missing, broken or never come.
Prints the time of both ways and the ratio; `--urls 7000 --latency 0.9` is the setting of the original's
table (0.98 s a URL one by one, 44 times quicker with 32 workers and batches of 128).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
from PIL import Image

from studio import model_util

BROKEN = ("missing", "no-picture", "cut", "reset", "hangs")


class ImageServer(ThreadingHTTPServer):
    """/digit/<n>.png is a picture as bright as n of 10, dark on light; /<one of BROKEN>/<n>.png is not."""

    daemon_threads = True
    request_queue_size = 256
    latency = 0.0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Pictures)
        self.ended = threading.Event()

    def url(self, kind: str, number: int) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{kind}/{number}.png"

    def urls(self, count: int, broken: float) -> list[str]:
        """Some of them broken, always the same ones."""
        found = []
        for number in range(count):
            lot = int(hashlib.sha256(str(number).encode()).hexdigest()[:8], 16) / 2**32
            kind = BROKEN[int(lot / broken * len(BROKEN))] if lot < broken else "digit"
            found.append(self.url(kind, number))
        return found

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the plan."""


class _Pictures(BaseHTTPRequestHandler):
    server: ImageServer

    def do_GET(self) -> None:
        kind, name = self.path.strip("/").split("/")
        if kind == "hangs":
            self.server.ended.wait()
        time.sleep(self.server.latency)
        if kind == "missing":
            self.send_error(404)
        elif kind != "reset":
            body = b"<p>not here</p>" if kind == "no-picture" else picture(int(name.removesuffix(".png")) % 10)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:-40] if kind == "cut" else body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def picture(label: int) -> bytes:
    """A PNG of 64x64; the darker the higher the label."""
    file = BytesIO()
    Image.new("L", (64, 64), 255 - 25 * label - 12).save(file, "PNG")
    return file.getvalue()


@contextmanager
def image_server(latency: float) -> Iterator[ImageServer]:
    """A server of its own, with a thread for each connection."""
    server = ImageServer()
    server.latency = latency
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def weights() -> tuple[np.ndarray, np.ndarray]:
    """A dense layer that knows the nearest of ten brightnesses."""
    centres = (25 * np.arange(10) + 12) / 255
    return np.broadcast_to(2 * centres / 784, (784, 10)).astype(np.float32), -(centres**2).astype(np.float32)


class NumpyModel:
    """The same without Keras."""

    inputs = (type("Tensor", (), {"shape": (None, 28, 28, 1)}),)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        kernel, bias = weights()
        return batch.reshape(len(batch), -1) @ kernel + bias


def keras_model() -> object:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.layers[-1].set_weights(weights())
    return model


def fetch(url: str, timeout: float | None = None) -> bytes:
    try:
        with urlopen(url, timeout=timeout) as answer:
            return answer.read()
    except HTTPError as error:
        error.close()
        raise


def one_by_one(urls: list[str], model: object, predict: Callable[..., np.ndarray], timeout: float) -> dict[str, int]:
    """As the original's documentation begins."""
    labels = {}
    for url in urls:
        try:
            image = Image.open(BytesIO(fetch(url, timeout)))
            tensor = model_util.resize_to_model_input(model)(image)
            labels[url] = int(np.argmax(predict(1 - tensor)))
        except (OSError, HTTPException):
            continue
    return labels


def url_pipe(model: object, workers: int, batch: int, timeout: float) -> model_util.ModelPipe:
    """As the original's documentation ends."""
    pipe = model_util.ModelPipe()
    pipe.add(lambda url: fetch(url, timeout), num_workers=workers, timeout=2 * timeout)
    pipe.add(lambda data: Image.open(BytesIO(data)))
    pipe.add(model_util.resize_to_model_input(model))
    pipe.add(lambda x: 1 - x)
    pipe.add(model, num_workers=1, batch_size=batch, batcher=np.vstack)
    pipe.add(lambda x: np.argmax(x, axis=1))
    return pipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--urls", type=int, default=200)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds of the server")
    parser.add_argument("--broken", type=float, default=0.05, help="share of the URLs")
    parser.add_argument("--timeout", type=float, default=1.0)
    parser.add_argument("--model", choices=["keras", "numpy"], default="keras")
    options = parser.parse_args()
    model = keras_model() if options.model == "keras" else NumpyModel()
    predict = (lambda x: model.predict(x, verbose=0)) if options.model == "keras" else model.predict
    predict(np.zeros((1, 28, 28, 1), np.float32))
    with image_server(options.latency) as server:
        urls = server.urls(options.urls, options.broken)
        began = time.perf_counter()
        expected = one_by_one(urls, model, predict, options.timeout)
        alone = time.perf_counter() - began
        good = sum("/digit/" in url for url in urls)
        print(f"{len(urls)} URLs, {good} good, {options.latency:g} s each, {options.model} model")
        print(f"{'one by one':32} {alone:8.1f} s  {alone / len(urls) * 1e3:8.1f} ms a URL")
        for workers, batch in ((4, 64), (32, 128), (64, 128)):
            with url_pipe(model, workers, batch, options.timeout) as pipe:
                began = time.perf_counter()
                outcome = pipe.call({url: url for url in urls})
                took = time.perf_counter() - began
            right = outcome.values == expected and len(outcome.errors) == len(urls) - good
            label = f"pipe, {workers} workers, batch {batch}"
            print(
                f"{label:32} {took:8.1f} s  {took / len(urls) * 1e3:8.1f} ms a URL  {alone / took:5.1f} x"
                + ("" if right else "  WRONG ANSWERS")
            )


if __name__ == "__main__":
    main()
