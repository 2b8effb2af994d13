"""Options that every verb takes, and the one way from them to an open `Studio`."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from .cells import code_line, escaped, one_line

F = TypeVar("F", bound=Callable[..., Any])
COLUMN_CHARS, CELL_CHARS = 80, 20_000
"""A column is no wider than the one, a cell no longer than the other."""


def settings(command: F) -> F:
    """Adds `--store --project --config --verbose --debug` and passes one `studio` argument in their place."""

    @functools.wraps(command)
    def call(
        *args: Any,
        store: str | None,
        project: str | None,
        config: str | None,
        verbose: str | None,
        debug: bool,
        **kwargs: Any,
    ) -> Any:
        from ..api import open_studio
        from ..config import level_number

        studio = open_studio(store=store, project=project, verbose=verbose, file=config, notify=notice)
        logging.basicConfig(
            level=level_number(studio.config["verbose"]),
            format="%(levelname)s %(name)s: %(message)s",
            stream=sys.stderr,
        )
        return command(*args, studio=studio, **kwargs)

    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("--verbose", "-v", metavar="LEVEL", help="Log level: debug, info, warn, error, crit."),
        click.option("--config", metavar="FILE", help="Settings file, read before the others."),
        click.option("--project", metavar="NAME", help="Project, instead of the configured one."),
        click.option("--store", metavar="URL", help="Store, instead of the configured one."),
    ):
        call = option(call)
    return call  # type: ignore[return-value]


def say(line: str) -> None:
    """A line for the user on stderr, or several."""
    click.echo("\n".join(one_line(part, most=CELL_CHARS) for part in line.split("\n")), err=True)


_unwritable: set[str] = set()


def notice(text: str) -> None:
    """What happens meanwhile, on stderr; it may stand among a script's own lines, so each line begins with `studio`.

    That a file cannot be written is said once: the end of a run tries again what failed before. If nobody reads stderr,
    or its disk is full, what happens goes on without a word.
    """
    if text.startswith("cannot write "):
        if text in _unwritable:
            return
        _unwritable.add(text)
    try:
        for line in text.split("\n"):
            say(line if line.startswith("studio") else f"studio: {line}")
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the end; not the descriptor, which the script's lines take


def print_code(lines: Iterable[bytes]) -> None:
    """Lines of code or of a patch on stdout, byte for byte; to a terminal with control characters spelled out."""
    shown = sys.stdout.isatty()
    for line in lines:
        if shown:
            whole = line.removesuffix(b"\n")
            click.echo(code_line(whole.decode(errors="backslashreplace")), nl=len(whole) < len(line))
        else:
            sys.stdout.buffer.write(line)


def print_json(document: object) -> None:
    """One JSON document on stdout; NaN and infinities as null, and nothing that a terminal would obey."""
    from ..experiment import strict

    utf8 = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    click.echo(escaped(json.dumps(strict(document), indent=2, ensure_ascii=not utf8, allow_nan=False)))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, on stdout; the last one is never padded.

    A very long cell pushes its own row aside and no other; line breaks and what a terminal would obey are spelled out.
    """
    lines = [tuple(one_line(cell, most=CELL_CHARS) for cell in row) for row in (head, *rows)]
    lengths = [[len(cell) for cell in column] for column in zip(*lines, strict=True)]
    widths = [max((n for n in column if n <= COLUMN_CHARS), default=0) for column in lengths]
    for number, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 else text)


def confirm(question: str, *, yes: bool) -> None:
    """Asks before something is lost; without a terminal only `--yes` will do.

    Raises:
        UsageError: nobody can be asked.
        Abort: the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody is there to answer: say --yes")
    click.confirm(question, abort=True, err=True)
