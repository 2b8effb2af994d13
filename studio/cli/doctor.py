"""`studio doctor`: what works on this machine, what is missing, and the command that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import print_json, print_table, say, settings

if TYPE_CHECKING:
    from ..api import Studio


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@settings
def command(as_json: bool, *, studio: Studio) -> int:
    """Check home, store, index, interpreter, libraries and server; exit code 3 if something needed is missing."""
    findings = studio.examine()
    if as_json:
        print_json(
            {"findings": [{"name": f.name, "state": f.state, "found": f.found, "mend": f.mend} for f in findings]}
        )
    else:
        print_table(["", "state", "found", "to mend it"], ([f.name, f.state, f.found, f.mend] for f in findings))
    broken = [f.name for f in findings if f.state == "broken"]
    if broken:
        say(f"studio: broken: {', '.join(broken)}")
    return 3 if broken else 0
