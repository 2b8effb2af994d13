"""Inference: admits a request, decodes it, asks the predictor and makes the reply; the same for every way in.

Hides where that happens: on the event loop, or in a thread for bodies that are large or may unpack to much.
`POST /` and further protocols differ in a `Dialect` only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, cast

from ..errors import BadInput, Overloaded, ServeError, StudioError, TooLarge, UnsupportedType
from .access import Access
from .call import Call
from .codec import Form, decode, encode, quick, weight
from .codec import Limits as CodecLimits
from .contract import check_values
from .idle import Idle
from .message import Head, Headers, Reply, error_reply, errors_header
from .predictor import Predictor

log = logging.getLogger(__name__)

_Decoded = tuple[dict[str, object], object, int]
"""The values, what `write` needs, and the bytes that the values hold."""

OFF_LOOP_BYTES = 256 * 1024
"""Bodies larger than this are decoded and encoded in a thread, so that small requests do not wait for them."""

MANY_OUTPUTS = 256
"""So are answers of more values than this."""

BODIES_AT_ONCE = 8
"""All bodies in flight together may hold this many times the limit of one."""

LEAST_DECODED = 16 * 1024 * 1024
"""What they unpack to may hold this much, however low the limit of one is."""


@dataclass(slots=True)
class Limits:
    """What one server takes. Sizes in bytes, times in seconds."""

    max_body: int = 64 * 1024 * 1024
    max_inflight: int = 1024
    timeout_s: float = 60.0


class Dialect(Protocol):
    """How one protocol writes requests and answers. `read` and `write` are called in any thread."""

    def read(self, head: Head, body: bytes | bytearray, limits: CodecLimits) -> tuple[dict[str, object], object]:
        """The named values for the predictor, and whatever `write` needs of the request; raises StudioError."""

    def quick(self, head: Head, body: bytes | bytearray, limits: CodecLimits) -> bool:
        """Whether `read` takes so little time, whatever the body holds, that the event loop can wait for it."""

    def write(self, call: Call, form: object, head: Head) -> tuple[bytes, Headers]:
        """The body of the answer, and its headers: the content type among them; raises StudioError."""

    def refuse(self, error: StudioError, head: Head) -> Reply:
        """The reply for a request that failed."""


class Wire:
    """The dialect of `POST /`.

    Args:
        arrays: Whether the model takes arrays.
        debug: Whether error bodies carry tracebacks.
    """

    def __init__(self, *, arrays: bool, debug: bool) -> None:
        self._arrays, self._debug = arrays, debug

    def read(self, head: Head, body: bytes | bytearray, limits: CodecLimits) -> tuple[dict[str, object], object]:
        """Reads any form of docs/reference/wire.md."""
        values, form = decode(body, _kind(head), arrays=self._arrays, limits=limits)
        return check_values(values), form

    def quick(self, head: Head, body: bytes | bytearray, limits: CodecLimits) -> bool:
        """By the form, and the size in that form."""
        return quick(body, _kind(head), limits=limits)

    def write(self, call: Call, form: object, head: Head) -> tuple[bytes, Headers]:
        """Writes the form of the request, or that of `Accept`; keys that failed are in a header."""
        accept = head.headers.get(b"accept")
        text = None if accept is None else accept.decode("latin-1")
        body, kind = encode(call.outputs, cast(Form, form), accept=text)
        headers: Headers = [(b"content-type", kind.encode("latin-1"))]
        if call.errors:
            headers.append((b"x-studio-errors", errors_header(call.errors)))
        return body, headers

    def refuse(self, error: StudioError, head: Head) -> Reply:
        """The error body of `contracts.md`."""
        return error_reply(error, head.request_id, debug=self._debug)


class Ticket:
    """One request at work; `cancel` when the client has gone."""

    __slots__ = ("call", "dialect", "endpoint", "form", "gone", "head", "send", "size")

    def __init__(
        self, endpoint: Endpoint, dialect: Dialect, head: Head, send: Callable[[Reply], None], size: int
    ) -> None:
        self.endpoint, self.dialect, self.head, self.send, self.size = endpoint, dialect, head, send, size
        self.form: object = None
        self.call: Call | None = None
        self.gone = False

    def cancel(self) -> None:
        """Drops the work; nothing will be sent."""
        if not self.gone:
            self.gone = True
            self.endpoint.held_bytes -= self.size
            if self.call is not None:
                self.endpoint.predictor.cancel(self.call)


class Endpoint:
    """The inferences of one server. All methods belong to the event loop's thread."""

    def __init__(
        self, predictor: Predictor, access: Access, idle: Idle, limits: Limits, *, debug: bool = False
    ) -> None:
        self.predictor, self.access, self.idle, self.limits = predictor, access, idle, limits
        self._wire = Wire(arrays=predictor.model.arrays, debug=debug)
        self.draining = False
        self.held_bytes = 0
        self.answered = 0
        self._pool: ThreadPoolExecutor | None = None
        self._loop = asyncio.get_running_loop()
        self._codec_limits = CodecLimits(max_bytes=limits.max_body)

    def admit(self, head: Head) -> None:
        """Refuses what can be refused by the head alone, before a byte of the body is kept.

        Raises:
            StudioError: of the class whose status the reply shall have.
        """
        self.access.check(head)
        if b"content-encoding" in head.headers and head.headers[b"content-encoding"].lower() != b"identity":
            raise UnsupportedType("compressed bodies are not taken", hint="send the body without Content-Encoding")
        declared = head.headers.get(b"content-length")
        size = int(declared) if declared is not None and declared.isdigit() else 0
        if size > self.limits.max_body:
            raise self.too_large()
        if self.full(size):
            raise self.too_many_bytes()
        self.predictor.check_room()

    def too_large(self) -> TooLarge:
        """The error for a body over the limit."""
        return TooLarge(
            f"the body is larger than {self.limits.max_body} bytes", hint="send fewer items, or raise --max-body"
        )

    def full(self, size: int) -> bool:
        """Whether a body of `size` more bytes would go beyond what all bodies in flight may hold together."""
        return self.held_bytes + size > BODIES_AT_ONCE * self.limits.max_body

    def too_many_bytes(self) -> Overloaded:
        """The error for that."""
        return Overloaded("the bodies in flight fill the memory that is set aside for them", hint="retry later")

    def refuse(self, error: StudioError, head: Head) -> Reply:
        """The reply of `POST /` and the pages for a request that failed."""
        return self._wire.refuse(error, head)

    def start(
        self, head: Head, body: bytes | bytearray, send: Callable[[Reply], None], dialect: Dialect | None = None
    ) -> Ticket:
        """Begins to answer; `send` gets the reply, once, on the event loop, unless the ticket is cancelled.

        Without a `dialect` the request is one of `POST /`.
        """
        ticket = Ticket(self, dialect or self._wire, head, send, len(body))
        self.held_bytes += len(body)
        if len(body) > OFF_LOOP_BYTES or not ticket.dialect.quick(head, body, self._codec_limits):
            task = self._loop.run_in_executor(self._threads(), self._decode, ticket.dialect, head, body)
            task.add_done_callback(lambda done: self._decoded(ticket, done))
        else:
            try:
                self._begin(ticket, *self._decode(ticket.dialect, head, body))
            except StudioError as exc:
                self._reply(ticket, ticket.dialect.refuse(exc, head))
        return ticket

    def close(self) -> None:
        """Ends the helper threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _threads(self) -> ThreadPoolExecutor:
        self._pool = self._pool or ThreadPoolExecutor(2, "codec")
        return self._pool

    def _decode(self, dialect: Dialect, head: Head, body: bytes | bytearray) -> _Decoded:
        try:
            values, form = dialect.read(head, body, self._codec_limits)
            return values, form, weight(values)
        except StudioError:
            raise
        except Exception as exc:
            log.exception("decoder failed, request %s", head.request_id)
            raise BadInput("the body cannot be read") from exc

    def _decoded(self, ticket: Ticket, done: asyncio.Future[_Decoded]) -> None:
        if done.cancelled():
            return
        if done.exception() is not None and ticket.gone:  # asked for, else asyncio logs it
            return
        try:
            self._begin(ticket, *done.result())
        except StudioError as exc:
            self._reply(ticket, ticket.dialect.refuse(exc, ticket.head))

    def _begin(self, ticket: Ticket, values: dict[str, object], form: object, size: int) -> None:
        if ticket.gone:
            return
        self._charge(ticket, size)
        ticket.form = form
        ticket.call = self.predictor.start(values, lambda call: self._done(ticket, call))

    def _charge(self, ticket: Ticket, size: int) -> None:
        """From here on the request holds its values, and not its body unless they lie in it.

        Raises:
            Overloaded: with those of all others that is too much; a request alone always has room.
        """
        more, others = max(0, size - ticket.size), self.held_bytes - ticket.size
        if others > 0 and self.held_bytes + more > max(BODIES_AT_ONCE * self.limits.max_body, LEAST_DECODED):
            raise self.too_many_bytes()
        ticket.size += more
        self.held_bytes += more

    def _done(self, ticket: Ticket, call: Call) -> None:
        if ticket.gone:
            return
        for error in {id(e): e for e in (*call.errors.values(), call.failure) if e is not None}.values():
            if error.__cause__ is not None:
                log.error("request %s: %s", ticket.head.request_id, error.message, exc_info=error.__cause__)
        if call.failure is not None:
            self._reply(ticket, ticket.dialect.refuse(call.failure, ticket.head))
        elif max(ticket.size, _size(call.outputs)) > OFF_LOOP_BYTES or len(call.outputs) > MANY_OUTPUTS:
            task = self._loop.run_in_executor(self._threads(), self._encode, ticket, call)
            task.add_done_callback(lambda done: None if done.cancelled() else self._reply(ticket, done.result()))
        else:
            self._reply(ticket, self._encode(ticket, call))

    def _encode(self, ticket: Ticket, call: Call) -> Reply:
        head, dialect = ticket.head, ticket.dialect
        try:
            body, own = dialect.write(call, ticket.form, head)
        except StudioError as exc:
            return dialect.refuse(exc, head)
        except Exception as exc:
            log.exception("encoder failed, request %s", head.request_id)
            return dialect.refuse(ServeError(f"the answer cannot be written: {type(exc).__name__}"), head)
        total_s = perf_counter() - head.arrived
        headers: Headers = [
            *own,
            (b"x-request-id", head.request_id.encode("latin-1")),
            (
                b"server-timing",
                b"queue;dur=%.3f, batch;dur=%.3f, model;dur=%.3f, total;dur=%.3f"
                % (call.queue_s * 1e3, call.batch_s * 1e3, call.model_s * 1e3, total_s * 1e3),
            ),
            (b"x-content-type-options", b"nosniff"),
        ]
        return Reply(200, body, headers)

    def _reply(self, ticket: Ticket, reply: Reply) -> None:
        if ticket.gone:
            return
        ticket.gone = True
        self.held_bytes -= ticket.size
        if reply.status == 200:
            self.answered += 1
            self.idle.touch()
        ticket.send(reply)


def _kind(head: Head) -> str | None:
    kind = head.headers.get(b"content-type")
    return None if kind is None else kind.decode("latin-1")


def _size(outputs: dict[str, object]) -> int:
    return sum(int(getattr(value, "nbytes", 0)) for value in outputs.values())
