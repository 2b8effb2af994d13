"""The Open Inference Protocol v2 over HTTP: a translator over the predictor that `POST /` asks too.

Hides the protocol's routes, bodies and errors. https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from .. import __version__
from ..errors import ContractViolation, NotFound, StudioError, UnsupportedType
from ..models.base import TensorModel, TensorSpec
from .apart import read_infer
from .call import Call
from .codec import SMALL_BYTES, Limits, holds_long
from .codec.oip import InferForm, datatype_of, decode_infer, encode_infer
from .facts import Facts
from .message import Head, Headers, Reply, error_reply

_JSON = b"application/json"
_KINDS = frozenset({"", "application/json", "application/octet-stream", "application/x-www-form-urlencoded"})
_LENGTH = b"inference-header-content-length"


class OpenInference:
    """The protocol's side of one server, and its `Dialect`. The model answers to its own name and version only."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        own = f"/v2/models/{facts.name}"
        roots = [own] if facts.version is None else [own, f"{own}/versions/{facts.version}"]
        self._about = frozenset(roots)
        self._ready = frozenset({"/v2/health/ready", *(f"{root}/ready" for root in roots)})
        self._infer = frozenset(f"{root}/infer" for root in roots)

    def owns(self, path: str) -> bool:
        """Whether this path is one of the protocol, known or not."""
        return path == "/v2" or path.startswith("/v2/")

    def infers(self, head: Head) -> bool:
        """Whether this is an inference."""
        return head.method == "POST" and head.path in self._infer

    # -- what is served ------------------------------------------------------------------------------

    def tell(self, head: Head, *, up: bool) -> Reply:
        """The reply of every route but inference.

        Args:
            head: The request; it has passed the rules of access.
            up: Whether requests are answered.

        Raises:
            NotFound: no such route or model.
        """
        status, told = 200, self._told(head.path)
        if head.path in self._infer or head.method not in ("GET", "HEAD"):
            allowed = b"POST" if head.path in self._infer else b"GET, HEAD"
            refused = {"error": f"{head.method[:20]} is not for this route"}
            return Reply(405, _line(refused), [*_headers(head), (b"allow", allowed)])
        if head.path in self._ready and not up:
            status, told = 503, {**told, "ready": False}
        return Reply(status, _line(told), _headers(head) + ([(b"retry-after", b"1")] if status == 503 else []))

    def _told(self, path: str) -> dict[str, object]:
        if path in self._about:
            return self._metadata()
        if path in self._ready:
            return {"ready": True} if path == "/v2/health/ready" else {"name": self._facts.name, "ready": True}
        if path in self._infer:
            return {}
        if path == "/v2/health/live":
            return {"live": True}
        if path == "/v2":
            return {"name": "studio", "version": __version__, "extensions": ["binary_tensor_data"]}
        version = self._facts.version
        raise NotFound(
            f"nothing answers {path[:200]}: the model here is {self._facts.name!r}, "
            + ("without a version" if version is None else f"version {version!r}")
        )

    def _metadata(self) -> dict[str, object]:
        facts, model = self._facts, self._facts.model
        return {
            "name": facts.name, "versions": [] if facts.version is None else [facts.version],
            "platform": str(model.runtime.get("name", model.style)),
            "inputs": [_tensor(spec) for spec in model.inputs or ()],
            "outputs": [_tensor(spec) for spec in model.outputs or ()],
        }  # fmt: skip

    # -- inference -----------------------------------------------------------------------------------

    def read(self, head: Head, body: bytes | bytearray, limits: Limits) -> tuple[dict[str, object], object]:
        """The tensors by name; all of them are one inference."""
        kind = head.get(b"content-type").partition(";")[0].strip().lower()
        if kind not in _KINDS:
            raise UnsupportedType(
                f"no tensors come as {kind[:80]!r}", hint="send application/json or application/octet-stream"
            )
        declared = head.get(_LENGTH) if _LENGTH in head.headers else None
        found = read_infer(body, declared, limits) if _holds_long(body, declared) else None
        arrays, form = found or decode_infer(body, declared, limits=limits)
        model = self._facts.model
        if model.inputs:
            _check_names([spec.name for spec in model.inputs], arrays, "inputs")
        if model.outputs and form.outputs:
            _check_names([spec.name for spec in model.outputs], form.outputs, "outputs", some=True)
        return dict(arrays), form

    def quick(self, head: Head, body: bytes | bytearray, limits: Limits) -> bool:
        """A small body."""
        return len(body) <= SMALL_BYTES

    def write(self, call: Call, form: object, head: Head) -> tuple[bytes, Headers]:
        """The tensors of the answer; the first error of a part is that of the whole."""
        if call.errors:
            raise next(iter(call.errors.values()))
        told: dict[str, object] = {"model_name": self._facts.name}
        if self._facts.version is not None:
            told["model_version"] = self._facts.version
        body, length = encode_infer(self._outputs(call.outputs), cast(InferForm, form), told)
        if length is None:
            return body, [(b"content-type", _JSON)]
        return body, [(b"content-type", b"application/octet-stream"), (_LENGTH, b"%d" % length)]

    def _outputs(self, answers: Mapping[str, object]) -> Mapping[str, object]:
        """The answers under the names of the outputs: the predictor names that of a single input by the input."""
        model = self._facts.model
        if not isinstance(model, TensorModel) or len(model.inputs or ()) != 1:
            return answers
        (value,) = answers.values()
        outputs = model.outputs or ()
        return {outputs[0].name: value} if len(outputs) == 1 else cast("Mapping[str, object]", value)

    def refuse(self, error: StudioError, head: Head) -> Reply:
        """`{"error": …}`, with the headers of every error; what the contract refuses is 400 here."""
        reply = error_reply(error, head.request_id, debug=self._facts.debug)
        more = {key: text for key, text in json.loads(reply.body).items() if key == "traceback"}
        reply.body = _line({"error": error.message + (f"; {error.hint}" if error.hint else ""), **more})
        reply.status = 400 if reply.status == 422 else reply.status
        return reply


def _holds_long(body: bytes | bytearray, header_size: str | None) -> bool:
    """Tensors after the JSON are bytes, which hold nobody up."""
    return header_size is None and len(body) > SMALL_BYTES and holds_long(body)


def _check_names(known: list[str], given: Mapping[str, object], what: str, *, some: bool = False) -> None:
    if not set(given) <= set(known) or not (some or len(given) == len(known)):
        shown = ", ".join(name[:80] for name in list(given)[:8])
        raise ContractViolation(f"the model's {what} are {', '.join(known)}; got {shown}", field=what)


def _tensor(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": datatype_of(spec.dtype), "shape": list(spec.shape)}


def _headers(head: Head) -> Headers:
    return [
        (b"content-type", _JSON),
        (b"x-request-id", head.request_id.encode("latin-1")),
        (b"x-content-type-options", b"nosniff"),
    ]


def _line(told: Mapping[str, object]) -> bytes:
    return json.dumps(told).encode() + b"\n"
