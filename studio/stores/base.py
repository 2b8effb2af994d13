"""The `Store` contract: named bytes with conditional writes. What every back end promises."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from ..errors import ConfigError, Conflict, NotFound

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) during `upload` and `download`."""


class Entry(NamedTuple):
    """One object of a listing. `size` in bytes, `modified` in seconds since 1970 by the store's clock."""

    name: str
    size: int
    tag: str
    modified: float


NAME = re.compile(r"(?!\.\.?(?:/|\Z))[A-Za-z0-9._-]{1,255}(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._-]{1,255})*")
LONGEST_NAME = 900


def check_object_name(name: str) -> str:
    """`name` itself, if it is an object's name; every method of every back end asks this first.

    Raises:
        ConfigError: it is not; the message shows the grammar.
    """
    if len(name) > LONGEST_NAME or NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{name[:100]!r} is not an object's name",
            hint=f"a name is part/part/…, each part up to 255 of A-Z a-z 0-9 . _ -, {LONGEST_NAME} in all",
        )
    return name


def check_condition(url: str, name: str, tag: str | None, *, if_absent: bool, if_tag: str | None) -> None:
    """Asks whether a write to `name` may go on, whose present tag is `tag` (None: there is no such object).

    Raises:
        Conflict: a condition does not hold.
        ConfigError: both conditions at once.
    """
    if if_absent and if_tag is not None:
        raise ConfigError("a write takes if_absent or if_tag, not both")
    if if_absent and tag is not None:
        raise Conflict(f"store {url}: {name} exists already", hint="choose another name, or remove it first")
    if if_tag is not None and tag != if_tag:
        what = "is gone" if tag is None else "was changed by somebody else"
        raise Conflict(f"store {url}: {name} {what}", hint="read it again and repeat")


def check_end(url: str, name: str, end: int, at: int) -> None:
    """Asks whether an append at `at` may go on, to a stream that ends at `end`.

    Raises:
        Conflict: it may not.
    """
    if at != end:
        raise Conflict(f"store {url}: {name} ends at {end}, not at {at}", hint=f"go on from {end}")


def missing(url: str, name: str) -> NotFound:
    """The error for an object that is not there."""
    return NotFound(f"store {url} has no {name}", hint="is it the right store? look at: studio config")


class Store(Protocol):
    """Named bytes. A name is `part/part/…`, each part of `[A-Za-z0-9._-]` and neither `.` nor `..`.

    `a` and `a/b` are never both names of objects: a back end may refuse the second with a `ConfigError`.
    The back end may keep objects of its own in the root beside yours (`store.json`, the layout's version).

    Threads: every method may be called from any thread and any process at once.
    Atomicity: a reader sees the whole old or the whole new bytes, never a mixture, also after kill -9.
    A stream is the exception: its reader may see the front part of the block that is being appended,
    and a crash there may leave such a part behind; `stat` then tells where to go on.
    Durability: what `write`, `append` and `upload` returned from survives a power cut.
    Consistency: what one client wrote, the next `read` and `list` of any client sees.
    Tags: opaque; differ for any two writes of one name, also within one tick of a clock.

    Raises, everywhere: `StoreError` for what the back end refuses (disk full, no permission, not
    reachable), with one line that names store, object and reason; `ConfigError` for an illegal name.
    """

    url: str

    def read(self, name: str, span: tuple[int, int] | None = None) -> tuple[bytes, str]:
        """The bytes (or those of `span` = (start, stop), clipped to the end) and the tag.

        Raises:
            NotFound: there is no such object.
        """

    def stat(self, name: str) -> Entry:
        """Size, tag and time of one object without its bytes.

        Raises:
            NotFound: there is no such object.
        """

    def write(self, name: str, data: bytes, *, if_absent: bool = False, if_tag: str | None = None) -> str:
        """Stores all of `data` under `name` and returns the new tag.

        Raises:
            Conflict: `if_absent` and it exists; or its tag is not `if_tag` (also if it is gone).
            ConfigError: both conditions at once.
        """

    def append(self, name: str, at: int, data: bytes) -> int:
        """Appends to a stream that has one writer, and returns its new end in bytes; `at` = 0 begins one.

        Raises:
            Conflict: `at` is not the end (the message names the end); nothing was written.
        """

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Objects whose name starts with `prefix` and is greater than `after`, in lexicographic order of names.

        An object that is written or removed meanwhile may be in it or not; all others are, once.
        """

    def change_token(self, prefix: str) -> str | None:
        """What tells cheaply that nothing was written since: equal tokens, no change. `prefix` ends with `/`.

        It differs after every `write`, `upload` and `remove` of an object that lies directly below the prefix (no
        further `/` in its name), and tells nothing of objects deeper down nor of streams that grow. Two writes within
        one tick of the back end's clock may share one: believe a token only if a listing began a while (0.25 s) after
        it was first seen. None: this back end cannot tell (now, or ever), list.
        """

    def remove(self, name: str) -> None:
        """Removes the object; no error if there is none."""

    def upload(self, path: Path, name: str, progress: Progress | None = None) -> str:
        """Stores a file's bytes without holding them in memory, and returns the tag.

        The file must not change meanwhile. `progress` is called at least once, at last with (size, size).

        Raises:
            StoreError: the file cannot be read.
        """

    def download(self, name: str, path: Path, progress: Progress | None = None) -> str:
        """Writes the object to `path` (whole or not at all) and returns the tag.

        Raises:
            NotFound: there is no such object.
        """

    def presign(self, name: str, verb: str, expires_s: float) -> str | None:
        """A URL that allows `verb` (GET or PUT) on this object until it expires; None where the back end has none."""
