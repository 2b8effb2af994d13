"""Reads bodies in another process that would hold the interpreter for long, and so the event loop, even in a thread.

Only the arrays come back: one line of JSON that tells of them, and their bytes.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..errors import BadInput, RefusedPickle, StudioError, TooLarge
from ..models.base import TensorSpec
from .codec import Form, Limits, decode
from .codec.form import KeyForm
from .codec.oip import InferForm, decode_infer
from .foreign import refuse_foreign

if TYPE_CHECKING:
    from ..models.base import Array

LONGEST_S = 600.0
"""Nothing takes so long: the request's own time limit ended long before."""

_CODE = "import sys; sys.path[:] = [sys.argv[1], *filter(None, sys.path)]; from studio.serve.apart import main; main()"
"""Without the current folder, whose modules are not ours."""

Read = tuple[dict[str, object], Any]


def read_wire(
    body: bytes | bytearray, content_type: str | None, limits: Limits, inputs: Sequence[TensorSpec] | None
) -> Read | None:
    """As `decode` with arrays and with `refuse_foreign`; None if it cannot be done apart.

    Raises:
        StudioError: the body is refused.
    """
    names = None if inputs is None else [spec.name for spec in inputs]
    found = _ask({"wire": content_type, "limits": asdict(limits), "names": names}, body)
    if found is None:
        return None
    values, told = found
    keys = {name: KeyForm(*form) for name, form in told["keys"].items()}
    return values, Form(told["media"], told["protocol"], keys, KeyForm(*told["others"]))


def read_infer(body: bytes | bytearray, header_size: str | None, limits: Limits) -> Read | None:
    """As `decode_infer`; None if it cannot be done apart.

    Raises:
        StudioError: the body is refused.
    """
    found = _ask({"infer": header_size, "limits": asdict(limits)}, body)
    return None if found is None else (found[0], InferForm(**found[1]))


def _ask(question: Mapping[str, object], body: bytes | bytearray) -> Read | None:
    import numpy as np

    told = json.dumps({**question, "size": len(body)}).encode() + b"\n"
    env = {name: value for name, value in os.environ.items() if not name.startswith("STUDIOML_")}
    root = str(Path(__file__).resolve().parents[2])
    try:
        with subprocess.Popen(
            [sys.executable, "-c", _CODE, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=env,
        ) as process:  # fmt: skip
            try:
                answer, _ = process.communicate(b"".join([told, body]), LONGEST_S)
            except subprocess.TimeoutExpired:
                process.kill()
                return None
    except OSError:  # no process, no memory: read here
        return None
    line, _, raw = answer.partition(b"\n")
    if process.returncode or not line:
        return None
    found = json.loads(line)
    if "error" in found:
        raise _error(found)
    values: dict[str, object] = {}
    at = 0
    for name, value, dtype, shape, size in found["values"]:
        values[name] = value
        if dtype is not None:
            array = np.empty(shape, dtype)
            array.reshape(-1).view(np.uint8)[:] = np.frombuffer(raw, np.uint8, size, at) if size else 0
            values[name], at = array, at + size
    return values, found["form"]


def _error(found: Mapping[str, Any]) -> StudioError:
    if found["error"] == RefusedPickle.__name__:
        return RefusedPickle(found["code"], found["detail"])
    kind: type[StudioError] = getattr(errors, found["error"])
    return kind(found["message"], hint=found["hint"])


# -- in the other process ---------------------------------------------------------------------------


def main() -> None:
    """Answers the one question on standard input; ends with a code other than 0 if the values are no arrays."""
    gc.disable()  # a million lists and no ring among them
    question = json.loads(sys.stdin.buffer.readline())
    body = sys.stdin.buffer.read(question["size"])
    limits = Limits(**question["limits"])
    arrays: Sequence[Array] = ()
    try:
        values, form = _read(question, body, limits)
        arrays = [value for value in values.values() if hasattr(value, "dtype")]
        if any(array.dtype.kind not in "biufcU" for array in arrays):
            raise TypeError("these have no bytes")
        told: dict[str, object] = {"form": form, "values": [_entry(name, value) for name, value in values.items()]}
    except (BadInput, TooLarge) as exc:
        more = {"code": exc.code, "detail": exc.detail} if isinstance(exc, RefusedPickle) else {}
        told = {"error": type(exc).__name__, "message": exc.message, "hint": exc.hint, **more}
    sys.stdout.buffer.write(json.dumps(told, allow_nan=True).encode() + b"\n")
    for array in arrays:
        sys.stdout.buffer.write(array.tobytes())
    sys.stdout.buffer.flush()
    os._exit(0)  # to take apart a million lists takes as long as to read them


def _read(question: Mapping[str, Any], body: bytes, limits: Limits) -> tuple[Mapping[str, Any], dict[str, object]]:
    if "infer" in question:
        tensors, wanted = decode_infer(body, question["infer"], limits=limits)
        return tensors, asdict(wanted)
    names: list[str] | None = question["names"]
    inputs = None if names is None else [TensorSpec(name, "", ()) for name in names]
    check: Callable[[Mapping[str, object]], None] = partial(refuse_foreign, inputs=inputs)
    values, form = decode(body, question["wire"], arrays=True, limits=limits, check=check)
    keys = {name: (key.kind, key.protocol) for name, key in form.keys.items()}
    others = (form.others.kind, form.others.protocol)
    return values, {"media": form.media, "protocol": form.protocol, "keys": keys, "others": others}


def _entry(name: str, value: Any) -> tuple[str, object, str | None, list[int], int]:
    """Name, value, and of an array its dtype, shape and bytes."""
    if hasattr(value, "dtype"):
        return name, None, value.dtype.str, list(value.shape), value.nbytes
    return name, value, None, [], 0
