"""The bytes of a request, and an answer from whatever bytes come: no socket here, and no trust in the server."""

from __future__ import annotations

import httptools

from ..errors import TooLarge
from .settings import Settings

LONGEST_HEAD = 256 * 1024
"""Bytes of an answer before its body, interim answers included."""

MOST_HEADERS = 256
INTERIM = 16
"""So many interim answers (100 Continue and the like) may come before the one that counts."""

LONGEST_OTHER = 4 << 20
"""Bytes of an answer that is no inference: errors, metadata."""

_FRAMING = 1 << 20
_JOINED = 1 << 16


class NotHTTP(Exception):
    """What came is no answer, or not all of one."""


class Answer:
    """Status, headers by lower-case name, body, and whether the connection may be used again."""

    __slots__ = ("body", "headers", "keep", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytearray, keep: bool) -> None:
        self.status, self.headers, self.body, self.keep = status, headers, body, keep


def write_request(settings: Settings, verb: str, path: str, body: bytes, kind: str) -> list[memoryview]:
    """The parts of a request: one, or the head and a large body."""
    lines = [f"{verb} {path} HTTP/1.1", f"Host: {settings.host_header}", "Accept-Encoding: identity"]
    if verb == "POST":
        lines += [f"Content-Length: {len(body)}", f"Content-Type: {kind}"]
    if settings.token is not None:
        lines.append(f"Authorization: Bearer {settings.token}")
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    return [memoryview(head + body)] if len(body) < _JOINED else [memoryview(head), memoryview(body)]


class Reading:
    """One answer, read from pieces as they come: `feed` it until it is `done`, or `end` it.

    `llhttp` parses; the bounds are ours. Its callbacks only note what came: what they raised would be wrapped.

    Args:
        server: Its name, for errors.
        most: Bytes of the body of a 200 at most.
    """

    def __init__(self, server: str, most: int) -> None:
        self._server, self._most = server, most
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._lengths: list[str] = []
        self._body = bytearray()
        self._status = 0
        self._keep = self._extra = self._in_body = False
        self._count = self._interim = 0
        self._wrong = ""
        self.size = 0
        """Bytes that came."""
        self.done = False

    def feed(self, data: bytes) -> None:
        """Takes the next bytes.

        Raises:
            NotHTTP: this is no answer.
            TooLarge: more came than may come.
        """
        self.size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._keep = False
        except httptools.HttpParserError as exc:
            if not self.done:  # what follows a whole answer does no harm to it
                raise NotHTTP(self._wrong or str(exc)) from exc
            self._extra = True
        if self._wrong:
            raise NotHTTP(self._wrong)
        most = self._most if self._status in (0, 200) else min(self._most, LONGEST_OTHER)
        if len(self._body) > most or (self._in_body and self._claims(most)):
            raise TooLarge(f"the answer has more than {most} bytes", hint="raise max_answer, or ask for less")
        if not self.done and self.size > (2 * most + _FRAMING if self._in_body else LONGEST_HEAD):
            raise TooLarge(f"{self._server} answers with more than is taken", hint="raise max_answer, or ask for less")

    def end(self) -> None:
        """The connection has ended, in order; that is the end of an answer that tells no length.

        Raises:
            NotHTTP: the answer is not whole.
        """
        if not self._in_body or self._lengths or "transfer-encoding" in self._headers:
            raise NotHTTP(f"the answer was cut off after {self.size} bytes")
        self.done = True

    def answer(self) -> Answer:
        """What was read."""
        return Answer(self._status, self._headers, self._body, self._keep and not self._extra)

    def _claims(self, most: int) -> bool:
        """Whether the declared length is more than may come."""
        return bool(self._lengths) and int(self._lengths[0]) > most

    # -- what the parser calls ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Nobody asked for a second answer."""
        self._extra = self.done

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; of several the last counts. Those that follow a body are passed over."""
        if self.done or self._in_body:
            return
        self._count += 1
        if self._count > MOST_HEADERS:
            self._wrong = f"more than {MOST_HEADERS} headers"
            return
        word, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        self._headers[word] = text
        if word == "content-length":
            self._lengths.append(text)

    def on_headers_complete(self) -> None:
        """Whether it is the answer that counts, and how its end is told."""
        if self.done:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            if self._interim > INTERIM:
                self._wrong = "interim answers without end"
            return
        self._status, self._in_body = status, True
        # Two lengths, or one that is no number: where the answer ends would be a guess.
        if len(set(self._lengths)) > 1 or not all(n.isascii() and n.isdigit() and len(n) < 19 for n in self._lengths):
            self._wrong = f"its Content-Length is {' and '.join(self._lengths)[:100] or 'empty'}"
        elif self._headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._wrong = f"its Transfer-Encoding is {self._headers['transfer-encoding'][:100]}"

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if not self.done and len(self._body) <= self._most:
            self._body += data

    def on_message_complete(self) -> None:
        """Whole; an interim answer is forgotten."""
        if self._in_body:
            if not self.done:
                self.done, self._keep = True, self._parser.should_keep_alive()
        else:
            self._headers.clear()
            self._lengths.clear()
            self._count = 0
