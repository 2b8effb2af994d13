"""Refuses an option in the place of another one's value: `--token --port 80` is no token called `--port`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

_LIKE_AN_OPTION = re.compile(r"--[A-Za-z][\w-]*(?:=.*)?", re.DOTALL)


def refuse_options_as_values(command: click.Command, words: Sequence[str]) -> None:
    """Looks at words that `command` is about to parse.

    Raises:
        UsageError: where an option's value should be stands what looks like an option.
    """
    options = [p for p in command.params if isinstance(p, click.Option)]
    takes = {n for p in options if not p.is_flag and not p.count for n in (*p.opts, *p.secondary_opts)}
    known = {n for p in options for n in (*p.opts, *p.secondary_opts)}
    at = 0
    while at < len(words) and words[at] != "--":
        option = words[at]
        at += 1
        if option not in takes or at == len(words):
            continue
        name = words[at].partition("=")[0]
        if name in known:
            raise click.UsageError(f"{option} needs a value, and {name} is an option{_meant(option, name)}")
        if _LIKE_AN_OPTION.fullmatch(words[at]):
            raise click.UsageError(f"{option} needs a value{_meant(option, '--VALUE')}")
        at += 1


def _meant(option: str, value: str) -> str:
    return f"; write {option}={value} if that is the value" if option.startswith("--") else ""
