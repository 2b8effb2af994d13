"""Tracks the calling process itself: `studio.start()` in a notebook, an IDE or a batch job, without the runner."""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from ..config import Config
from ..errors import ArtifactNotFound
from ..experiment import CHILD, Command, Exit, Experiment, Failure, Times, check_new_key, new_key
from ..tracking import Notify, Tracking
from .delivery import Delivery, mutable_artifacts
from .events import failure_of
from .inject import _studio_failure, _studio_track, begin_hooks, finish_hooks
from .launch import begin, claim, give_up
from .plan import Plan
from .redact import check_tag, use_names
from .spool import Spool

VARIABLES = ("STUDIOML_EXPERIMENT", "STUDIOML_ARTIFACT_MAPPING", "STUDIOML_SPOOL", "STUDIOML_STORE", "STUDIOML_HOME")


def surrounding() -> Experiment | None:
    """The run that a call made here belongs to; None outside one."""
    here = _studio_track.place()
    if here is None:
        return None
    key = here.key or os.environ.get("STUDIOML_EXPERIMENT", "")
    spool = Path(here.folder)
    if not key or spool.parent.name != key:
        return None
    return Spool(spool.parents[2], key).kept_record()


class Run:
    """A run as the code inside it sees it."""

    def __init__(self, key: str, mapping: Mapping[str, str], place: _studio_track.Place) -> None:
        self.key = key
        self._mapping = dict(mapping)
        self._place = place

    def __repr__(self) -> str:
        return f"<studio run {self.key}>"

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """One point on each named curve; see `studio.log`. From any thread, also one that is in another run."""
        if self._place.open:
            with _studio_track.within(self._place):
                _studio_track.log(values, step)

    def params(self, mapping: Mapping[str, object] | None = None, **values: object) -> None:
        """Parameters; see `studio.params`. From any thread, as `log`."""
        if self._place.open:
            with _studio_track.within(self._place):
                _studio_track.params(mapping, **values)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a process belongs to this run; the main thread's runs set them by themselves."""
        return dict(_environments.get(self._place, {}))

    def artifact(self, name: str) -> Path:
        """The path of an artifact, such as `modeldir`; what is written there is captured.

        Raises:
            ArtifactNotFound: this run has none of this name.
        """
        if name not in self._mapping:
            raise ArtifactNotFound(
                f"this run has no artifact {name!r}", hint="it has: " + ", ".join(sorted(self._mapping))
            )
        return Path(self._mapping[name])

    def finish(self, status: str = "finished", *, reason: str = "") -> None:
        """Ends the run; a second call does nothing."""

    def _note_failure(self, exc: BaseException) -> None:
        """Keeps what ended the run, for its record."""

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc is not None:
            self._note_failure(exc)
        if kind is None or (kind is SystemExit and getattr(exc, "code", 1) in (None, 0)):
            self.finish()
        elif issubclass(kind, KeyboardInterrupt):
            self.finish("stopped", reason="interrupted")
        else:
            self.finish("failed", reason="out-of-memory" if issubclass(kind, MemoryError) else "failed")


class InProcessRun(Run):
    """A run that threads of the process that it tracks supervise."""

    def __init__(
        self,
        *,
        tracking: Tracking,
        config: Config,
        key: str | None,
        tags: Iterable[str],
        notes: str,
        notify: Notify,
        parent: str | None = None,
    ) -> None:
        use_names(config)
        own = new_key() if key is None else check_new_key(key)
        plan = Plan(
            command=_own_command(), program=sys.executable, argv=(sys.executable,), folder=Path.cwd(),
            project=config["project"], owner=config["owner"], key=key, notes=notes,
            tags=tuple(check_tag(tag) for tag in tags), parent=parent, relation=CHILD if parent is not None else None,
        )  # fmt: skip
        self._spool, _ = claim(plan, own, tracking)
        try:
            self._experiment, mapping, code = begin(
                plan, own, tracking=tracking, config=config, spool=self._spool, notify=notify
            )
        except BaseException as exc:
            give_up(plan, self._spool, tracking, exc)
            raise
        mutable = mutable_artifacts(self._experiment, mapping)
        refs = self._experiment.artifacts
        self._delivery = Delivery(tracking, self._spool, config=config, notify=notify, mutable=mutable, refs=refs)
        self._delivery.stop_requested = self._stop
        self._delivery.code, self._delivery.roots = code, mapping
        self._delivery.root, self._delivery.root_itself = os.getpid(), True
        self._stopped = False
        self._asked_by: str | None = None
        self._failure: Failure | None = None
        self._began = time.monotonic()
        self._pid = os.getpid()
        self._over = False
        self._thread = threading.get_ident()
        paths = {name: str(path) for name, path in mapping.items() if name != "output"}
        place = _studio_track.attach(str(self._spool.folder), key=own, mapping=paths)
        super().__init__(own, paths, place)
        _environments[place] = {
            "STUDIOML_EXPERIMENT": own, "STUDIOML_ARTIFACT_MAPPING": json.dumps(paths),
            "STUDIOML_SPOOL": str(self._spool.folder), "STUDIOML_STORE": tracking.url,
            "STUDIOML_HOME": str(tracking.home),
        }  # fmt: skip
        _set_environment()
        begin_hooks()
        self._delivery.start()
        self._exits = Exits.begin() if plan.command.kind == "script" else None
        atexit.register(self._finish_at_exit)

    def finish(self, status: str = "finished", *, reason: str = "") -> None:
        """Ends the run: everything is written and delivered when this returns. A second call does nothing."""
        self._finish(status, reason, 0 if status == "finished" else 1)

    def _finish_at_exit(self) -> None:
        """The interpreter ends: how, a script's end tells; a notebook's means nothing."""
        ending = self._exits.ending() if self._exits is not None else ("finished", "", 0)
        if self._exits is not None and self._exits.raised is not None and ending[2]:
            self._note_failure(self._exits.raised)
        self._finish(*ending)

    def _note_failure(self, exc: BaseException) -> None:
        if not isinstance(exc, KeyboardInterrupt | SystemExit):
            self._failure = failure_of(_studio_failure.described(exc, exc.__traceback__))

    def _finish(self, status: str, reason: str, code: int) -> None:
        if self._over or os.getpid() != self._pid:
            return
        self._over = True
        atexit.unregister(self._finish_at_exit)
        if self._exits is not None:
            self._exits.close()
        with _studio_track.within(self._place):
            finish_hooks()
        _studio_track.detach(self._place)
        _environments.pop(self._place, None)
        _set_environment()
        complete = self._delivery.finish()
        change = self._closing("stopped", "stopped", 1) if self._stopped else self._closing(status, reason, code)
        if self._delivery.update(change) and complete:
            self._delivery.tracking.index.forget_owed()
            self._spool.release()
        else:
            self._spool.unlock()

    def _closing(self, status: str, reason: str, code: int) -> Callable[[Experiment], Experiment]:
        elapsed = time.monotonic() - self._began
        by = self._asked_by if reason == "stopped" else "Ctrl-C" if reason == "interrupted" else None

        def close(experiment: Experiment) -> Experiment:
            added, started = experiment.times.added, experiment.times.started
            times = Times(added, started, round((started or added) + elapsed, 6), experiment.times.extra)
            return self._delivery.final(experiment).with_changes(
                status=status, exit=Exit(code, None, reason or status, by, self._failure if code else None), times=times
            )

        return close

    def _stop(self, by: str | None) -> None:
        """Somebody asks this run to stop: the thread that started it meets a KeyboardInterrupt."""
        import _thread

        if self._stopped:
            return
        self._stopped, self._asked_by = True, by
        if self._thread == threading.main_thread().ident:
            _thread.interrupt_main()
        else:
            import ctypes

            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread), ctypes.py_object(KeyboardInterrupt)
            )


_environments: dict[_studio_track.Place, dict[str, str]] = {}  # what children of a run see
_original: dict[str, str | None] = {}
_changing = threading.RLock()


def _forked() -> None:
    global _changing
    _changing = threading.RLock()  # a thread that the child has not may hold the other one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _set_environment() -> None:
    """Processes that are started from here on belong to the run that threads without one belong to."""
    with _changing:
        _original.update({name: os.environ.get(name) for name in VARIABLES if name not in _original})
        here = _studio_track.shared()
        wanted: Mapping[str, str | None] = _environments.get(here, _original) if here is not None else _original
        for name, value in wanted.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if not _environments:
            _original.clear()


class Exits:
    """How a script ends: the exception that nobody caught, or the code that `sys.exit` was last called with."""

    _now: Exits | None = None

    def __init__(self) -> None:
        self._users = 0
        self._code: object = 0
        self._raised = getattr(sys, "last_value", None)
        self._original: Callable[..., NoReturn] = sys.exit
        sys.exit = self._exit

    @classmethod
    def begin(cls) -> Exits:
        """The one of this process, shared by all its runs."""
        with _changing:
            if cls._now is None:
                cls._now = cls()
            cls._now._users += 1
            return cls._now

    def ending(self) -> tuple[str, str, int]:
        """Status, reason and exit code, asked when the interpreter ends."""
        raised = self.raised
        if raised is not None:
            if isinstance(raised, KeyboardInterrupt):
                return "stopped", "interrupted", 130
            return "failed", "out-of-memory" if isinstance(raised, MemoryError) else "failed", 1
        code = self._code if isinstance(self._code, int) else 0 if self._code is None else 1
        return ("failed", "failed", code) if code else ("finished", "", 0)

    @property
    def raised(self) -> BaseException | None:
        """The exception that nobody caught."""
        found = getattr(sys, "last_value", None)
        return found if isinstance(found, BaseException) and found is not self._raised else None

    def close(self) -> None:
        """Gives `sys.exit` back with the last run, unless somebody else wrapped it since."""
        with _changing:
            self._users -= 1
            if self._users == 0:
                Exits._now = None
                if sys.exit == self._exit:
                    sys.exit = self._original

    def _exit(self, status: Any = None, /) -> NoReturn:
        if threading.current_thread() is threading.main_thread():  # elsewhere it ends a thread, no script
            self._code = status
        self._original(status)


def _own_command() -> Command:
    """This process's own script and arguments; `interactive` where there is none."""
    script = sys.argv[0] if sys.argv else ""
    version = sys.version.split()[0]
    if script and Path(script).is_file() and "ipykernel" not in script:
        return Command("script", script, tuple(sys.argv[1:]), version, sys.executable)
    return Command("exec", "interactive", (), version, sys.executable)
