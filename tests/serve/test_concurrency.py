"""Many clients at once: every answer is the asker's own."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Served


def hammer(server: Served, threads: int, each: int) -> tuple[int, list[object]]:
    """Unique ids through kept connections; number of right answers, and the wrong ones."""
    wrong: list[object] = []
    right = [0] * threads

    def work(worker: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        for n in range(each):
            key = f"{worker}-{n}"
            connection.request("POST", "/", json.dumps({key: [worker, n]}), {"X-Request-ID": key})
            response = connection.getresponse()
            told = json.loads(response.read())
            if told == {key: [worker, n]} and response.getheader("X-Request-ID") == key:
                right[worker] += 1
            else:
                wrong.append((key, told))
        connection.close()

    workers = [threading.Thread(target=work, args=(w,)) for w in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(right), wrong


@pytest.mark.parametrize("each", [40, pytest.param(2000, marks=pytest.mark.soak)])
def test_64_clients_get_their_own_answers(
    serve: Callable[..., Served], wrapper: Callable[..., Path], each: int
) -> None:
    text = "def create_model(modeldir):\n    return lambda data: {k: list(v) for k, v in data.items()}\n"
    assert hammer(serve("--wrapper", wrapper(text)), 64, each) == (64 * each, [])
    assert hammer(serve(), 64, each) == (64 * each, [])
