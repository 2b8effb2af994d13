"""From a plan to a finished run: claims the key, takes the snapshot, brings artifacts in place, supervises."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ..config import Config
from ..errors import Conflict, NotFound, StoreError
from ..experiment import (
    CHILD,
    PAUSED,
    RESUMED,
    SCRIPT,
    ArtifactRef,
    Exit,
    Experiment,
    Git,
    Times,
    Variable,
    check_name,
    check_new_key,
    new_key,
)
from ..stores.layout import known_id
from ..tracking import Notify, Tracking
from . import interpreter
from .code import Code
from .host import read_host
from .inputs import FOLDERS, Inputs, bring
from .interrupts import held_interrupts
from .plan import Plan, has_workspace
from .redact import clean, redact_command, redact_params
from .script import Script, find_script, in_copy, runs_kept
from .spool import Spool, unwritable
from .supervisor import Supervisor, first_record
from .variables import lacking, recorded


def launch(
    plan: Plan, *, tracking: Tracking, config: Config, notify: Notify, started: Callable[[], None]
) -> Experiment:
    """Runs the plan in place and returns the final record.

    Args:
        started: Called when the script runs.

    Raises:
        Conflict: the key is taken.
        ConfigError: something that the plan names cannot be used; nothing is stored then.
    """
    key = check_name(plan.key, "experiment key") if plan.key is not None else new_key()
    plan = replace(plan, env={**{name: str(value) for name, value in config["env"].items()}, **plan.env})
    spool, lock = claim(plan, key, tracking)
    code: Code | None = None
    try:
        if plan.expired:
            return _expire(plan, key, tracking, spool)
        if plan.resume:
            experiment, mapping = _resume(plan, key, tracking, config, spool, notify)
        else:
            experiment, mapping, code = begin(plan, key, tracking=tracking, config=config, spool=spool, notify=notify)
        notify(f"studio run: submitted experiment {key}")
        if plan.restore is not None:
            plan = in_copy(plan, mapping)
        supervisor = Supervisor(
            plan, experiment, tracking=tracking, config=config, spool=spool, notify=notify, mapping=mapping
        )
        supervisor.delivery.code = code
        supervisor.started = started
        return supervisor.run(lock)
    except BaseException as exc:
        with held_interrupts():
            give_up(plan, spool, tracking, exc)
        raise


def give_up(plan: Plan, spool: Spool, tracking: Tracking, why: BaseException) -> None:
    """Leaves nothing of a run that did not come to its script; what the store may know already is closed."""
    kept = spool.kept_record()
    if plan.resume and (kept is None or kept.ended):
        spool.release()
    elif kept is None or (isinstance(why, Conflict) and not plan.resume):
        spool.discard()
    elif isinstance(why, KeyboardInterrupt) and not spool.exit.exists():
        end = Exit(None, int(signal.SIGINT), "interrupted", "Ctrl-C")
        try:
            tracking.records.update(spool.key, lambda e: e.with_changes(status="stopped", exit=end))
            spool.release()
        except NotFound:
            spool.discard()
        except StoreError:
            spool.unlock()
    else:
        spool.unlock()  # the next command closes it


def _expire(plan: Plan, key: str, tracking: Tracking, spool: Spool) -> Experiment:
    """Records a run whose lifetime was over before it began; it does not run."""
    experiment = first_record(plan, key, time.time())
    experiment = experiment.with_changes(status="expired", exit=Exit(None, None, "expired"))
    tracking.records.create(experiment)
    spool.discard()
    return experiment


def claim(plan: Plan, key: str, tracking: Tracking) -> tuple[Spool, int]:
    """The spool of a run that may begin, and its lock.

    Raises:
        Conflict: the key is taken.
        ConfigError: commands would read the key as something else.
    """
    spool = Spool(tracking.home, key)
    fresh = not plan.resume
    if plan.key is not None and fresh:
        check_new_key(key)
        _refuse_existing(key, tracking, spool)
    was_open = spool.open_mark.exists()
    lock = spool.lock()  # before there is anything: what is found without it belongs to nobody
    try:
        if fresh:
            _refuse_folder(spool)  # one that had this key may have ended meanwhile
        spool.create()
    except Conflict:
        if was_open:
            spool.unlock()
        else:
            spool.release()
        raise
    except BaseException:
        if fresh:
            spool.discard()
        else:
            spool.unlock()
        raise
    return spool, lock


def begin(
    plan: Plan, key: str, *, tracking: Tracking, config: Config, spool: Spool, notify: Notify
) -> tuple[Experiment, dict[str, Path], Code | None]:
    """Takes the snapshot of a new run and stores its record; returns it, where the artifacts are, and its code."""
    kept = plan.restore is not None and runs_kept(plan.restore)
    away = plan.restore is not None and has_workspace(plan.restore)  # then only what is named from `/` is found here
    script = None if kept else find_script(plan, tracking.home if away else plan.folder, config)
    code = None if kept or (away and script is None) else _code(plan, script, tracking, notify)
    experiment = first_record(plan, key, time.time())
    inputs = Inputs(plan, tracking=tracking, config=config, spool=spool, notify=notify, script=script)
    with _said():
        inputs.place()
    version: str | None = None
    packages: tuple[str, ...] = ()
    python = interpreter.of_program(plan.program) if plan.command.kind == "exec" else plan.program
    if python is not None:
        version, packages = interpreter.describe(python, tracking.home / "cache")
    ref = inputs.refs.get(SCRIPT if SCRIPT in inputs.mapping and script is not None else "workspace")
    if code is not None:
        git = code.begin(ref.manifest if ref else None, inputs.told)
    else:
        git = plan.restore.git.at_its_begin() if plan.restore is not None and plan.restore.git is not None else None
    command = replace(redact_command(plan.command), python=version, interpreter=python)
    experiment = experiment.with_changes(
        command=command, packages=packages, git=git, host=read_host(), artifacts=inputs.refs,
        env=recorded(plan.env, tracking.home),
        times=type(experiment.times)(added=experiment.times.added, started=round(time.time(), 6)),
    )  # fmt: skip
    with held_interrupts():
        spool.keep_context(tracking.url, inputs.mapping, stored=False)
        spool.keep_record(experiment)  # from here on a recovery has something to keep, and knows where
        _store(experiment, inputs.mapping, tracking, spool, notify)
    return experiment, inputs.mapping, code


def _code(plan: Plan, script: Script | None, tracking: Tracking, notify: Notify) -> Code | None:
    """What git says of the folder in which the script lies. A server waits for nothing, and asks for a wrapper only.

    A child of a run says nothing of what its patch is without: the run did, which began in the same folder as a rule.
    Kept code that runs again is as the record that it was kept with says, wherever the command was typed.
    """
    serving = plan.kind == "serving"
    if serving and not plan.code:
        return None
    quiet = serving or plan.relation == CHILD
    at = script.file.parent if script is not None else plan.folder
    folder = plan.folder if script is None or script.lies_in(plan.folder) else at
    return Code(folder, at, tracking=tracking, notify=notify, waits=not serving, quiet=quiet)


def _store(experiment: Experiment, mapping: dict[str, Path], tracking: Tracking, spool: Spool, notify: Notify) -> None:
    """Creates the record in the store, or says that this comes later."""
    try:
        tracking.records.create(experiment)
    except StoreError as exc:
        notify(f"the store cannot be written, going on in {spool.folder}: {exc}")
        spool.store_is_away = True
        with contextlib.suppress(StoreError):
            spool.sync()
        return
    with contextlib.suppress(StoreError):  # the delivery finds out by itself
        spool.keep_context(tracking.url, mapping, stored=True, store_id=known_id(tracking.store))


def _refuse_existing(key: str, tracking: Tracking, spool: Spool) -> None:
    with contextlib.suppress(NotFound, StoreError):  # a store that is away is said later, and stops no run
        tracking.records.get(key)
        raise Conflict(
            f"experiment {key} exists already", hint=f"leave -e out for a fresh key, or studio run --resume {key} …"
        )
    if spool.alive():
        raise Conflict(f"experiment {key} is running", hint="leave -e out for a fresh key")
    _refuse_folder(spool)


def _refuse_folder(spool: Spool) -> None:
    if spool.run_folder.exists():
        raise Conflict(
            f"{spool.run_folder} exists already", hint="leave -e out for a fresh key, or move that folder away"
        )


def _resume(
    plan: Plan, key: str, tracking: Tracking, config: Config, spool: Spool, notify: Notify
) -> tuple[Experiment, dict[str, Path]]:
    """The record of an ended run, running again, with its mutable artifacts and streams back in place."""
    experiment = tracking.records.get(key)
    if not experiment.ended:
        raise Conflict(f"experiment {key} is {experiment.status}", hint=f"studio runs stop {key}")
    if said := lacking(experiment, plan.env, resume=True):
        notify(said)
    _, before, _ = spool.kept_context()
    mapping = {name: path for name, path in before.items() if path.exists() and name in experiment.artifacts}
    mapping |= {"output": spool.output, "workspace": plan.folder, **{c.name: c.path for c in plan.captures}}
    with _said():
        for name, ref in experiment.artifacts.items():
            if name not in mapping:
                mapping[name] = spool.run_folder / name
                if ref.manifest is not None:
                    mapping[name] = bring(tracking, ref.manifest, mapping[name], notify)
                elif ref.mutable and name in FOLDERS:
                    mapping[name].mkdir(mode=0o700, exist_ok=True)
        _bring_streams(key, tracking, spool)
    git = _resumed_git(experiment, plan, tracking, config, notify)
    tracking.records.withdraw_stop(key)
    with held_interrupts():
        spool.keep_context(tracking.url, mapping, stored=True, store_id=known_id(tracking.store))
        env = recorded(plan.env, tracking.home)
        times = _going_on(experiment.times, time.time())
        spool.keep_record(_running_again(experiment, plan, env, times, git))  # first: what runs can be recovered
        again = tracking.records.update(key, lambda e: _running_again(e, plan, env, times, git))
        tracking.index.forget_owed()
    return again, mapping


def _going_on(times: Times, now: float) -> Times:
    """The times of a run that had ended and goes on now: what lies between is no time that it took."""
    pause = max(0.0, now - times.finished) if times.started is not None and times.finished is not None else 0.0
    return replace(times, finished=None, extra={**times.extra, PAUSED: round(times.paused + pause, 6)})


def _resumed_git(experiment: Experiment, plan: Plan, tracking: Tracking, config: Config, notify: Notify) -> Git | None:
    """The git state of the code that the run began with, and a line where it goes on with other code."""
    git = experiment.git
    if git is None or plan.restore is not None:
        return git
    code = _code(plan, find_script(plan, plan.folder, config), tracking, lambda said: None)
    try:
        now = code.now() if code is not None else git
    except TimeoutError:
        return git
    if now is not None and (now.commit, now.dirty, now.patch) == (git.commit, git.dirty, git.patch):
        return git
    changes = " with uncommitted changes" if now is not None and now.dirty else ""
    told = f"commit {(now.commit or 'none')[:12]}{changes}" if now is not None else "code outside of a git repository"
    notify(f"studio run: {experiment.key} goes on with {told}; its record keeps the code that it began with")
    line = f"after --resume it ran with {told}, which is not kept"
    return replace(git, extra={**git.extra, RESUMED: [*git.resumed, line]})


def _running_again(
    experiment: Experiment, plan: Plan, env: Mapping[str, Variable], times: Times, git: Git | None
) -> Experiment:
    """The record with what the command names now; with other arguments, what was typed before was not typed now.

    The variables are those of this run: the plan has taken over from the record what that had kept.

    The same again changes nothing.
    """
    command = redact_command(plan.command)
    same = (experiment.command.target, experiment.command.args) == (command.target, command.args)
    notes = [experiment.notes] if clean(plan.notes) in experiment.notes else [experiment.notes, clean(plan.notes)]
    new = {c.name: ArtifactRef(True) for c in plan.captures if c.name not in experiment.artifacts}
    return experiment.with_changes(
        status="running", exit=None, env=dict(env), max_duration=plan.max_duration, times=times, git=git,
        command=experiment.command if same else replace(command, python=experiment.command.python),
        params={**experiment.params, **redact_params(plan.params)},
        digests={**{n: d for n, d in experiment.digests.items() if n not in plan.params}, **plan.digests},
        given=tuple(dict.fromkeys([*(experiment.given if same else ()), *plan.given])),
        tags=tuple(dict.fromkeys([*experiment.tags, *plan.tags])), notes="\n".join(filter(None, notes)),
        metric=plan.metric or experiment.metric, artifacts={**experiment.artifacts, **new},
    )  # fmt: skip


def _bring_streams(key: str, tracking: Tracking, spool: Spool) -> None:
    """Output, metrics and media that another machine brought to the store go on here."""
    for entry in tracking.store.list(f"runs/{key}/"):
        kind, _, writer = entry.name.removeprefix(f"runs/{key}/").partition("/")
        path = {"output": spool.output, "metrics": spool.metrics / writer}.get(kind)
        if kind == "media" and writer == "index":
            path = spool.media / writer
            spool.media.mkdir(mode=0o700, exist_ok=True)
        if path is not None and not path.exists():
            tracking.store.download(entry.name, path)
    spool.exit.unlink(missing_ok=True)
    if spool.events.exists():
        with open(spool.events, "ab") as file:
            file.write(b'{"type": "began"}\n')  # what failed before this was another attempt


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """A disk that refuses is an error with a hint."""
    try:
        yield
    except OSError as exc:
        raise unwritable(exc, Path(exc.filename or "")) from exc
