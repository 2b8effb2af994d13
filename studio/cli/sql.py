"""`studio sql`: the store's experiments and curves, asked in SQL."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..units import check_duration, check_size
from .cells import one_line
from .options import print_json, print_table, say, settings

if TYPE_CHECKING:
    from ..api import Studio
    from ..tracking.sql import Answer

SHOWN_ROWS = 1000


@click.command()
@click.argument("query", required=False)
@click.option("--only", default="", metavar="QUERY", help="Experiments that the tables hold, as in: studio runs list.")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="At most N rows; 0 = all. A table shows 1000.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Write .csv, .json or .parquet instead."
)
@click.option("--timeout", default="5m", show_default=True, metavar="DURATION", help="Give up after it; 0 = never.")
@click.option("--memory", metavar="SIZE", help="Memory before it goes on on disk; default: half of the machine's.")
@settings
def command(
    query: str | None,
    only: str,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
    output: Path | None,
    timeout: str,
    memory: str | None,
    *,
    studio: Studio,
) -> None:
    """Answer a SELECT over the store's experiments and curves; nothing but the store is read, nothing is written.

    \b
    experiments  key status added started finished duration project owner command exit_code …
    params       key name value number integer type
    metrics      key name last min max first count step
    curves       key name step time value
    tags         key tag
    artifacts    key name mutable files bytes manifest
    packages     key name version

    The dialect is DuckDB's. Without QUERY (or with -) it is read from stdin. DESCRIBE curves shows the types.

    studio sql "SELECT key, last FROM metrics JOIN experiments USING (key) WHERE name = 'loss' AND status = 'finished'"
    """
    if as_json + as_csv + (output is not None) > 1:
        raise click.UsageError("only one of --json, --csv, --output")
    if output is not None:
        from ..tracking.export import format_of

        format_of(output)
    limits: dict[str, float] = {"timeout_s": check_duration(timeout, "--timeout")}
    if memory is not None:
        limits["memory_bytes"] = check_size(memory, "--memory")
    with studio.sql(_query(query), only=only, project=studio.asked_project, **limits) as answer:
        if output is not None:
            from ..tracking.export import write

            count = write(output, answer.tables(limit=limit or None))
            say(f"{count} row{'s' * (count != 1)} in {output}")
        elif as_csv:
            from ..tracking.export import write_csv

            write_csv(sys.stdout, answer.tables(limit=limit or None))
        elif as_json:
            table = answer.table(limit=limit or None)
            print_json({"columns": table.names, "rows": list(table.json_rows())})
        else:
            _show(answer, SHOWN_ROWS if limit is None else limit)


def _query(word: str | None) -> str:
    if word is not None and word != "-":
        return word
    if word is None and sys.stdin.isatty():
        raise click.UsageError('which query? studio sql "SELECT key, status FROM experiments"')
    return sys.stdin.read()


def _show(answer: Answer, most: int) -> None:
    table = answer.table(limit=most + 1 if most else None)
    if table.names == ["explain_key", "explain_value"]:
        for _, plan in table.texts():
            click.echo(plan)
        return
    rows = [[one_line(cell) for cell in row] for row in table.texts()]
    shown = rows[:most] if most else rows
    print_table([one_line(name) for name in table.names], shown)
    if len(rows) > len(shown):
        say(f"the first {most}; --limit 0 shows all")
