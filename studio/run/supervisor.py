"""One run from submission to its final record: snapshot, guard, streams, limits, delivery."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from .. import __version__
from ..config import Config
from ..errors import StoreError
from ..experiment import Exit, Experiment, Failure, Times
from ..tracking import Notify, Tracking
from . import mask
from .delivery import TICK_S, Delivery, mutable_artifacts
from .ending import Ending, MemoryWatch
from .interpreter import installed
from .kept import KeptOutput
from .plan import Plan
from .redact import clean, redact_command, redact_params, secrets_of
from .sealed import Opener
from .spool import Spool
from .strays import MARK, end_strays
from .streams import CHUNK_BYTES, Stream, Streams, has_terminal, open_streams, write_all

GUARD = Path(__file__).with_name("guard.py")
INJECT = Path(__file__).with_name("inject")
LEFTOVER_OUTPUT_S = 1.0
LONGEST_WAIT_S = 86400.0
"""The system's calls that wait take 24 days at most."""
OURS = {signal.SIGPIPE, signal.SIGXFSZ}
"""Signals that Python itself ignores: the script is to see their defaults."""


class Supervisor:
    """Runs one plan. Works in the main thread, which it needs for signals."""

    def __init__(
        self,
        plan: Plan,
        experiment: Experiment,
        *,
        tracking: Tracking,
        config: Config,
        spool: Spool,
        notify: Notify,
        mapping: dict[str, Path],
    ) -> None:
        self.plan = plan
        self.experiment = experiment
        self.tracking = tracking
        self.config = config
        self.spool = spool
        self.notify = notify
        self.mapping = mapping
        self.requested = ""
        self.asked_by: str | None = None
        self.interrupts = 0
        self.started: Callable[[], None] = lambda: None  # called when the script runs
        mutable = mutable_artifacts(experiment, mapping)
        self.delivery = Delivery(
            tracking, spool, config=config, notify=notify, mutable=mutable, refs=experiment.artifacts
        )
        self.delivery.typed, self.delivery.roots = experiment.given, mapping
        self.delivery.stop_requested = lambda by: self.stop("stopped", by)
        if plan.command.kind == "exec":
            self.delivery.take_python = self._take_python
        self._control = -1
        self._streams: list[Stream] = []
        self._exit: dict[str, object] | None = None
        self._error = ""
        self._output = KeptOutput(spool.output, notify)
        self._env = self._environment()
        self._secrets = self._known_secrets() if config["mask_output"] else []
        self._mask = mask.Mask(self._secrets)
        self._opener = Opener(spool.events, plan.command.args, self._env)
        self._settled = float("inf")
        self._deadline = float("inf")
        self._began = time.monotonic()
        self._began_at = time.time()

    def run(self, lock: int) -> Experiment:
        """Starts the script, stays until its end, and returns the final record.

        Args:
            lock: The run's lock; the guard inherits it.
        """
        memory = MemoryWatch()
        streams = open_streams()
        self._streams = streams.read
        with self._signals(streams):
            status = self._start_guard(streams, lock)
            self._began, self._began_at = time.monotonic(), time.time()
            if self.plan.max_duration:
                self._deadline = self._began + self.plan.max_duration
            if self.interrupts:  # before the script was there to notice
                self._tell(b"I")
            self.delivery.start()
            self._loop(streams.read, status)
            control, self._control = self._control, -1
            os.close(control)
            complete = self.delivery.finish()
            found = self._exit or {"code": None, "signal": int(signal.SIGKILL)}
            out_of_memory = memory.struck() or self.delivery.memory_error
            ending = Ending(
                found, requested=self.requested, out_of_memory=out_of_memory, by=self.asked_by, failure=self._failure()
            )
            return self._close(ending, complete)

    def stop(self, reason: str, by: str | None) -> None:
        """Asks the guard to end the script; `reason` and `by` become the exit's. Safe from any thread."""
        if not self.requested:
            self.requested, self.asked_by = reason, by
            self._tell(b"T")

    def _failure(self) -> Failure | None:
        """The exception that ended the script, its message without the secrets that this process knows."""
        found = self.delivery.failure
        if found is None:
            return None
        self._open_secrets()
        return replace(found, message=mask.masked(found.message, self._secrets))

    def _take_python(self, version: str, executable: str, folders: list[str]) -> None:
        """The command came to a Python: what it has is what the experiment ran with."""
        self.delivery.take_python = lambda *_: None  # the first counts
        packages = installed(folders)

        def with_python(experiment: Experiment) -> Experiment:
            command = replace(experiment.command, python=version, interpreter=executable)
            return experiment.with_changes(packages=packages, command=command)

        self.delivery.update(with_python)

    def _close(self, ending: Ending, complete: bool) -> Experiment:
        elapsed = time.monotonic() - self._began
        if self._error:
            self.notify(f"could not start {self.plan.program}: {self._error}")
        left = (self._exit or {}).get("left_behind")
        if left:
            self.notify(f"ended {left} process{'es' if left != 1 else ''} that the script left running")

        def close(experiment: Experiment) -> Experiment:
            started = experiment.times.started or experiment.times.added
            begun = max(started, self._began_at) if self.plan.resume else started
            times = Times(experiment.times.added, started, round(begun + elapsed, 6), experiment.times.extra)
            return self.delivery.final(experiment).with_changes(status=ending.status, exit=ending.exit, times=times)

        self._opener.fresh()
        delivered = self.delivery.update(close)
        with contextlib.suppress(StoreError):
            self.tracking.index.forget_owed()
        kept = self.spool.kept_record() or self.experiment
        self.experiment = kept if kept.ended else close(kept)
        if delivered and complete:
            self.spool.release()
        else:
            self.notify("not everything is in the store yet; the next studio command tries again")
            self.spool.unlock()
        return self.experiment

    def _start_guard(self, streams: Streams, lock: int) -> int:
        control, self._control = os.pipe()
        status, say = os.pipe()
        drain = [s.source for s in streams.read]
        passed = sorted({control, say, lock, *streams.child, *drain})
        spec = {
            "program": self.plan.program, "argv": self.plan.argv, "cwd": str(self.plan.folder),
            "streams": streams.child, "control": control, "status": say, "passed": passed, "drain": drain,
            "output": str(self.spool.output), "exit": str(self.spool.exit),
            "stopping": str(self.spool.folder / "stopping"),
            "grace_s": self.config["stop_grace"], "own_session": not has_terminal(),
            "ignored": [n for n in set(range(1, signal.NSIG)) - OURS if signal.getsignal(n) == signal.SIG_IGN],
            "secrets": [secret.decode("latin-1") for secret in self._secrets],
        }  # fmt: skip
        words, send = os.pipe()  # not argv: that has a limit, and everybody on the machine reads it; nor a file
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), str(words)],
            env=self._env, pass_fds=[*passed, words], stdin=streams.child[0], close_fds=True,
        )  # fmt: skip
        os.close(words)
        with contextlib.suppress(BrokenPipeError), open(send, "wb") as file:  # a guard that is killed is noticed later
            file.write(json.dumps(spec).encode())
        self.delivery.root = guard.pid
        streams.close_child_ends()
        os.close(control)
        os.close(say)
        return status

    def _environment(self) -> dict[str, str]:
        env = {**os.environ, "PYTHONUNBUFFERED": "1", **self.config["env"], **self.plan.env}
        env |= {
            "STUDIOML_EXPERIMENT": self.experiment.key,
            "STUDIOML_ARTIFACT_MAPPING": json.dumps({name: str(path) for name, path in self.mapping.items()}),
            "STUDIOML_HOME": str(self.tracking.home),
            "STUDIOML_STORE": self.tracking.url,
            "STUDIOML_SPOOL": str(self.spool.folder),
            MARK: str(os.getpid()),
        }
        if self.plan.autolog:
            env["PYTHONPATH"] = os.pathsep.join([str(INJECT), *([env["PYTHONPATH"]] if env.get("PYTHONPATH") else [])])
            if self.plan.command.kind == "exec":
                env["STUDIOML_DESCRIBE"] = "1"
        else:
            env["STUDIOML_AUTOLOG"] = "0"
        return env

    def _known_secrets(self) -> list[bytes]:
        """What is looked for in the output; it is in memory only."""
        return mask.forms([*secrets_of(self.plan.command.args, {}, self._env), *self.plan.secrets])

    def _loop(self, streams: list[Stream], status: int) -> None:
        self._output.append(b"")
        with selectors.DefaultSelector() as selector:
            for stream in streams:
                selector.register(stream.source, selectors.EVENT_READ, stream)
            selector.register(status, selectors.EVENT_READ)
            said = b""
            patience = float("inf")
            while self._exit is None or any(key.data for key in selector.get_map().values()):
                left = min(self._deadline, patience, self._settled) - time.monotonic()
                for ready, _ in selector.select(max(0.0, min(left, LONGEST_WAIT_S))):
                    if isinstance(ready.data, Stream):
                        self._pass_on(ready.data, selector)
                    else:
                        words = os.read(status, CHUNK_BYTES)
                        said = self._hear(said + words)
                        if not words:
                            selector.unregister(status)
                            self._exit = self._exit or self._end_without_guard()
                    if self._exit is not None:  # from the last output on: a slow reader of ours loses nothing
                        patience = time.monotonic() + LEFTOVER_OUTPUT_S
                if time.monotonic() >= self._deadline:
                    self._deadline = float("inf")
                    self.notify("stopping: --max-duration reached")
                    self.stop("max-duration", "--max-duration")
                if time.monotonic() >= self._settled:
                    self._settled = float("inf")
                    self._output.append(self._mask.idle())
                if time.monotonic() >= patience:
                    break
        self._output.append(self._mask.end_all())
        self._output.close()
        os.close(status)

    def _end_without_guard(self) -> dict[str, object]:
        """How the script ended whose guard left without a word: it could not start it, or was killed."""
        if self._error:
            return {"code": 127, "signal": None}
        end_strays(self.spool.folder)
        return self.spool.exit_status() or {"code": None, "signal": int(signal.SIGKILL)}

    def _pass_on(self, stream: Stream, selector: selectors.BaseSelector) -> None:
        try:
            data = os.read(stream.source, CHUNK_BYTES)
        except OSError:  # a pseudo-terminal whose other side is closed
            data = b""
        if data:
            self._open_secrets()
            self._output.append(self._mask.take(stream.source, data))
            self._settled = time.monotonic() + TICK_S if self._mask.waiting else float("inf")
            if stream.sink < 0:
                return
            try:
                write_all(stream.sink, data)
                return
            except BrokenPipeError:  # the user's reader left: so the script is to notice, as it would without studio
                self._tell(str(self._streams.index(stream)).encode())
            except OSError as exc:
                name = {1: "stdout", 2: "stderr"}[stream.sink]
                stream.sink = -1
                key = self.spool.key
                self.notify(f"cannot write to {name}: {exc.strerror}; the output is kept: studio runs logs {key}")
                return
        self._output.append(self._mask.end(stream.source))
        selector.unregister(stream.source)
        os.close(stream.source)

    def _open_secrets(self) -> None:
        """What the script's own parser knew as a secret before it printed what was just read."""
        fresh = self._opener.fresh()
        if fresh and self.config["mask_output"]:
            self._secrets = [*self._secrets, *mask.forms(fresh)]
            self._mask.add(mask.forms(fresh))

    def _hear(self, said: bytes) -> bytes:
        *lines, rest = said.split(b"\n")
        for line in lines:
            message = json.loads(line)
            self._error = message.get("error", self._error)
            self._exit = message.get("exit", self._exit)
            if "pid" in message:
                self.started()
        return rest

    @contextlib.contextmanager
    def _signals(self, streams: Streams) -> Iterator[None]:
        def interrupt(*_: object) -> None:
            self.interrupts += 1
            if self._exit is not None:  # the script is over: a second one leaves the delivery to the next command
                if self.interrupts > 1:
                    raise KeyboardInterrupt
            elif self.interrupts == 1:
                self.requested = self.requested or "interrupted"
                if not has_terminal():
                    self._tell(b"I")
            else:
                self._tell(b"T" if self.interrupts == 2 else b"K")

        def resize(*_: object) -> None:
            if streams.resize():
                self._tell(b"W")

        wanted: dict[int, Callable[..., None]] = {signal.SIGINT: interrupt, signal.SIGWINCH: resize}
        wanted |= dict.fromkeys(
            (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
            lambda n, _: self.stop("stopped", signal.Signals(n).name),
        )
        before = {n: signal.signal(n, w) for n, w in wanted.items() if signal.getsignal(n) != signal.SIG_IGN}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _tell(self, word: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._control, word)


def first_record(plan: Plan, key: str, now: float) -> Experiment:
    """The record of a run that is about to start, without what the snapshot adds."""
    return Experiment(
        key=key, command=redact_command(plan.command), project=plan.project, owner=plan.owner, kind=plan.kind,
        status="running", params=redact_params(plan.params), given=plan.given, digests=plan.digests,
        tags=plan.tags, notes=clean(plan.notes),
        resources=plan.resources, metric=plan.metric,
        times=Times(added=round(now, 6)), max_duration=plan.max_duration, lifetime=plan.lifetime, parent=plan.parent,
        relation=plan.relation, exit=None, studio=__version__,
    )  # fmt: skip


__all__ = ["Exit", "Supervisor", "first_record"]
