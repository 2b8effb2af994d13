"""Runs in a process of its own, with limits: reads every attack by every way in, and says what came of each.

    python -m tests.codec.attack_child ours|stock CANARY

One JSON line an attack: {"id", "way", "outcome", "cpu_s", "executed"}.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

MEMORY = 200 << 20


def limit_memory() -> None:
    """From here on, 200 MB more than now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)


def ways(label: str, data: bytes) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every public door through which these bytes can come."""
    from studio.serve import codec
    from studio.serve.codec import safepickle

    yield "loads", lambda: safepickle.loads(data)
    body = json.dumps({"a": str(data, "latin-1")}).encode()
    yield "json-text", lambda: codec.decode(body, "application/json", arrays=True)
    if label.startswith("work-"):
        return
    yield "body", lambda: codec.decode(data, "application/x-pickle", arrays=False)
    if label.startswith(("gadget-", "near-")):
        return
    yield "writable", lambda: safepickle.loads(bytearray(data))
    yield "sniffed", lambda: codec.decode(data, None, arrays=True)
    yield "inner", lambda: codec.decode(pickle.dumps({"a": data}), "application/x-pickle", arrays=True)
    yield "inner-raw", lambda: codec.decode(pickle.dumps({"a": data}), "application/python-pickle", arrays=False)
    yield (
        "json-base64",
        lambda: codec.decode(
            json.dumps({"a": str(base64.b64encode(data), "ascii")}).encode(), "application/json", arrays=True
        ),
    )
    yield "answer", lambda: codec.decode_answer(data, "application/x-pickle")


def stock(label: str, data: bytes) -> Iterator[tuple[str, Callable[[], object]]]:
    """What everybody else does; only for the attacks that make a folder."""
    if label.startswith("exec-"):
        yield "stock", lambda: pickle.loads(data)


def outcome(action: Callable[[], object]) -> str:
    from studio.errors import BadInput, TooLarge, UnsupportedType

    try:
        action()
    except (BadInput, TooLarge, UnsupportedType) as exc:
        return f"refused {exc.kind}"
    except BaseException as exc:
        return f"escaped {type(exc).__name__}: {exc}"[:200]
    return "value"


def main(mode: str, canary: str) -> None:
    from studio.serve import codec

    from .attacks import attacks

    warnings.simplefilter("error" if mode == "ours" else "ignore")
    codec.decode(b'{"a": [1, 2]}', None, arrays=True)
    doors = ways if mode == "ours" else stock
    quick = [one for one in attacks(canary) if not one[0].startswith("work-")]
    _in_a_fork(
        lambda: [_try(label, way, action, canary) for label, data in quick for way, action in doors(label, data)]
    )
    for label, data in attacks(canary):
        if label.startswith("work-"):
            for way, action in doors(label, data):
                _in_a_fork(lambda: _try(label, way, action, canary))  # noqa: B023


def _try(label: str, way: str, action: Callable[[], object], canary: str) -> None:
    before = time.process_time()
    said = outcome(action)
    spent = time.process_time() - before
    executed = os.path.exists(canary)
    if executed:
        os.rmdir(canary) if os.path.isdir(canary) else os.unlink(canary)
    print(json.dumps({"id": label, "way": way, "outcome": said, "cpu_s": spent, "executed": executed}), flush=True)


def _in_a_fork(action: Callable[[], object]) -> None:
    """Each bomb with its own 200 MB, so that none profits or suffers from what another left."""
    child = os.fork()
    if not child:
        limit_memory()
        resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
        action()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("an attack killed its process")


if __name__ == "__main__":
    main(*sys.argv[1:])
