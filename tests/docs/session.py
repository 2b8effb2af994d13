"""One shell for one page: commands run in it in order, servers behind it; closing it ends all that it started."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

import psutil

from tests.docs import transcript
from tests.docs.blocks import Command


class Failed(AssertionError):
    """A block did not do what its page says."""


class Session:
    """A bash in `folder`; port 5000 of the page stands for a free one, so that pages run beside each other."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.port = _free_port()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STUDIOML_", "PYTEST", "AWS_", "COV_"))}
        self.environment = kept | {
            "HOME": str(home),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]),
            "NO_COLOR": "1",
            "COLUMNS": "120",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow's notes at its start are not part of any page
            "TF_ENABLE_ONEDNN_OPTS": "0",
        }
        self.home = home
        self._text = ""
        self._behind = 0
        self._new = threading.Condition()
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def run(self, command: Command, *, wait_s: float) -> None:
        """Runs one command of a console block and compares what it prints.

        Raises:
            Failed: another exit status or other output than the page shows, or none within `wait_s`.
        """
        expected = transcript.lines(self._ports("\n".join(command.output)))
        end = f"--{secrets.token_hex(8)}--"
        start = len(self._text)
        text = self.here(command.text)
        if command.background:
            self._run_behind(text.rstrip().removesuffix("&"), expected, wait_s)
            return
        self._send(f"{{ {text}\n}} </dev/null; printf '\\n%s %d\\n' '{end}' $?\n")
        if not self._await(lambda: re.search(rf"{end} \d+\n", self._text[start:]) is not None, wait_s):
            raise Failed(f"$ {text}\nhas not ended after {wait_s} s; it printed\n{self._text[start:]}")
        printed, _, rest = self._text[start:].partition(f"\n{end} ")
        code = int(rest.split()[0])
        if code != command.exit_code:
            raise Failed(f"$ {text}\nended with {code}, not {command.exit_code}; it printed\n{printed}")
        if command.output and not transcript.matches(expected, transcript.lines(printed)):
            raise Failed(f"$ {text}\nshould print\n{_show(expected)}\nand printed\n{_show(transcript.lines(printed))}")

    def _run_behind(self, text: str, expected: list[str], wait_s: float) -> None:
        """Starts `text` with its output apart from the page's, and waits until it has printed what is expected."""
        self._behind += 1
        log = self.home.parent / f"{self.home.name}-behind-{self._behind}.log"
        log.touch()
        self._send(f"{text} </dev/null >{log} 2>&1 &\n")
        deadline = time.monotonic() + wait_s
        while not transcript.begins(expected, transcript.lines(log.read_text(errors="replace"))):
            if time.monotonic() > deadline:
                raise Failed(
                    f"$ {text} &\nshould print\n{_show(expected)}\nand printed\n{log.read_text(errors='replace')}"
                )
            time.sleep(0.02)

    def here(self, text: str) -> str:
        """A page's commands with a free port in the place of 5000, the default of `studio serve` included."""
        text = self._ports(text)
        if "--port" not in text:
            text = re.sub(r"\bstudio serve\b", f"studio serve --port {self.port}", text)
        return text

    def _ports(self, text: str) -> str:
        return re.sub(r"\b5000\b", str(self.port), text)

    def _send(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(text.encode())
        self._shell.stdin.flush()

    def _await(self, condition: object, wait_s: float) -> bool:
        with self._new:
            return bool(self._new.wait_for(condition, wait_s))  # type: ignore[arg-type]

    def _read(self) -> None:
        assert self._shell.stdout is not None
        while data := os.read(self._shell.stdout.fileno(), 65536):
            with self._new:
                self._text += data.decode(errors="replace")
                self._new.notify_all()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = [self._shell, *self._started()]
        for process in left[1:]:
            _signal(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while self._started() and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in self._started():
            _signal(process.pid, signal.SIGKILL)
        self._shell.kill()
        self._shell.wait()
        self._reader.join(10)
        for stream in (self._shell.stdin, self._shell.stdout):
            assert stream is not None
            stream.close()

    def _started(self) -> list[psutil.Process]:
        """Everything alive that was started with this page's home, whatever became of its parent."""
        found = []
        for process in psutil.process_iter():
            try:
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and process.pid != self._shell.pid and process.environ().get("HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _show(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
