"""`studio runs compare`, `rerun` and `export`: what several experiments say together."""

from __future__ import annotations

from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cells import one_line
from .groups import complete_keys
from .options import print_code, print_json, print_table, say, settings
from .verdict import MOST_NAMES, agrees, verdict

if TYPE_CHECKING:
    from ..api import Studio

CELL = 40
"""Characters of a value in a comparison."""

DIFFERS = 9
"""Exit code of `rerun --check` where nothing shows that the rerun agrees."""


@click.command()
@click.argument("keys", nargs=-1, required=True, shell_complete=complete_keys, metavar="KEY KEY…")
@click.option("--tolerance", default=1e-6, show_default=True, help="Relative difference up to which values are equal.")
@click.option("--diff", is_flag=True, help="Show the lines of the code in which the others differ from the first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@settings
def compare(keys: tuple[str, ...], tolerance: float, diff: bool, as_json: bool, *, studio: Studio) -> None:
    """Say why experiments differ: outcome, code, environment, parameters, data, machine, metrics, curves.

    What cannot be compared, such as a secret or a damaged curve, is listed too. A value that is longer than its cell is
    shown from where it differs, with its length and the beginning of its SHA-256; --json has it whole.

    With --diff, the captured files of the first and each other as a unified diff.
    """
    if len(keys) < 2:
        raise click.UsageError("compare wants two experiments or more")
    if diff and as_json:
        raise click.UsageError("only one of --diff, --json")
    from ..tracking.apart import check_tolerance

    check_tolerance(tolerance)
    found = [studio.experiment(key).key for key in keys]
    if diff:
        for other in found[1:]:
            print_code(line.encode(errors="surrogateescape") for line in studio.code_diff(found[0], other))
        return
    differences = studio.compare(found, tolerance=tolerance)
    if as_json:
        rows = [{"section": d.section, "name": d.name, "values": list(d.values)} for d in differences]
        print_json({"experiments": found, "differences": rows})
    elif not differences:
        say("they do not differ")
    else:
        print_table(["", "", *found], ([d.section, one_line(d.name), *_cells(d.values)] for d in differences))


def _cells(values: tuple[str, ...]) -> list[str]:
    """Texts cut to a cell's width such that the place where they begin to differ is seen."""
    start = 0
    if max(map(len, values)) > CELL:
        letters = zip(*(v for v in values if v != "-"), strict=False)
        common = sum(1 for _ in takewhile(lambda some: len(set(some)) == 1, letters))
        start = common - 10 if common > CELL // 2 else 0
    return [_cell(v, start if v != "-" else 0) for v in values]


def _cell(value: str, start: int) -> str:
    shown = one_line("…" + value[start:] if start else value, most=CELL)
    if not start and shown == one_line(value, most=len(value) * 10):
        return shown
    digest = sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{shown} ({len(value):,} characters, {digest})"


@click.command()
@click.argument("key", shell_complete=complete_keys)
@click.option("--experiment", "-e", metavar="KEY", help="Key of the new experiment.")
@click.option(
    "--env",
    "environment",
    type=click.Choice(["restore"]),
    help="Install the packages it ran with into an environment of its own.",
)
@click.option("--without", metavar="PACKAGE", multiple=True, help="Leave it out of that environment; repeatable.")
@click.option("--tolerance", default=1e-6, show_default=True, help="Relative difference up to which metrics agree.")
@click.option("--check", is_flag=True, help="Exit with 9 unless the metrics agree, as a test in CI wants it.")
@settings
def rerun(
    key: str,
    experiment: str | None,
    environment: str | None,
    without: tuple[str, ...],
    tolerance: float,
    check: bool,
    *,
    studio: Studio,
) -> int:
    """Run an experiment again, its code and inputs as they were, and say whether it agrees.

    It does not if one of the two did not finish, if parameters or variables are not the same, or if a curve is damaged,
    whatever the metrics say. Curves are compared at the steps that both have. Those that are sampled by the clock, and
    those whose names say that they measure time, do not count. Children are compared in pairs. If KEY is a child, the
    whole script runs.

    The exit code is the script's, also if the rerun does not agree: --check makes that 9.
    """
    if without and not environment:
        raise click.UsageError("--without goes with --env restore")
    from ..experiment import WHOLE
    from ..tracking.apart import check_tolerance

    check_tolerance(tolerance)
    before = studio.experiment(key)
    word = WHOLE + before.key
    plan = studio.plan("key", [word], experiment=experiment)
    if environment:
        python = studio.restore_environment(before.key, without=without)
        plan = studio.plan("key", [word], experiment=plan.key, python=python)
    code = studio.run(plan)
    told = studio.repetition(before.key, str(plan.key))
    found = [studio.agreement(one, other, tolerance=tolerance) for one, other in told.pairs]
    apart = [(one, other, said) for (one, other), said in zip(told.pairs, found, strict=True) if said.differences]
    for one, other, said in apart[:MOST_NAMES]:
        rows = ([d.section, one_line(d.name), *d.values] for d in said.differences)
        print_table(["", "", one.key, other.key], rows)
    again = studio.experiment(str(plan.key))
    for line in verdict(told, found, before, again):
        say(line)
    return code or (DIFFERS if check and not agrees(told, found, before, again) else 0)


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
