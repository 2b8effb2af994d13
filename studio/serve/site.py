"""The ASGI side of the server: health, further protocols, the pages behind Flask, `POST /` where the lane leaves it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from ..errors import StudioError, TooLarge, Unauthorized
from .endpoint import Dialect, Endpoint
from .message import Head, Reply, make_head
from .oip import OpenInference

if TYPE_CHECKING:
    from flask import Flask

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_OTHER_BODY = 1024 * 1024
"""Bodies of routes that are no inference."""


class Site:
    """The ASGI application of one server. `pages` makes the Flask application when it is first asked for."""

    def __init__(self, endpoint: Endpoint, pages: Callable[[], Flask], open_inference: OpenInference) -> None:
        self._endpoint, self._make_pages, self._open_inference = endpoint, pages, open_inference
        self._pages: Any = None
        self._pages_lock = asyncio.Lock()
        self.ready = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        target = (scope["path"], scope["query_string"].decode("latin-1"))
        client = scope["client"][0] if scope.get("client") else ""
        head = make_head(scope["method"], target, scope["headers"], client)
        try:
            reply = await self._answer(head, scope, receive, send)
        except StudioError as exc:
            reply = self._endpoint.refuse(exc, head)
        if reply is not None:
            if self._endpoint.draining:
                reply.headers.append((b"connection", b"close"))
            await _send(reply, head, send)

    async def _answer(self, head: Head, scope: Message, receive: Receive, send: Send) -> Reply | None:
        """The reply, or None if it was sent already."""
        if head.path in ("/healthz", "/readyz") and head.method in ("GET", "HEAD"):
            return self._health(head)
        if head.path == "/" and head.method == "GET" and "token=" in head.query:
            return self._take_token(head)
        if head.path == "/" and head.method == "POST":
            return await self._infer(head, receive)
        if self._open_inference.owns(head.path):
            return await self._open(head, receive)
        self._endpoint.access.check(head)
        length = head.get(b"content-length")
        if length.isdigit() and int(length) > MAX_OTHER_BODY:
            raise TooLarge(f"bodies of this route are at most {MAX_OTHER_BODY} bytes")
        await self._flask(head, scope, receive, send)
        return None

    def _health(self, head: Head) -> Reply:
        up = head.path == "/healthz" or self._up
        headers = [(b"content-type", b"application/json"), (b"x-request-id", head.request_id.encode("latin-1"))]
        if not up:
            headers.append((b"retry-after", b"1"))
        told = {"ready": up, **({} if up or not self._reason else {"reason": self._reason})}
        return Reply(200 if up else 503, json.dumps(told).encode() + b"\n", headers)

    @property
    def _up(self) -> bool:
        return self.ready and not self._endpoint.draining and not self._endpoint.exhausted

    @property
    def _reason(self) -> str:
        return "the model's calls hang" if self._endpoint.exhausted else ""

    async def _open(self, head: Head, receive: Receive) -> Reply:
        """A route of the Open Inference Protocol."""
        protocol = self._open_inference
        try:
            if protocol.infers(head):
                return await self._infer(head, receive, protocol)
            self._endpoint.access.check(head)
            return protocol.tell(head, up=self._up)
        except StudioError as exc:
            return protocol.refuse(exc, head)

    def _take_token(self, head: Head) -> Reply:
        """`?token=` of the page's address becomes a cookie, and the address loses it."""
        access = self._endpoint.access
        pairs = parse_qsl(head.query, keep_blank_values=True)
        rest = urlencode([(k, v) for k, v in pairs if k != "token"])
        headers = [(b"location", b"/" + (b"?" + rest.encode() if rest else b"")), (b"referrer-policy", b"no-referrer")]
        if access.token is not None:
            access.check(Head("GET", "/", "", {**head.headers, b"authorization": b"Bearer " + access.token.encode()},
                              head.client, head.hosts))  # fmt: skip
            given = next((v for k, v in pairs if k == "token"), "").replace(
                " ", "+"
            )  # which a query may leave as it is
            if not access.token_is(given):
                raise Unauthorized(
                    "the token in the address is wrong", hint="take the token of this server as it runs now"
                )
            secure = "; Secure" if access.tls or head.get(b"x-forwarded-proto").strip().lower() == "https" else ""
            cookie = f"{access.cookie}={access.cookie_value()}; HttpOnly; SameSite=Strict; Path=/{secure}"
            headers.append((b"set-cookie", cookie.encode()))
        return Reply(303, b"", headers)

    async def _infer(self, head: Head, receive: Receive, dialect: Dialect | None = None) -> Reply:
        self._endpoint.admit(head)
        body = await self._body(receive)
        if body is None:
            return Reply(400, b"", [])
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        whole, body = body, None  # it is the endpoint's now
        ticket = self._endpoint.start(head, whole, lambda r: None if future.done() else future.set_result(r), dialect)
        del whole
        gone: asyncio.Future[Message] = asyncio.ensure_future(receive())
        try:
            waiting: list[asyncio.Future[Any]] = [future, gone]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return future.result() if future.done() else Reply(499, b"", [])
        finally:
            ticket.cancel()
            gone.cancel()

    async def _body(self, receive: Receive) -> bytearray | None:
        """The whole body, None if the client left; what came so far counts among the bodies in flight."""
        endpoint, body = self._endpoint, bytearray()
        held = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                part = message.get("body", b"")
                held += len(part)
                endpoint.held_bytes += len(part)
                if held > endpoint.limits.max_body:
                    raise endpoint.too_large()
                if endpoint.full(0):
                    raise endpoint.too_many_bytes()
                body += part
                if not message.get("more_body", False):
                    return body
        finally:
            endpoint.held_bytes -= held

    async def _flask(self, head: Head, scope: Message, receive: Receive, send: Send) -> None:
        async with self._pages_lock:
            if self._pages is None:
                from a2wsgi import WSGIMiddleware

                app = await asyncio.get_running_loop().run_in_executor(None, self._make_pages)
                self._pages = WSGIMiddleware(app.wsgi_app, workers=8)  # type: ignore[arg-type]
        wanted = (b"x-request-id", head.request_id.encode("latin-1"))
        scope["headers"] = [(n, v) for n, v in scope["headers"] if n != b"x-request-id"] + [wanted]

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), wanted]
                if self._endpoint.draining:
                    message["headers"].append((b"connection", b"close"))
                if head.path == "/":
                    message["headers"] = [(n, _with_post(v) if n == b"allow" else v) for n, v in message["headers"]]
            await send(message)

        await self._pages(scope, receive, with_id)


def _with_post(methods: bytes) -> bytes:
    """An `Allow` of Flask, which has no route for the `POST /` that is answered here."""
    return b", ".join(sorted({m.strip() for m in methods.split(b",")} | {b"POST"}))


async def _send(reply: Reply, head: Head, send: Send) -> None:
    status = 400 if reply.status == 499 else reply.status
    headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head.method == "HEAD" else reply.body, "more_body": False})
