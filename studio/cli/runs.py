"""`studio runs`: experiments listed, shown, followed, stopped, changed and deleted."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from ..errors import nearest
from ..units import check_duration
from . import columns
from .groups import Suggesting, complete_keys
from .options import confirm, print_code, print_json, print_table, say, settings
from .runs_media import media
from .runs_study import compare, export, rerun

if TYPE_CHECKING:
    from ..api import Studio


@click.group(cls=Suggesting)
def command() -> None:
    """List, show, follow, stop, change and delete experiments."""


@command.command("list")
@click.argument("words", nargs=-1, metavar="[QUERY | all | project P | user U | users | projects]")
@click.option(
    "--sort", default="-added", show_default=True, metavar="FIELD", help="Field to sort by; - before it: downwards."
)
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, metavar="N", help="At most N; 0 = all.")
@click.option("--columns", "names", metavar="A,B,…", help="Columns: key, status, metrics.NAME[.max], params.NAME, …")
@click.option("--metric", metavar="NAME[.min|.max]", help="Show this metric and sort by it.")
@click.option("--tree", "as_tree", is_flag=True, help="Each below the run that it is a child of, with all children.")
@click.option("--short", "-s", is_flag=True, help="Keys only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@settings
def list_(
    words: tuple[str, ...],
    sort: str,
    limit: int,
    names: str | None,
    metric: str | None,
    as_tree: bool,
    short: bool,
    as_json: bool,
    *,
    studio: Studio,
) -> None:
    """List experiments, newest first: yours, or those that a query fits.

    A query is as in:  metrics.val_acc.max > 0.9 and (params.opt = "adam" or tags ~ "v2.*")
    """
    if words in (("users",), ("projects",)):
        _count(words[0], as_json, studio)
        return
    chosen = columns.check(names) if names else list(columns.DEFAULT)
    if metric:
        column, lowest_first = columns.metric(metric)
        chosen = [column if c == "metric" else c for c in chosen]
        sort = column if lowest_first else f"-{column}"
    query, project, owner = _scope(words, studio)
    found = studio.experiments(query, project=project, owner=owner, sort=sort, limit=(limit or None) and limit + 1)
    studio.check_columns(chosen)
    more = bool(limit) and len(found) > limit
    shown = list(found[:limit] if limit else found)
    depths = [0] * len(shown)
    if as_tree:
        from .tree import tree

        lines = tree(shown, lambda query: studio.experiments(query, limit=None))
        shown, depths = [e for e, _ in lines], [depth for _, depth in lines]
    if as_json:
        from ..experiment import to_json

        print_json({"experiments": [to_json(e) for e in shown], "next": limit if more else None})
    elif short:
        for experiment in shown:
            click.echo(experiment.key)
    elif not shown:
        say(_none(query, project, owner, studio))
    else:
        now = time.time()
        if not names and any(columns.why(e.exit) for e in found):
            chosen.append("error")
        print_table(
            [c.removeprefix("metrics.") for c in chosen],
            (
                ["  " * depth + first, *others]
                for (first, *others), depth in zip(
                    ([columns.cell(e, c, now) for c in chosen] for e in shown), depths, strict=True
                )
            ),
        )
        if more:
            say(f"the first {limit}; --limit 0 lists all")


def _count(what: str, as_json: bool, studio: Studio) -> None:
    rows = studio.owners() if what == "users" else studio.projects()
    if as_json:
        print_json({what: [{"name": name, "experiments": count} for name, count in rows]})
    else:
        print_table([what.removesuffix("s"), "experiments"], ([name, str(count)] for name, count in rows))


def _scope(words: tuple[str, ...], studio: Studio) -> tuple[str, str | None, str | None]:
    """Query, project and owner that the words of `list` mean."""
    project = studio.asked_project
    match words:
        case () | ("user",):
            return "", project, _mine(studio)
        case ("all", *query):
            return " ".join(query), project, None
        case ("project", name, *query):
            return " ".join(query), name, None
        case ("user", name, *query):
            return " ".join(query), project, name
        case ("project",):
            raise click.UsageError("which project? studio runs list project NAME")
        case _:
            return " ".join(words), project, None


def _none(query: str, project: str | None, owner: str | None, studio: Studio) -> str:
    """What is told in place of an empty list: which of the restrictions nothing meets, and what does."""
    for kind, name, known in (("project", project, studio.projects()), ("user", owner, studio.owners())):
        if name is not None and known and name not in dict(known) and (kind == "project" or owner != _mine(studio)):
            hint = nearest(name, dict(known)) or f"studio runs list {kind}s shows them"
            return f"no experiments: there is no {kind} {name!r}; {hint}"
    where = f" in project {project!r}" if project else ""
    if query:
        return f"no experiments{where} fit"
    if not studio.experiments("", project=project, limit=1):
        return f"no experiments{where} yet: studio run train.py makes one"
    return f"no experiments of {'yours' if owner == _mine(studio) else owner}{where}: studio runs list all"


def _mine(studio: Studio) -> str:
    return str(studio.config["owner"])


@command.command()
@click.argument("key", shell_complete=complete_keys)
@click.option("--json", "as_json", is_flag=True, help="The record as JSON.")
@click.option("--patch", is_flag=True, help="Its uncommitted changes instead, for `git apply`.")
@settings
def show(key: str, as_json: bool, patch: bool, *, studio: Studio) -> None:
    """Show one experiment: command, status, code, parameters, metrics, artifacts."""
    from ..experiment import to_json

    experiment = studio.experiment(key)
    if patch:
        print_code(studio.patch(experiment.key).splitlines(keepends=True))
        return
    if as_json:
        children = [child.key for child in studio.children(experiment.key)]
        print_json({**to_json(experiment), **({"children": children} if children else {})})
        return
    from .sheet import sheet

    for line in sheet(experiment, studio.media(experiment.key).names(), studio.children(experiment.key)):
        click.echo(line)


@command.command()
@click.argument("key", shell_complete=complete_keys)
@click.option("--follow", "-f", is_flag=True, help="Go on until the experiment ends.")
@settings
def logs(key: str, follow: bool, *, studio: Studio) -> None:
    """Write an experiment's output, byte for byte.

    A terminal gets its colours, and nothing else that it would obey.
    """
    for data in studio.output(studio.experiment(key).key, follow=follow):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@command.command()
@click.argument("keys", nargs=-1, required=True, shell_complete=complete_keys, metavar="KEY…")
@click.option("--timeout", default="30", metavar="DURATION", help="Longest wait for the end; 0 = none. [30]")
@settings
def stop(keys: tuple[str, ...], timeout: str, *, studio: Studio) -> int:
    """Stop running experiments: SIGTERM, after the grace time SIGKILL, last captures kept."""
    wait_s = check_duration(timeout, "--timeout")
    found = [studio.experiment(key) for key in keys]
    asked = [e.key for e in found if studio.stop(e.key)]
    for experiment in found:
        if experiment.key not in asked:
            say(f"{experiment.key} is over already: {experiment.status}")
    late = 0
    for key in asked:
        experiment = studio.wait(key, timeout_s=wait_s)
        late += not experiment.ended
        say(
            f"{key} {experiment.status}"
            + ("" if experiment.ended else f"; it was asked to stop and still runs after {wait_s:g} s")
        )
    return 5 if late else 0


@command.command()
@click.argument("keys", nargs=-1, required=True, shell_complete=complete_keys, metavar="KEY…")
@click.option("--children", is_flag=True, help="Their children too, and the children of those.")
@click.option("--exact", is_flag=True, help="Each KEY is a whole key: neither `last` nor the beginning of one.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@settings
def delete(keys: tuple[str, ...], children: bool, exact: bool, yes: bool, *, studio: Studio) -> None:
    """Delete experiments: records, output, metrics, media and local folders.

    Models that were published stay, and so do the contents of artifacts, which other experiments may share.
    """
    _delete(keys, children, yes, studio, exact=exact)


@command.command()
@click.argument("keys", nargs=-1, required=True, shell_complete=complete_keys, metavar="KEY…")
@click.option("--children", is_flag=True, help="Their children too, and the children of those.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@settings
def kill(keys: tuple[str, ...], children: bool, yes: bool, *, studio: Studio) -> None:
    """The original's word for delete. To end a running experiment: studio runs stop."""
    say("kill deletes, as it always did; to end a running experiment use: studio runs stop")
    _delete(keys, children, yes, studio)


def _delete(keys: tuple[str, ...], children: bool, yes: bool, studio: Studio, *, exact: bool = False) -> None:
    from ..experiment import LAST, WHOLE

    damaged = studio.damaged().keys()
    whole = {key: key.removeprefix(WHOLE) for key in keys if exact or key != LAST}
    found = list(
        dict.fromkeys(
            whole[key] if whole.get(key) in damaged else studio.experiment(key, exact=exact).key for key in keys
        )
    )
    below = [child.key for child in studio.descendants(found)]
    doomed = [*reversed(below), *found] if children else found  # a run last: what was interrupted can be repeated
    confirm(f"Delete {len(doomed)} experiment{'s' if len(doomed) != 1 else ''}: {', '.join(doomed)}?", yes=yes)
    for key in doomed:
        studio.delete(key, more=key != doomed[-1])
        say(f"deleted {key}")
    if below and not children:
        which = "its only child stays" if len(below) == 1 else f"{len(below)} children stay"
        say(f"{which}: studio runs delete {' '.join(below[:5])}{' …' if len(below) > 5 else ''} deletes them")


@command.command()
@click.argument("key", shell_complete=complete_keys)
@click.argument("tags", nargs=-1, required=True, metavar="TAG…")
@click.option("--remove", is_flag=True, help="Take the tags away.")
@settings
def tag(key: str, tags: tuple[str, ...], remove: bool, *, studio: Studio) -> None:
    """Add tags to an experiment, or take them away."""
    experiment = studio.experiment(key)
    after = studio.tag(experiment.key, () if remove else tags, tags if remove else ())
    say(f"{after.key} tags: {', '.join(after.tags) or 'none'}")


@command.command()
@click.argument("key", shell_complete=complete_keys)
@click.argument("text")
@settings
def note(key: str, text: str, *, studio: Studio) -> None:
    """Set an experiment's note."""
    say(f"{studio.note(studio.experiment(key).key, text).key} noted")


for _more in (compare, rerun, export, media):
    command.add_command(_more)


@command.command()
@click.argument("key", shell_complete=complete_keys)
@click.argument("artifact")
@click.argument("target", required=False, type=click.Path())
@click.option("--overwrite", is_flag=True, help="Replace files of TARGET that differ from what was captured.")
@settings
def get(key: str, artifact: str, target: str | None, overwrite: bool, *, studio: Studio) -> None:
    """Copy an experiment's artifact to TARGET (default: a folder of the artifact's name), verified.

    TARGET may exist: other files in it stay.
    """
    from pathlib import Path

    experiment = studio.experiment(key)
    click.echo(str(studio.artifact(experiment.key, artifact, Path(target or artifact), overwrite=overwrite)))
