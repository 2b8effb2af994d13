"""`studio runs media`: the pictures, tables, texts, sounds and histograms of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..units import counted
from .groups import complete_keys
from .options import print_json, print_table, say, settings

if TYPE_CHECKING:
    from ..api import Studio
    from ..tracking.media import MediaEntry


@click.command()
@click.argument("key", shell_complete=complete_keys)
@click.option("--name", metavar="NAME", help="Only what was logged under this name.")
@click.option("--step", type=int, metavar="STEP", help="Only what was logged at this step.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Copy the files to DIR/<name>/.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@settings
def media(key: str, name: str | None, step: int | None, output: Path | None, as_json: bool, *, studio: Studio) -> None:
    """List what studio.log_image, log_table and the like kept of an experiment, or copy it to a folder."""
    experiment = studio.experiment(key)
    found = studio.media(experiment.key)
    found.check(name, step)
    entries = found.entries(name, step=step)
    paths = found.save(entries, output) if output is not None else []
    if as_json:
        print_json({"experiment": experiment.key, "media": [entry.as_json() for entry in entries]})
    elif output is not None:
        for path in paths:
            click.echo(str(path))
    elif not entries:
        say(f"{experiment.key} logged no media; studio.log_image and the like do")
    else:
        print_table(
            ["name", "step", "kind", "bytes", "what", "caption"],
            ([e.name, str(e.step), e.kind, str(e.size), _what(e), e.caption.replace("\n", " ")[:60]] for e in entries),
        )


def _what(entry: MediaEntry) -> str:
    match dict(entry.extra):
        case {"width": width, "height": height}:
            return f"{width}×{height}"
        case {"rows": rows, "columns": columns}:
            return f"{_counted(rows, 'row')}, {_counted(columns, 'column')}"
        case {"duration": duration}:
            return f"{duration} s"
        case {"values": values}:
            return _counted(values, "value")
        case {"chars": chars}:
            return _counted(chars, "character")
    return entry.file.rpartition(".")[2]


def _counted(number: object, one: str) -> str:
    """A number that a file says of itself, and what it counts."""
    return counted(number, one) if isinstance(number, int) else f"{number} {one}s"
