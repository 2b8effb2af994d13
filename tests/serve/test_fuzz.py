"""Random and mutated requests on raw sockets: no 5xx but the model's own, no traceback, no hang, no end."""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from .conftest import Served, read_all

BODIES = [
    (
        b"application/json",
        json.dumps({"a": [1, 2.5], "b": {"dtype": "<f4", "shape": [2], "b64": "AACAPwAAAEA="}}).encode(),
    ),
    (b"application/x-pickle", pickle.dumps({"a": np.arange(6.0).reshape(2, 3)}, 4)),
    (b"application/x-npz", b"PK\x03\x04" + bytes(60)),
    (b"", b'{"a": "gASV"}'),
    (b"application/json", b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5]}]}'),
]
PIECES = [
    b"\x00",
    b"\r\n",
    b"\r\n\r\n",
    b"%00",
    b"{" * 200,
    b"-1",
    b"9" * 30,
    b"chunked",
    b"\xff\xfe",
    b"Host: x\r\n",
    b": ",
    b"\x80\x05.",
]


def request(rng: random.Random) -> bytes:
    """A good request, then damaged in zero to four places."""
    kind, body = rng.choice(BODIES)
    method = rng.choice([b"POST", b"POST", b"POST", b"GET", b"PUT", b"HEAD", b"OPTIONS", b"BREW"])
    path = rng.choice(
        [
            b"/",
            b"/",
            b"/",
            b"/metadata",
            b"/healthz",
            b"/?token=x",
            b"/%2e%2e/",
            b"//x",
            b"*",
            b"http://x/",
            b"/v2",
            b"/v2/models/wrapper.py",
            b"/v2/models/wrapper.py/infer",
            b"/v2/models/wrapper.py/infer",
        ]
    )
    lines = [
        method + b" " + path + b" HTTP/1.1",
        b"Host: localhost",
        b"Content-Length: %d" % len(body),
        b"Connection: close",
    ]
    if rng.random() < 0.1:
        lines.append(b"Inference-Header-Content-Length: %d" % rng.randrange(100))
    if kind:
        lines.append(b"Content-Type: " + kind)
    data = bytearray(b"\r\n".join(lines) + b"\r\n\r\n" + body)
    for _ in range(rng.randrange(5)):
        at = rng.randrange(len(data))
        if rng.random() < 0.5:
            data[at : at + rng.randrange(4)] = rng.choice(PIECES)
        else:
            data[at] = rng.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("count", [400, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_no_bytes_make_it_fall(serve: Callable[..., Served], wrapper: Callable[..., Path], count: int) -> None:
    server = serve(
        "--wrapper", wrapper("def create_model(d):\n    return lambda data: data\ncreate_model.arrays = True\n")
    )
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    for n in range(count):
        data = request(rng)
        with server.connect() as sock:
            sock.settimeout(20)
            with contextlib.suppress(ConnectionError):
                sock.sendall(data)
                sock.shutdown(1)  # nothing more comes: what is incomplete cannot hang us
            got = read_all(sock)
        for status in re.findall(rb"^HTTP/1\.1 (\d+)", got):
            assert status[:1] in (b"2", b"3", b"4") or status == b"100", (seed, n, data, got)
        assert b"Traceback" not in got, (seed, n, data)
    assert server.post({"a": [1]}).status == 200
    assert server.process.poll() is None
    assert "Traceback" not in server.errors, (seed, server.errors[-3000:])
