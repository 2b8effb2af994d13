"""`studio run`: options up to the script, then the script's own words, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from .options import settings

if TYPE_CHECKING:
    from ..api import Studio


class RunCommand(click.Command):
    """Cuts the words at the script: what follows a script, `PKG::MOD`, `-m MODULE` or `--` is not ours to read."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses only the words before the script."""
        cut = self.cut(ctx, args)
        kind, words = "script", args[cut:]
        if words[:1] == ["-m"]:
            kind, words = "module", words[1:]
            if not words:
                raise click.UsageError("-m needs a module's name", ctx)
        elif words[:1] == ["--"]:
            kind, words = "exec", words[1:]
            if not words:
                raise click.UsageError("-- needs a command", ctx)
        elif words and "::" in words[0]:
            kind = "module"
        elif words and not words[0].endswith(".py"):
            kind = "script or key"
        ctx.obj = (kind, words)
        return super().parse_args(ctx, args[:cut])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Options before the script; files for the script and behind it."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(incomplete, type="file")]

    def cut(self, ctx: click.Context, args: list[str]) -> int:
        """Where the script begins."""
        takes_value = {
            name: not getattr(p, "is_flag", False) and not getattr(p, "count", False)
            for p in self.get_params(ctx)
            for name in p.opts + p.secondary_opts
        }
        at = 0
        while at < len(args):
            word = args[at]
            if word in ("--", "-m") or not word.startswith("-") or word == "-":
                break
            name = word.partition("=")[0]
            at += 2 if takes_value.get(name, False) and "=" not in word else 1
        return at


@click.command(cls=RunCommand, options_metavar="[OPTIONS] SCRIPT.py|PKG::MOD|-m PKG.MOD|-- COMMAND|KEY [ARGS]...")
@click.option("--experiment", "-e", metavar="KEY", help="Key of the new experiment; default: a fresh one.")
@click.option(
    "--capture", "-c", metavar="PATH:NAME", multiple=True, help="Artifact that is captured every minute and at the end."
)
@click.option(
    "--capture-once",
    "-co",
    metavar="PATH:NAME",
    multiple=True,
    help="Artifact (or URL) that is captured once, at the start.",
)
@click.option("--capture-limit", metavar="SIZE", help="Most that is kept of each; 0: no limit. [1g]")
@click.option(
    "--reuse",
    "-r",
    metavar="KEY/ARTIFACT:NAME",
    multiple=True,
    help="Artifact of another experiment, given to this one.",
)
@click.option("--metric", metavar="NAME[:min|:max]", help="The metric that ranks this experiment.")
@click.option("--max-duration", metavar="DURATION", help="Stop after this time: 90s, 5m, 48h2m10s; 0: no limit.")
@click.option("--lifetime", metavar="DURATION", help="Expire if it has not started by then; 0: never.")
@click.option("--tag", metavar="TAG", multiple=True, help="Tag; repeatable.")
@click.option("--note", metavar="TEXT", help="Note.")
@click.option("--param", metavar="NAME=VALUE", multiple=True, help="Parameter to record; repeatable.")
@click.option("--env", metavar="NAME=VALUE", multiple=True, help="Environment variable of the script; repeatable.")
@click.option("--python", metavar="INTERPRETER", help="Python of the script; default: the active environment's.")
@click.option(
    "--force-git", is_flag=True, help="Accepted for the original's sake: uncommitted changes are always captured."
)
@click.option("--no-autolog", is_flag=True, help="Leave the script's libraries alone.")
@click.option("--no-workspace", is_flag=True, help="Capture no code: neither the current folder nor the script's.")
@click.option("--detach", is_flag=True, help="Go on in the background and return.")
@click.option("--resume", metavar="KEY", help="Continue this experiment with its checkpoints restored.")
@settings
@click.pass_context
def command(ctx: click.Context, /, *, studio: Studio, **options: Any) -> int:
    """Run a script and record its code, environment, output, metrics and checkpoints.

    The script is not changed and runs in place. What follows it is the script's own.
    """
    kind, words = ctx.obj
    if not words and not options["resume"]:
        raise click.UsageError("nothing to run: studio run SCRIPT.py [ARGS]", ctx)
    detach = options.pop("detach")
    options.pop("force_git")
    plan = studio.plan(kind, words, **options)
    if detach:
        click.echo(studio.detach(plan))
        return 0
    return studio.run(plan)
