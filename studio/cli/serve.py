"""`studio serve`: an experiment's model, a folder of checkpoints or a wrapper, answering HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..serve_main import serving_options
from .groups import complete_keys
from .options import settings

if TYPE_CHECKING:
    from ..api import Studio


@click.command()
@click.argument("what", required=False, shell_complete=complete_keys)
@serving_options
@settings
@click.pass_context
def command(ctx: click.Context, /, studio: Studio, what: str | None, **options: Any) -> int:
    """Serve WHAT over HTTP: an experiment's key, `last`, a folder of checkpoints, a checkpoint or a wrapper.

    The server is an experiment of its own (kind `serving`): `studio runs list` shows it, `studio runs stop` ends it.
    """
    if what is None and not options["wrapper"]:
        raise click.UsageError("nothing to serve: studio serve KEY|last|PATH, or --wrapper FILE", ctx)
    _check(options, studio)
    with _hidden(options, studio) as told:
        return studio.serve(what, _words(ctx, told), wrapper=options["wrapper"])


def _check(options: dict[str, Any], studio: Studio) -> None:
    """What would end the server at once is refused here: it is no failed experiment."""
    from ..serve.address import listen
    from ..serve.options import check_options, remember_secrets
    from .options import notice

    check_options(options)
    if said := remember_secrets(studio.home, options):
        notice(said)
    listen(options["host"], options["port"] or 0)[0].close()


def _words(ctx: click.Context, options: dict[str, Any]) -> list[str]:
    """The options that were given, as words for the server process."""
    words: list[str] = []
    given = {**options, "debug": ctx.params.get("debug", False)}
    for param in ctx.command.params:
        value = given.get(param.name or "")
        if (
            not isinstance(param, click.Option)
            or (value is None or value is False or value == ())
            or value == param.default
        ):
            continue
        if param.name == "wrapper":
            continue
        name = param.opts[0]
        if param.is_flag:
            words.append(name)
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [f"{name}={one}"] if str(one).startswith("-") else [name, str(one)]
    return words


@contextmanager
def _hidden(options: dict[str, Any], studio: Studio) -> Iterator[dict[str, Any]]:
    """The options with the token moved into a private file, for as long as the server runs.

    Command lines are kept in records and seen by everybody on the machine.
    """
    from ..run.held import held_file

    if options["token"] is None:
        yield options
        return
    with held_file(studio.home / "serving" / f"token-{secrets.token_hex(4)}", options["token"] + "\n") as path:
        yield {**options, "token_file": str(path), "token": None}
