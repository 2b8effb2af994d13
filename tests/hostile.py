"""Hostile values, and JSON documents in which some stand: seeded, for any document."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

TEXTS = (
    "", " ", "\ud83d", "half \ude00", "\udcff", "\x00", "\x1b]0;title\x07\x1b[2J\x1b[31mred", "\x9b31m", "\r\n\tx",
    "\x7f", "\u202eevil\u202c", "\u2066x\u2069", "\u2028", "\ufeff", "x" * 100_000, "NaN", "-Infinity", "1e999",
    "null", "../../x", "/etc/passwd", "é日本🙂", "a\"b'c`d\\", "<script>alert(1)</script>", "${HOME} %s {0}", "=1+1",
    "true", "9" * 400, ".", "a.b.min", 'metrics."x', "\u0301" * 50, "\U0010ffff", "\uffff",
)  # fmt: skip
NUMBERS = (
    float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 1e308, 5e-324, -0.0, -1, 0, 1, 2**31, 2**53 + 1,
    2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400, 253402300799, 253402300800, 1e17, 1e15,
    -62135596800, 0.1, True, False,
)  # fmt: skip


def nest(depth: int) -> Any:
    """A list in a list in a list …, every third one an object."""
    found: Any = []
    for level in range(depth):
        found = {"a": found} if level % 3 == 0 else [found]
    return found


OTHERS = (None, [], {}, [None], {"": None}, [[]], [1, "a", None, {}], {"a": {"b": [1]}}, {"last": 1}, list(range(3000)))


def value(chance: random.Random) -> Any:
    """One hostile value."""
    kind = chance.random()
    if kind < 0.4:
        return chance.choice(TEXTS)
    if kind < 0.75:
        return chance.choice(NUMBERS)
    if kind < 0.95:
        return copy.deepcopy(chance.choice(OTHERS))
    return nest(chance.choice((3, 60, 70, 300, 900)))


def mutated(document: Any, chance: random.Random) -> bytes:
    """The document with one to three of its values, names or bytes spoilt, as JSON text."""
    found = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = list(_places(found))
        if not places:
            break
        _spoil(*chance.choice(places), chance)
    try:
        raw = json.dumps(found).encode()
    except RecursionError:  # two such nests in one another
        return mutated(document, chance)
    return _spoilt_bytes(raw, chance) if chance.random() < 0.1 else raw


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, below in inner:
        yield node, name
        yield from _places(below)


def _spoil(node: Any, name: Any, chance: random.Random) -> None:
    what = chance.random()
    if what < 0.65:
        node[name] = value(chance)
    elif what < 0.75:
        del node[name]
    elif isinstance(node, dict):
        node[chance.choice(TEXTS)] = node.pop(name) if what < 0.9 else value(chance)
    else:
        node.insert(0, value(chance))


def _spoilt_bytes(raw: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(raw) + 1)
    return chance.choice(
        (
            b"", raw[:at], b"\xef\xbb\xbf" + raw, raw.decode().encode("utf-16"), raw[:at] + b"\xff\xfe" + raw[at:],
            raw[:at] + b"\0" + raw[at:], raw + raw, raw[:-1] + b', "key": "other"}',
            raw[:-1] + b', "params": 3, "params": {}}',
            b"[" * 100_000, b"null", b"[]", b'"text"', b"\n" + raw + b"\n", raw.replace(b"1", b"1" * 5000, 1),
        )
    )  # fmt: skip


def strictly(raw: bytes) -> Any:
    """What a parser reads that takes the standard's JSON only, and texts that any encoding has.

    Raises:
        ValueError: it is none; or has what a terminal would obey.
    """

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    found = json.loads(raw.decode("utf-8"), parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    calm(raw)
    return found


def calm(raw: bytes) -> None:
    """Refuses bytes that make a terminal do more than show text.

    Raises:
        ValueError: there is one.
    """
    for char in raw.decode("utf-8"):
        if (char < " " and char not in "\n") or "\x7f" <= char < "\xa0" or char in "\u2028\u2029\u202e\u2066\ufeff":
            raise ValueError(f"{char!r} would reach the terminal")
