"""Asks a loaded model once in every form of the wire before the server is ready.

The questions take the way of every request: from the bytes of a body to those of its answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import ModelLoadError, ServeError
from ..models.base import TensorModel, TensorSpec
from .codec import encode_request
from .codec.arrays import raw_bytes
from .codec.media import CONTENT_TYPES
from .codec.oip import datatype_of
from .contract import with_rows
from .endpoint import Dialect, Endpoint
from .message import Headers, Reply, make_head

if TYPE_CHECKING:
    from ..models.base import Array

LONG_BYTES = 4 * 1024 * 1024
"""Inputs larger than this are not written as JSON: that takes seconds, and shows nothing new."""

_Question = tuple[str, bytes, Headers, bool]
"""Name of the form, body, headers, and whether it is one of the Open Inference Protocol."""


async def rehearse(endpoint: Endpoint, oip: Dialect) -> list[str]:
    """Which forms cannot be answered and why, a line each; nothing for a model whose inputs are not known.

    Raises:
        ModelLoadError: no form is answered, or one not in time.
    """
    model = endpoint.predictor.model
    if not isinstance(model, TensorModel) or model.probe is None:
        return []
    failed: dict[str, str] = {}
    asked: set[str] = set()
    for form, body, headers, of_oip in _questions(model):
        if len(body) > endpoint.limits.max_body:
            continue
        asked.add(form)
        reply = await _ask(endpoint, body, headers, oip if of_oip else None)
        if reply.status == 504:
            raise ModelLoadError(f"{model.file} was loaded, but {_error(reply)}", hint="raise --timeout")
        if reply.status != 200:
            failed.setdefault(form, _error(reply))
    endpoint.answered = 0
    if failed and set(failed) == asked:
        raise ModelLoadError(f"{model.file} was loaded, but cannot be served: {next(iter(failed.values()))}")
    return [f"requests as {form} are not answered: {why}" for form, why in failed.items()]


def _questions(model: TensorModel) -> Iterator[_Question]:
    """One item in every form, two rows in one."""
    inputs, drawn = model.inputs or (), (model.probe or _none)(1)
    rows = with_rows(inputs)
    item = [array[0] if k in rows else array for k, array in enumerate(drawn)]
    short = sum([array.nbytes for array in drawn]) <= LONG_BYTES
    for kind in CONTENT_TYPES:
        if (kind == "npy" and len(inputs) > 1) or (kind == "json" and not short):
            continue
        yield from _written(kind, inputs, item)
    if rows and all(inputs[k].shape[0] < 0 for k in rows):
        yield from _written("json" if short else "pickle", inputs, (model.probe or _none)(2))
    head = [
        {"name": spec.name, "shape": list(array.shape), "datatype": datatype_of(spec.dtype)}
        for spec, array in zip(inputs, drawn, strict=True)
    ]
    if short:
        told = [entry | {"data": array.reshape(-1).tolist()} for entry, array in zip(head, drawn, strict=True)]
        yield "Open Inference JSON", json.dumps({"inputs": told}).encode(), [], True
    sizes = [{"parameters": {"binary_data_size": array.nbytes}} for array in drawn]
    told = [entry | size for entry, size in zip(head, sizes, strict=True)]
    text = json.dumps({"inputs": told, "parameters": {"binary_data_output": True}}).encode()
    length = (b"inference-header-content-length", b"%d" % len(text))
    yield "Open Inference tensors", b"".join([text, *map(raw_bytes, drawn)]), [length], True


def _written(kind: str, inputs: Sequence[TensorSpec], arrays: Sequence[Array]) -> Iterator[_Question]:
    """The question in this form, unless the form has no such inputs, as safetensors has no complex numbers."""
    try:
        body, content_type = encode_request({s.name: x for s, x in zip(inputs, arrays, strict=True)}, kind)
    except ServeError:
        return
    yield kind, body, [(b"content-type", content_type.encode())], False


def _none(rows: int) -> list[Array]:
    return []


async def _ask(endpoint: Endpoint, body: bytes, headers: Headers, dialect: Dialect | None) -> Reply:
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    endpoint.start(make_head("POST", ("/", ""), headers, ""), body, reply.set_result, dialect)
    return await reply


def _error(reply: Reply) -> str:
    return str(json.loads(reply.body).get("error", ""))
