"""Takes secrets out of a git patch so that it can still be applied: added lines are masked, or a file is left out."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Container
from pathlib import Path

from ..tracking.named_secrets import NamedSecrets
from ..tracking.sensitive import SCAN_BYTES, holds_private_key, secret_by_content, secret_path
from .redact import redact_source

_SECTION = re.compile(rb"^(?=diff --git )", re.MULTILINE)
_NEW = re.compile(rb"^index [0-9a-f]+\.\.([0-9a-f]+)", re.MULTILINE)
_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")

KEPT_OTHERWISE = "the patch has what git keeps of it"


def redact_patch(
    patch: bytes, names: bytes, root: Path, restored: Container[str] = (), named: NamedSecrets | None = None
) -> tuple[bytes, list[str], list[tuple[str, str]]]:
    """The patch without secrets, a line for each file that is not as it was, and files of which git keeps another form.

    A line that is added may be kept with `***` in it. One that is taken away, or stands around the change, has to be as
    it is in the commit: if there is a secret in it, the file's changes are left out.

    Args:
        patch: What `git diff` says.
        names: What `git diff --raw -z` says of the same.
        root: The top of the work tree.
        restored: Files of which git keeps another form, but a checkout makes them what they were.
        named: Files that an option named as secret.
    """
    sections = [section for section in _SECTION.split(patch) if section]
    files = _files(names)
    if len(files) != len(sections):
        return b"", ["all uncommitted changes: what git says of them could not be understood"] if patch else [], []
    kept, said, other = [], [], []
    for paths, section in zip(files, sections, strict=True):
        data = _read(root / paths[-1])
        reason = _why_not(paths, section, data if data is not None and len(data) <= SCAN_BYTES else b"")
        reason = reason or _why_named(paths, section, root, named or NamedSecrets())
        if reason:
            said.append(f"{paths[-1]}: {reason}")
            continue
        redacted, what = _masked(paths[-1], section)
        if what == "old":
            said.append(f"{paths[-1]}: what it changes, or what stands around, has a secret in it")
            continue
        kept.append(redacted)
        if what:
            said.append(f"{paths[-1]}: {what} (kept as ***)")
        if data is not None and paths[-1] not in restored and (form := _form(section, data)):
            other.append((paths[-1], form))
    return b"".join(kept), said, other


def _read(place: Path) -> bytes | None:
    """What a file holds; None of what is no file, or gone. A changed file that is too large has no section."""
    try:
        return place.read_bytes() if stat.S_ISREG(os.lstat(place).st_mode) else None
    except OSError:
        return None


def _form(section: bytes, data: bytes) -> str:
    """How what git has of a file differs from what lies there; "" if it does not."""
    found = _NEW.search(section, 0, section.find(b"\n@@ ") if b"\n@@ " in section else len(section))
    if found is None or not found[1].strip(b"0"):
        return ""

    def is_kept(text: bytes) -> bool:
        name = "sha1" if len(found[1]) == 40 else "sha256"
        return (
            hashlib.new(name, b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest().encode() == found[1]
        )

    if is_kept(data):
        return ""
    return "its CRLF line ends are LF in the patch" if is_kept(data.replace(b"\r\n", b"\n")) else KEPT_OTHERWISE


def _files(names: bytes) -> list[tuple[str, ...]]:
    """The names of each section: one, or two of a file that was renamed; a file that became a link has two sections."""
    fields = names.split(b"\0")
    out: list[tuple[str, ...]] = []
    at = 0
    while at + 1 < len(fields):
        status = fields[at].rpartition(b" ")[2][:1]
        count = 2 if status in (b"R", b"C") else 1
        paths = tuple(os.fsdecode(name) for name in fields[at + 1 : at + 1 + count])
        out += [paths] * (2 if status == b"T" else 1)
        at += 1 + count
    return out


def _why_not(paths: tuple[str, ...], section: bytes, data: bytes) -> str:
    """Why a file's changes cannot be kept at all; "" if they can."""
    if any(secret_path(path) for path in paths):
        return "looks like a secret"
    if holds_private_key(b"\n".join(line[1:] for line in section.split(b"\n"))):
        return "holds a private key"
    if secret_by_content(data):
        return "holds a private key"
    binary = b"\nGIT binary patch\n" in section[:4096]
    return "holds a token" if binary and redact_source(paths[-1], data.replace(b"\0", b" "), known=True)[1] else ""


def _why_named(paths: tuple[str, ...], section: bytes, root: Path, named: NamedSecrets) -> str:
    """The same of a file that an option named, or that holds, or held, what is in one."""
    for path in paths:
        place = root / path
        if not place.is_symlink() and (why := named.why_file(os.path.realpath(place), _stat(place))):
            return why
    lines = section[section.find(b"\n@@ ") :].split(b"\n") if named.known else []
    sides = (b"\n".join(line[1:] for line in lines if line[:1] in (sign, b" ")) for sign in (b"-", b"+"))
    return next((why for side in sides if (why := named.why_content(side))), "")


def _stat(place: Path) -> os.stat_result | None:
    try:
        return os.lstat(place)
    except OSError:
        return None


def _masked(path: str, section: bytes) -> tuple[bytes, str]:
    """The section with secrets in its added lines masked, and what they were; `old` if they are not in those alone."""
    lines = section.split(b"\n")
    start = next((n for n, line in enumerate(lines) if line.startswith(b"@@ ")), len(lines))
    old: list[bytes] = []
    added: dict[int, bytes] = {}
    for n, line in enumerate(lines[start:], start):
        if line.startswith((b"-", b" ")):
            old.append(line[1:])
        elif line.startswith(b"+"):
            added[n] = line[1:]
    if redact_source(path, b"\n".join(old), known=True)[1]:
        return section, "old"
    text, what = redact_source(path, b"\n".join(added.values()), known=True)
    for n, line in zip(added, text.split(b"\n"), strict=False):  # of nothing, split makes one
        lines[n] = b"+" + line
    for n in range(start, len(lines)):
        place = _HUNK.match(lines[n])
        if place:  # what git thinks is the function's name stands behind it
            lines[n] = place.group() + redact_source(path, lines[n][place.end() :], known=True)[0]
    return b"\n".join(lines), re.sub(r" in line \d+", "", what)
