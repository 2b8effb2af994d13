"""A run's folder on this machine: what script and supervisor write first, and from where it reaches the store.

`<home>/experiments/<key>/` holds the artifacts by name and `.studio/`, the spool; `<home>/open/<key>` exists, locked,
while a supervisor (or the guard that outlives it for a moment) is alive.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import ConfigError, Conflict, StoreError
from ..experiment import Command, Experiment, from_json, to_json

SEALED = b'{"type": "sealed"'
"""How an event begins that tells a secret of the command line by its digest: a resumed run needs it from the start."""

PROBE_S = 0.2
"""Others look for a moment whether a run is alive, which is no reason to refuse it."""


class Spool:
    """Paths of one run, its lock and its copy of the record."""

    def __init__(self, home: Path, key: str) -> None:
        self.home = home
        self.key = key
        self.run_folder = home / "experiments" / key
        self.folder = self.run_folder / ".studio"
        self.output = self.folder / "output"
        self.metrics = self.folder / "metrics"
        self.media = self.folder / "media"
        self.events = self.folder / "events"
        self.exit = self.folder / "exit.json"
        self.record = self.folder / "record.json"
        self.context = self.folder / "context.json"
        self.open_mark = home / "open" / key
        self.store_is_away = False  # said when the run began
        self._lock = -1

    def create(self) -> None:
        """Makes the folders, private to the user.

        Raises:
            StoreError: the home cannot be written.
        """
        try:
            for folder in (self.home / "experiments", self.run_folder, self.folder, self.metrics):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise unwritable(exc, self.run_folder) from exc

    def lock(self, *, make: bool = True) -> int:
        """Claims this run for the calling process and whoever inherits the returned descriptor.

        Args:
            make: Whether the mark of an open run may be made; else it must be there.

        Raises:
            Conflict: another process has it, or the run is over.
            StoreError: the home cannot be written, or has no locks.
        """
        self._lock = self._new_mark() if make else -1
        if self._lock >= 0:
            return self._lock
        until = time.monotonic() + PROBE_S
        while True:
            try:
                fd = self._open_mark(make)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BaseException:
                    os.close(fd)
                    raise
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(PROBE_S / 20)
                    continue
                raise Conflict(
                    f"experiment {self.key} is running on this machine", hint=f"studio runs stop {self.key}"
                ) from None
            except OSError as exc:
                if isinstance(exc, FileNotFoundError) and not make:
                    raise Conflict(f"experiment {self.key} is over", hint=f"studio runs show {self.key}") from exc
                raise unwritable(exc, self.open_mark) from exc
            if self._is_mark(fd):
                self._lock = fd
                return fd
            os.close(fd)  # its run ended while we waited

    def _new_mark(self) -> int:
        """A mark that is locked from its first moment; -1 if there is one already, or it cannot be made so.

        If it were made first and locked then, another process's recovery could take it for one of a dead run.
        """
        beside, fd = self.home / f".open-{secrets.token_hex(8)}", -1
        try:
            self._make_folders()
            fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.link(beside, self.open_mark)
            made, fd = fd, -1
        except OSError:  # `lock` goes the other way then, and says what fails
            return -1
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()
            if fd >= 0:
                os.close(fd)
        return made

    def _make_folders(self) -> None:
        for folder in (self.home, self.open_mark.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _open_mark(self, make: bool) -> int:
        if not make:
            return os.open(self.open_mark, os.O_RDWR)
        self._make_folders()
        return os.open(self.open_mark, os.O_RDWR | os.O_CREAT, 0o600)

    def _is_mark(self, fd: int) -> bool:
        try:
            there, ours = os.stat(self.open_mark), os.fstat(fd)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def alive(self) -> bool:
        """Whether a supervisor or guard on this machine still holds the run."""
        try:
            fd = os.open(self.open_mark, os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError:  # nobody can tell
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def release(self) -> None:
        """The run is over and delivered: nothing is left to recover."""
        self._forget()
        with contextlib.suppress(OSError):  # a mark that stays is looked at again by the next command
            self.open_mark.unlink(missing_ok=True)
        self.unlock()

    def forget(self) -> None:
        """Leaves nothing here of what the record says, or said, unless the run is open: then its end does this."""
        if not self.open_mark.exists():
            self._forget()

    def _forget(self) -> None:
        """What somebody takes out of the record is not to stay in a copy of it. What later calls ask for stays."""
        with contextlib.suppress(OSError, StoreError):
            if kept := self.kept_record():
                self.keep_record(_bare(kept))
            if self.events.exists():
                lines = self.events.read_bytes().splitlines(keepends=True)
                write_private(self.events, b"".join(line for line in lines if line.startswith(SEALED)))

    def unlock(self) -> None:
        """Gives the claim up; the run stays open for recovery."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def keep_context(self, store: str, mapping: Mapping[str, Path], *, stored: bool, store_id: str = "") -> None:
        """Saves what recovery needs: the store's URL, where the artifacts are, whether the store has the record.

        Args:
            store_id: Which store it is that has it: another one may later stand in its place.
        """
        paths = {n: str(p) for n, p in mapping.items()}
        known = {"store": store, "mapping": paths, "stored": stored, "store_id": store_id}
        write_private(self.context, json.dumps(known).encode())

    def kept_store_id(self) -> str:
        """The id of the store that has the record; "" if none has it, or it has no id."""
        try:
            return str(json.loads(self.context.read_text()).get("store_id", ""))
        except (OSError, ValueError, AttributeError):
            return ""

    def kept_context(self) -> tuple[str, dict[str, Path], bool]:
        """What `keep_context` saved; ("", {}, False) if it cannot be read."""
        try:
            known = json.loads(self.context.read_text())
            return known["store"], {n: Path(p) for n, p in known["mapping"].items()}, bool(known["stored"])
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return "", {}, False

    def keep_record(self, experiment: Experiment) -> None:
        """Saves the record where recovery finds it, also while the store is away."""
        write_private(self.record, json.dumps(to_json(experiment)).encode())

    def kept_record(self) -> Experiment | None:
        """The record as last saved here; None if there is none that can be read."""
        try:
            return from_json(Experiment, json.loads(self.record.read_text()))
        except (OSError, ValueError, ConfigError):
            return None

    def sync(self) -> None:
        """Brings what is kept here to the disk: while the store is away, this is the only copy.

        Raises:
            StoreError: the disk refuses.
        """
        for path in (self.record, self.context, self.folder, self.run_folder, self.open_mark.parent):
            try:
                fd = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
            except OSError as exc:
                raise unwritable(exc, path) from exc

    def exit_status(self) -> dict[str, object] | None:
        """What the guard wrote when the script ended; None if it did not get so far."""
        try:
            found = json.loads(self.exit.read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def events_since(self, offset: int) -> tuple[list[dict[str, object]], int]:
        """The hooks' complete event lines after `offset`, and the offset behind them."""
        try:
            with open(self.events, "rb") as file:
                file.seek(offset)
                data = file.read(16 << 20)
        except OSError:
            return [], offset
        whole = data[: data.rfind(b"\n") + 1]
        found = []
        for line in whole.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                found.append(event)
        return found, offset + len(whole)

    def remove(self) -> None:
        """Deletes the whole run folder.

        Raises:
            OSError: it stays, or a part of it.
        """
        try:
            shutil.rmtree(self.run_folder)
        except FileNotFoundError:  # another command removes it, too
            shutil.rmtree(self.run_folder, ignore_errors=True)

    def discard(self) -> None:
        """Ends a run of which nothing is to be left; what cannot be removed now, the next command removes."""
        try:
            self.remove()
        except OSError:
            self.unlock()
        else:
            self.release()


def _bare(experiment: Experiment) -> Experiment:
    """Which run it is, and how it ended."""
    command = Command(experiment.command.kind, experiment.command.target)
    return Experiment(
        key=experiment.key, command=command, project=experiment.project, owner=experiment.owner, kind=experiment.kind,
        status=experiment.status, exit=experiment.exit, times=experiment.times, parent=experiment.parent,
        relation=experiment.relation,
    )  # fmt: skip


def open_runs(home: Path) -> Iterator[Spool]:
    """Runs that were started here and not yet closed, alive or not."""
    try:
        names = sorted(os.listdir(home / "open"))
    except OSError:
        return
    for name in names:
        yield Spool(home, name)


def write_private(path: Path, data: bytes) -> None:
    """Replaces a file's content at once, readable by the user only.

    Raises:
        StoreError: it cannot be written; the former content stands.
    """
    part = path.with_name(path.name + ".part")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            part.unlink()
        raise unwritable(exc, path) from exc


def unwritable(exc: OSError, path: Path) -> StoreError:
    """The error for what the disk refused; `path` where the refusal names none."""
    return StoreError(
        f"cannot write {exc.filename or path}: {exc.strerror}",
        hint="free some space, or set STUDIOML_HOME to a folder that you can write",
    )
