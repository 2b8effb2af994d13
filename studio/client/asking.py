"""What a client does, however it waits: writes the request, finds a connection, asks, asks again, reads the answer.

All of it is `async`. `AsyncModelClient` awaits it; `ModelClient` runs it with `Waits` that block, so it never suspends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING

from ..errors import BadInput, ServeError, StudioError, Timeout, Unauthorized
from ..serve.columns import columns_in, is_table, rows_of
from ..serve.told import error_of, one_line, parse_errors, parse_metadata, wait_of
from .answer import LONGEST_OTHER, Answer, NotHTTP, Reading, write_request
from .pool import Pool
from .settings import Settings
from .tries import Tries
from .wire import Waits, Wire, connect

if TYPE_CHECKING:
    import ssl

    from ..experiment import JSON

RUNNING = "is the server running?"


class PartialAnswer(dict[str, object]):
    """Answers by key.

    Attributes:
        errors: What went wrong with the keys that are missing, as the server told it.
        caveat: Why another model answered than the one to be expected: what the server told in `X-Studio-Model`
            (`identity`, `older; <why>`, `other; <why>`); "" if nothing.
    """

    errors: Mapping[str, Mapping[str, str]] = {}
    caveat: str = ""


class Asking:
    """One served model, asked with one way of waiting."""

    def __init__(self, settings: Settings, waits: Waits) -> None:
        self._settings, self._waits = settings, waits
        self._context: ssl.SSLContext | None = None
        self.pool = Pool()

    async def predict(self, inputs: Mapping[str, object], form: str) -> PartialAnswer:
        """As `ModelClient.predict`."""
        self.pool.check()
        _check_inputs(inputs)
        from ..serve.codec import decode_answer, encode_request

        deadline = self._deadline()
        body, kind = encode_request(await self._ordered(inputs, deadline), form)
        answer = await self._ask("POST", "", body, kind, deadline)
        if answer.status != 200:
            raise self._refusal(answer)
        result = PartialAnswer(decode_answer(answer.body, answer.headers.get("content-type")))
        if "x-studio-errors" in answer.headers:
            result.errors = parse_errors(answer.headers["x-studio-errors"])
        result.caveat = one_line(answer.headers.get("x-studio-model", ""))
        return result

    async def metadata(self, deadline: float | None = None) -> dict[str, JSON]:
        """As `ModelClient.metadata`."""
        answer = await self._ask("GET", "metadata", b"", "", deadline or self._deadline())
        if answer.status != 200:
            raise self._refusal(answer)
        return parse_metadata(answer.body)

    async def ready(self) -> bool:
        """As `ModelClient.ready`."""
        self.pool.check()
        try:
            return (await self._ask("GET", "readyz", b"", "", self._deadline(), Tries(0))).status == 200
        except StudioError:
            return False

    def _deadline(self) -> float:
        return monotonic() + self._settings.timeout_s

    async def _ordered(self, inputs: Mapping[str, object], deadline: float) -> Mapping[str, object]:
        if not any(map(is_table, inputs.values())):
            return inputs
        about = await self.metadata(deadline)
        return {
            key: rows_of(value, columns_in(about, key), f"the DataFrame {key!r}") if is_table(value) else value
            for key, value in inputs.items()
        }

    # -- travel --------------------------------------------------------------------------------------

    async def _ask(
        self, verb: str, route: str, body: bytes, kind: str, deadline: float, tries: Tries | None = None
    ) -> Answer:
        tries = tries or Tries(self._settings.retries)
        parts = write_request(self._settings, verb, self._settings.path + route, body, kind)
        most = self._settings.max_answer if verb == "POST" else LONGEST_OTHER
        process = os.getpid()
        while True:
            try:
                answer = await self._once(parts, most, deadline)
            except (OSError, NotHTTP) as exc:
                wait_s = None
                if process != os.getpid():
                    raise ServeError("the process was forked while it waited for this answer") from exc
                if isinstance(exc, ConnectionError):
                    wait_s = tries.wait_s(deadline - monotonic(), busy=False)
                if wait_s is None:
                    raise self._failure(exc) from exc
            else:
                if answer.status != 503:
                    return answer
                told_s = wait_of(answer.headers.get("retry-after"), answer.headers.get("date"))
                wait_s = tries.wait_s(deadline - monotonic(), told_s, busy=True)
                if wait_s is None:
                    return answer
            await self._waits.sleep(wait_s)

    async def _once(self, parts: list[memoryview], most: int, deadline: float) -> Answer:
        await self._waits.enter(deadline)
        try:
            idle = self.pool.take()
            if idle is not None:
                try:
                    return await self._over(idle, parts, most, deadline)
                except ConnectionError:
                    pass  # the server had closed it: once more on a fresh one
            return await self._over(await self._connect(deadline), parts, most, deadline)
        finally:
            self._waits.leave()

    async def _connect(self, deadline: float) -> Wire:
        settings = self._settings
        sock = await connect(settings.host, settings.port, self._waits, deadline)
        if not settings.tls:
            return Wire(sock, self._waits)
        from .tls import make_context, secure

        if self._context is None:
            self._context = make_context(settings.fingerprint)
        return await secure(sock, self._context, settings.host, settings.fingerprint, self._waits, deadline)

    async def _over(self, wire: Wire, parts: list[memoryview], most: int, deadline: float) -> Answer:
        try:
            reading = Reading(self._settings.server, most)
            whole = await _exchange(wire, parts, reading, deadline)
        except BaseException:
            wire.shut()
            raise
        answer = reading.answer()
        if answer.keep and whole:
            self.pool.give(wire)
        else:
            wire.shut()
        return answer

    # -- what the user is told -----------------------------------------------------------------------

    def _refusal(self, answer: Answer) -> StudioError:
        error = error_of(answer.status, answer.body)
        if isinstance(error, Unauthorized):
            error.hint = (
                "pass the server's token: token=…, or --token-file FILE"
                if self._settings.token is None
                else "the server did not take the token that was sent: is it the one of this server as it runs now?"
            )
        return error

    def _failure(self, exc: Exception) -> StudioError:
        server = self._settings.server
        said = one_line(exc, 200) or type(exc).__name__
        if isinstance(exc, TimeoutError):
            return Timeout(f"no answer from {server} within {self._settings.timeout_s:g} s")
        untrusted = getattr(exc, "verify_message", None)
        if untrusted is not None:
            return ServeError(
                f"the certificate of {server} is not trusted: {untrusted}",
                hint="if nobody signed it, give the fingerprint that the server printed (--fingerprint)",
            )
        if isinstance(exc, ConnectionError):
            hint = RUNNING if self._settings.tls else RUNNING + " Does it speak TLS (https://)?"
            return ServeError(f"no answer from {server}: {said}", hint=hint)
        if isinstance(exc, OSError):
            plain = getattr(exc, "reason", "") in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
            return ServeError(
                f"cannot reach {server}: {said}", hint="does it speak TLS, or is it http://?" if plain else RUNNING
            )
        return ServeError(f"{server} does not answer in HTTP: {said}", hint="is it a studio server?")


async def _exchange(wire: Wire, parts: list[memoryview], reading: Reading, deadline: float) -> bool:
    """One request and its answer; whether all of the request was sent.

    The answer counts as soon as it is whole, also if the server takes no more of the request and closes the connection.

    Raises:
        ConnectionError: the connection broke before anything was answered.
        NotHTTP, TooLarge: what came is no answer, not all of one, or too much.
        TimeoutError: the time is over.
    """
    broken: OSError | None = None
    left = list(parts)
    while not reading.done:
        try:
            if left and broken is None:
                left[0] = left[0][await wire.send(left[0], deadline) :]
                if not left[0]:
                    del left[0]
                    continue
        except TimeoutError:
            raise
        except OSError as exc:
            broken = exc  # what it answered before may be here
        try:
            came = await wire.receive(deadline)
        except TimeoutError:
            raise
        except OSError as exc:
            raise _ended(reading, broken or exc) from exc
        if came:
            reading.feed(came)
        elif reading.size:
            reading.end()
        else:
            raise _ended(reading, broken or ConnectionResetError("the server closed the connection without an answer"))
    return not left and broken is None


def _ended(reading: Reading, exc: OSError) -> Exception:
    """A request may be sent again where nothing was answered, and only there."""
    return NotHTTP(f"the answer was cut off after {reading.size} bytes: {exc}") if reading.size else exc


def _check_inputs(inputs: object) -> None:
    if is_table(inputs):
        raise BadInput("a DataFrame is one value, not a dictionary of values", hint='send predict({"x": table})')
    if not isinstance(inputs, Mapping):
        raise BadInput(
            f"predict takes a dictionary of values by key, not {type(inputs).__name__}",
            hint='send predict({"x": value})',
        )
    for key in inputs:
        if not isinstance(key, str):
            raise BadInput(f"the keys of a request are strings, not {type(key).__name__}: {str(key)[:80]!r}")
