"""Remembers what options named as secret, so that no capture of this user takes it, now or in a later run."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import StoreError
from .sensitive import SCAN_BYTES

FILE_OPTIONS = ("--token-file", "--tls-key")
"""Options of studio's own commands that take a file with a secret."""

VALUE_OPTIONS = ("--token",)
"""Those that take the secret itself."""

LEAST_BYTES = 8
"""A shorter content is known by its path alone: files with the same few characters are not copies of it."""

_FILE = "secrets.jsonl"


@dataclass(frozen=True, slots=True)
class _Named:
    """One secret: the option, the real path ("" of a value), and a salted digest of what it held ("" if unknown)."""

    option: str
    path: str
    salt: str
    digest: str
    size: int

    def holds(self, data: bytes) -> bool:
        return (
            bool(self.digest) and len(data) == self.size and hmac.compare_digest(_digest(self.salt, data), self.digest)
        )


@dataclass(frozen=True, slots=True)
class NamedSecrets:
    """What was named as secret on this machine.

    Attributes:
        paths: Real path → the option that named it.
        files: (device, inode) of those that are there now → the option: a hard link is the same file.
        known: Those whose content is known, which is looked for in other files too.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[tuple[int, int], str] = field(default_factory=dict)
    known: tuple[_Named, ...] = ()

    @property
    def key(self) -> str:
        """Changes whenever another content becomes secret: what was read before has to be looked at again."""
        if not self.known:
            return ""
        return hashlib.sha256("".join(sorted({one.digest for one in self.known})).encode()).hexdigest()[:16]

    def why_file(self, path: str, found: os.stat_result | None = None) -> str:
        """Why the file at a real path is not captured, "" if nothing named it."""
        option = self.paths.get(path) or (self.files.get((found.st_dev, found.st_ino)) if found is not None else None)
        return f"named as a secret by {option}" if option else ""

    def why_content(self, data: bytes) -> str:
        """Why a file with this content is not captured, "" if it is no copy of a secret."""
        if not self.known or len(data) > SCAN_BYTES:
            return ""
        data = data.strip()
        found = next((one for one in self.known if one.holds(data)), None)
        return f"holds the secret of {found.option}" if found is not None else ""


def remember_file(home: Path, option: str, path: Path) -> None:
    """From here on the file at `path`, there already or still to be made, is never captured, nor are copies of it.

    Raises:
        StoreError: it cannot be remembered.
    """
    real = os.path.realpath(path)
    if real.startswith(os.path.join(os.path.realpath(home), "")):
        real = ""  # studio's own folder is never captured; a token of `--token` lies there under a name for once
    data = b""
    with contextlib.suppress(OSError):  # whoever needs the file says why it cannot be read
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return  # a pipe: nothing that could be captured, and it can be read only once
        if found.st_size <= SCAN_BYTES:
            data = path.read_bytes()
    _remember(home, option, real, data)


def remember_words(home: Path, folder: Path, words: Sequence[str]) -> None:
    """The same of a command line of studio's own: what its options name, relative to `folder`.

    Raises:
        StoreError: it cannot be remembered.
    """
    for at, word in enumerate(words):
        option, equals, value = word.partition("=")
        if not equals:
            value = words[at + 1] if at + 1 < len(words) else ""
        if option in FILE_OPTIONS and value:
            remember_file(home, option, folder / Path(value).expanduser())
        elif option in VALUE_OPTIONS and value:
            remember_value(home, option, value)


def remember_value(home: Path, option: str, value: str) -> None:
    """From here on no file that holds this value alone is captured.

    Raises:
        StoreError: it cannot be remembered.
    """
    _remember(home, option, "", value.encode())


def named_secrets(home: Path) -> NamedSecrets:
    """What was named so far.

    Raises:
        StoreError: it cannot be read, so that nobody knows what must not be captured.
    """
    paths: dict[str, str] = {}
    files: dict[tuple[int, int], str] = {}
    known: list[_Named] = []
    for one in _read(home / _FILE):
        if one.path and one.path not in paths:
            paths[one.path] = one.option
            with contextlib.suppress(OSError):
                found = os.stat(one.path)
                files[(found.st_dev, found.st_ino)] = one.option
        if one.digest:
            known.append(one)
    return NamedSecrets(paths, files, tuple(known))


def _remember(home: Path, option: str, path: str, data: bytes) -> None:
    data = data.strip()
    salt = secrets.token_hex(16) if len(data) >= LEAST_BYTES else ""
    if not path and len(data) < LEAST_BYTES:
        return
    new = _Named(option, path, salt, _digest(salt, data) if salt else "", len(data) if salt else 0)
    place = home / _FILE
    try:
        for one in _read(place):
            if one.path == path and (not salt or one.holds(data)):
                return
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "ab") as file:
            with contextlib.suppress(OSError):  # a file system without locks: a line is one small write
                fcntl.flock(file, fcntl.LOCK_EX)
            row = [new.option, new.path, new.salt, new.digest, new.size]
            file.write(b"\n" + json.dumps(row).encode("ascii") + b"\n")  # after a line that was cut short, too
    except OSError as exc:
        what = f"what {option} names" if path == "" else path
        raise StoreError(
            f"cannot remember that {what} is secret: {exc.strerror or exc} ({place})", hint=f"look at: ls -la {home}"
        ) from exc


def _read(place: Path) -> Iterator[_Named]:
    """The lines of the file; one that was cut short is none."""
    try:
        lines = place.read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise StoreError(f"cannot read {place}: {exc.strerror}", hint=f"look at: ls -la {place}") from exc
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            option, path, salt, digest, size = json.loads(line)
            if all(isinstance(text, str) for text in (option, path, salt, digest)) and isinstance(size, int):
                yield _Named(option, path, salt, digest, size)


def _digest(salt: str, data: bytes) -> str:
    return hmac.new(salt.encode(), data, hashlib.sha256).hexdigest()
