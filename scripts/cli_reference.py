"""Writes docs/reference/cli.md from the commands themselves; `make docs` and `make format` run it, a test compares."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"
HEAD = """\
# Command line

Written from the commands themselves. Results go to stdout (under `studio run` the script's own output), everything
else to stderr. Exit codes: 0 done, 1 a bug in studio, 2 wrong usage, 3 settings or a missing extra, 4 nothing has this
name, 5 the store, 6 a cloud, 8 serving, 9 `runs rerun --check` where the metrics do not agree, 130 Ctrl-C; `studio run`
and `runs rerun` end with the script's own code, 128 + n after signal n.
"""


def reference() -> str:
    """The whole page."""
    from studio.cli.main import command

    return HEAD + "".join(_sections("studio", command))


def _sections(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path, terminal_width=110)
    if path != "studio":
        yield "\n" + _section(path, command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from _sections(f"{path} {name}", found)


def _section(path: str, command: click.Command, context: click.Context) -> str:
    level = "#" * (path.count(" ") + 1)
    usage = f"{path} {' '.join(command.collect_usage_pieces(context))}"
    parts = [f"{level} {path}", "```text\n" + usage + "\n```"]
    text = inspect.cleandoc(command.help or "").replace("\b\n", "").replace("\f", "")
    if text:
        parts.append(text)
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    if options:
        rows = [_row(option, context) for option in options]
        parts.append("\n".join(["| option | |", "| --- | --- |", *rows]))
    if command.epilog:
        parts.append(inspect.cleandoc(command.epilog))
    return "\n\n".join(parts) + "\n"


def _row(option: click.Option, context: click.Context) -> str:
    names, text = option.get_help_record(context) or ("", option.help or "")
    return f"| `{_cell(names)}` | {_cell(text)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(reference(), encoding="utf-8")
