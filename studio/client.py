"""Asks a served model: pooled connections, binary on the wire, answers decoded as strictly as requests."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import math
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import SplitResult, urlsplit

from .errors import ConfigError, ServeError, StudioError, Timeout
from .experiment import JSON
from .serve.address import is_loopback
from .serve.told import error_of, one_line, parse_errors, parse_metadata, read_body, wait_of

__all__ = ["AsyncModelClient", "ModelClient", "PartialAnswer"]

IDLE_CONNECTIONS = 32
LONGEST_S = 2_000_000.0
"""More seconds than a socket can wait."""


class PartialAnswer(dict[str, object]):
    """Answers by key. `errors` has what went wrong with the keys that are missing, as the server told it."""

    errors: Mapping[str, Mapping[str, str]] = {}


class ModelClient:
    """One served model. Methods may be called from any thread; close it, or use it in a `with` block.

    Args:
        url: What `studio serve` printed.
        token: The server's token; refused over plain HTTP to another machine unless `insecure`.
        timeout_s: Seconds that one try may take.
        retries: How often a request is sent again when the server is busy (503) or the connection broke before
            anything was answered.
        form: How requests are written: `pickle`, `json`, `npy`, `npz` or `safetensors`.
        fingerprint: SHA-256 of the server's certificate in hex: exactly this one is accepted, whoever signed it.
        insecure: Sends the token over plain HTTP.

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
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._closed = False

    def predict(self, inputs: Mapping[str, object]) -> PartialAnswer:
        """The answers, key by key.

        Args:
            inputs: Arrays (or plain values for wrappers) by key; each value is one item or a batch.

        Returns:
            Answers by key. A key whose inference failed is missing and stands in `.errors`.

        Raises:
            BadInput, ContractViolation, Overloaded, Timeout, …: the class that the server named.
        """
        from .serve.codec import decode_answer, encode_request

        body, kind = encode_request(inputs, self.form)
        status, headers, answer = self._send("POST", self._path, body, {"Content-Type": kind})
        if status != 200:
            raise error_of(status, answer)
        result = PartialAnswer(decode_answer(answer, headers.get("content-type")))
        if "x-studio-errors" in headers:
            result.errors = parse_errors(headers["x-studio-errors"])
        return result

    def metadata(self) -> dict[str, JSON]:
        """What is served: `GET /metadata`."""
        status, _, answer = self._send("GET", self._path + "metadata", None, {})
        if status != 200:
            raise error_of(status, answer)
        return parse_metadata(answer)

    def ready(self) -> bool:
        """Whether the server answers requests now; False also if it cannot be reached."""
        try:
            return self._send("GET", self._path + "readyz", None, {}, retries=0)[0] == 200
        except StudioError:
            return False

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> ModelClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- travel --------------------------------------------------------------------------------------

    def _send(
        self, verb: str, path: str, body: bytes | None, headers: dict[str, str], *, retries: int | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        left = self._retries if retries is None else retries
        if self._token is not None:
            headers = {**headers, "Authorization": f"Bearer {self._token}"}
        while True:
            try:
                status, told, answer = self._once(verb, path, body, headers)
            except (ConnectionError, http.client.BadStatusLine) as exc:
                if left <= 0:
                    said = one_line(exc, 200) or type(exc).__name__
                    raise ServeError(
                        f"no answer from {self._host}:{self._port}: {said}", hint="is the server running?"
                    ) from exc
                wait_s = 0.05
            except TimeoutError as exc:
                raise Timeout(f"no answer from {self._host}:{self._port} within {self._timeout_s:g} s") from exc
            except ssl.SSLCertVerificationError as exc:
                raise ServeError(
                    f"the certificate of {self._host}:{self._port} is not trusted: {exc.verify_message}",
                    hint="if nobody signed it, give the fingerprint that the server printed (--fingerprint)",
                ) from exc
            except OSError as exc:
                raise ServeError(
                    f"cannot reach {self._host}:{self._port}: {exc}", hint="is the server running?"
                ) from exc
            except (http.client.HTTPException, ValueError) as exc:
                raise ServeError(
                    f"{self._host}:{self._port} does not answer in HTTP: {type(exc).__name__}: {one_line(exc, 200)}",
                    hint="is it a studio server?",
                ) from exc
            else:
                if status != 503 or left <= 0:
                    return status, told, answer
                wait_s = wait_of(told.get("retry-after"))
            left -= 1
            time.sleep(wait_s)

    def _once(
        self, verb: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection, used = self._take()
        try:
            try:
                connection.request(verb, path, body, headers)
                response = connection.getresponse()
            except (ConnectionError, http.client.BadStatusLine):
                if not used:
                    raise
                connection.close()  # an idle connection that the server had closed: once more on a fresh one
                connection = self._connect()
                connection.request(verb, path, body, headers)
                response = connection.getresponse()
            answer = read_body(response, self._timeout_s)
        except BaseException:
            connection.close()
            raise
        told = {name.lower(): value for name, value in response.getheaders()}
        self._give(connection, keep=not response.will_close)
        return response.status, told, answer

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if self._closed:
                raise ServeError("this client is closed")
            if self._idle:
                return self._idle.pop(), True
        return self._connect(), False

    def _give(self, connection: http.client.HTTPConnection, *, keep: bool) -> None:
        with self._lock:
            if keep and not self._closed and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if not self._tls:
            plain = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
            plain.connect()
            plain.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return plain
        context = ssl.create_default_context()
        if self._fingerprint is not None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        secure = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=context)
        secure.connect()
        if self._fingerprint is not None:
            shown = hashlib.sha256(secure.sock.getpeercert(binary_form=True) or b"").hexdigest()
            if shown != self._fingerprint:
                secure.close()
                raise ServeError(f"{self._host} shows another certificate: {shown}", hint="do not send it anything")
        return secure


class AsyncModelClient:
    """`ModelClient` for `async` code: the same arguments, and `predict`, `metadata` and `ready` are awaited.

    Requests travel in threads, at most `connections` at once.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout_s: float = 60.0, retries: int = 3, form: str = "pickle",
        fingerprint: str | None = None, insecure: bool = False, connections: int = IDLE_CONNECTIONS,
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
