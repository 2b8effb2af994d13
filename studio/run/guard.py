"""The process between supervisor and script: starts it, outlives neither, and leaves nothing behind.

Run by path with `python -I -S` and nothing but the standard library: it starts in some ten milliseconds and holds
little memory. Its parent, the supervisor, talks to it through two pipes:

- control (read here), one letter each: `T` end the script (SIGTERM, after the grace time SIGKILL; before, hooks that
  listen at the FIFO `stopping` save its models, for three seconds at most), `K` kill it now,
  `I` interrupt it, `W` its window changed, `0`/`1` nobody reads its first/second stream any more. End of file means
  that the supervisor died: as `T`, and what the script still writes is kept in the spool.
- status (written here), a JSON object a line: `{"pid": …}`, `{"error": …}`, `{"exit": …}`.

The script gets a session of its own, unless the run was started at a terminal: there it stays in the user's job, so
that Ctrl-C, Ctrl-Z, `fg`, password prompts and pipelines work as they do without studio.

On Linux the guard is a child subreaper: whatever the script starts, also as a daemon, becomes its child and ends with
it. Elsewhere the script's process group does.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LEFTOVER_GRACE_S = 2.0
LEAVING_S = 0.3
SAVING_S = 3.0
TICK_S = 0.02


class Guard:
    """One script, from start to the last of its descendants."""

    def __init__(self, spec: dict) -> None:  # type: ignore[type-arg]
        self.spec = spec
        self.control: int = spec["control"]
        self.status: int = spec["status"]
        self.child = 0
        self.kill_at: float | None = None
        self.saving = -1  # the FIFO that the hooks are asked through to save models
        self.saved_by = 0.0
        self.drains: set[int] = set()
        self.output = -1
        self.mask = _mask(spec["secrets"])
        self.alarm, bell = os.pipe()
        for fd in (self.alarm, bell):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTTOU, signal.SIGTTIN):
            signal.signal(number, signal.SIG_IGN)

    def say(self, **message: object) -> None:
        """Tells the supervisor; nobody listens any more once it died."""
        with contextlib.suppress(OSError):
            os.write(self.status, json.dumps(message).encode() + b"\n")

    def start(self) -> bool:
        """Forks and executes the script; False if that failed (the supervisor was told why)."""
        answer, failure = os.pipe()
        guard = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            self._become_script(failure, guard)
        os.close(failure)
        for fd in set(self.spec["streams"]):  # stdout and stderr may be one
            if fd > 2:
                os.close(fd)
        reason = os.read(answer, 4096).decode()
        os.close(answer)
        if reason:
            os.waitpid(self.child, 0)
            self.say(error=reason)
            return False
        self.say(pid=self.child)
        return True

    def _become_script(self, failure: int, guard: int) -> None:
        try:
            if self.spec["own_session"]:
                os.setsid()
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guard:  # it was killed before the kernel knew what to do then
                os._exit(127)
            for target, fd in enumerate(self.spec["streams"]):
                os.dup2(fd, target)
            for number in range(1, signal.NSIG):
                wanted = signal.SIG_IGN if number in self.spec["ignored"] else signal.SIG_DFL
                with contextlib.suppress(OSError, ValueError):
                    signal.signal(number, wanted)
            for fd in self.spec["passed"]:
                if fd > 2:
                    os.set_inheritable(fd, False)
            os.chdir(self.spec["cwd"])
            os.execv(self.spec["program"], self.spec["argv"])  # noqa: S606 - the command that the user typed
        except BaseException as exc:  # noqa: BLE001 - whatever it is has to cross the pipe before this process ends
            os.write(failure, f"{type(exc).__name__}: {exc}".encode())
        finally:
            os._exit(127)

    def run(self) -> None:
        """Waits for the script's end, the supervisor's words or its death."""
        exit_status: dict[str, object] | None = None
        while exit_status is None:
            wanted = [self.alarm, *([self.control] if self.control >= 0 else []), *self.drains]
            left = None if self.kill_at is None else max(0.0, self.kill_at - time.monotonic())
            if self.saving >= 0:
                left = TICK_S
            ready, _, _ = select.select(wanted, [], [], left)
            for fd in ready:
                if fd == self.control:
                    self._listen()
                elif fd in self.drains:
                    self._drain(fd)
            with contextlib.suppress(BlockingIOError):
                os.read(self.alarm, 512)
            if self.saving >= 0 and not self._hears():
                self._terminate()
            if self.kill_at is not None and time.monotonic() >= self.kill_at:
                self.kill_at = None
                self._signal(signal.SIGKILL)
            exit_status = self._reap()
        left_behind = self._end_descendants()
        for fd in list(self.drains):
            while fd in self.drains and select.select([fd], [], [], 0)[0]:
                self._drain(fd)
            if self.mask is not None and fd in self.drains:
                self._keep(self.mask.end(fd))
        with contextlib.suppress(OSError):
            os.unlink(self.spec["stopping"])
        self._record({**exit_status, "left_behind": left_behind})

    def _listen(self) -> None:
        try:
            words = os.read(self.control, 64)
        except OSError:
            words = b""
        if not words:
            os.close(self.control)
            self.control = -1
            self._take_over()
            words = b"T"
        for word in words.decode():
            if word.isdigit():
                os.close(self.spec["drain"][int(word)])
                self.spec["drain"][int(word)] = -1
            elif word == "T":
                if self.saving >= 0 or self.kill_at is not None or not self._ask():
                    self._terminate()
            else:
                self._signal({"K": signal.SIGKILL, "I": signal.SIGINT, "W": signal.SIGWINCH}[word])

    def _ask(self) -> bool:
        """Asks the hooks in the script to save its models; False if none listens, so that nobody is waited for."""
        with contextlib.suppress(OSError):  # there is none, or no reader
            self.saving = os.open(self.spec["stopping"], os.O_WRONLY | os.O_NONBLOCK)
        self.saved_by = time.monotonic() + min(SAVING_S, self.spec["grace_s"])
        if self.saving >= 0:
            self._signal(signal.SIGCONT)
        return self._hears()

    def _hears(self) -> bool:
        """Whether somebody listens; each process of the script that does takes one byte, and leaves when it is done."""
        if self.saving < 0 or time.monotonic() >= self.saved_by:
            return False
        try:
            os.write(self.saving, b"s")
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def _terminate(self) -> None:
        if self.saving >= 0:
            os.close(self.saving)
            self.saving = -1
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        self.kill_at = self.kill_at or time.monotonic() + self.spec["grace_s"]

    def _take_over(self) -> None:
        """The supervisor is gone: its ends of the output streams are read here until the script is gone too."""
        with contextlib.suppress(OSError):
            self.output = os.open(self.spec["output"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.drains = {fd for fd in self.spec["drain"] if fd >= 0}

    def _drain(self, fd: int) -> None:
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        if data:
            self._keep(data if self.mask is None else self.mask.take(fd, data))
        else:
            if self.mask is not None:
                self._keep(self.mask.end(fd))
            self.drains.remove(fd)

    def _keep(self, data: bytes) -> None:
        """Writes, until the disk refuses; what comes then is read all the same, so that nobody waits for it."""
        try:
            while data and self.output >= 0:
                data = data[os.write(self.output, data) :]
        except OSError:
            self.output = -1

    def _signal(self, number: int) -> None:
        """Signals the script's process group; at a terminal, where it shares the user's job, every process of it."""
        if self.spec["own_session"]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child, number)
        else:
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)

    def _reap(self) -> dict[str, object] | None:
        """Collects ended processes; the script's own status if it is among them."""
        found: dict[str, object] | None = None
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return found
            if pid == 0:
                return found
            if pid == self.child:
                code = os.waitstatus_to_exitcode(status)
                unit = 1 if sys.platform == "darwin" else 1024
                found = {
                    "code": code if code >= 0 else None,
                    "signal": -code if code < 0 else None,
                    "at": time.time(),
                    "maxrss": usage.ru_maxrss * unit,
                    "cpu_s": usage.ru_utime + usage.ru_stime,
                }

    def _end_descendants(self) -> int:
        """Ends what the script left behind; returns how many processes that were."""
        seen: set[int] = set()
        patience = time.monotonic() + LEAVING_S  # some go by themselves, such as multiprocessing's own
        while time.monotonic() < patience and descendants(os.getpid()):
            self._reap()
            select.select([self.alarm], [], [], 0.01)
            with contextlib.suppress(BlockingIOError):
                os.read(self.alarm, 512)
        deadline = time.monotonic() + LEFTOVER_GRACE_S
        number = signal.SIGTERM
        while True:
            self._reap()
            alive = descendants(os.getpid())
            if not alive:
                if self.spec["own_session"]:
                    self._signal(signal.SIGKILL)
                return len(seen)
            if time.monotonic() > deadline:
                number = signal.SIGKILL
            for pid in alive:
                if pid not in seen or number == signal.SIGKILL:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, number)
            seen.update(alive)
            select.select([self.alarm], [], [], 0.02)

    def _record(self, exit_status: dict[str, object]) -> None:
        path = self.spec["exit"]
        with contextlib.suppress(OSError):
            fd = os.open(path + ".part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            data = json.dumps(exit_status).encode()
            while data:
                data = data[os.write(fd, data) :]
            os.fsync(fd)
            os.close(fd)
            os.replace(path + ".part", path)
        self.say(exit=exit_status)


def _mask(secrets: list[str]) -> Any:
    """What takes secrets out of kept output; None where there are none."""
    if not secrets:
        return None
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    try:
        import mask  # type: ignore[import-not-found]
    finally:
        del sys.path[0]
    return mask.Mask([secret.encode("latin-1") for secret in secrets], midway=True)


def descendants(root: int) -> list[int]:
    """Live processes below `root`, zombies left out."""
    children: dict[int, list[int]] = {}
    for pid, parent in _processes():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _processes() -> list[tuple[int, int]]:
    """(process, its parent) of every live process."""
    if not os.path.isdir("/proc/self"):
        import subprocess

        listed = subprocess.run(["ps", "-axo", "pid=,ppid=,stat=,comm="], capture_output=True, text=True)
        rows = [line.split(None, 3) for line in listed.stdout.splitlines()]
        return [(int(r[0]), int(r[1])) for r in rows if not r[2].startswith("Z") and not r[3].endswith("ps")]
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except OSError:
                continue
            if state not in (b"Z", b"X"):
                found.append((int(name), int(parent)))
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def main() -> None:
    """Entry: the only argument is a descriptor that the specification, JSON, is read from."""
    with open(int(sys.argv[1]), encoding="utf-8") as words:
        text = words.read()
    try:
        spec = json.loads(text)
    except ValueError:  # the supervisor died before it had said all
        return
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = Guard(spec)
    if guard.start():
        guard.run()


if __name__ == "__main__":
    main()
