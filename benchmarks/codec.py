# ruff: noqa: B023
"""What decoding and encoding costs, beside pickle, json and orjson in the same run; and what the worst bodies allocate.

    python benchmarks/codec.py

Times are microseconds, min – median – max of nine rounds. `pickle.loads` is here as the yardstick only: it is not safe.
"""

from __future__ import annotations

import io
import json
import pickle
import resource
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable

import numpy as np
import orjson

from studio.errors import StudioError
from studio.serve import codec

JSON, PICKLE = "application/json", "application/x-pickle"


def timed(action: Callable[[], object]) -> list[float]:
    """Microseconds a call, nine rounds of about 20 ms."""
    action()
    begin = time.perf_counter()
    action()
    count = max(3, int(0.02 / max(time.perf_counter() - begin, 1e-7)))
    rounds = []
    for _ in range(9):
        begin = time.perf_counter()
        for _ in range(count):
            action()
        rounds.append((time.perf_counter() - begin) / count * 1e6)
    return rounds


def line(label: str, action: Callable[[], object], reference: float | None = None) -> float:
    """Prints one row; the ratio is to the reference above it."""
    rounds = timed(action)
    middle = statistics.median(rounds)
    ratio = f"{middle / reference:6.2f} x" if reference else "        "
    print(f"  {label:<58} {min(rounds):9.1f} {middle:9.1f} {max(rounds):9.1f}  {ratio}")
    return middle


def decoding() -> None:
    image = np.random.default_rng(0).integers(0, 255, (1, 448, 448, 3), np.uint8)
    digit = np.random.default_rng(0).random((1, 28, 28)).astype("f4")
    many = {f"k{i}": digit[0, 0] for i in range(100)}
    for name, value in (("784 floats", {"x": digit}), ("600 kB image", {"x": image}), ("100 small arrays", many)):
        for protocol in (2, 4, 5):
            data = pickle.dumps(value, protocol)
            print(f"decode a pickle, {name}, protocol {protocol}")
            base = line("pickle.loads", lambda: pickle.loads(data))
            line("studio, bytes", lambda: codec.decode(data, PICKLE, arrays=True), base)
            writable = bytearray(data)
            line("studio, bytearray", lambda: codec.decode(writable, PICKLE, arrays=True), base)
    for name, array in (
        ("784 floats", digit[0].ravel().astype("f8")),
        ("28 x 28", digit[0].astype("f8")),
        ("784 x 1", digit[0].reshape(784, 1).astype("f8")),
    ):
        data = json.dumps({"x": array.tolist()}).encode()
        print(f"decode JSON, {name}, {len(data)} bytes")
        base = line("json.loads + numpy", lambda: np.array(json.loads(data)["x"]))
        line("orjson.loads + numpy", lambda: np.array(orjson.loads(data)["x"]), base)
        line("studio, arrays", lambda: codec.decode(data, JSON, arrays=True), base)
        base = line("json.loads", lambda: json.loads(data))
        line("studio, raw", lambda: codec.decode(data, JSON, arrays=False), base)
    body = io.BytesIO()
    np.save(body, image)
    print("decode npy, safetensors, npz: 600 kB image")
    base = line("numpy.load of npy", lambda: np.load(io.BytesIO(body.getvalue())))
    data = body.getvalue()
    line("studio, npy, bytes", lambda: codec.decode(data, "application/x-npy", arrays=True), base)
    writable = bytearray(data)
    line("studio, npy, bytearray", lambda: codec.decode(writable, "application/x-npy", arrays=True), base)
    for kind in ("safetensors", "npz"):
        data, content_type = codec.encode_request({"x": image}, kind)
        line(f"studio, {kind}, bytes", lambda: codec.decode(data, content_type, arrays=True), base)


def encoding() -> None:
    for name, array in (
        ("10 floats", np.random.default_rng(0).random((1, 10)).astype("f4")),
        ("600 kB", np.zeros((1, 448, 448, 3), np.uint8)),
    ):
        print(f"encode {name}")
        base = line("pickle.dumps, protocol 4", lambda: pickle.dumps({"y": array}, 4))
        for protocol in (2, 4, 5):
            line(
                f"studio, pickle, protocol {protocol}",
                lambda: codec.encode({"y": array}, codec.Form("pickle", protocol)),
                base,
            )
        for kind in ("npy", "npz", "safetensors"):
            line(f"studio, {kind}", lambda: codec.encode({"y": array}, codec.Form(kind)), base)
        base = line("json.dumps of tolist", lambda: json.dumps({"y": array.tolist()}))
        line("studio, JSON", lambda: codec.encode({"y": array}, codec.Form()), base)


def worst() -> dict[str, tuple[bytes, str]]:
    """Bodies of at most 64 MiB that try to make much of little."""
    size = 64 << 20
    squeezed = io.BytesIO()
    with zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as archive:
        head = (
            b"\x93NUMPY\x01\x00"
            + (102).to_bytes(2, "little")
            + f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({1 << 29},), }}".encode().ljust(102)
        )
        archive.writestr("a.npy", head + bytes(1 << 29))
    share = b"\x80\x04(B" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20) + b"\x94" + b"h\x00" * 20_000 + b"l."
    return {
        "pickle: 20,000 references to one megabyte": (share, PICKLE),
        "pickle: 99,000 tuples in tuples": (b"\x80\x04(" + b")\x85" * 99_000 + b"l.", PICKLE),
        "pickle: one array of 64 MB": (pickle.dumps({"x": np.zeros(size - 1000, np.uint8)}, 4), PICKLE),
        "pickle: protocol 0, escaped, 16 MB": (b"(dp0\nS'x'\nS'" + b"\\x00" * (4 << 20) + b"'\ns.", PICKLE),
        "json: 4 million numbers": (b'{"x": [' + b"1," * 3_900_000 + b"1]}", JSON),
        "json: 64 MB of numbers": (b'{"x": [' + b"1," * (size // 2 - 10) + b"1]}", JSON),
        "json: 64 MB of empty lists": (b'{"x": [' + b"[]," * (size // 3 - 10) + b"1]}", JSON),
        "json: 64 MB of brackets": (b'{"x": ' + b"[" * (size - 10), JSON),
        "json: 64 MB of escapes": (b'{"x": "' + b"\\u0000" * (size // 6 - 10) + b'"}', JSON),
        "npz: 512 MB in 0.5 MB": (squeezed.getvalue(), "application/x-npz"),
    }  # fmt: skip


def allocation() -> None:
    print("\nworst bodies: bytes sent, peak memory above the body, seconds, what came of it")
    for name in worst():
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=False)
        print(f"  {name:<44} {done.stdout.strip() or done.stderr[-200:]}")


def one(name: str) -> None:
    """One worst body in a process of its own."""
    body, content_type = worst()[name]
    codec.decode(b'{"a": [1]}', None, arrays=True)
    before = _peak()
    begin = time.perf_counter()
    try:
        said = f"{len(codec.decode(body, content_type, arrays=True)[0])} value"
    except StudioError as exc:
        said = f"{type(exc).__name__}: {str(exc)[:60]}"
    spent = time.perf_counter() - begin
    print(f"{len(body) / 1e6:7.1f} MB {_above(before) / 1e6:7.1f} MB {spent:6.2f} s  {said}")


def _peak() -> int:
    """Resets the peak where the kernel lets us, else what it was so far; bytes now."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _high_water()


def _above(before: int) -> int:
    return _high_water() - before


def _high_water() -> int:
    with open("/proc/self/status") as file:
        for row in file:
            if row.startswith("VmHWM"):
                return int(row.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if len(sys.argv) > 1:
        one(sys.argv[1])
    else:
        print(f"{'':60} {'min':>9} {'median':>9} {'max':>9}")
        decoding()
        encoding()
        allocation()
