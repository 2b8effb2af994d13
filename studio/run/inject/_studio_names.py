"""Tells by its name whether a value is a secret; and whether a value looks made by a machine."""

from __future__ import annotations

import functools
import os
import re

NAMES = "STUDIOML_SECRET_NAMES"
"""Variable with the user's own names of secrets, separated by commas."""

LEAST_CHARS = 8
"""Shorter values are not looked for in other texts: they would be found everywhere."""

_ALWAYS = re.compile(
    r"secret|passw|passphrase|passcode|credential|(?:private|api|access|auth|account|signing|encryption|master)_?-?key"
    r"|authorization|connection_?string|webhook_?url|(?:^|_)(?:creds|sas|dsn)(?:$|_)",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"[_.-](?:files?|paths?|dir|folder|names?|type|env|var)$", re.IGNORECASE)
_TOKEN = re.compile(
    r"token(?!iz|is)|(?:^|[^a-zA-Z])pw(?:d(?![a-z])|$)|^pass$|(?:^|[_-])cookies?$|(?:^|[^a-zA-Z])(?:db|database|my_?sql|postgres|pg|mongo|redis"
    r"|ldap|amqp|rabbitmq|elastic|smtp|imap|e?mail|s?ftp|ssh|sudo|root|admin|user|login|auth|basic|http|proxy)[_-]?pass$",
    re.IGNORECASE,
)
_KEY = re.compile(r"(?:^|[^a-zA-Z])keys?(?![a-zA-Z])|[a-z]Key(?![a-z])|[a-z_-]key$", re.IGNORECASE)
_HARMLESS = frozenset({"monkey", "donkey", "turkey", "hotkey", "whiskey", "hockey", "jockey", "keymap"})
# What a tokenizer or a column of a data set is called: `pad_token`, `image_key`; counts of tokens; and what a name says
# about tokens or keys, without being one: `token_pattern`, `key_padding_mask`.
_ORDINARY = re.compile(
    r"(?:^|[^a-z])(?:(?:pad|padding|bos|eos|boi|eoi|sot|eot|unk|unknown|oov|blank|sep|separator|delimiter|cls|class|mask"
    r"|special|stop|suppress|start|end|begin|image|audio|video|vision|word|prefix|suffix|prompt|language)"
    r"[_-]?tokens?(?:[_-](?:ids?|index))?"
    r"|(?:max|min|num|n|new|total|input|output|generated)[_-]?tokens"
    r"|(?:label|image|img|features?|input|output|target|text|sort|group|primary|foreign|partition|index|mask"
    r"|batch|metric|monitor|score|lookup|dict|column|col|field|caption|audio|video|question|answer|rng|random)[_-]?keys?)$"
    r"|(?:tokens?|keys?)[_-](?:pattern|regex|type|dtype|dims?|size|shape|counts?|len|length|limit|budget|rate|prob|weights?"
    r"|masks?|padding|positions?|embeddings?|index|indices|healing|filters?|level|mode|method|strategy|pooling|dropout"
    r"|func|fn|order|column|field|labels?|separator|delimiter|map|document|value_heads|per|to|seen)(?:$|[_-])",
    re.IGNORECASE,
)
MASK = "***"
NOTHING = frozenset({"", MASK, "none", "null", "true", "false", "yes", "no", "on", "off"})


def secret(name: str) -> bool:
    """Whether the name says key, token, secret or password, or is one of the user's own."""
    return certain(name) or _says(name)


def certain(name: str) -> bool:
    """Whether what goes by this name is a secret even if it is a number."""
    return _says_always(name) or own(name, os.environ.get(NAMES, ""))


@functools.lru_cache(maxsize=4096)
def _says(name: str) -> bool:
    if _ORDINARY.search(name) or _ABOUT.search(name):
        return False
    if _TOKEN.search(name):
        return True
    last = re.split(r"[^a-zA-Z]", name)[-1].lower()
    return _KEY.search(name) is not None and last not in _HARMLESS


@functools.lru_cache(maxsize=4096)
def _says_always(name: str) -> bool:
    return _ALWAYS.search(name) is not None and _ABOUT.search(name) is None


@functools.lru_cache(maxsize=4096)
def own(name: str, names: str) -> bool:
    """Whether the user calls what goes by this name a secret."""
    if not names:
        return False
    import fnmatch

    plain = name.lower().replace("-", "_")
    patterns = [p.strip().lower().replace("-", "_") for p in names.split(",")]
    return any(fnmatch.fnmatchcase(plain, pattern) for pattern in patterns if pattern)


def strong(name: str, value: str) -> bool:
    """Whether `name: value` in a text is a secret: no count, and nothing that only its name calls a key."""
    if certain(name):
        return True
    return secret(name) and not _KEY.search(name) and not value.replace(".", "", 1).isdigit()


def made_up(value: str) -> bool:
    """Whether it has digits and letters, as what is made by a machine has."""
    return len(value) >= LEAST_CHARS and any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


@functools.lru_cache(maxsize=128)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled when it is first needed: every script that is tracked pays for what is compiled before."""
    return re.compile(pattern)
