"""What a script's end means: status, reason and the exit code that the user's shell sees."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

from ..experiment import Exit, Experiment, Failure


class Ending:
    """The guard's exit status, read with what the supervisor knows.

    Args:
        found: `code` or `signal` of the script.
        requested: `interrupted`, `stopped`, `max-duration` or "": who asked for the end.
        out_of_memory: Whether the kernel or Python ran out of memory.
        by: Who asked for it.
        failure: The exception that ended the script.
    """

    def __init__(
        self,
        found: Mapping[str, object],
        *,
        requested: str,
        out_of_memory: bool,
        by: str | None = None,
        failure: Failure | None = None,
    ) -> None:
        code, number = found.get("code"), found.get("signal")
        self.code = code if isinstance(code, int) else None
        self.signal = number if isinstance(number, int) else None
        self.reason = self._reason(requested, out_of_memory)
        by_request = self.reason in ("interrupted", "stopped", "max-duration")
        self.status = "stopped" if by_request else "finished" if self.reason == "finished" else "failed"
        self._by = (by or ("Ctrl-C" if self.reason == "interrupted" else None)) if by_request else None
        self._failure = failure if self.code else None  # one that is caught in the end, or a signal's, ended nothing

    @property
    def exit(self) -> Exit:
        """As the record keeps it."""
        return Exit(self.code, self.signal, self.reason, self._by, self._failure)

    def _reason(self, requested: str, out_of_memory: bool) -> str:
        interrupted = self.signal == signal.SIGINT or self.code == 130
        if requested == "interrupted" or not requested:
            if self.code == 0:
                return "finished"
            if interrupted or requested:
                return "interrupted"
        elif requested:
            return requested
        if out_of_memory and (self.signal == signal.SIGKILL or self.code):
            return "out-of-memory"
        return "killed" if self.signal else "failed"


def shell_code(experiment: Experiment) -> int:
    """The exit code of `studio run`: the script's, 128 + n for signal n, 130 for Ctrl-C."""
    if experiment.exit is None:
        return 1
    if experiment.exit.reason == "interrupted":
        return 130
    if experiment.exit.reason == "expired":
        return 1
    if experiment.exit.code is not None:
        return experiment.exit.code
    return 128 + (experiment.exit.signal or 0)


def signal_name(end: Exit) -> str:
    """The name of the signal that ended a run, also one that a shell tells by its exit code; "" for no signal."""
    number = end.signal or (end.code - 128 if end.code and 128 < end.code < 193 else 0)
    try:
        return signal.Signals(number).name if number else ""
    except ValueError:
        return f"signal {number}"


class MemoryWatch:
    """Counts the kernel's out-of-memory kills in the control group of this process and those above it."""

    def __init__(self) -> None:
        self._files = list(_event_files())
        self._before = self._count()

    def struck(self) -> bool:
        """Whether there was one since this object was made."""
        return self._count() > self._before

    def _count(self) -> int:
        total = 0
        for path in self._files:
            try:
                text = path.read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))
        return total


def _event_files() -> list[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            root, name = Path("/sys/fs/cgroup"), "memory.events"
        elif "memory" in controllers.split(","):
            root, name = Path("/sys/fs/cgroup/memory"), "memory.oom_control"
        else:
            continue
        folder = root / group.lstrip("/")
        found += [p / name for p in (folder, *folder.parents) if p.is_relative_to(root) and (p / name).is_file()]
    return found
