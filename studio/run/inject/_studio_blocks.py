"""Finds values of more than one line under a secret's name: blocks of text, lists and tables."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from re import Match

    from . import _studio_names
    from ._studio_names import certain, compiled, made_up, strong

    Place = tuple[int, int]
else:
    import _studio_names
    from _studio_names import certain, compiled, made_up, strong

LONG = 16
"""No word of a language is as long, and has digits."""

LONGEST = 1 << 16
"""So many characters of one value are looked at."""

_REST = r"[\w.-]{0,80}+"
_BLOCK = _REST + r"""["']?[ \t]*:[ \t]*(?:[!&][^\s]{0,100}[ \t]+){0,4}[|>][-+0-9]{0,2}[ \t]*(?:\#[^\n]*)?\r?\n"""
_BELOW = _REST + r"""["']?[ \t]*[:=][ \t]*(?:[!&][^\s]{0,100}[ \t]*){0,4}(?:\#[^\n]*)?\r?\n"""
_BRACKET = _REST + r"""["']?[ \t]*[:=][ \t\r\n]*[\[{(]"""
_TRIPLE = _REST + r"""["']?\s{0,20}(?::\s{0,20}[\w.\[\]| ]{1,40})?[:=]\s{0,20}[rbufRBUF]{0,2}(\"{3}|'{3})"""
_QUOTE = _REST + r"""["']?[ \t]*[:=][ \t]*(["'])"""
_PART = (
    r"""\"(?:[^"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'|(?P<key>(?<![\w.-])[A-Za-z_][\w.-]{0,80}+[ \t]*[:=])|[\[{(\]})]"""
)
_FLOW = r"""\"(?:[^"\\\n]|\\.)*+\"|'[^'\n]*'|[\[\]{}]|[^\[\]{},"'\n]+"""
_LEAF = (
    r"""[ \t]*(?:-[ \t]+)*(?:["']?(?P<name>[\w.-]{1,80})["']?[ \t]*:[ \t]+)?"""
    r"""["']?(?P<value>[^\s"'#](?:[^\n"'#]*[^\s"'#])?)"""
)
_CONTINUED = r"""(?:[ \t]*\\)?[ \t]*\r?\n"""
_FIELD = r"""[ \t]*(?:- |["']?[\w.-]+["']?[ \t]*[:=]|[\[{}\]#;]|\Z)"""
_TELLING = frozenset(
    {"name", "file", "path", "type", "key", "user", "username", "id", "url", "host", "description", "kind", "version",
     "region", "created", "updated", "expires", "email", "title", "format", "example", "from", "image", "env", "usage"}
)  # fmt: skip
"""What a table about a secret says beside it."""


class Blocks:
    """The blocks of one text. Each is read once: names within one that was found bring nothing new.

    Args:
        settings: It is a file of settings: there are blocks and lists without brackets and quotes.
    """

    def __init__(self, text: str, settings: bool) -> None:
        self._text = text
        self._settings = settings
        self._seen: list[tuple[int, int]] = []
        self._until = 0

    def find(self, at: int, name: str, own: bool, found: list[Place]) -> Iterator[Place]:
        """The values of more than one line that stand behind the name at `at`.

        Args:
            own: The user calls what has this name a secret.
            found: What is known of its value already.
        """
        if not (own or strong(name, "")):
            return
        text = self._text
        triple = compiled(_TRIPLE).match(text, at)
        if triple is not None:
            yield from self._quoted(triple.group(1), triple.end(), name, own)
            return
        bracket = compiled(_BRACKET).match(text, at)
        if bracket is not None:
            is_new = bracket.end() > self._until
            yield from self._bracketed(bracket.end() - 1, name, own)
            if is_new and self._settings:
                yield from self._flow(bracket.end() - 1, name, own)
        elif self._settings:
            yield from self._in_lines(at, name, own, found)

    def _in_lines(self, at: int, name: str, own: bool, found: list[Place]) -> Iterator[Place]:
        text = self._text
        quote = compiled(_QUOTE).match(text, at)
        block = compiled(_BLOCK).match(text, at)
        below = compiled(_BELOW).match(text, at)
        if quote is not None:
            yield from self._quoted(quote.group(1), quote.end(), name, own)
        elif block is not None:
            lines = list(self._deeper(at, block.end(), lists=False))
            if lines and (own or _holds(text[lines[0][0] : lines[-1][1]])):
                yield from lines
        elif below is not None:
            for begin, end in self._deeper(at, below.end(), lists=True):
                yield from _leaf(text, begin, end, name, own)
        elif found:
            yield from self._continued(at, found[-1][1])

    def _quoted(self, quote: str, begin: int, name: str, own: bool) -> Iterator[Place]:
        """A text in quotes that has several lines; in code, lines of words are a help text."""
        text = self._text
        end = text.find(quote, begin, begin + LONGEST)
        while end > begin and text[end - 1] == "\\":
            end = text.find(quote, end + 1, begin + LONGEST)
        value = text[begin:end] if end >= 0 else ""
        if not value or ("\n" not in value and len(quote) == 1) or "{" in value[:1]:
            return
        words = [line.strip() for line in value.splitlines() if line.strip(" \t\\")]
        plain = any(" " in word for word in words) and not (self._settings and certain(name))
        if own or (not plain and _holds(value)):
            for line in words:
                begin = text.index(line, begin, end)
                yield begin, begin + len(line)
                begin += len(line)

    def _bracketed(self, begin: int, name: str, own: bool) -> Iterator[Place]:
        """The texts in quotes in a list or an object, but for what an object says about the secret, and for calls."""
        if begin < self._until:
            return
        text, before, end = self._text, "", begin
        calls: list[bool] = []
        for part in compiled(_PART).finditer(text, begin, begin + LONGEST):
            end = part.end()
            if part.group() in "[{(":
                calls.append(any(calls[-1:]) or (part.group() == "(" and text[part.start() - 1].isalnum()))
                before = ""
            elif part.group() in "]})":
                calls.pop()
                before = ""
                if not calls:
                    break
            elif part.group("key") or compiled(r"[ \t\r\n]{0,40}[:=]").match(text, end):
                before = part.group().strip("\"' \t:=").lower()
            else:
                place = part.start() + 1, part.end() - 1
                if (
                    before not in _TELLING
                    and not calls[-1]
                    and _is_secret(text[slice(*place)], name, own and not before)
                ):
                    yield place
                before = ""
        self._until = end

    def _flow(self, begin: int, name: str, own: bool) -> Iterator[Place]:
        """The values without quotes in a list or an object of YAML."""
        text, depth = self._text, 0
        for part in compiled(_FLOW).finditer(text, begin, begin + LONGEST):
            if part.group() in ("[", "{"):
                depth += 1
            elif part.group() in ("]", "}"):
                depth -= 1
                if not depth:
                    return
            elif part.group()[0] not in "\"'" and text[part.end() : part.end() + 1] not in ("'", '"'):
                yield from _leaf(text, part.start(), part.end(), name, own)

    def _deeper(self, at: int, begin: int, *, lists: bool) -> Iterator[Place]:
        """The lines from `begin` on that belong to the name at `at`: those further to the right, or list items."""
        if begin < self._until:
            return
        text = self._text
        start = text.rfind("\n", max(0, at - 200), at) + 1
        column = len(compiled(r"[ \t]*(?:- +)*").match(text, start).group())  # type: ignore[union-attr]
        limit = min(len(text), begin + LONGEST)
        while begin < limit:
            end = text.find("\n", begin, limit)
            end = end if end >= 0 else limit
            line = text[begin:end]
            indent = len(line) - len(line.lstrip(" \t"))
            if line.strip():
                if indent < column or (indent == column and not (lists and line[indent : indent + 2] == "- ")):
                    break
                yield begin + indent, begin + len(line.rstrip())
            begin = end + 1
        self._until = max(self._until, begin)

    def _continued(self, at: int, end: int) -> Iterator[Place]:
        """The lines on which a value without quotes goes on: behind a backslash, or further to the right."""
        text = self._text
        start = text.rfind("\n", max(0, at - 200), at) + 1
        if compiled(r"""[ \t]*(?:- |export |set )?["']?[\w.-]*\Z""").match(text[start:at]) is None:
            return
        column = len(text[start:at]) - len(text[start:at].lstrip(" \t"))
        end -= text[end - 1] == "\\"
        ends: Match[str] | None = compiled(_CONTINUED).match(text, end)
        while ends is not None and ends.end() < min(len(text), end + LONGEST):
            begin = ends.end()
            stop = text.find("\n", begin)
            line = text[begin : stop if stop >= 0 else len(text)]
            value = line.strip().rstrip("\\").rstrip()
            indent = len(line) - len(line.lstrip(" \t"))
            if not value or (
                "\\" not in ends.group() and (indent <= column or compiled(_FIELD).match(line) is not None)
            ):
                return
            yield begin + indent, begin + indent + len(value)
            ends = compiled(_CONTINUED).match(text, begin + indent + len(value))


def is_literal(value: str, own: bool) -> bool:
    """Whether it is the value itself: no variable, tag, alias or block, and no path or URL unless the user says so."""
    return value[0] not in "${<%!&*[|>" and (own or (value[0] != "/" and "://" not in value))


def counts(value: str, own: bool) -> bool:
    """Whether a value is there, and, unless the user calls it secret, looks made by a machine."""
    return value.lower() not in _studio_names.NOTHING if own else made_up(value)


def _leaf(text: str, begin: int, end: int, name: str, own: bool) -> Iterator[Place]:
    """The value on a line of a list or a table."""
    match = compiled(_LEAF).match(text, begin, end)
    if match is None or (match.group("name") or "").lower() in _TELLING:
        return
    if _is_secret(match.group("value"), name, own and match.group("name") is None):
        yield match.span("value")


def _is_secret(value: str, name: str, own: bool) -> bool:
    """Whether a value in a list or table of this name is one: `tokens` may be those of a language, which are short."""
    if not value.strip() or not counts(value, own) or not is_literal(value, own):
        return False
    if own:
        return True
    return not (" " in value or value.startswith(("./", "../", "~/"))) and (certain(name) or len(value) >= LONG)


def _holds(value: str) -> bool:
    """Whether a word of a text looks made by a machine, or all of it without its line ends."""
    if value.lstrip()[:1] in "${<%":
        return False
    return any(map(made_up, value.split())) or (len(value.split()) > 1 and made_up("".join(value.split())))
