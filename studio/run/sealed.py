"""Secrets that a script's hooks tell by their digest: which words of the command line, or which variables, they are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from ..experiment import Command
from .inject._studio_secrets import LEAST_CHARS, MASK
from .spool import SEALED

LEAST_WORD_CHARS = 4
"""A shorter word is no secret that a digest could tell from a number of layers."""

WORD_CHARS = 1 << 16
"""Within longer words nothing is searched."""

READ_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Seal:
    """A secret that is not said. `digest` is the SHA-256 of the salt and the value, hexadecimal."""

    salt: str
    digest: str
    chars: int

    @staticmethod
    def of(event: Mapping[str, object]) -> list[Seal]:
        """The event's; none if it is broken."""
        salt, digest, chars = event.get("salt"), event.get("digest"), event.get("chars")
        if isinstance(salt, str) and isinstance(digest, str) and isinstance(chars, int):
            return [Seal(salt, digest, chars)]
        return []

    def fits(self, text: str) -> bool:
        """Whether this is the value."""
        if len(text) != self.chars or self.chars < LEAST_WORD_CHARS:
            return False
        return sha256(self.salt.encode() + text.encode("utf-8", "surrogateescape")).hexdigest() == self.digest

    def find(self, word: str) -> str:
        """The value if the word has it anywhere (`--pin=X`, `-pX`, a shell's line), else nothing.

        One of less than `LEAST_CHARS` characters must be the whole word, or all that follows its first `=`.
        """
        if self.chars < LEAST_CHARS or len(word) > WORD_CHARS:
            parts = [word, word.partition("=")[2]]
        else:
            parts = [word[at : at + self.chars] for at in range(len(word) - self.chars + 1)]
        return next((part for part in parts if self.fits(part)), "")


def redact_sealed(command: Command, seals: Sequence[Seal]) -> Command:
    """The command with these secrets shown as `***`."""
    if not seals:
        return command
    return replace(command, args=tuple(_without(word, seals) for word in command.args))


def _without(word: str, seals: Sequence[Seal]) -> str:
    for seal in seals:
        found = seal.find(word)
        if found and len(found) < LEAST_CHARS:
            word = word[: -len(found)] + MASK
        elif found:
            word = word.replace(found, MASK)
    return word


class Opener:
    """Finds the values again among what the supervisor itself started the script with; in memory only.

    Args:
        events: The file that hooks append to, before the script goes on.
        args: The script's arguments.
        env: Its variables.
    """

    def __init__(self, events: Path, args: Iterable[str], env: Mapping[str, str]) -> None:
        self._events = events
        self._args = tuple(args)
        self._env = env
        self._offset = 0
        self.heard = False  # whether there were any

    def fresh(self) -> list[str]:
        """Values that were told since the last call and are long enough to be looked for in other texts."""
        try:
            if os.stat(self._events).st_size <= self._offset:
                return []
            with open(self._events, "rb") as file:
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        seals: list[Seal] = []
        for line in whole.splitlines():
            if line.startswith(SEALED):
                try:
                    seals += Seal.of(json.loads(line))
                except ValueError:
                    continue
        self.heard = self.heard or bool(seals)
        values = [value for seal in seals if seal.chars >= LEAST_CHARS for value in [self._open(seal)] if value]
        return list(dict.fromkeys(values))

    def _open(self, seal: Seal) -> str:
        found = next((value for word in self._args for value in [seal.find(word)] if value), "")
        return found or next((value for value in self._env.values() if seal.fits(value)), "")
