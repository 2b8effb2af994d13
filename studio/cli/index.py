"""`studio index`: the local search index, which can be made anew from the store at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .groups import Suggesting
from .options import say, settings

if TYPE_CHECKING:
    from ..api import Studio


@click.group(cls=Suggesting)
def command() -> None:
    """The local index that listings and searches read."""


@command.command()
@settings
def rebuild(*, studio: Studio) -> None:
    """Make the index anew from the store."""
    count = studio.rebuild_index()
    say(f"{count} experiment{'s' if count != 1 else ''} indexed from {studio.tracking.url}")
