"""`studio runs compare`, `rerun` and `export`: what several experiments say together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .groups import complete_keys
from .options import print_json, print_table, say, settings

if TYPE_CHECKING:
    from ..api import Studio


@click.command()
@click.argument("keys", nargs=-1, required=True, shell_complete=complete_keys, metavar="KEY KEY…")
@click.option("--tolerance", default=1e-6, show_default=True, help="Relative difference up to which values are equal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@settings
def compare(keys: tuple[str, ...], tolerance: float, as_json: bool, *, studio: Studio) -> None:
    """Say why experiments differ: code, environment, parameters, data, machine, and where their curves part."""
    if len(keys) < 2:
        raise click.UsageError("compare wants two experiments or more")
    found = [studio.experiment(key) for key in keys]
    differences = studio.compare([e.key for e in found], tolerance=tolerance)
    if as_json:
        rows = [{"section": d.section, "name": d.name, "values": list(d.values)} for d in differences]
        print_json({"experiments": [e.key for e in found], "differences": rows})
    elif not differences:
        say("they do not differ")
    else:
        print_table(
            ["", "", *(e.key for e in found)], ([d.section, d.name, *(v[:40] for v in d.values)] for d in differences)
        )


@click.command()
@click.argument("key", shell_complete=complete_keys)
@click.option("--experiment", "-e", metavar="KEY", help="Key of the new experiment.")
@click.option(
    "--env",
    "environment",
    type=click.Choice(["restore"]),
    help="Install the packages it ran with into an environment of its own.",
)
@click.option("--tolerance", default=1e-6, show_default=True, help="Relative difference up to which metrics agree.")
@settings
def rerun(key: str, experiment: str | None, environment: str | None, tolerance: float, *, studio: Studio) -> int:
    """Run an experiment again, its code and inputs as they were, and say whether its metrics agree."""
    before = studio.experiment(key)
    python = studio.restore_environment(before.key) if environment else None
    plan = studio.plan("script or key", [before.key], experiment=experiment, python=python)
    code = studio.run(plan)
    differences = [
        d for d in studio.compare([before.key, str(plan.key)], tolerance=tolerance) if d.section == "metrics"
    ]
    if not before.summary:
        say("it logged no metrics to compare")
    elif differences:
        print_table(["metric", before.key, str(plan.key)], ([d.name, *d.values] for d in differences))
        say(f"{len(differences)} metrics differ; studio runs compare {before.key} {plan.key} tells more")
    else:
        say(f"all metrics agree with those of {before.key}")
    return code


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("words", nargs=-1, metavar="[QUERY]")
@click.option("--curves", is_flag=True, help="Every point of every curve, instead of a row for each experiment.")
@click.option("--sort", default="-added", show_default=True, metavar="FIELD", help="Order of the rows.")
@settings
def export(target: Path, words: tuple[str, ...], curves: bool, sort: str, *, studio: Studio) -> None:
    """Write experiments that a query fits (default: all) to TARGET: .csv, .json or .parquet."""
    count = studio.export(target, " ".join(words), project=studio.asked_project, sort=sort, curves=curves)
    say(f"{count} row{'s' * (count != 1)} in {target}")
