"""Serves a small model with a contract, version 3, and no framework: `python contract_server.py one|two [TOKEN]`."""

from __future__ import annotations

import socket
import sys

import numpy as np

from studio.models.base import TensorModel, TensorSpec
from studio.serve.access import Access
from studio.serve.endpoint import Limits
from studio.serve.facts import Facts
from studio.serve.idle import Idle
from studio.serve.server import Server, Settings

MODELS = {
    "one": TensorModel(
        style="checkpoint",
        inputs=(TensorSpec("x", "float32", (-1, 2)),),
        outputs=(TensorSpec("y", "float32", (-1, 2)),),
        run=lambda arrays: [arrays[0] * 2],
    ),
    "many": TensorModel(
        style="checkpoint",
        inputs=(TensorSpec("x", "float32", (-1, 2)),),
        outputs=(TensorSpec("y", "float32", (-1, 2)), TensorSpec("top", "int64", (-1,))),
        run=lambda arrays: [arrays[0] * 2, arrays[0].argmax(1)],
    ),
    "two": TensorModel(
        style="checkpoint",
        inputs=(TensorSpec("left", "float32", (-1, 2)), TensorSpec("right", "int64", (-1,))),
        outputs=(TensorSpec("sum", "float64", (-1,)), TensorSpec("right", "int64", (-1,))),
        run=lambda arrays: [arrays[0].sum(1) + np.float64(1) * arrays[1], arrays[1]],
    ),
}


def main(name: str, token: str | None = None) -> int:
    sock = socket.create_server(("127.0.0.1", 0))
    facts = Facts(MODELS[name], Idle(3600), name, {"kind": "path", "path": None}, version="3")
    settings = Settings(Limits(max_body=100_000, timeout_s=30))
    port = sock.getsockname()[1]
    access = Access("127.0.0.1", token)
    return Server(
        facts, sock, access, settings, lambda: print(f"Serving {name} at http://127.0.0.1:{port}", flush=True)
    ).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
