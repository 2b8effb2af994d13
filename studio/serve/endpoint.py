"""Inference: admits a request, decodes it, asks the predictor and makes the reply; the same for every way in.

Hides where that happens: on the event loop, or in a thread for bodies that are large or may unpack to much.
`POST /` and further protocols differ in a `Dialect` only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from ..errors import Overloaded, ServeError, StudioError, Timeout, TooLarge, UnsupportedType
from .access import Access
from .apart import read_wire
from .call import Call, Plan
from .codec import Form, decode, encode, quick, weight
from .codec import Limits as CodecLimits
from .contract import check_values
from .foreign import refuse_foreign
from .idle import Idle
from .message import Head, Headers, Reply, caveat_header, error_reply, errors_header
from .predictor import TICK_S, Predictor
from .threads import Threads, call_soon

if TYPE_CHECKING:
    from ..models.base import TensorSpec

log = logging.getLogger(__name__)

T = TypeVar("T")
_Decoded = tuple[Plan, object, int]
"""What was asked, what `write` needs, and the bytes that the values hold."""

OFF_LOOP_BYTES = 256 * 1024
"""Bodies larger than this are decoded and encoded in a thread, so that small requests do not wait for them."""

MANY_OUTPUTS = 256
"""So are answers of more values than this."""

BODIES_AT_ONCE = 8
"""All bodies in flight together may hold this many times the limit of one."""

CODEC_THREADS = 2

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
        inputs: The model's inputs, or None: a JSON body in another server's form is refused for them.
    """

    def __init__(self, *, arrays: bool, debug: bool, inputs: Sequence[TensorSpec] | None = None) -> None:
        self._arrays, self._debug, self._inputs = arrays, debug, inputs

    def read(self, head: Head, body: bytes | bytearray, limits: CodecLimits) -> tuple[dict[str, object], object]:
        """Reads any form of docs/reference/wire.md."""
        kind = _kind(head)
        values, form = decode(
            body, kind, arrays=self._arrays, limits=limits, check=lambda read: refuse_foreign(read, self._inputs),
            elsewhere=lambda: read_wire(body, kind, limits, self._inputs),
        )  # fmt: skip
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

    __slots__ = ("call", "deadline", "dialect", "endpoint", "form", "gone", "head", "send", "size")

    def __init__(
        self, endpoint: Endpoint, dialect: Dialect, head: Head, send: Callable[[Reply], None], size: int
    ) -> None:
        self.endpoint, self.dialect, self.head, self.size = endpoint, dialect, head, size
        self.send: Callable[[Reply], None] | None = send
        self.deadline = time.monotonic() + endpoint.limits.timeout_s
        self.form: object = None
        self.call: Call | None = None
        self.gone = False

    def cancel(self) -> None:
        """Drops the work; nothing will be sent."""
        if self.gone:
            return
        call = self.call
        self.endpoint.forget(self)
        if call is not None:
            self.endpoint.predictor.cancel(call)


class Endpoint:
    """The inferences of one server. All methods belong to the event loop's thread."""

    def __init__(
        self, predictor: Predictor, access: Access, idle: Idle, limits: Limits, *, debug: bool = False
    ) -> None:
        self.predictor, self.access, self.idle, self.limits = predictor, access, idle, limits
        self._wire = Wire(arrays=predictor.model.arrays, debug=debug, inputs=predictor.model.inputs)
        self._caveat = caveat_header(predictor.model.caveat)
        self.draining = False
        self.held_bytes = 0
        self.answered = 0
        self._tickets: dict[Ticket, None] = {}
        self._ticking = False
        self._threads = Threads(CODEC_THREADS, "codec", "reading or writing of a body")
        self._loop = asyncio.get_running_loop()
        self._codec_limits = CodecLimits(max_bytes=limits.max_body, nulls=predictor.model.handles_missing)

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
        self._tickets[ticket] = None
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_S, self._tick)
        if len(body) > OFF_LOOP_BYTES or not ticket.dialect.quick(head, body, self._codec_limits):
            self._off_loop(
                ticket, lambda: self._decode(ticket.dialect, head, body), lambda done: self._begin(ticket, done)
            )
        else:
            self._begin(ticket, self._decode(ticket.dialect, head, body))
        return ticket

    @property
    def exhausted(self) -> bool:
        """Whether so many calls hang that the server should be replaced."""
        return self.predictor.exhausted or self._threads.exhausted

    def replace_hung(self) -> None:
        """Leaves threads behind that have not returned within the time limit; call now and then."""
        self.predictor.replace_hung()
        self._threads.replace_hung(time.monotonic() - self.limits.timeout_s)

    def forget(self, ticket: Ticket) -> None:
        """The request is over: what it held is given back at once, without waiting for the garbage collector."""
        call, ticket.call, ticket.form, ticket.send = ticket.call, None, None, None
        ticket.gone = True
        self._tickets.pop(ticket, None)
        self.held_bytes -= ticket.size
        if call is not None:
            for error in (*call.errors.values(), call.failure):
                _drop_traceback(error)

    def close(self) -> None:
        """Ends the helper threads."""
        self._threads.close()

    def _tick(self) -> None:
        """Every 0.1 s while requests are in flight: those whose time is over, in whatever phase they are."""
        now = time.monotonic()
        while self._tickets and (ticket := next(iter(self._tickets))).deadline <= now:
            call = ticket.call
            late = Timeout(f"no answer within {self.limits.timeout_s:g} s", hint="raise --timeout, or send less")
            self._reply(ticket, ticket.dialect.refuse(late, ticket.head))
            if call is not None:
                self.predictor.cancel(call)
        self.replace_hung()
        self._ticking = bool(self._tickets)
        if self._ticking:
            self._loop.call_later(TICK_S, self._tick)

    def _off_loop(self, ticket: Ticket, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Does in a thread what takes time and raises nothing, unless the client has gone; `then` is on the loop."""

        def job() -> None:
            if not ticket.gone:
                call_soon(self._loop, then, work())

        try:
            self._threads.submit(job)
        except StudioError as exc:
            self._fail(ticket, exc)

    def _decode(self, dialect: Dialect, head: Head, body: bytes | bytearray) -> _Decoded | StudioError:
        try:
            values, form = dialect.read(head, body, self._codec_limits)
            return self.predictor.prepare(values), form, weight(values)
        except StudioError as exc:
            return exc.with_traceback(None)  # which holds the body
        except BaseException as exc:
            log.exception("decoder failed, request %s", head.request_id)
            return ServeError(f"the body could not be read: {type(exc).__name__}")

    def _begin(self, ticket: Ticket, decoded: _Decoded | StudioError) -> None:
        if ticket.gone:
            return
        try:
            if isinstance(decoded, StudioError):
                raise decoded
            plan, form, size = decoded
            self._charge(ticket, size)
            ticket.form = form
            ticket.call = self.predictor.begin(plan, lambda call: self._done(ticket, call))
        except StudioError as exc:
            self._fail(ticket, exc)
        except Exception as exc:
            log.exception("request %s could not begin", ticket.head.request_id)
            self._fail(ticket, ServeError(f"the request could not begin: {type(exc).__name__}"))

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
        elif call.size is None or max(ticket.size, call.size) > OFF_LOOP_BYTES or len(call.outputs) > MANY_OUTPUTS:
            form = ticket.form
            self._off_loop(ticket, lambda: self._encode(ticket, call, form), lambda reply: self._reply(ticket, reply))
        else:
            self._reply(ticket, self._encode(ticket, call, ticket.form))

    def _encode(self, ticket: Ticket, call: Call, form: object) -> Reply:
        head, dialect = ticket.head, ticket.dialect
        try:
            body, own = dialect.write(call, form, head)
        except StudioError as exc:
            return dialect.refuse(exc, head)
        except BaseException as exc:
            log.exception("encoder failed, request %s", head.request_id)
            return dialect.refuse(ServeError(f"the answer cannot be written: {type(exc).__name__}"), head)
        total_s = time.perf_counter() - head.arrived
        headers: Headers = [
            *own,
            (b"x-request-id", head.request_id.encode("latin-1")),
            (
                b"server-timing",
                b"queue;dur=%.3f, batch;dur=%.3f, model;dur=%.3f, total;dur=%.3f"
                % (call.queue_s * 1e3, call.batch_s * 1e3, call.model_s * 1e3, total_s * 1e3),
            ),
            (b"x-content-type-options", b"nosniff"),
            *self._caveat,
        ]
        return Reply(200, body, headers)

    def _fail(self, ticket: Ticket, error: StudioError) -> None:
        self._reply(ticket, ticket.dialect.refuse(error, ticket.head))
        _drop_traceback(error)

    def _reply(self, ticket: Ticket, reply: Reply) -> None:
        send = ticket.send
        if ticket.gone or send is None:
            return
        self.forget(ticket)
        if reply.status == 200:
            self.answered += 1
            self.idle.touch()
        send(reply)


def _kind(head: Head) -> str | None:
    kind = head.headers.get(b"content-type")
    return None if kind is None else kind.decode("latin-1")


def _drop_traceback(error: BaseException | None) -> None:
    """Lets go of the frames of an error and of those before it: they hold the request that the error belongs to."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
