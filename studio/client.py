"""Asks a served model: pooled connections, binary on the wire, answers decoded as strictly as requests."""

from __future__ import annotations

import asyncio
import http.client
import math
import ssl
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import SplitResult, urlsplit

from .errors import BadInput, ConfigError, ServeError, StudioError, Timeout
from .experiment import JSON
from .serve.address import is_loopback
from .serve.columns import columns_in, is_table, rows_of
from .serve.line import LONGEST_OTHER, Answer, Line
from .serve.told import error_of, one_line, parse_errors, parse_metadata, wait_of

__all__ = ["AsyncModelClient", "ModelClient", "PartialAnswer"]

IDLE_CONNECTIONS = 32
LONGEST_S = 2_000_000.0
"""More seconds than a socket can wait."""

LARGEST_ANSWER = 256 << 20


class PartialAnswer(dict[str, object]):
    """Answers by key.

    Attributes:
        errors: What went wrong with the keys that are missing, as the server told it.
        caveat: Why another model answered than the one to be expected: what the server told in `X-Studio-Model`
            (`identity`, `older; <why>`, `other; <why>`); "" if nothing.
    """

    errors: Mapping[str, Mapping[str, str]] = {}
    caveat: str = ""


class ModelClient:
    """One served model. Methods may be called from any thread; close it, or use it in a `with` block.

    Args:
        url: What `studio serve` printed.
        token: The server's token; refused over plain HTTP to another machine unless `insecure`.
        timeout_s: Seconds that an answer may take in all: looking the name up, connecting, sending, every byte of the
            answer, and further tries.
        retries: How often a request is sent again when the server is busy (503) or the connection broke before
            anything was answered.
        form: How requests are written: `pickle`, `json`, `npy`, `npz` or `safetensors`.
        fingerprint: SHA-256 of the server's certificate in hex: exactly this one is accepted, whoever signed it.
        insecure: Sends the token over plain HTTP.
        max_answer: Bytes of the largest answer that is read.

    Raises:
        ConfigError: the URL, the token, the time or the fingerprint is none, or the token would travel in the open.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        retries: int = 3,
        form: str = "pickle",
        fingerprint: str | None = None,
        insecure: bool = False,
        max_answer: int = LARGEST_ANSWER,
    ) -> None:
        parts, host, port = _split(url)
        if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
            raise ConfigError("the token must be printable ASCII without spaces")
        if math.isnan(timeout_s) or timeout_s <= 0:
            raise ConfigError(f"the time for an answer must be more than 0 seconds, not {timeout_s:g}")
        if token is not None and parts.scheme == "http" and not insecure and not is_loopback(host):
            raise ConfigError(
                f"the token would travel unencrypted to {host}", hint="use https, or insecure=True if meant"
            )
        self._tls = parts.scheme == "https"
        self._host = host
        self._port = port or (443 if self._tls else 80)
        self._path = (parts.path.rstrip("/") or "") + "/"
        self._token, self._timeout_s = token, min(timeout_s, LONGEST_S)
        self._retries, self.form = retries, form
        self._fingerprint = None if fingerprint is None else _digest(fingerprint)
        self._max_answer = max_answer
        self._idle: list[Line] = []
        self._lock = threading.Lock()
        self._closed = False

    def predict(self, inputs: Mapping[str, object]) -> PartialAnswer:
        """The answers, key by key.

        Args:
            inputs: Arrays (or plain values for wrappers) by key; each value is one item or a batch. A DataFrame is put
                in the order of the model's columns, which `GET /metadata` tells each time.

        Returns:
            Answers by key. A key whose inference failed is missing and stands in `.errors`.

        Raises:
            BadInput, ContractViolation, Overloaded, Timeout, …: the class that the server named.
            Timeout, TooLarge: the answer takes too long, or has more than `max_answer` bytes.
        """
        from .serve.codec import decode_answer, encode_request

        body, kind = encode_request(self._ordered(inputs), self.form)
        answer = self._send("POST", self._path, body, {"Content-Type": kind})
        if answer.status != 200:
            raise error_of(answer.status, answer.body)
        result = PartialAnswer(decode_answer(answer.body, answer.headers.get("content-type")))
        if "x-studio-errors" in answer.headers:
            result.errors = parse_errors(answer.headers["x-studio-errors"])
        result.caveat = one_line(answer.headers.get("x-studio-model", ""))
        return result

    def metadata(self) -> dict[str, JSON]:
        """What is served: `GET /metadata`."""
        answer = self._send("GET", self._path + "metadata", None, {})
        if answer.status != 200:
            raise error_of(answer.status, answer.body)
        return parse_metadata(answer.body)

    def ready(self) -> bool:
        """Whether the server answers requests now; False also if it cannot be reached."""
        try:
            return self._send("GET", self._path + "readyz", None, {}, retries=0).status == 200
        except StudioError:
            return False

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for line in idle:
            line.shut()

    def __enter__(self) -> ModelClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ordered(self, inputs: Mapping[str, object]) -> Mapping[str, object]:
        if is_table(inputs):
            raise BadInput("a DataFrame is one value, not a dictionary of values", hint='send predict({"x": table})')
        if not any(map(is_table, inputs.values())):
            return inputs
        about = self.metadata()
        return {
            key: rows_of(value, columns_in(about, key), f"the DataFrame {key!r}") if is_table(value) else value
            for key, value in inputs.items()
        }

    # -- travel --------------------------------------------------------------------------------------

    def _send(
        self, verb: str, path: str, body: bytes | None, headers: dict[str, str], *, retries: int | None = None
    ) -> Answer:
        left = self._retries if retries is None else retries
        deadline = time.monotonic() + self._timeout_s
        if self._token is not None:
            headers = {**headers, "Authorization": f"Bearer {self._token}"}
        while True:
            try:
                answer = self._once(verb, path, body, headers, deadline)
            except (ConnectionError, http.client.BadStatusLine) as exc:
                wait_s = 0.05
                if left <= 0 or time.monotonic() + wait_s >= deadline:
                    said = one_line(exc, 200) or type(exc).__name__
                    raise ServeError(
                        f"no answer from {self._host}:{self._port}: {said}", hint="is the server running?"
                    ) from exc
            except (OSError, http.client.HTTPException, ValueError) as exc:
                raise self._failure(exc) from exc
            else:
                wait_s = wait_of(answer.headers.get("retry-after"))
                if answer.status != 503 or left <= 0 or time.monotonic() + wait_s >= deadline:
                    return answer
            left -= 1
            time.sleep(wait_s)

    def _failure(self, exc: Exception) -> StudioError:
        """What the user is told of an exchange that came to nothing."""
        server = f"{self._host}:{self._port}"
        if isinstance(exc, TimeoutError):
            return Timeout(f"no answer from {server} within {self._timeout_s:g} s")
        if isinstance(exc, ssl.SSLCertVerificationError):
            return ServeError(
                f"the certificate of {server} is not trusted: {exc.verify_message}",
                hint="if nobody signed it, give the fingerprint that the server printed (--fingerprint)",
            )
        if isinstance(exc, OSError):
            return ServeError(f"cannot reach {server}: {exc}", hint="is the server running?")
        return ServeError(
            f"{server} does not answer in HTTP: {type(exc).__name__}: {one_line(exc, 200)}",
            hint="is it a studio server?",
        )

    def _once(self, verb: str, path: str, body: bytes | None, headers: dict[str, str], deadline: float) -> Answer:
        most = self._max_answer if verb == "POST" else LONGEST_OTHER
        line, used = self._take(deadline)
        try:
            try:
                answer = line.ask(verb, path, body, headers, deadline=deadline, most=most)
            except (ConnectionError, http.client.BadStatusLine):
                if not used:
                    raise
                line.shut()  # an idle connection that the server had closed: once more on a fresh one
                line = self._connect(deadline)
                answer = line.ask(verb, path, body, headers, deadline=deadline, most=most)
        except BaseException:
            line.shut()
            raise
        self._give(line, keep=answer.keep)
        return answer

    def _take(self, deadline: float) -> tuple[Line, bool]:
        while True:
            with self._lock:
                if self._closed:
                    raise ServeError("this client is closed")
                line = self._idle.pop() if self._idle else None
            if line is None:
                return self._connect(deadline), False
            if not line.stale:
                return line, True
            line.shut()

    def _give(self, line: Line, *, keep: bool) -> None:
        with self._lock:
            if keep and not self._closed and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(line)
                return
        line.shut()

    def _connect(self, deadline: float) -> Line:
        context = ssl.create_default_context() if self._tls else None
        if context is not None and self._fingerprint is not None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return Line((self._host, self._port), context, self._fingerprint, deadline)


class AsyncModelClient:
    """`ModelClient` for `async` code: the same arguments, and `predict`, `metadata` and `ready` are awaited.

    Requests travel in threads, at most `connections` at once.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout_s: float = 60.0, retries: int = 3, form: str = "pickle",
        fingerprint: str | None = None, insecure: bool = False, connections: int = IDLE_CONNECTIONS,
        max_answer: int = LARGEST_ANSWER,
    ) -> None:  # fmt: skip
        from concurrent.futures import ThreadPoolExecutor

        self._client = ModelClient(
            url,
            token=token,
            timeout_s=timeout_s,
            retries=retries,
            form=form,
            fingerprint=fingerprint,
            insecure=insecure,
            max_answer=max_answer,
        )
        self._threads = ThreadPoolExecutor(connections, "model-client")

    async def predict(self, inputs: Mapping[str, object]) -> PartialAnswer:
        """As `ModelClient.predict`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._client.predict, inputs)

    async def metadata(self) -> dict[str, JSON]:
        """As `ModelClient.metadata`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._client.metadata)

    async def ready(self) -> bool:
        """As `ModelClient.ready`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._client.ready)

    async def close(self) -> None:
        """Closes all connections."""
        self._client.close()
        self._threads.shutdown(wait=False)

    async def __aenter__(self) -> AsyncModelClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _split(url: str) -> tuple[SplitResult, str, int | None]:
    """The URL in parts, its host and its port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError(f"{url!r} is not an address of a server: {exc}") from exc
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise ConfigError(f"{url!r} is not an address of a server", hint="for example http://127.0.0.1:5000")
    return parts, host, port


def _digest(fingerprint: str) -> str:
    digits = fingerprint.replace(":", "").lower()
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise ConfigError("a fingerprint is the SHA-256 of a certificate: 64 hexadecimal digits")
    return digits
