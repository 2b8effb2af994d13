"""What unpacks: decoded beside the event loop, and counted as long as its request lives."""

from __future__ import annotations

import io
import json
import pickle
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from studio.models.base import DictModel
from studio.serve import endpoint as module
from studio.serve.access import Access
from studio.serve.codec import Limits as CodecLimits
from studio.serve.codec import decode, quick

from .conftest import Served, wait_until

JSON, PICKLE, NPZ, NPY = "application/json", "application/x-pickle", "application/x-npz", "application/x-npy"
LIMITS = CodecLimits()
WAITS = """\
import threading

def create_model(modeldir):
    def model(data):
        if data["x"].size > 1:
            threading.Event().wait()
        return {"x": 1}
    return model
"""


def zeros(count: int) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.zeros(count, np.uint8))
    return file.getvalue()


def image() -> bytes:
    pillow = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    pillow.new("L", (2000, 2000)).save(file, "PNG")
    return file.getvalue()


def test_only_what_cannot_unpack_is_decoded_on_the_loop() -> None:
    array = pickle.dumps({"x": np.zeros(5000)}, protocol=4)
    assert quick(b'{"x": 1}', JSON) and quick(b'{"x": 1}', None) and quick(b"?", "text/csv")
    assert quick(pickle.dumps({"x": np.zeros(5)}), PICKLE) and quick(b"\x93NUMPY" + bytes(100_000), NPY)
    assert not quick(zeros(10), NPZ) and not quick(zeros(10), None) and not quick(image(), "image/png")
    assert not quick(json.dumps({f"k{i}": 1 for i in range(2000)}).encode(), JSON)
    assert not quick(b"--x", "multipart/form-data; boundary=x")
    assert not quick(array, PICKLE, limits=LIMITS)
    decode(array, PICKLE, arrays=True, limits=LIMITS)
    assert quick(array, PICKLE, limits=LIMITS)  # its shape is known now
    assert not quick(array[:-1] + b"0", PICKLE, limits=LIMITS)


def test_a_small_pickle_cannot_expand_to_as_much_as_a_large_one() -> None:
    from studio.errors import BadInput

    shared = [0] * 200
    for count, fits in ((40, True), (400, False)):
        body = pickle.dumps({"x": [shared] * count})
        if fits:
            decode(body, PICKLE, arrays=False)
        else:
            with pytest.raises(BadInput, match="too-many-nodes"):
                decode(body, PICKLE, arrays=False)


@pytest.mark.parametrize("body", [zeros(1 << 20), pickle.dumps({f"k{i}": i for i in range(4000)})])
def test_what_unpacks_is_decoded_in_a_thread(body: bytes) -> None:
    import asyncio

    from studio.serve.call import Call
    from studio.serve.idle import Idle
    from studio.serve.message import Head, Headers, Reply
    from studio.serve.predictor import Predictor

    where: list[threading.Thread] = []

    class Told(module.Wire):
        def read(self, head: Head, body: bytes | bytearray, limits: CodecLimits) -> tuple[dict[str, object], object]:
            where.append(threading.current_thread())
            return super().read(head, body, limits)

        def write(self, call: Call, form: object, head: Head) -> tuple[bytes, Headers]:
            where.append(threading.current_thread())
            return super().write(call, form, head)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        predictor = Predictor(DictModel(style="test", call=lambda data: data, threads=0), loop=loop)
        served = module.Endpoint(predictor, Access("127.0.0.1"), Idle(0), module.Limits())
        done: asyncio.Future[Reply] = loop.create_future()
        served.start(Head("POST", "/", "", {}), body, done.set_result, Told(arrays=False, debug=False))
        assert (await done).status == 200
        assert served.held_bytes == 0
        served.close()
        predictor.close()

    asyncio.run(main())
    assert len(where) == 2 and threading.main_thread() not in where


def test_what_requests_unpack_to_is_bounded_together(
    serve: Callable[..., Served], wrapper: Callable[..., Path]
) -> None:
    server = serve("--wrapper", wrapper(WAITS), "--max-body", "4000000", "--timeout", "60")
    body = zeros(7_500_000)  # 7 kB sent; four of them fit into 8 times 4 MB
    assert len(body) < 10_000
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: {NPZ}\r\nContent-Length: {len(body)}\r\n\r\n"
    held = [server.connect() for _ in range(6)]
    told: list[bytes] = []
    for sock in held:
        sock.sendall(head.encode() + body)
        sock.setblocking(False)

    def look() -> bool:
        for sock in held:
            try:
                told.append(sock.recv(4096))
            except BlockingIOError:
                continue
        return len(told) >= 2

    wait_until(look, "two of six are refused")
    assert [t[:12] for t in told] == [b"HTTP/1.1 503"] * 2 and b"Overloaded" in told[0]
    assert server.ask("POST", "/", zeros(1), Content_Type=NPZ).status == 200
    for sock in held:
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    def taken() -> bool:
        with server.connect() as one:
            one.sendall(head.encode() + body)
            one.settimeout(0.5)
            try:
                return not one.recv(10)
            except TimeoutError:
                return True

    wait_until(taken, "their room is free again, once the server has seen that they left")
