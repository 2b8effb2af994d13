"""Many commands of studio, one after the other: each in a fork of a process that has imported the command line once.

`python -m tests.commands` reads a JSON list of word lists and writes a JSON list of `Ran`. A fresh process for each
would take ten times as long.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.studio_process import environment


class Ran(NamedTuple):
    """What a command did: its exit code (negative: the signal), and what it wrote."""

    words: tuple[str, ...]
    code: int
    out: bytes
    err: str


def run_all(
    commands: Sequence[Sequence[str]], *, cwd: Path, env: Mapping[str, str] | None = None, timeout_s: float = 300
) -> list[Ran]:
    """Runs `studio` with each of these words."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.commands"], cwd=cwd, env=environment(**(env or {})), timeout=timeout_s,
        input=json.dumps([list(words) for words in commands]).encode(), capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return [Ran(tuple(w), code, out.encode("latin-1"), err) for w, code, out, err in json.loads(done.stdout)]


def _fork(words: list[str], limit_s: float = 280.0) -> tuple[list[str], int, str, str]:
    out, err = (os.memfd_create(name) if hasattr(os, "memfd_create") else _temporary() for name in ("out", "err"))
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        _as_a_process(words)
    deadline, status = time.monotonic() + limit_s, None
    while status is None:
        done, code = os.waitpid(child, os.WNOHANG)
        if done:
            status = code
        elif time.monotonic() > deadline:
            os.kill(child, 9)
        else:
            time.sleep(0.002)
    said = []
    for fd in (out, err):
        os.lseek(fd, 0, os.SEEK_SET)
        with os.fdopen(fd, "rb") as file:
            said.append(file.read())
    return words, os.waitstatus_to_exitcode(status), said[0].decode("latin-1"), said[1].decode(errors="replace")


def _temporary() -> int:
    fd, path = tempfile.mkstemp()
    os.unlink(path)
    return fd


def _as_a_process(words: list[str]) -> None:
    """What `python -m studio words…` does, up to its end."""
    import traceback

    code = 70
    sys.argv = ["studio", *words]
    try:
        from studio.cli.main import main

        main()
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    import studio.api
    import studio.cli.config
    import studio.cli.doctor
    import studio.cli.run
    import studio.cli.runs
    import studio.cli.serve
    import studio.cli.sql
    import studio.cli.store  # noqa: F401

    print(json.dumps([_fork(words) for words in json.load(sys.stdin)]))
