"""DuckDB in memory: hides that it is asked from a thread, its limits, its locks and what its errors say."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ConfigError
from ..extras import need
from ..units import show_duration, show_size

READ_ONLY = "BEGIN TRANSACTION READ ONLY"
_LOCKS = ("SET enable_external_access = false", "SET lock_configuration = true", READ_ONLY)
_PLACE = re.compile(r"\n+LINE (?P<line>\d+): (?P<text>.*)\n(?P<space> *)(?P<caret>\^+)")
WAIT_S = 0.05
R = TypeVar("R")


class Duck:
    """A database of its own, asked from a thread, so that Ctrl-C and the time limit always come through.

    Args:
        timeout_s: Seconds for everything together; 0 = no limit.
        memory_bytes: Beyond it, a query goes on in a temporary folder.

    Raises:
        MissingExtra: duckdb is not installed.
    """

    def __init__(self, *, timeout_s: float, memory_bytes: int) -> None:
        self.duckdb = duckdb = need("duckdb", extra="sql")
        self.before = 0
        """Lines of a query that the user did not write."""
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._until = time.monotonic() + timeout_s if timeout_s else None
        self._busy = threading.Lock()
        self._closed = False
        folder = tempfile.mkdtemp(prefix="studio-sql-")
        self._process = os.getpid()
        self._remove = weakref.finalize(self, _remove, folder, self._process)
        settings = {
            "memory_limit": f"{memory_bytes // 1000}KB", "temp_directory": folder,
            "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
        }  # fmt: skip
        self.connection: Any = duckdb.connect(":memory:", config=settings)
        self.connection.execute("SET TimeZone = 'UTC'")

    def call(self, work: Callable[[Any], R]) -> R:
        """What `work` returns of the connection.

        Raises:
            ConfigError: DuckDB refused, the time is over, or this is a forked child, which lacks DuckDB's threads.
        """
        if os.getpid() != self._process:
            raise ConfigError("an SQL answer cannot be read in a forked child", hint="ask there once more")
        box: list[R] = []
        wrong: list[BaseException] = []
        done = threading.Event()  # Thread.join takes a thread for ended that Ctrl-C kept it from waiting for

        def do() -> None:
            with self._busy:
                try:
                    if not self._closed:
                        box.append(work(self.connection))
                except BaseException as exc:  # noqa: BLE001 - raised again below, in the caller's thread
                    wrong.append(exc)
            done.set()

        threading.Thread(target=do, daemon=True).start()
        if not done.wait(None if self._until is None else max(0.0, self._until - time.monotonic())):
            while not done.wait(WAIT_S):
                self.connection.interrupt()  # again and again: one that comes before the query begins is lost
            raise self._too_late()
        if wrong:
            explained = self._explained(wrong[0])
            raise explained from (None if explained is wrong[0] else wrong[0])
        return box[0]

    def check_time(self) -> None:
        """Raises ConfigError if the time is over."""
        if self._until is not None and time.monotonic() > self._until:
            raise self._too_late()

    def _too_late(self) -> ConfigError:
        return ConfigError(
            f"the query takes more than {show_duration(self._timeout_s)}",
            hint="narrow the experiments with --only QUERY, or allow more with --timeout",
        )

    def lock(self) -> None:
        """From now on nothing is written, no file or network is reached, and no setting changes."""
        for statement in _LOCKS:
            self.connection.execute(statement)

    def close(self) -> None:
        """Ends what is under way and the database; it may be closed already. A forked child leaves both alone."""
        if os.getpid() != self._process:
            return
        while not self._busy.acquire(timeout=WAIT_S):
            self.connection.interrupt()
        try:
            self._closed = True
            self.connection.close()
        finally:
            self._busy.release()
            self._remove()

    def _explained(self, exc: BaseException) -> BaseException:
        if isinstance(exc, self.duckdb.OutOfMemoryException):
            return ConfigError(
                f"the query takes more than {show_size(self._memory_bytes)} of memory",
                hint="narrow the experiments with --only QUERY, or allow more with --memory",
            )
        if isinstance(exc, self.duckdb.PermissionException):
            return ConfigError("SQL: a query reads the tables of the store, no files and no network")
        return _sql_error(str(exc), self.before) if isinstance(exc, self.duckdb.Error) else exc


def _remove(folder: str, process: int) -> None:
    """Of the process that made it: the end of a forked child would take it from its parent."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _sql_error(message: str, before: int) -> ConfigError:
    """DuckDB's words on one line: what is wrong, where, and what it would have known."""
    place = _PLACE.search(message)
    lines = [line.strip() for line in message[: place.start() if place else None].splitlines() if line.strip()]
    said = (lines[0].partition(": ")[2] or lines[0]).rstrip("!.")
    hint = next((line for line in lines[1:] if line.startswith(("Did you mean", "Candidate bindings"))), "")
    if place is None:
        return ConfigError(f"SQL: {said}", hint=hint)
    at = max(0, len(place["space"]) - len(f"LINE {place['line']}: "))
    text = place["text"]
    word = re.compile(r"\w+|.?").match(text, at)
    end = max(at + len(place["caret"]), word.end() if word else at)
    shown = " ".join(f"{text[:at]}▸{text[at:end]}◂{text[end:]}".split())
    return ConfigError(f"SQL, line {int(place['line']) - before}: {said}: {shown}", hint=hint)
