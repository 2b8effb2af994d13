"""The captured code of two experiments, line by line: files, their modes, and links."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator

from ..errors import ArtifactNotFound
from ..experiment import SCRIPT, Experiment, kept_script
from . import Tracking
from .manifest import FileEntry

DIFF_BYTES = 1 << 20
"""Larger files are not shown line by line."""


def code_diff(one: Experiment, other: Experiment, tracking: Tracking) -> Iterator[str]:
    """The captured files that differ, as lines of a unified diff; other files than texts up to 1 MiB in one line each.

    Raises:
        ArtifactNotFound: the workspace of one was not captured, or is not in the store any more.
    """
    entries = [_entries(experiment, tracking) for experiment in (one, other)]
    for path in sorted({*entries[0], *entries[1]}):
        pair = [sheet.get(path) for sheet in entries]
        names = [_quoted(f"{e.key}/{path}") if f else "/dev/null" for e, f in zip((one, other), pair, strict=True)]
        if pair[0] and pair[1] and _form(pair[0]) != _form(pair[1]):
            yield f"{names[0]} is {_form(pair[0])}, {names[1]} is {_form(pair[1])}\n"
        if not all(f is None or f.regular for f in pair):
            there = [(name, f) for name, f in zip(names, pair, strict=True) if f is not None]
            yield from (f"only {name} is there: {_form(f)}\n" for name, f in there[: 2 - len(there)])
        elif not pair[0] or not pair[1] or pair[0].sha256 != pair[1].sha256:
            yield from _file(names, pair, tracking)


def _entries(experiment: Experiment, tracking: Tracking) -> dict[str, FileEntry]:
    """The captured files of the workspace, and those of a script that lay outside of it, below `../`."""
    names = {"workspace": ""} | ({SCRIPT: "../"} if kept_script(experiment) is not None else {})
    refs = {lead: ref for name, lead in names.items() if (ref := experiment.artifacts.get(name)) is not None}
    found = {lead: str(ref.manifest) for lead, ref in refs.items() if ref.manifest is not None}
    if not found:
        raise ArtifactNotFound(f"the code of {experiment.key} was not captured", hint="compare them without --diff")
    return {lead + f.path: f for lead, m in found.items() for f in tracking.artifacts.manifest(m).files}


def _form(entry: FileEntry) -> str:
    """What a member is, but for a file's content."""
    if entry.link is not None:
        return f"a link to {_quoted(entry.link)}"
    return "an empty folder" if entry.folder else f"a file of mode {entry.mode:03o}"


def _file(names: list[str], pair: list[FileEntry | None], tracking: Tracking) -> Iterator[str]:
    if max(f.size for f in pair if f) > DIFF_BYTES:
        yield f"{' and '.join(names)} differ\n"
        return
    data = [tracking.artifacts.read_member(f) if f else b"" for f in pair]
    try:
        texts = [_lines(d.decode()) for d in data]
    except UnicodeDecodeError:
        yield f"{' and '.join(names)} differ\n"
        return
    if not any(data):
        yield f"only {names[0] if pair[0] else names[1]} is there: an empty file\n"
    yield from difflib.unified_diff(texts[0], texts[1], names[0], names[1])


def _lines(text: str) -> list[str]:
    """The lines as `diff` sees them: only a line feed ends one; that the last one has none is told below it."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()
    return lines if last == "\n" else [*lines, last + "\\ No newline at end of file\n"]


def _quoted(name: str) -> str:
    """The name as git writes it in a diff: in quotes if it has what would break the line."""
    if name.isprintable() and not set(name) & set('"\\'):
        return name
    octal = (f"\\{byte:03o}" if byte < 32 or byte in b'"\\' or byte > 126 else chr(byte) for byte in os.fsencode(name))
    return '"' + "".join(octal) + '"'
