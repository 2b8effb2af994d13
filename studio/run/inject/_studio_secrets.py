"""Hides what is a secret, by the name it goes by or by what it looks like; secrets are recorded as `***`."""

from __future__ import annotations

import functools
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from . import _studio_shapes
    from ._studio_shapes import Span
else:
    import _studio_shapes

MASK = "***"
LEAST_CHARS = 8
"""Shorter values are not looked for in other texts: they would be found everywhere."""

NAMES = "STUDIOML_SECRET_NAMES"
"""Variable with the user's own names of secrets, separated by commas."""

_ALWAYS = re.compile(
    r"secret|passw|passphrase|passcode|credential|(?:private|api|access|auth|account|signing|encryption|master)_?-?key"
    r"|authorization|connection_?string|webhook_?url|(?:^|_)(?:creds|sas|dsn)(?:$|_)",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"[_.-](?:files?|paths?|dir|folder|names?|type|env|var)$", re.IGNORECASE)
_TOKEN = re.compile(
    r"token(?!iz|is)|(?:^|[^a-zA-Z])pw(?:d(?![a-z])|$)|^pass$|(?:^|[^a-zA-Z])(?:db|database|my_?sql|postgres|pg|mongo|redis"
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
# Compiled when they are first needed: every script that is tracked pays for what stands here.
_ASSIGNED = (
    r"""(?<![\w.-])(?:(?P<quote>["'])(?P<key>[A-Za-z_][\w.-]{0,80})(?P=quote)\s*[:=]|(?P<name>[A-Za-z_][\w.-]{0,80})\s*="""
    r"""|(?<=[{, ])(?P<flow>[A-Za-z_][\w.-]{0,80})\s*:)"""
    r"""\s*(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|(?P<bare>[^\s;&|,"'(){}[\]]+))"""
)
# What follows a name in source, and what it stands behind; names are looked for by these words.
_WORDS = ("secret", "passw", "passphrase", "credential", "token", "key")
# The name may stand in quotes, also in a notebook's (\\"), in an index, or before an annotation; it may be the first
# argument of a call, or that of an option with a default.
_QUOTED = (
    r"""[\w.-]{0,80}(?:\\?["'])?(?:\s*\])?"""
    r"""(?:\s*(?::\s*[\w.\[\]| ]{1,40})?=\s*|\s*:\s*"""
    r"""|(?<=["'])\s*,\s*(?:(?P<default>(?:[^()]|\([^()]*\)){0,200}?\bdefault\s*=\s*))?)"""
    r"""(?:[rbufRBUF]{1,2}(?=["'\\]))?\\?["'](?P<value>[^"'\s{}<>$%]{12,}?)\\?["']"""
)
_CALLED = r"""\(\s*\\?["'][\w.-]*\Z"""
_SETTING = r"""[\w.-]{0,80}["']?[ \t]*[:=][ \t]*["']?(?P<value>[^\s"',#]{8,})"""
# The same of a name that the user has called secret, whatever its value looks like.
_QUOTED_OWN = _QUOTED.replace(r"""[^"'\s{}<>$%]{12,}?""", r"""[^"'\n\\]+""")
_SETTING_OWN = r"""[\w.-]{0,80}["']?[ \t]*[:=][ \t]*["']?(?P<value>[^\s"'#](?:[^\s"'#]|(?<!\s)#|[ \t]+(?=[^\s#]))*)"""
# In a flow mapping of YAML, `{name: value, …}`, a value without quotes ends at a comma or a bracket; it may have spaces
# and go on in the next line.
_IN_FLOW = r"""(?:(?<!\$)\{|[,\[])\s*(?:\#[^\n]*\n\s*)*(?:\?\s+)?["']?[\w.-]*\Z"""
_FLOW = (
    r"""[\w.-]{0,80}(?:["']\s*:\s*|\s*:\s+)(?:[!&][^\s,{}\[\]]*\s+)*(?:"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>(?:''|[^'])*)'"""
    r"""|(?P<bare>[^\s,\[\]{}"'#](?:[^\s,\[\]{}:]|:(?![\s,\[\]{}])|\s+(?=[^\s\#,\[\]{}:]))*))"""
)
_LIST = r"""[\w.-]{0,80}["']?\s*:\s*\[(?P<items>[^\[\]{}]*)\]?"""
_ITEM = r"""[^\s,"'](?:[^,"'\n]*[^\s,"'])?"""
_BEFORE = r"""(?P<line>(?:^|\n)[ \t]*(?:- |export |set )?["']?)?(?P<name>[\w.-]*)\Z"""
_HEADER = r"(?i)\b(?:authorization\s*[:=]\s*(?:[\w-]+\s+)?|bearer\s+)(?P<value>[\w.~+/=-]{8,})"
_BEARER = r"""["'](?:Authorization:\s*)?[Bb]earer\s+(?P<value>[\w.~+/=-]{12,})\\?["']"""
_ALLOWED = ("pragma: allowlist secret", "gitleaks:allow")
NOTHING = frozenset({"", MASK, "none", "null", "true", "false", "yes", "no", "on", "off"})

_learnt: list[str] = []
_values: tuple[int, list[str]] = (-1, [])


def secret(name: str) -> bool:
    """Whether the name says key, token, secret or password, or is one of the user's own."""
    if _certain(name):
        return True
    if _ORDINARY.search(name) or _ABOUT.search(name):
        return False
    if _TOKEN.search(name):
        return True
    last = re.split(r"[^a-zA-Z]", name)[-1].lower()
    return _KEY.search(name) is not None and last not in _HARMLESS


def shown(name: str, value: Any) -> Any:
    """`value`, or `***` if its name says that it is a secret. Counts (`max_tokens=512`) and switches are none."""
    if value is None or isinstance(value, bool) or value == "":
        return value
    if isinstance(value, (int, float)) and not _certain(name):
        return value
    if secret(name):
        return MASK
    return clean(value) if isinstance(value, str) else value


def clean(text: str) -> str:
    """A short text of a record without what is a secret: also `password=…`, and values of secret variables."""
    if len(text) < LEAST_CHARS and "=" not in text:
        return text
    spans = _studio_shapes.merge(iter([*_spans(text), *_assigned(text), *_known(text)]))
    return _studio_shapes.replace(text, spans, MASK)


def clean_text(text: str) -> str:
    """A long text, or a name, without tokens, passwords in URLs, and values of secret variables."""
    if len(text) < LEAST_CHARS:
        return text
    return _studio_shapes.replace(text, _studio_shapes.merge(iter([*_spans(text), *_known(text)])), MASK)


def find_in_source(text: str, *, settings: bool = False, known: bool = False) -> list[Span]:
    """Where source code, or a file of settings, has a secret written down.

    Literals count where their name says so and they do not look like words. Lines that other scanners are told to
    allow (`pragma: allowlist secret`) are allowed here.

    Args:
        settings: It is a file of settings (YAML, INI, a shell's variables): values stand there without quotes.
        known: Values of this process's secret variables count as well.
    """
    spans = list(_studio_shapes.find_tokens(text))
    spans += [s for s in _studio_shapes.find_logins(text) if _made_up(text[s[0] : s[1]].partition(":")[2])]
    spans += _written(text, settings)
    if "earer " in text:
        spans += [
            (*m.span("value"), "a header") for m in _compiled(_BEARER).finditer(text) if _made_up(m.group("value"))
        ]
    if known:
        spans += _known(text)
    if any(mark in text for mark in _ALLOWED):
        spans = [s for s in spans if not any(mark in _line(text, s[0]) for mark in _ALLOWED)]
    return _studio_shapes.merge(iter(spans))


def _written(text: str, settings: bool) -> Iterator[Span]:
    """Values in source whose names say that they are secret."""
    for at, own in _named(text):
        spans = list(_in_flow(text, at, own)) if settings else []
        if not spans:
            spans = list(_after(text, at, own, settings))
        if not spans and settings:
            spans = list(_listed(text, at, own))
        for begin, end in spans:
            yield begin, end, "a secret by its name"


def _named(text: str) -> Iterator[tuple[int, bool]]:
    """Where a name may say so: at a word of a secret, or at the beginning of a name of the user's own."""
    lowered = text.lower()
    if len(lowered) != len(text):  # letters whose capitals are two
        lowered = text
    for word in _WORDS:
        at = lowered.find(word)
        while at >= 0:
            yield at, False
            at = lowered.find(word, at + len(word))
    if os.environ.get(NAMES):
        for match in _compiled(r"[A-Za-z_][\w.-]*").finditer(text):
            name, start = match.group(), 0
            while start < len(name) and not _own(name[start:], os.environ[NAMES]):
                start = name.find(".", start) + 1 or len(name)  # of `self.licence`, `licence`
            if start < len(name):
                yield match.start() + start, True


def _after(text: str, at: int, own: bool, settings: bool) -> Iterator[tuple[int, int]]:
    """The value that stands behind the name at `at`, in quotes, or in a line of settings without."""
    quoted, setting = _compiled(_QUOTED_OWN if own else _QUOTED), _compiled(_SETTING_OWN if own else _SETTING)
    match = quoted.match(text, at) or (setting.match(text, at) if settings else None)
    if match is None or not _counts(match.group("value"), own):
        return
    value, ahead = match.group("value"), _compiled(_BEFORE).search(text[max(0, at - 90) : at])
    whole = match.re is quoted and (own or ("/" not in value[:1] and "://" not in value))
    if whole and "," in match.group()[: match.start("value") - at] and match.group("default") is None:
        whole = _compiled(_CALLED).search(text[max(0, at - 90) : at]) is not None
    if not whole and ahead is not None and ahead.group("line") is not None:
        whole = _literal(value, own)
    if whole and (own or _strong(_name_at(text, at), value)):
        yield match.span("value")


def _flows(text: str, at: int) -> bool:
    """Whether the name at `at` stands in a flow mapping, as far as the text around tells."""
    ahead = text[max(0, at - 90) : at]
    if _compiled(_IN_FLOW).search(ahead):
        return True
    found = _compiled(_BEFORE).search(ahead)
    return found is not None and found.group("line") is not None and _open(text, at)


def _open(text: str, at: int) -> bool:
    """Whether a bracket before `at` is still open there."""
    depth = 0
    for bracket in reversed(_compiled(r"(?<!\$)\{|[}\[\]]").findall(text[max(0, at - 4096) : at])):
        depth += 1 if bracket in "}]" else -1
        if depth < 0:
            return True
    return False


def _in_flow(text: str, at: int, own: bool) -> Iterator[tuple[int, int]]:
    match = _compiled(_FLOW).match(text, at)
    if match is None or match.lastgroup is None:
        return
    value, name = match.group(match.lastgroup), _name_at(text, at)
    if not _counts(value, own) or not _literal(value, own) or not (own or _strong(name, value)) or not _flows(text, at):
        return
    if match.lastgroup == "bare":
        if not _open(text, at):  # a part of a file, or a line of prose
            value = value.partition("\n")[0].rstrip()
    elif not own and " " in value and not _certain(name):  # "token": "a text"
        return
    if _counts(value, own):
        begin = match.start(match.lastgroup)
        yield begin, begin + len(value)


def _listed(text: str, at: int, own: bool) -> Iterator[tuple[int, int]]:
    """The items of a list in brackets, `passwords: [one, two]`; `tokens: [COVID-19, …]` may be data."""
    match = _compiled(_LIST).match(text, at) if own or _certain(_name_at(text, at)) else None
    if match is not None:
        for item in _compiled(_ITEM).finditer(text, *match.span("items")):
            if _counts(item.group(), own) and _literal(item.group(), own):
                yield item.span()


def _literal(value: str, own: bool) -> bool:
    """Whether it is the value itself: no variable, tag, alias or block, and no path or URL unless the user says so."""
    return value[0] not in "${<%!&*[|>" and (own or (value[0] != "/" and "://" not in value))


def _counts(value: str, own: bool) -> bool:
    return value.lower() not in NOTHING if own else _made_up(value)


def _name_at(text: str, at: int) -> str:
    """The whole name of which a part stands at `at`."""
    begin = re.search(r"[\w.-]*\Z", text[max(0, at - 90) : at])
    rest = re.match(r"[\w.-]*", text[at : at + 90])
    return (begin.group() if begin else "") + (rest.group() if rest else "")


def values_of(variables: Mapping[str, str]) -> Iterator[str]:
    """What is secret in variables: values whose names say so, passwords in URLs, tokens."""
    for name, value in variables.items():
        if len(value) < LEAST_CHARS:
            continue
        if secret(name) and value.lower() not in NOTHING and not os.path.exists(value):
            yield value
        yield from values_in(value)


def taken_from(text: str) -> Iterator[str]:
    """What `clean` takes out of a text, but for values of secret variables."""
    yield from values_in(text)
    for start, end, _ in _assigned(text):
        yield text[start:end]


def values_in(text: str) -> Iterator[str]:
    """Tokens and passwords of URLs that stand in a text."""
    for start, end, _ in _studio_shapes.find_tokens(text):
        yield text[start:end]
    for start, end, _ in _studio_shapes.find_logins(text):
        user, _, password = text[start:end].partition(":")
        yield password or user


def _spans(text: str) -> Iterator[Span]:
    yield from _studio_shapes.find_tokens(text)
    yield from _studio_shapes.find_logins(text)


def _assigned(text: str) -> Iterator[Span]:
    if "=" in text or ":" in text:
        for match in _compiled(_ASSIGNED).finditer(text):
            value = match.group(match.lastgroup or "bare")
            name = match.group("key") or match.group("name") or match.group("flow")
            if match.group("flow") and not _open(text, match.start()):
                continue  # prose
            if value.lower() not in NOTHING and value[0] != "$" and _strong(name, value):
                begin, end = match.span(match.lastgroup or "bare")
                yield begin, end, "a secret by its name"
    if "earer" in text or "uthorization" in text.lower():
        for match in _compiled(_HEADER).finditer(text):
            yield match.start("value"), match.end("value"), "a header"


def _certain(name: str) -> bool:
    """Whether what goes by this name is a secret even if it is a number."""
    if _ALWAYS.search(name) and not _ABOUT.search(name):
        return True
    return _own(name, os.environ.get(NAMES, ""))


@functools.lru_cache(maxsize=4096)
def _own(name: str, names: str) -> bool:
    """Whether the user calls what goes by this name a secret."""
    if not names:
        return False
    import fnmatch

    plain = name.lower().replace("-", "_")
    patterns = [p.strip().lower().replace("-", "_") for p in names.split(",")]
    return any(fnmatch.fnmatchcase(plain, pattern) for pattern in patterns if pattern)


def _strong(name: str, value: str) -> bool:
    if _certain(name):
        return True
    return secret(name) and not _KEY.search(name) and not value.replace(".", "", 1).isdigit()


def _known(text: str) -> Iterator[Span]:
    for value in _environment():
        at = text.find(value)
        while at >= 0:
            yield at, at + len(value), "the value of a secret variable"
            at = text.find(value, at + len(value))


def learn(values: Iterable[str]) -> None:
    """From here on these values are secrets like those of variables. They are in memory only."""
    global _values
    _learnt[:] = values
    _values = (-1, [])


def learn_also(value: str) -> None:
    """One more of those."""
    if value not in _learnt:
        learn([*_learnt, value])


def _environment() -> Iterable[str]:
    """Values of this process's secret variables; those that are plain words would be found in any prose."""
    global _values
    if _values[0] != len(os.environ):
        every = [*_learnt, *values_of(os.environ)]
        found = {v for v in every if len(v) >= LEAST_CHARS and not (v.isalpha() and v.islower())}
        _values = len(os.environ), sorted(found, key=len, reverse=True)
    return _values[1]


@functools.lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _made_up(value: str) -> bool:
    """Whether it has digits and letters, as what is made by a machine has."""
    return len(value) >= LEAST_CHARS and any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def _line(text: str, at: int) -> str:
    end = text.find("\n", at)
    return text[text.rfind("\n", 0, at) + 1 : end if end >= 0 else len(text)]
