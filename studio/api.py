"""Everything that `import studio` offers; resolves the configuration once, then calls the part that does the work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import config as _config
from .experiment import Experiment
from .reader import Reader
from .run.inject._studio_media import log_audio, log_figure, log_histogram, log_image, log_table, log_text
from .run.inject._studio_track import log, log_many, note, params, tags
from .tracking import Notify

if TYPE_CHECKING:
    from .doctor import Finding
    from .run.plan import Plan

__all__ = [
    "Experiment", "Studio", "log", "log_audio", "log_figure", "log_histogram", "log_image",
    "log_many", "log_table", "log_text", "note", "open_studio", "params", "tags",
]  # fmt: skip


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


class Studio(Reader):
    """One store as a user sees it. Each command of the command line is one method of this class."""

    # ---- runs

    def plan(self, kind: str, words: Sequence[str], **options: Any) -> Plan:
        """What `studio run` with these words and options would run; see `run/commandline.py`."""
        from .run.commandline import Options, make_plan

        script = kind == "script or key" and (len(words) > 1 or Path(words[0]).exists())  # nothing is looked up then
        if (kind in ("script or key", "key") and not script) or options.get("resume") or options.get("reuse"):
            self._refresh()
        return make_plan(kind, words, Options(**options), tracking=self.tracking, config=self.config)

    def detach(self, plan: Plan) -> str:
        """Runs a plan in the background and returns its key once its script runs."""
        from .run.detach import detach

        return detach(
            plan, lambda plan, notify, started: Studio(self.config, notify=notify).run(plan, started), self.notify
        )

    def run(self, plan: Plan, started: Callable[[], None] = lambda: None) -> int:
        """Runs a plan in place and returns the exit code for the shell; `started` is called when the script runs."""
        from .run.commandline import not_kept
        from .run.ending import shell_code
        from .run.launch import launch
        from .run.left_out import lacking_file
        from .run.report import closing_line, kept_models, lacking_metric
        from .run.variables import lacking

        self.recover()
        if plan.restore is not None:
            env = {**self.config["env"], **plan.env}
            for said in filter(None, (*not_kept(plan.restore), lacking(plan.restore, env))):
                self.notify(said)
        experiment = launch(plan, tracking=self.tracking, config=self.config, notify=self.notify, started=started)
        if plan.restore is not None and (said := lacking_file(experiment, plan.restore)):
            self.notify(said)
        self.recover(again=True)  # children of it that its script left open
        if said := lacking_metric(experiment):
            self.notify(said)
        setting = self.config.settings["store"]
        where = f" --store {setting.value}" if setting.origin == "--store" else ""
        modeldir = self.home / "experiments" / experiment.key / "modeldir"
        for said in kept_models(experiment, modeldir, where):
            self.notify(said)
        self.notify(closing_line(experiment, modeldir, where, descendants=lambda: self.descendants([experiment.key])))
        return shell_code(experiment)

    def restore_environment(self, key: str, *, without: Sequence[str] = ()) -> str:
        """The interpreter of an environment with the packages that an experiment ran with, but for those named."""
        from .run.environment import restore

        return restore(self.tracking.records.get(key), self.home, self.notify, without=without)

    # ---- changing

    def stop(self, key: str) -> bool:
        """Asks a running experiment to stop; False if it is over, or lost, already."""
        from .run.control import stop

        by = f"{self.config['owner']}@{os.uname().nodename}"
        return stop(self.tracking, self._shown(key), by)

    def wait(self, key: str, *, timeout_s: float) -> Experiment:
        """The record once the experiment has ended, or as it is when the time is over."""
        from .run.control import wait

        return wait(self.tracking, key, timeout_s=timeout_s, look=self.recover_one)

    def delete(self, key: str, *, more: bool = False) -> None:
        """Removes an experiment's record, be it damaged or not, its streams and its local folder.

        Args:
            more: Others are deleted at once after it, the last one without `more`: then the index is cleaned.

        Raises:
            Conflict: it is running; stop it first.
            StoreError: the store, or the local folder, cannot be changed.
        """
        from .run.control import delete

        try:
            damaged = key in self.damaged()
            running = self.tracking.index.beats(key) if damaged else self._shown(key).status == "running"
            delete(self.tracking, key, running=running, more=more)
        except BaseException:
            self.tracking.index.settle()  # those that were deleted before this one
            raise
        self._tell_unclean()

    def tag(self, key: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Experiment:
        """Adds and removes tags."""
        from .run.redact import check_tag

        new = [check_tag(t) for t in add]
        gone = set(remove)
        return self._change(
            key, lambda e: e.with_changes(tags=tuple(t for t in dict.fromkeys([*e.tags, *new]) if t not in gone))
        )

    def note(self, key: str, text: str) -> Experiment:
        """Replaces the note."""
        from .run.redact import clean

        return self._change(key, lambda e: e.with_changes(notes=clean(text)))

    def _change(self, key: str, change: Callable[[Experiment], Experiment]) -> Experiment:
        """Changes a record, and leaves nothing of what it said before on this machine."""
        from .run.spool import Spool

        after = self.tracking.records.update(key, change)
        Spool(self.home, key).forget()
        self.tracking.index.forget_owed()
        self._tell_unclean()
        return after

    def _tell_unclean(self) -> None:
        if unclean := self.tracking.index.unclean:
            self.notify(f"{unclean}: its files may hold what was deleted until the next studio command")

    def artifact(self, key: str, name: str, target: Path, *, overwrite: bool = False) -> Path:
        """Brings an artifact of an experiment to `target` and returns where it is.

        Raises:
            ArtifactNotFound: the experiment has none of this name.
            Conflict: `target` has other files of the same names, and they are not to be overwritten.
        """
        from .run.inputs import bring, find_artifact

        ref = find_artifact(self.tracking.records.get(key), name)
        if not overwrite:
            self.tracking.artifacts.check_target(str(ref.manifest), target)
        return bring(self.tracking, str(ref.manifest), target, self.notify)

    def patch(self, key: str) -> bytes:
        """The uncommitted changes that an experiment ran with, as `git apply` takes them on a clean checkout.

        Raises:
            ArtifactNotFound: it ran outside a git work tree, or with no changes, or they were not kept.
        """
        from .errors import ArtifactNotFound
        from .run.code import without

        experiment = self.tracking.records.get(key)
        if experiment.git is None or experiment.git.patch is None:
            why = "has no uncommitted changes kept"
            if experiment.git is None:
                why = "is a server: none are kept" if experiment.kind == "serving" else "ran outside a git work tree"
            raise ArtifactNotFound(f"experiment {experiment.key} {why}", hint=f"studio runs show {experiment.key}")
        for line in without(experiment.git):
            self.notify(f"not in the patch: {line}")
        return self.tracking.artifacts.read_blob(experiment.git.patch)

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
