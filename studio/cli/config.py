"""`studio config`: every setting, its value and where it comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from .options import print_json, print_table, say, settings

if TYPE_CHECKING:
    from ..api import Studio


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@settings
def command(name: str | None, as_json: bool, *, studio: Studio) -> None:
    """Show every setting with its origin: flag, environment variable, file or default. With NAME: its value alone."""
    from ..config import unknown_variables
    from ..errors import ConfigError, nearest

    known = {name: replace(s, value=_shown(name, s.value)) for name, s in studio.config.settings.items()}
    if name is not None and name not in known:
        raise ConfigError(f"no setting {name!r}", hint=nearest(name, known) or "known: " + ", ".join(known))
    if as_json:
        chosen = [known[name]] if name else list(known.values())
        print_json({"settings": [{"name": s.name, "value": s.value, "origin": s.origin} for s in chosen]})
    elif name is not None:
        click.echo(_text(known[name].value))
    else:
        print_table(["setting", "value", "origin"], ([s.name, _text(s.value), s.origin] for s in known.values()))
        for setting in studio.config.unused.values():
            say(f"{setting.origin}: {setting.name} is a setting of the original that has no effect here")
        for variable, hint in unknown_variables().items():
            say(f"{variable} is no setting" + (f": {hint}" if hint else ""))


def _shown(name: str, value: object) -> object:
    """The value without passwords: of the variables for scripts, and of URLs."""
    from ..run.redact import clean, redact_params

    if name == "env" and isinstance(value, dict):
        return redact_params(value)
    return clean(value) if isinstance(value, str) else value


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
