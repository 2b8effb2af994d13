"""Takes known secret values out of output that is kept, chunk by chunk, and holds back no more than it must.

Standard library alone and no import of studio: the guard loads this file by its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MASK = b"***"
SHORT_BYTES = 4
"""A beginning of a secret that is shorter stands in ordinary output all the time, and tells next to nothing."""

LINE_CHARS = 16
"""Lines of a secret of several lines are secrets themselves if they are as long as this."""


def forms(secrets: Iterable[str]) -> list[bytes]:
    """The values as they may stand in output: as they are, escaped as in JSON, quoted as in a URL, in base64 (a header
    `Authorization: Basic …` has them behind a name, so at any of three offsets), and line by line.
    """
    import json
    from urllib.parse import quote

    found: dict[bytes, None] = {}
    for secret in secrets:
        texts = [secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="", errors="surrogateescape")]
        if "\n" in secret:
            texts += [line for line in secret.splitlines() if len(line) >= LINE_CHARS]
        found.update(dict.fromkeys(text.encode("utf-8", "surrogateescape") for text in texts if text))
        found.update(dict.fromkeys(_in_base64(secret.encode("utf-8", "surrogateescape"))))
    return list(found)


def masked(text: str, secrets: Iterable[bytes]) -> str:
    """A whole text without them."""
    found = Mask(secrets)
    return (found.take(0, text.encode("utf-8", "replace")) + found.end(0)).decode("utf-8", "replace")


class Mask:
    """Several streams that are kept in one file. What a call returns is to be written there, in the order of the calls.

    A tail that could be the beginning of a secret is held back until more comes. `idle` gives what is shorter than
    `SHORT_BYTES`; should that begin a secret after all, the rest of it is masked.

    Args:
        secrets: The values, in the forms of `forms`.
        midway: The streams are taken over from somebody who may have seen, and not kept, the beginning of a secret.
    """

    def __init__(self, secrets: Iterable[bytes], *, midway: bool = False) -> None:
        self._use(secrets)
        self._midway: set[int] | None = set() if midway else None
        self._tails: dict[int, bytes] = {}
        self._given: dict[int, int] = {}

    def add(self, secrets: Iterable[bytes]) -> None:
        """From the next call of `take` on these are secrets too; what is held then is searched for them as well."""
        self._use([*self._secrets, *secrets])

    def _use(self, secrets: Iterable[bytes]) -> None:
        self._secrets = sorted(set(secrets), key=len, reverse=True)
        self._begin: dict[int, list[bytes]] = {}
        for secret in self._secrets:
            self._begin.setdefault(secret[0], []).append(secret)
        self._inside = frozenset(b"".join(secret[:-1] for secret in self._secrets))
        self._longest = len(self._secrets[0]) if self._secrets else 0
        firsts = b"".join(re.escape(bytes([first])) for first in self._begin)
        self._firsts = re.compile(b"[" + firsts + b"]") if firsts else None

    @property
    def waiting(self) -> bool:
        """Whether `idle` would give something."""
        return any(self._given[source] < len(tail) < SHORT_BYTES for source, tail in self._tails.items())

    def take(self, source: int, data: bytes) -> bytes:
        """What a stream said: returns what may be kept of it by now, after what is held of the others and is short."""
        if self._firsts is None:
            return data
        before = self.idle(but=source) if len(self._tails) > (source in self._tails) else b""
        if self._midway is not None and source not in self._midway:
            self._midway.add(source)
            data = self._without_end(data)
        tail = self._tails.pop(source, b"")
        given = self._given.pop(source, 0)
        data = tail + data
        held = self._held_from(data)
        kept, at = self._masked(data, given, held)
        if held < len(data):
            self._tails[source], self._given[source] = data[held:], at - held
        return before + kept

    def idle(self, *, but: int = -1) -> bytes:
        """What is held and short, since nothing more came for a while."""
        out = b""
        for source, tail in self._tails.items():
            if source != but and len(tail) < SHORT_BYTES:
                out += tail[self._given[source] :]
                self._given[source] = len(tail)
        return out

    def end(self, source: int) -> bytes:
        """The stream is over: what is held of it was no secret."""
        return self._tails.pop(source, b"")[self._given.pop(source, 0) :]

    def end_all(self) -> bytes:
        """All streams are over."""
        return b"".join([self.end(source) for source in list(self._tails)])

    def _held_from(self, data: bytes) -> int:
        """Where the longest end of `data` begins that is a beginning, but not all, of a secret."""
        if data and data[-1] not in self._inside:  # a line end, mostly
            return len(data)
        start = max(0, len(data) - self._longest + 1)
        for match in self._firsts.finditer(data, start) if self._firsts else ():
            end = data[match.start() :]
            if any(len(secret) > len(end) and secret.startswith(end) for secret in self._begin[end[0]]):
                return match.start()
        return len(data)

    def _masked(self, data: bytes, given: int, held: int) -> tuple[bytes, int]:
        """What of `data` is written now and where that ends: from `given` on to `held`, or to the end of a secret."""
        found = [secret for secret in self._secrets if secret in data]
        if not found:
            return data[given:held], max(given, held)
        out, at = [], given
        for start, end in _places(data, found):
            if end > at:
                out += [data[at:start], MASK]
                at = end
        if at < held:
            out.append(data[at:held])
        return b"".join(out), max(at, held)

    def _without_end(self, data: bytes) -> bytes:
        """`data` with the end of a secret that it begins with masked."""
        for secret in self._secrets:
            for start in range(1, len(secret) - SHORT_BYTES + 1):
                if data.startswith(secret[start:]):
                    return MASK + data[len(secret) - start :]
        return data


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """The characters that are the same whatever stands before and behind."""
    from base64 import b64encode, urlsafe_b64encode

    for before in range(3):
        whole = (before + len(secret)) // 3 * 3
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(bytes(before) + secret)[(0, 2, 3)[before] : whole // 3 * 4]


def _places(data: bytes, secrets: list[bytes]) -> list[tuple[int, int]]:
    """Where secrets stand, in order; those that overlap are one place."""
    spans = []
    for secret in secrets:
        at = data.find(secret)
        while at >= 0:
            spans.append((at, at + len(secret)))
            at = data.find(secret, at + 1)
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out
