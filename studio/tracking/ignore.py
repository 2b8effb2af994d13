"""Ignore patterns in two dialects, git's and tar's; plain names and suffixes never reach a regular expression."""

from __future__ import annotations

import re

_GLOB = re.compile(r"[*?\[\\]")


class Patterns:
    """The patterns of one ignore file, which speak of names below the folder that the file is in."""

    def __init__(self) -> None:
        self._groups: list[_Group] = []

    def verdict(self, path: str, folder: bool) -> bool | None:
        """What the last pattern that matches says: True = left out, False = taken in again; None if none matches.

        Args:
            path: Relative to the folder of the ignore file, `/` between parts.
            folder: Whether it is a folder.
        """
        name = path.rpartition("/")[2]
        for group in reversed(self._groups):
            if group.matches(path, name, folder):
                return not group.negated
        return None

    def _group(self, negated: bool) -> _Group:
        if not self._groups or self._groups[-1].negated != negated:
            self._groups.append(_Group(negated))
        return self._groups[-1]


def git_patterns(text: str) -> Patterns:
    """The patterns of a `.gitignore` (gitignore(5): `!`, `/`, `**`, classes; the last match decides)."""
    out = Patterns()
    for raw in text.removeprefix("\ufeff").split("\n"):
        line = _without_trailing_spaces(raw.removesuffix("\r"))
        if not line or line[0] == "#":
            continue
        negated = line[0] == "!"
        line = line[negated:]
        folders_only = line.endswith("/")
        if folders_only:
            line = line[:-1]
        anchored = "/" in line
        line = line.removeprefix("/")
        if line:
            out._group(negated).add(line, anchored, folders_only, slash_is_special=True)
    return out


def tar_patterns(text: str) -> Patterns:
    """The patterns of a `.studioml_ignore`, as `tar --exclude-from` reads them.

    A pattern matches a name or the end of a path at any depth, `*` and `?` also match `/`. Beyond tar: `#`
    begins a comment, a leading `/` (or `./`) ties a pattern to the top, a trailing `/` means folders only.
    """
    out = Patterns()
    for raw in text.removeprefix("\ufeff").split("\n"):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        folders_only = line.endswith("/") and not line.endswith("\\/")
        line = line.rstrip("/") if folders_only else line
        anchored = line.startswith(("/", "./"))
        line = line.removeprefix(".").removeprefix("/") if anchored else line
        if line:
            out._group(False).add(line, anchored, folders_only, slash_is_special=False)
    return out


class _Group:
    """Neighbouring patterns of one sign: whichever matches, the answer is the same, so their order is free."""

    def __init__(self, negated: bool) -> None:
        self.negated = negated
        self._names: tuple[set[str], set[str]] = (set(), set())  # [0] of anything, [1] of folders only
        self._paths: tuple[set[str], set[str]] = (set(), set())
        self._suffixes: tuple[list[str], list[str]] = ([], [])
        self._globs: tuple[list[str], list[str]] = ([], [])
        self._lead = ""
        self._compiled: tuple[re.Pattern[str], re.Pattern[str]] | None = None

    def add(self, pattern: str, anchored: bool, folders_only: bool, *, slash_is_special: bool) -> None:
        plain = _GLOB.search(pattern) is None
        slash = "/" in pattern
        if plain and anchored:
            self._paths[folders_only].add(pattern)
        elif plain and not slash:
            self._names[folders_only].add(pattern)
        elif not anchored and not slash and pattern[0] == "*" and _GLOB.search(pattern, 1) is None:
            self._suffixes[folders_only].append(pattern[1:])
        else:
            if not slash_is_special:
                self._lead = "./"  # tar sees names so, and its `*` takes the dot too
            start = re.escape(self._lead) if anchored else "(?:.*/)?"
            self._globs[folders_only].append(
                start + _regex(pattern, slash_is_special, spans=slash_is_special and anchored)
            )

    def matches(self, path: str, name: str, folder: bool) -> bool:
        return self._matches(0, path, name) or (folder and self._matches(1, path, name))

    def _matches(self, kind: int, path: str, name: str) -> bool:
        if name in self._names[kind] or path in self._paths[kind]:
            return True
        if self._suffixes[kind] and name.endswith(tuple(self._suffixes[kind])):
            return True
        if not self._globs[kind]:
            return False
        if self._compiled is None:
            any_kind, folders = ("|".join(f"(?:{g})" for g in globs) or "(?!)" for globs in self._globs)
            self._compiled = (re.compile(any_kind, re.DOTALL), re.compile(folders, re.DOTALL))
        return self._compiled[kind].fullmatch(self._lead + path) is not None


def _without_trailing_spaces(line: str) -> str:
    end = len(line)
    while end and line[end - 1] == " ":
        slashes = 0
        while end - 2 - slashes >= 0 and line[end - 2 - slashes] == "\\":
            slashes += 1
        if slashes % 2:
            break
        end -= 1
    return line[:end]


def _regex(pattern: str, slash_is_special: bool, *, spans: bool) -> str:
    """The regular expression of a glob; `(?!)`, which matches nothing, for a broken one. `spans`: `**` is special."""
    star, one = ("[^/]*", "[^/]") if slash_is_special else (".*", ".")
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            stop = at
            while stop < len(pattern) and pattern[stop] == "*":
                stop += 1
            piece, at = _stars(pattern, at, stop, star) if spans else (star, stop)
            out.append(piece)
        elif char == "[":
            piece, at = _class(pattern, at, slash_is_special)
            if not piece:
                return "(?!)"
            out.append(piece)
        elif char == "\\":
            if at + 1 == len(pattern):
                return "(?!)"
            out.append(re.escape(pattern[at + 1]))
            at += 2
        else:
            out.append(one if char == "?" else re.escape(char))
            at += 1
    return "".join(out)


def _stars(pattern: str, at: int, stop: int, star: str) -> tuple[str, int]:
    """A run of asterisks: `**` between slashes (or an end) spans folders, any other run does not.

    git compares what stands before the first wildcard by itself, so a `**` there counts as at the beginning.
    """
    opens = pattern[at - 1 : at] in ("", "/") or _GLOB.search(pattern[:at]) is None
    if stop - at < 2 or not opens:
        return star, stop
    if stop == len(pattern):
        return ".*", stop
    if pattern[stop] == "/":
        return "(?:.*/)?", stop + 1
    if pattern.startswith("\\/", stop):
        return ".*", stop
    return star, stop


_POSIX = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": " \\t", "cntrl": "\\x00-\\x1f\\x7f", "digit": "0-9",
    "graph": "\\x21-\\x7e", "lower": "a-z", "print": "\\x20-\\x7e", "punct": "!-/:-@\\[-`{-~", "space": "\\s",
    "upper": "A-Z", "xdigit": "0-9A-Fa-f",
}  # fmt: skip


def _class(pattern: str, at: int, slash_is_special: bool) -> tuple[str, int]:
    """A bracket expression from `at` as a regular expression, "" if it is broken; and where it ends."""
    at += 1
    negated = at < len(pattern) and pattern[at] in "!^"
    at += negated
    items: list[str] = []
    first = True
    while at < len(pattern) and (first or pattern[at] != "]"):
        first = False
        if pattern.startswith("[:", at) and (close := pattern.find(":]", at)) > 0:
            posix = _POSIX.get(pattern[at + 2 : close])
            if posix is None:
                return "", at
            items.append(posix)
            at = close + 2
            continue
        low, at = _member(pattern, at)
        if at + 1 < len(pattern) and pattern[at] == "-" and pattern[at + 1] != "]":
            high, at = _member(pattern, at + 1)
            if low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    if at >= len(pattern):
        return "", at
    inside = "".join(items)
    not_slash = "(?!/)" if slash_is_special else ""
    if negated:
        return not_slash + (f"[^{inside}]" if inside else "."), at + 1
    return (not_slash + f"[{inside}]" if inside else "(?!)"), at + 1


def _member(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] == "\\" and at + 1 < len(pattern):
        return pattern[at + 1], at + 2
    return pattern[at], at + 1
