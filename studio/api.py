"""Everything that `import studio` offers; resolves the configuration once, then calls the part that does the work."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import config as _config
from .config import Config
from .errors import ArtifactNotFound, Conflict, NotFound
from .experiment import Experiment, Summary, check_name
from .run.inject._studio_media import log_audio, log_figure, log_histogram, log_image, log_table, log_text
from .run.inject._studio_track import log, log_many, note, params, tags
from .tracking import Notify, Tracking

if TYPE_CHECKING:
    from .doctor import Finding
    from .run.inprocess import Run
    from .run.plan import Plan
    from .tracking.compare import Difference
    from .tracking.media import Media

__all__ = [
    "Experiment", "Studio", "artifact", "experiments", "log", "log_audio", "log_figure", "log_histogram", "log_image",
    "log_many", "log_table", "log_text", "note", "open_studio", "params", "start", "tags",
]  # fmt: skip

TAIL_S = 0.2
_log = logging.getLogger("studio")


def open_studio(
    *,
    store: str | None = None,
    project: str | None = None,
    verbose: str | None = None,
    file: str | None = None,
    notify: Notify | None = None,
) -> Studio:
    """The store that flags, environment and files choose.

    Args:
        store: A store's URL, before every other setting.
        project: A project, likewise.
        verbose: A log level, likewise.
        file: A `--config` file.
        notify: Takes lines for the user, such as warnings; default: they are dropped.
    """
    flags = {"store": store, "project": project, "verbose": verbose}
    return Studio(_config.load(flags, file=file), notify=notify or (lambda line: None))


class Studio:
    """One store as a user sees it. Each command of the command line is one method of this class."""

    def __init__(self, config: Config, *, notify: Notify) -> None:
        self.config = config
        self.notify = notify
        self.home = _config.home()
        self.tracking = Tracking(config["store"], self.home, config["lost_after"])
        self._recovered = False
        self._named: set[str] = set()

    # ---- runs

    def plan(self, kind: str, words: Sequence[str], **options: Any) -> Plan:
        """What `studio run` with these words and options would run; see `run/commandline.py`."""
        from .run.commandline import Options, make_plan

        if kind == "script or key" or options.get("resume") or options.get("reuse"):
            self._refresh()
        return make_plan(kind, words, Options(**options), tracking=self.tracking, config=self.config)

    def detach(self, plan: Plan) -> str:
        """Runs a plan in the background and returns its key once it is stored."""
        from .run.detach import detach

        return detach(plan, lambda plan, notify: Studio(self.config, notify=notify).run(plan))

    def run(self, plan: Plan) -> int:
        """Runs a plan in place and returns the exit code for the shell."""
        from .run.ending import shell_code
        from .run.launch import launch
        from .run.report import closing_line

        self.recover()
        experiment = launch(plan, tracking=self.tracking, config=self.config, notify=self.notify)
        setting = self.config.settings["store"]
        where = f" --store {setting.value}" if setting.origin == "--store" else ""
        self.notify(closing_line(experiment, self.home / "experiments" / experiment.key / "modeldir", where))
        return shell_code(experiment)

    def recover(self) -> None:
        """Closes what died on this machine since the last command; cheap when nothing did."""
        if self._recovered or not (self.home / "open").is_dir():
            return
        self._recovered = True
        from .run.recover import recover

        recover(self.tracking, config=self.config, notify=self.notify)

    # ---- reading

    def experiment(self, word: str) -> Experiment:
        """The experiment that a key, `last` or a unique prefix means.

        Raises:
            ExperimentNotFound: none does.
            ConfigError: several keys begin so.
        """
        from .tracking.find import find_experiment

        self._refresh()
        return find_experiment(self.tracking, word, project=self._project(), owner=self.config["owner"])

    def experiments(
        self,
        query: str = "",
        *,
        project: str | None = None,
        owner: str | None = None,
        sort: str = "-added",
        limit: int | None = 50,
        offset: int = 0,
    ) -> list[Experiment]:
        """Experiments that fit a query, sorted.

        Args:
            query: As in `metrics.val_acc.max > 0.9 and params.opt = "adam"`; empty = all.
            project: Only those of this project.
            owner: Only those of this user.
            sort: A field; `-` before it sorts downwards.
            limit: At most so many; None = all.
            offset: So many are left out first.
        """
        self._refresh()
        return self.tracking.index.search(query, project=project, owner=owner, sort=sort, limit=limit, offset=offset)

    def projects(self) -> list[tuple[str, int]]:
        """(name, number of experiments) of every project."""
        self._refresh()
        return self.tracking.index.projects()

    def owners(self) -> list[tuple[str, int]]:
        """(name, number of experiments) of every owner."""
        self._refresh()
        return self.tracking.index.owners()

    def summary(self, experiment: Experiment) -> Mapping[str, Summary]:
        """Last, min, max of each metric."""
        return experiment.summary

    def output(self, key: str, *, follow: bool = False, start: int = 0) -> Iterator[bytes]:
        """The output's bytes from offset `start`; with `follow` until the experiment ends."""
        import time

        name, at = f"runs/{key}/output", start
        while True:
            ended = not follow or self.tracking.records.get(key).ended
            try:
                data, _ = self.tracking.store.read(name, (at, at + (8 << 20)))
            except NotFound:
                data = b""
            if data:
                at += len(data)
                yield data
            elif ended:
                return
            else:
                time.sleep(TAIL_S)
                self.recover_one(key)

    def media(self, key: str) -> Media:
        """What `studio.log_image` and the like kept of an experiment, while it runs too."""
        from .tracking.media import Media

        return Media.from_store(self.tracking.store, self.tracking.records.get(key).key)

    def recover_one(self, key: str) -> None:
        """Looks whether a run that is followed died meanwhile."""
        if (self.home / "open" / key).exists():
            self._recovered = False
            self.recover()

    def compare(self, keys: Sequence[str], *, tolerance: float = 1e-6) -> list[Difference]:
        """Everything in which experiments differ; values of curves within the relative tolerance are equal."""
        from .tracking.compare import compare

        return compare([self.tracking.records.get(key) for key in keys], self.tracking, tolerance=tolerance)

    def export(self, target: Path, query: str = "", *, sort: str = "-added", curves: bool = False) -> int:
        """Writes experiments (or their curves) to a .csv, .json or .parquet file; returns the number of rows."""
        from .tracking.export import write

        return write(target, self.experiments(query, sort=sort, limit=None), self.tracking, curves=curves)

    def restore_environment(self, key: str) -> str:
        """The interpreter of an environment with the packages that an experiment ran with."""
        from .run.environment import restore

        return restore(self.tracking.records.get(key), self.home, self.notify)

    # ---- changing

    def stop(self, key: str) -> bool:
        """Asks a running experiment to stop; False if it is over, or lost, already."""
        experiment = self._shown(key)
        if experiment.ended:
            return False
        if experiment.status == "waiting":
            from .experiment import Exit

            self.tracking.records.update(
                key, lambda e: e.with_changes(status="stopped", exit=Exit(None, None, "stopped"))
            )
            return True
        self.tracking.records.request_stop(key)
        return True

    def wait(self, key: str, *, timeout_s: float) -> Experiment:
        """The record once the experiment has ended, or as it is when the time is over."""
        import time

        until = time.monotonic() + timeout_s
        while True:
            experiment = self.tracking.records.get(key)
            if experiment.ended or time.monotonic() > until:
                return experiment
            time.sleep(TAIL_S)
            self.recover_one(key)

    def delete(self, key: str) -> None:
        """Removes an experiment's record, streams and local folder.

        Raises:
            Conflict: it is running; stop it first.
        """
        from .run.spool import Spool

        spool = Spool(self.home, key)
        if spool.alive() or self._shown(key).status == "running":
            raise Conflict(f"experiment {key} is running", hint=f"studio runs stop {key}")
        self.tracking.records.delete(key)
        spool.remove()
        spool.open_mark.unlink(missing_ok=True)

    def tag(self, key: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Experiment:
        """Adds and removes tags."""
        new = [check_name(t, "tag") for t in add]
        gone = set(remove)
        return self.tracking.records.update(
            key, lambda e: e.with_changes(tags=tuple(t for t in dict.fromkeys([*e.tags, *new]) if t not in gone))
        )

    def note(self, key: str, text: str) -> Experiment:
        """Replaces the note."""
        return self.tracking.records.update(key, lambda e: e.with_changes(notes=text))

    def artifact(self, key: str, name: str, target: Path) -> Path:
        """Brings an artifact of an experiment to `target` and returns where it is.

        Raises:
            ArtifactNotFound: the experiment has none of this name.
        """
        from .run.inputs import bring, find_artifact

        ref = find_artifact(self.tracking.records.get(key), name)
        return bring(self.tracking, str(ref.manifest), target, self.notify)

    # ---- serving

    def serve(self, what: str | None, options: Sequence[str] = (), *, wrapper: str | None = None) -> int:
        """Serves a model, as an experiment of kind `serving`, until it is stopped or unused; returns the exit code.

        Args:
            what: A key, `last`, the beginning of a key, or a path to checkpoints or a wrapper; None = wrapper alone.
            options: Further words for `studio.serve_main`.
            wrapper: `FILE[:attribute]` with `create_model(modeldir)`.
        """
        from .fleet.serving import plan_serving

        self._refresh()
        return self.run(
            plan_serving(
                what, options, tracking=self.tracking, config=self.config, project=self._project(), wrapper=wrapper
            )
        )

    # ---- the house

    def rebuild_index(self) -> int:
        """Makes the index anew from the store; returns the number of experiments."""
        count = self.tracking.index.rebuild()
        self._name_broken()
        return count

    def examine(self) -> list[Finding]:
        """What works on this machine and what does not."""
        from .doctor import examine

        return examine(self.tracking, self.config)

    def _shown(self, key: str) -> Experiment:
        """The experiment with the status that people see: `lost` if its heartbeat is too old."""
        self.tracking.index.sync()
        found = self.tracking.index.search(f'key = "{key}"', limit=1)
        return found[0] if found else self.tracking.records.get(key)

    def _refresh(self) -> None:
        self.recover()
        self.tracking.index.sync()
        self._name_broken()

    def _name_broken(self) -> None:
        for name in self.tracking.index.broken():
            if name not in self._named:
                self.notify(f"records/{name.removeprefix('records/')} cannot be read as a record and is left out")
                self._named.add(name)

    def _project(self) -> str | None:
        setting = self.config.settings["project"]
        return None if setting.origin == "default" else str(setting.value)


def experiments(query: str = "", *, sort: str = "-added", limit: int | None = None) -> list[Experiment]:
    """Experiments of the configured store that fit a query."""
    return open_studio().experiments(query, sort=sort, limit=limit)


def artifact(name: str) -> Path:
    """The path of an artifact of this run, such as `modeldir`; what is written there is captured.

    Outside a run it is `../<name>`, as with `fs_tracker.get_artifact`; nothing is made there.

    Raises:
        ArtifactNotFound: this run has none of this name.
    """
    from .fs_tracker import get_artifact, get_artifacts

    path = get_artifact(name)
    if path is None:
        raise ArtifactNotFound(
            f"this run has no artifact {name!r}", hint="it has: " + ", ".join(sorted(get_artifacts()))
        )
    return Path(path)


def start(
    project: str | None = None,
    *,
    key: str | None = None,
    tags: Iterable[str] = (),
    notes: str = "",
    store: str | None = None,
) -> Run:
    """Tracks the code that runs in a `with` block, without the runner: from a notebook, an IDE or a batch system.

    Inside a `studio run` it joins that run and starts none of its own.

    Args:
        project: Project of the new experiment; default: the configured one.
        key: Its key; default: a fresh one.
        tags: Its tags.
        notes: Its note.
        store: A store's URL; default: the configured one.

    Returns:
        A context manager whose value has `key`, `log`, `params`, `artifact(name)` and `folder`.
    """
    from .run.inprocess import InProcessRun, Run

    if os.environ.get("STUDIOML_EXPERIMENT") and os.environ.get("STUDIOML_SPOOL"):
        from .fs_tracker import get_artifacts

        return Run(os.environ["STUDIOML_EXPERIMENT"], get_artifacts())
    studio = open_studio(store=store, project=project, notify=_log.warning)
    studio.recover()
    return InProcessRun(
        tracking=studio.tracking, config=studio.config, key=key, tags=tags, notes=notes, notify=_log.warning
    )
