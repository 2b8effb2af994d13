"""Reads the fenced blocks of a Markdown page: what to write, what to run, what it should print.

The convention (also in CONTRIBUTING.md):

- ```` ```console ````: a line that begins with `$ ` is a command (a trailing backslash or an open here-document
  continues it on the next lines); the lines up to the next one are its output. `...` stands for anything within a line,
  a line of its own for any lines. No output lines: only the exit status is looked at. A command that ends with
  `# exit N` must end with N, one that ends with `&` goes on in the background and is waited for until it has printed
  its output lines.
- ```` ```sh ```` and ```` ```python ````: run as a script that must succeed.
- Any block whose first line is `# NAME` or `<!-- NAME -->`, a file name with a suffix, is written under that name.
- `<!-- not run: REASON -->` on the line before a block: it is not run, and the test run prints the reason.

All blocks of a page run in order in one folder with a home of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

RUN = ("console", "python", "sh", "bash")
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)``` *$", re.MULTILINE | re.DOTALL
)
NAME = re.compile(r"^(?:#|//|<!--) (?P<name>[\w./-]+\.[a-z]+)(?: -->)?$")
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->\s*\Z")
HERE = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")
EXIT = re.compile(r"\s+# exit (\d+)$")


@dataclass(frozen=True)
class Block:
    language: str
    body: str
    line: int
    not_run: str | None = None

    @property
    def file(self) -> str | None:
        """The name to write the block under, if its first line says one."""
        found = NAME.match(self.body.partition("\n")[0].strip())
        return found["name"] if found else None


@dataclass(frozen=True)
class Command:
    text: str
    output: tuple[str, ...]
    exit_code: int

    @property
    def background(self) -> bool:
        return self.text.rstrip().endswith("&")


def blocks(page: Path) -> list[Block]:
    """Every block that is run, written or said not to be run."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        body = "".join(line[indent:] if line.strip() else line for line in match["body"].splitlines(keepends=True))
        marker = NOT_RUN.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 1
        block = Block(match["language"], body, line, marker["reason"] if marker else None)
        if block.language in RUN or block.file or block.not_run:
            found.append(block)
    return found


def commands(body: str) -> list[Command]:
    """The commands of a console block, each with the output lines that follow it."""
    lines = body.rstrip("\n").split("\n")
    if not lines[0].startswith("$ "):
        raise ValueError(f"a console block begins with a command, not with {lines[0]!r}")
    found: list[Command] = []
    at = 0
    while at < len(lines):
        text, at = _command(lines, at)
        start = at
        while at < len(lines) and not lines[at].startswith("$ "):
            at += 1
        output = tuple(line.rstrip() for line in lines[start:at])
        exits = EXIT.search(text)
        found.append(Command(EXIT.sub("", text), output, int(exits[1]) if exits else 0))
    return found


def _command(lines: list[str], at: int) -> tuple[str, int]:
    parts = [lines[at].removeprefix("$ ")]
    at += 1
    here = HERE.search(parts[0])
    while at < len(lines) and (here or parts[-1].endswith("\\")):
        parts.append(lines[at].removeprefix("> "))
        at += 1
        if here and parts[-1].strip() == here[1]:
            break
    return "\n".join(parts), at
