"""From the words of `studio run` to a plan: a new script, an experiment again, or one that goes on."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import Config
from ..errors import ConfigError
from ..experiment import (
    CHILD,
    RERUN,
    Command,
    Experiment,
    Resources,
    check_name,
    check_new_key,
    check_variable,
    kept_script,
    modules_of,
    new_key,
)
from ..tracking import Tracking
from ..tracking.find import find_experiment
from ..tracking.named_secrets import remember_file, remember_value, remember_words
from ..units import check_duration, parse_size
from .inputs import find_artifact
from .plan import (
    Plan,
    Reuse,
    has_workspace,
    make_command,
    parse_capture,
    parse_metric,
    parse_pairs,
    parse_reuse,
    parse_value,
)
from .redact import (
    MASK,
    check_tag,
    hides,
    learn,
    names_secret_file,
    redact_params,
    secrets_of,
    use_names,
    written_alone_in,
    written_in,
)
from .script import has_code, has_program
from .variables import digests_of, given_again

MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `studio run`, as they were typed; each is described by `studio run --help`."""

    experiment: str | None = None
    capture: Sequence[str] = ()
    capture_once: Sequence[str] = ()
    capture_limit: str | None = None
    reuse: Sequence[str] = ()
    metric: str | None = None
    max_duration: str | None = None
    lifetime: str | None = None
    tag: Sequence[str] = ()
    note: str | None = None
    param: Sequence[str] = ()
    env: Sequence[str] = ()
    python: str | None = None
    no_autolog: bool = False
    no_workspace: bool = False
    resume: str | None = None


def make_plan(kind: str, words: Sequence[str], options: Options, *, tracking: Tracking, config: Config) -> Plan:
    """The plan that `studio run` was asked for.

    Args:
        kind: How the first word was written: `script`, `module`, `exec`, `key`, or `script or key`.
        words: The script, module, program or key, then its arguments.

    Raises:
        ConfigError: a word that cannot be used; nothing was started or stored.
        ExperimentNotFound: the experiment to run again or to continue is not there.
    """
    use_names(config)
    folder = _current_folder()
    key, before = options.experiment, None
    env: Mapping[str, str] = {}
    if key is not None and options.resume is None:
        check_new_key(key)
    if options.resume is not None:
        before = find_experiment(tracking, options.resume, project=config["project"], owner=config["owner"])
        if options.experiment not in (None, before.key):
            raise ConfigError(
                f"--resume goes on in {before.key}, -e {options.experiment} names another experiment",
                hint=f"leave -e out; for a new experiment with its code and inputs: studio run {before.key}",
            )
        _check_resume(options, before)
        key, env = before.key, given_again(before, os.environ)
        if not words:
            kind, words = before.command.kind, [before.command.target, *_arguments(before, tracking)]
        before = None
    elif kind == "script or key" and ((folder / words[0]).exists() or len(words) > 1):
        kind = "script"
    elif kind in ("script or key", "key"):
        kind, words, before = _again(words[0], tracking, config)
        key, env = key or new_key(), given_again(before, os.environ)
    python = options.python or config["python"] or None
    restored = before is not None and (has_program(before, tracking) if kind == "exec" else has_code(before))
    command, program, argv = make_command(kind, words[0], words[1:], folder=folder, python=python, restored=restored)
    parent = _parent()
    plan = Plan(
        command=command, program=program, argv=argv, folder=folder, key=key, owner=config["owner"],
        project=check_name(config["project"], "project"), parent=parent,
        relation=CHILD if parent is not None else None,
        resources=Resources(**config["resources_needed"]), resume=options.resume is not None,
    )  # fmt: skip
    plan = _with_options(plan, options, tracking, config)
    plan = replace(plan, env={**env, **plan.env})
    if before is not None:
        typed = {name: before.params[name] for name in before.given if name in before.params}
        params, metric = {**typed, **plan.params}, plan.metric or before.metric
        given = tuple(dict.fromkeys([*before.given, *plan.given]))
        plan = replace(plan, restore=before, parent=before.key, relation=RERUN)
        digests = {**{name: before.digests[name] for name in typed if name in before.digests}, **plan.digests}
        digests = {name: one for name, one in digests.items() if name in plan.digests or name not in plan.params}
        plan = replace(plan, params=params, given=given, metric=metric, digests=digests)
    return plan


def _with_options(plan: Plan, options: Options, tracking: Tracking, config: Config) -> Plan:
    typed = parse_pairs(options.param, "--param")
    pairs = {name: parse_value(value) for name, value in typed.items()}
    env = {check_variable(name, value): value for name, value in parse_pairs(options.env, "--env").items()}
    if words := _own_words(plan.command):
        remember_words(tracking.home, plan.folder, words)
    secrets = tuple(secrets_of([*plan.command.args, *options.capture_once], typed, env))
    secrets += _secrets_in_files({**config["env"], **env}, plan.folder, tracking.home)
    for name, value in env.items():
        if hides(name, value) and not os.path.exists(plan.folder / value):
            remember_value(tracking.home, f"the variable {name}", value)
    learn(secrets)
    if plan.command.kind == "script":
        secrets += tuple(written_in(plan.folder / plan.command.target))  # such as an option's default
    plan = replace(
        plan,
        captures=(
            *(parse_capture(text, mutable=True, folder=plan.folder) for text in options.capture),
            *(parse_capture(text, mutable=False, folder=plan.folder) for text in options.capture_once),
        ),
        capture_limit=_capture_limit(options.capture_limit, config),
        reuses=tuple(_known(parse_reuse(text), tracking, config) for text in options.reuse),
        env=env,
        params=redact_params(pairs),
        given=tuple(pairs),
        digests=digests_of(pairs, tracking.home),
        secrets=secrets,
        tags=tuple(check_tag(t) for t in options.tag),
        notes=options.note or "",
        metric=parse_metric(options.metric) if options.metric is not None else None,
        max_duration=_limit(options.max_duration, "--max-duration"),
        lifetime=_limit(options.lifetime, "--lifetime", config["experiment_lifetime"]),
        workspace=not options.no_workspace,
        autolog=not options.no_autolog,
    )
    _refuse_twice([*(c.name for c in plan.captures), *(r.name for r in plan.reuses)])
    return plan


def _secrets_in_files(variables: Mapping[str, object], folder: Path, home: Path) -> tuple[str, ...]:
    """What stands in files that variables of `--env`, or of the setting `env`, name as secret; no run captures them."""
    out: list[str] = []
    for name, value in variables.items():
        if isinstance(value, str) and value and names_secret_file(name):
            path = folder / os.path.expanduser(value)
            if path.is_file():
                remember_file(home, f"the variable {name}", path)
                out += written_alone_in(path)
    return tuple(out)


def _own_words(command: Command) -> list[str]:
    """The words of a command that is studio's own, or of a shell that runs one; none of any other."""
    if command.kind == "module":
        return list(command.args) if command.target.partition(".")[0] == "studio" else []
    words = [command.target, *command.args] if command.kind == "exec" else []
    for word in tuple(words):
        if "studio" in word and " " in word:
            with contextlib.suppress(ValueError):
                words += shlex.split(word)
    own = any(re.fullmatch(r"studio(?:[.-]\w+)*", os.path.basename(word)) for word in words)
    return words if own else []


def _check_resume(options: Options, before: Experiment) -> None:
    """Refuses options that say how a run begins: this one has begun."""
    given = {"--capture-once": options.capture_once, "--reuse": options.reuse, "--lifetime": options.lifetime}
    unfit = next((option for option, value in given.items() if value), None)
    fixed = {name for name, ref in before.artifacts.items() if not ref.mutable}
    taken = next((text for text in options.capture if text.rpartition(":")[2] in fixed), None)
    if unfit or taken:
        raise ConfigError(
            f"{unfit} cannot be given with --resume: {before.key} has begun" if unfit
            else f"--capture {taken}: {before.key} has captured this one once, at its start",
            hint=f"for a new experiment with its code and inputs: studio run {before.key}",
        )  # fmt: skip


def _parent() -> str | None:
    """The run whose script started this one, if that is so."""
    return os.environ.get("STUDIOML_EXPERIMENT") if os.environ.get("STUDIOML_SPOOL") else None


def _limit(text: str | None, option: str, default_s: float = 0.0) -> float | None:
    """Seconds of an option that limits a time; None for no limit."""
    return (default_s if text is None else check_duration(text, option)) or None


def _capture_limit(text: str | None, config: Config) -> int | None:
    """Bytes that are kept of each captured artifact; None = all."""
    try:
        return (config["capture_limit"] if text is None else parse_size(text)) or None
    except ConfigError as exc:
        raise ConfigError(f"--capture-limit: {exc.message}", hint=exc.hint) from exc


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as exc:
        raise ConfigError("the current folder is not there any more", hint="cd to the project's folder") from exc


def not_kept(experiment: Experiment) -> Iterator[str]:
    """What to say of an experiment that runs again with code that was not kept."""
    target, kind = experiment.command.target, experiment.command.kind
    script = kept_script(experiment) is not None
    if kind != "exec" and not script and not has_workspace(experiment):
        yield f"the code of {experiment.key} was not captured: it runs as it is now in this folder"
    elif kind == "script" and not script and os.path.isabs(target):
        yield f"{target} lay outside of the folder that was captured: it runs as it is now"
    if has_workspace(experiment) or script:
        names = [target if one.name == "__main__" else one.name for one in modules_of(experiment)]
        more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
        if names:
            yield f"{', '.join(names[:MOST_NAMES])}{more}: not captured with {experiment.key}, so as it is now"


def _again(word: str, tracking: Tracking, config: Config) -> tuple[str, Sequence[str], Experiment]:
    """Kind, words and record of an experiment that is to run again.

    Raises:
        ConfigError: it is a server, or its script was not kept.
    """
    found = find_experiment(tracking, word, project=config["project"], owner=config["owner"])
    command = found.command
    if found.kind == "serving":
        raise ConfigError(f"{found.key} was a server, no script", hint="studio serve makes a new one")
    kept = has_workspace(found) and kept_script(found) is None
    if command.kind == "script" and kept and command.target.startswith("../"):
        raise ConfigError(
            f"{command.target} lay outside of the folder that was captured, so that it was not kept",
            hint="run it anew: studio run " + " ".join([command.target, *command.args]),
        )
    return command.kind, [command.target, *_arguments(found, tracking)], found


def _arguments(experiment: Experiment, tracking: Tracking) -> tuple[str, ...]:
    faults = tracking.index.faulty().get(experiment.key, {})
    for place, why in faults.items():
        if place.partition(".")[0] in ("command", "artifacts"):
            raise ConfigError(
                f"{experiment.key} cannot run again as it was: {place} of its record cannot be read: {why}",
                hint="run the script again: studio run " + experiment.command.target,
            )
    if any(MASK in arg for arg in experiment.command.args):
        raise ConfigError(
            f"an argument of {experiment.key} was a secret and is not kept",
            hint="run the script again with its arguments: studio run "
            + " ".join([experiment.command.target, *experiment.command.args]),
        )
    return experiment.command.args


def _known(reuse: Reuse, tracking: Tracking, config: Config) -> Reuse:
    """The reuse with the whole key of its experiment, whose artifact exists."""
    experiment = find_experiment(tracking, reuse.key, project=config["project"], owner=config["owner"])
    if reuse.artifact != "output":
        find_artifact(experiment, reuse.artifact)
    return replace(reuse, key=experiment.key)


def _refuse_twice(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two artifacts are called {name!r}", hint="give each --capture and --reuse its own name")
