"""A group of commands that names the nearest one when a word is unknown."""

from __future__ import annotations

import re

import click
from click.shell_completion import CompletionItem

from ..errors import StudioError, nearest


def complete_keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys of experiments that begin so, for the shell; none if the store cannot be read."""
    from ..api import open_studio

    try:
        found = open_studio(store=ctx.params.get("store")).experiments(f'key ~ "^{re.escape(incomplete)}"', limit=100)
    except StudioError:
        return []
    words = [("last", "the newest")] if "last".startswith(incomplete) else []
    words += [(e.key, f"{e.status} {e.command.target}") for e in found]
    return [CompletionItem(word, help=text) for word, text in words]


class Suggesting(click.Group):
    """A click group with suggestions."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the first word.

        Raises:
            UsageError: there is none; names the nearest.
        """
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            hint = nearest(args[0], known) or "known: " + ", ".join(known)
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)
