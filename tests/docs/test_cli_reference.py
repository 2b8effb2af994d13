"""The reference of the command line is the commands' own words, and nothing is missing in it."""

from __future__ import annotations

import runpy
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "cli_reference.py"))


def test_the_page_is_what_the_commands_say() -> None:
    written = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert written == SCRIPT["reference"](), "stale: make docs writes it anew"


def test_every_command_and_option_says_what_it_does() -> None:
    from studio.cli.main import command

    waiting: list[tuple[str, click.Command]] = [("studio", command)]
    while waiting:
        path, found = waiting.pop()
        assert found.help, f"{path} has no help"
        for param in found.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert param.help, f"{path} {param.opts[0]} has no help"
        if isinstance(found, click.Group):
            context = click.Context(found)
            below = {name: found.get_command(context, name) for name in found.list_commands(context)}
            waiting += [(f"{path} {name}", sub) for name, sub in below.items() if sub is not None]
