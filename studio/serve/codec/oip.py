"""Tensors of the Open Inference Protocol v2, in JSON and in its binary extension: https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/

Hides both forms and every check: a tensor's shape, datatype and data must agree, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from studio.errors import BadInput, ServeError, TooLarge

from .arrays import Array
from .form import Form
from .json_numbers import about
from .json_read import parse
from .json_write import write_json
from .limits import DEFAULT, NULL_HINT, Budget, Limits, Malformed
from .oip_tensors import DTYPES, TEXT, datatype_of, entry_of, from_bytes, from_json

__all__ = ["InferForm", "datatype_of", "decode_infer", "encode_infer"]

_JSON = Form()
_REQUEST = {"id", "parameters", "inputs", "outputs", "model_name", "model_version", "from_grpc"}
"""The last three carry no meaning here, the path has the model; KServe's client writes them."""

_INPUT = {"name", "shape", "datatype", "parameters", "data"}
_OUTPUT = {"name", "parameters"}
_UNKNOWN = ("shared_memory", "classification")
"""Parameters of extensions that would change the answer: refused, for to ignore them would be wrong."""


@dataclass(frozen=True, slots=True)
class InferForm:
    """What a request wants back.

    Args:
        id: The request's own, for the answer.
        outputs: Name → whether binary, in the order wanted; empty = all.
        binary: Whether outputs are binary that are not named in `outputs`.
    """

    id: str | None = None
    outputs: Mapping[str, bool] | None = None
    binary: bool = False


def decode_infer(
    body: bytes | bytearray, header_size: str | None, *, limits: Limits = DEFAULT
) -> tuple[dict[str, Array], InferForm]:
    """The named tensors of a request. Texts (BYTES) are arrays of `str` objects, so that none is padded or cut.

    Args:
        body: The whole body; arrays share memory with it where it is writable.
        header_size: `Inference-Header-Content-Length`: where the JSON ends and the binary tensors begin.
        limits: What the body may cost.

    Raises:
        BadInput, TooLarge: the body is refused.
    """
    try:
        if len(body) > limits.max_bytes:
            raise Malformed("too-large", f"more than {limits.max_bytes} bytes")
        size = _header_size(header_size, len(body))
        return _read(body[:size], memoryview(body)[size:], Budget(limits))
    except Malformed as exc:
        if exc.code == "null":
            raise BadInput(exc.detail, hint=NULL_HINT) from None
        message = f"the inference request cannot be read: {exc}"
        raise TooLarge(message) if exc.code == "too-large" else BadInput(message) from None


def _header_size(text: str | None, size: int) -> int:
    if text is None:
        return size
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > size:
        raise Malformed("bad-header", f"Inference-Header-Content-Length {text[:20]!r} of a body of {size} bytes")
    return int(text)


def _read(text: bytes | bytearray, raw: memoryview, budget: Budget) -> tuple[dict[str, Array], InferForm]:
    if text.count(b",") > budget.limits.max_numbers:
        raise Malformed("too-large", f"more than {budget.limits.max_numbers} values; send binary tensors")
    request = _object(parse(text, budget), "the request", _REQUEST)
    own, parameters = request.get("id"), _parameters(request, "the request")
    if own is not None and type(own) is not str:
        raise Malformed("bad-request", "id is no text")
    for key in ("model_name", "model_version"):
        if type(request.get(key, "")) not in (str, type(None)):
            raise Malformed("bad-request", f"{key} is no text")
    form = InferForm(own, _wanted(request, parameters), _flag(parameters, "binary_data_output"))
    arrays: dict[str, Array] = {}
    at = 0
    for entry in _list(request, "inputs", budget.limits.max_members):
        tensor = _object(entry, "an input", _INPUT)
        name = _name(tensor, arrays)
        try:
            arrays[name], taken = _tensor(tensor, raw[at:], budget)
        except Malformed as exc:
            said = about(name, exc).detail
            raise Malformed(exc.code, said if exc.code == "null" else f"input {said}") from None
        at += taken
    if not arrays:
        raise Malformed("bad-request", "no inputs")
    if at != len(raw):
        raise Malformed("size-mismatch", f"{len(raw)} bytes after the JSON, {at} of them declared")
    return arrays, form


def _object(value: object, what: str, known: set[str]) -> dict[str, object]:
    if type(value) is not dict:
        raise Malformed("bad-request", f"{what} is no object")
    strange = next((key for key in value if key not in known), None)
    if strange is not None:
        raise Malformed("bad-request", f"{what} has {strange[:40]!r}; known: {', '.join(sorted(known))}")
    return value


def _list(request: dict[str, object], key: str, most: int) -> list[object]:
    entries = request.get(key)
    if entries is None:  # as clients write what they leave open
        return []
    if type(entries) is not list:
        raise Malformed("bad-request", f"{key} is no list")
    if len(entries) > most:
        raise Malformed("too-large", f"more than {most} {key}")
    return entries


def _name(entry: dict[str, object], taken: Mapping[str, object]) -> str:
    name = entry.get("name")
    if type(name) is not str or not name:
        raise Malformed("bad-request", "a tensor without a name")
    if name in taken:
        raise Malformed("duplicate-name", repr(name[:80]))
    return name


def _parameters(entry: dict[str, object], what: str) -> dict[str, object]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise Malformed("bad-request", f"the parameters of {what} are no object")
    for key in parameters:
        if key.startswith(_UNKNOWN):
            raise Malformed("bad-request", f"{key[:40]!r} is not known here")
    return parameters


def _flag(parameters: dict[str, object], key: str, default: bool = False) -> bool:
    value = parameters.get(key, default)
    if type(value) is not bool:
        raise Malformed("bad-request", f"{key} is neither true nor false")
    return value


def _wanted(request: dict[str, object], parameters: dict[str, object]) -> dict[str, bool]:
    otherwise = _flag(parameters, "binary_data_output")
    wanted: dict[str, bool] = {}
    for entry in _list(request, "outputs", DEFAULT.max_members):
        output = _object(entry, "an output", _OUTPUT)
        name = _name(output, wanted)
        wanted[name] = _flag(_parameters(output, f"output {name[:80]!r}"), "binary_data", otherwise)
    return wanted


def _tensor(tensor: dict[str, object], raw: memoryview, budget: Budget) -> tuple[Array, int]:
    """The array of one input, and how many bytes of `raw` it took."""
    datatype, shape, size = tensor.get("datatype"), tensor.get("shape"), _binary_size(tensor)
    if type(datatype) is not str or (datatype != TEXT and datatype not in DTYPES):
        raise Malformed("dtype-refused", f"datatype {str(datatype)[:20]!r}")
    if type(shape) is not list or len(shape) > budget.limits.max_ndim:
        raise Malformed("bad-shape", f"a list of at most {budget.limits.max_ndim} lengths is expected")
    if any(type(length) is not int or not 0 <= length <= 1 << 40 for length in shape):
        raise Malformed("bad-shape", "a length that is none")
    if (size is None) == (tensor.get("data") is None):
        raise Malformed("bad-request", "either data or the parameter binary_data_size is expected")
    lengths = cast("list[int]", shape)
    if size is not None:
        if size > len(raw):
            raise Malformed("size-mismatch", f"{size} bytes declared, {len(raw)} present")
        return from_bytes(datatype, lengths, raw[:size], budget), size
    return from_json(datatype, lengths, tensor["data"], budget), 0


def _binary_size(tensor: dict[str, object]) -> int | None:
    size = _parameters(tensor, "an input").get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise Malformed("bad-request", "binary_data_size is no number of bytes")
    return size


def encode_infer(outputs: Mapping[str, object], form: InferForm, told: dict[str, object]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON if binary tensors follow it.

    Args:
        outputs: Arrays, or what becomes one.
        form: Which are wanted, and how.
        told: What the answer says besides: the model's name and version.

    Raises:
        BadInput: an output is wanted that there is not.
        ServeError: an output is no tensor of the protocol; the message names it.
    """
    wanted = form.outputs or dict.fromkeys(outputs, form.binary)
    missing = [name for name in wanted if name not in outputs]
    if missing:
        raise BadInput(f"no output {missing[0][:80]!r}; there are: {', '.join(outputs)[:400]}")
    tails: list[bytes | memoryview] = []
    tensors: list[dict[str, object]] = []
    for name, binary in wanted.items():
        try:
            tensors.append({"name": name, **entry_of(outputs[name], tails if binary else None)})
        except (TypeError, ValueError) as exc:
            raise ServeError(f"the output {name[:80]!r} cannot be written as a tensor: {str(exc)[:200]}") from exc
    head = {**told, **({} if form.id is None else {"id": form.id}), "outputs": tensors}
    text = write_json(head, _JSON)
    return (b"".join([text, *tails]), len(text)) if any(wanted.values()) else (text, None)
