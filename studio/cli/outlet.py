"""What a terminal gets of our output: texts and colours, and nothing else that it would obey."""

from __future__ import annotations

import codecs
import io
import re
import select
from typing import Any

from .cells import HIDDEN

_PART = r"(?:[34]8[;:]5[;:]\d{0,3}|[34]8[;:]2(?:[;:]\d{0,3}){3,4}|0*(?:[0-79]|[1-9]\d{1,2})?)"
_COLOURS = rf"\x1b\[{_PART}(?:;{_PART})*m"
"""Select Graphic Rendition of ECMA-48, but for 8, which hides what follows."""

_OBEYED = re.compile(rf"({_COLOURS})|[\x00-\x07\x0b\x0c\x0e-\x1f{''.join(map(chr, HIDDEN))}]")
_BEGUN = re.compile(r"\x1b(?:\[[0-9;:]{0,64})?\Z")


class Outlet(io.FileIO):
    """The end of stdout or stderr. Into a file or a pipe goes every byte; to a terminal what `harmless` leaves.

    Not for what the user's script writes: that passes `studio run` as it is.
    """

    def __init__(self, fd: int, encoding: str) -> None:
        super().__init__(fd, "w", closefd=False)
        self._decoder = codecs.getincrementaldecoder(encoding)("backslashreplace") if self.isatty() else None
        self._encoding = encoding
        self._held = ""

    def write(self, data: Any, /) -> int:
        if self._decoder is None:
            return super().write(data)
        text = self._held + self._decoder.decode(bytes(data))
        begun = _BEGUN.search(text)  # the rest of a colour comes with the next piece
        self._held = begun[0] if begun else ""
        rest = memoryview(harmless(text[: len(text) - len(self._held)]).encode(self._encoding, "backslashreplace"))
        while rest:
            done = super().write(rest)
            if done is None:  # somebody made the terminal non-blocking
                select.select([], [self], [])
            rest = rest[done or 0 :]
        return len(data)


def harmless(text: str) -> str:
    """The text with what a terminal would obey spelled out, but for colours and what progress bars need."""
    return text if text.isprintable() else _OBEYED.sub(lambda found: found[1] or repr(found[0])[1:-1], text)
