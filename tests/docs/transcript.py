"""Compares what a command printed with what a page says that it prints, up to what differs from run to run."""

from __future__ import annotations

import re

# Of these, any matches any other of its kind.
VARIES = [
    (re.compile(r"\d{8}-\d{6}-[a-z2-7]{6}"), "<key>"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?Z?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "<digest>"),
    (re.compile(r"\b(\d+h ?)?\d+m ?\d+s\b"), "<amount>"),  # of a busy machine
    (re.compile(r"\d+(\.\d+)?\s?(ns|µs|us|ms|s|min|m|h|B|kB|MB|GB|KiB|MiB|GiB)\b(/step)?"), "<amount>"),
    (re.compile(r"-?\d+\.\d{3,}(e[+-]?\d+)?|-?\d+(\.\d+)?e-\d+|\d+(\.\d+)?%"), "<number>"),
    (re.compile(r"(?<=[^\s]) {2,}(?=\S)|─{3,}|-{4,}|={4,}"), "  "),  # columns are as wide as what stands in them
]


def lines(text: str) -> list[str]:
    """The lines of a terminal's text, each in the form that is compared."""
    shown = (line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n"))
    return [_plain(line) for line in shown if line.strip()]


def _plain(line: str) -> str:
    line = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip()
    for pattern, name in VARIES:
        line = pattern.sub(name, line)
    return line


def matches(expected: list[str], got: list[str]) -> bool:
    """Whether `got` is what `expected` describes; a line `...` stands for any lines, none included."""
    if not expected:
        return not got
    if expected[0].strip() == "...":
        return any(matches(expected[1:], got[skipped:]) for skipped in range(len(got) + 1))
    return bool(got) and _line(expected[0], got[0]) and matches(expected[1:], got[1:])


def begins(expected: list[str], got: list[str]) -> bool:
    """Whether `got` has already brought everything that `expected` describes (more may follow)."""
    return any(matches(expected, got[:end]) for end in range(len(got) + 1))


def _line(expected: str, got: str) -> bool:
    pattern = "[^\n]*".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, got) is not None
