"""The `studio` command: finds the verb's module, and turns errors into one line, a hint and an exit code."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from .. import __version__
from ..errors import nearest
from ..option_words import refuse_options_as_values
from .ending import delivered, explain, nobody_reads, standard_streams

VERBS: dict[str, str] = {
    "run": "run a script and record it",
    "runs": "list, show, stop, tag, delete experiments",
    "sql": "ask the store in SQL",
    "serve": "answer HTTP with a trained model",
    "predict": "send inputs to a served model",
    "store": "make or check a store",
    "index": "rebuild the search index",
    "config": "show every setting and where it comes from",
    "doctor": "what works here, and what mends the rest",
    "demo": "train, track, serve and ask a small model",
    "completion": "print the shell's completion script",
}


class Verbs(click.Group):
    """A group whose commands live in modules of their own, loaded one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, or a third party's; None if there is none."""
        if cmd_name in VERBS:
            found = importlib.import_module(f"{__package__}.{cmd_name}").command
        else:
            found = _third_party(cmd_name)
        return found if isinstance(found, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the first word.

        Raises:
            UsageError: there is none; names the nearest.
        """
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = nearest(args[0], VERBS)
            raise click.UsageError(f"no command {args[0]!r}" + (f"; {near}" if near else ""), ctx)
        name, found, rest = super().resolve_command(ctx, args)
        if found is not None and not ctx.resilient_parsing:
            _check_words(found, rest, ctx)
        return name, found, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the verbs from the table above, so that no module is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _check_words(found: click.Command, words: list[str], ctx: click.Context) -> None:
    """Refuses options in the place of values, down to the last command that the words name."""
    from .run import RunCommand

    if isinstance(found, RunCommand):
        words = words[: found.cut(ctx, words)]
    at = next((at for at, word in enumerate(words) if not word.startswith("-")), None)
    below = found.get_command(ctx, words[at]) if isinstance(found, click.Group) and at is not None else None
    refuse_options_as_values(found, words[:at] if below is not None else words)
    if below is not None and at is not None:
        _check_words(below, words[at + 1 :], ctx)


def _third_party(name: str) -> object:
    from .. import plugins

    return plugins.load("studio.commands", name) if name in plugins.known("studio.commands") else None


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="studio VERB --help tells more. Start with: studio run train.py, then studio serve last",
)
@click.version_option(__version__, "-V", "--version", message="studio %(version)s")
def command() -> None:
    """From a training script to a served model in two commands."""


def main(args: list[str] | None = None) -> None:
    """Runs the command line and exits with the code of `style.md`."""
    words = sys.argv[1:] if args is None else args
    standard_streams()
    sys.exit(delivered(run(words)))


def run(words: list[str], **kwargs: Any) -> int:
    """Runs the command line and returns the exit code; whatever goes wrong is said on stderr."""
    streams = sys.stdout, sys.stderr
    try:
        done = command.main(args=words, prog_name="studio", standalone_mode=False, **kwargs)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except SystemExit:
        if sys.stderr is streams[1]:
            raise
        sys.stdout, sys.stderr = streams  # click replaces them when nobody reads, and exits with code 1
        return nobody_reads()
    except Exception as exc:  # noqa: BLE001 - --debug shows the traceback
        return explain(exc)
    return done if isinstance(done, int) else 0


if __name__ == "__main__":
    main()
