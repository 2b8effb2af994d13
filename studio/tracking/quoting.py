r"""Texts in quotes: how a query reads them, and how `runs show` prints what cannot stand there without quotes.

In quotes, `\"`, `\'` and `\\` stand for the second character, and `\u000a` for the character of that number, if nobody
could see it. Before anything else a backslash is itself, as in `C:\temp` and in regular expressions.
"""

from __future__ import annotations

import re

_ESCAPED = re.compile(r"""\\(?:(["'\\])|u([0-9a-f]{4}))""")
_WORDS = frozenset({"none", "null", "true", "false", "nan", "inf", "infinity", "-inf", "-infinity"})
"""Texts that look like another value."""


def unquote(text: str) -> str:
    """What a text in quotes says."""
    return _ESCAPED.sub(_meant, text[1:-1]) if "\\" in text else text[1:-1]


def quoted(text: str) -> str:
    """The text in quotes."""
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\u{ord(char):04x}" if _is_hidden(char) else char for char in inner) + '"'


def shown(text: str) -> str:
    """The text itself where quotes around it make a query find it; else in quotes."""
    plain = text.strip() == text != "" and text.lower() not in _WORDS and '"' not in text and not text.endswith("\\")
    return text if plain and not any(map(_is_hidden, text)) and unquote(f'"{text}"') == text else quoted(text)


def _meant(found: re.Match[str]) -> str:
    if found[1]:
        return found[1]
    char = chr(int(found[2], 16))
    return char if _is_hidden(char) else found[0]


def _is_hidden(char: str) -> bool:
    """Whether it is not seen; halves of characters stand for bytes, which the index spells out."""
    return not char.isprintable() and char < "\U00010000" and not "\ud800" <= char <= "\udfff"
