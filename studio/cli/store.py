"""`studio store`: makes a store, or proves that one keeps its promises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import NotFound, StoreError
from .groups import Suggesting
from .options import print_json, print_table, say, settings

if TYPE_CHECKING:
    from ..api import Studio


@click.group(cls=Suggesting)
def command() -> None:
    """Make or check a store."""


@command.command()
@click.argument("url", required=False)
@settings
def init(url: str | None, *, studio: Studio) -> None:
    """Make a store at URL (default: the configured one) and check that it refuses what it has to refuse."""
    from ..stores.check import init_store

    where = url or studio.tracking.store.url
    init_store(where)
    say(f"the store {where} is ready")
    if where != studio.config["store"]:
        say(f"use it with: export STUDIOML_STORE={where}")


@command.command()
@click.argument("url", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@settings
def check(url: str | None, as_json: bool, *, studio: Studio) -> None:
    """Probe a store: conditional writes, listings, streams."""
    from ..stores.check import check_store

    where = url or studio.tracking.store.url
    folder = Path(where.removeprefix("file://")).expanduser()
    if url and (where.startswith("file://") or "://" not in where) and not folder.exists():
        raise NotFound(f"there is no store at {where}", hint=f"studio store init {where}")
    findings = check_store(where)
    if as_json:
        print_json({"findings": [{"name": f.name, "ok": f.ok, "why": f.why} for f in findings]})
    else:
        print_table(["check", "result", ""], ([f.name, "ok" if f.ok else "FAILED", f.why] for f in findings))
    bad = [f for f in findings if not f.ok]
    if bad:
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise StoreError(
            f"the store cannot be used: {bad[0].name}: FAILED: {bad[0].why}{more}",
            hint="choose another one, such as a folder: --store file:///FOLDER",
        )
