"""Finds secrets that are written down in source code and in files of settings."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from . import _studio_blocks, _studio_headers, _studio_names, _studio_shapes
    from ._studio_blocks import counts, is_literal
    from ._studio_names import certain, compiled, made_up, strong
    from ._studio_shapes import Span
else:
    import _studio_blocks
    import _studio_headers
    import _studio_names
    import _studio_shapes
    from _studio_blocks import counts, is_literal
    from _studio_names import certain, compiled, made_up, strong

# What follows a name in source, and what it stands behind; names are looked for by these words.
_WORDS = ("secret", "passw", "passphrase", "credential", "token", "key")
# The name may stand in quotes, also in a notebook's (\\"), in an index, or before an annotation; it may be the first
# argument of a call, or that of an option with a default.
_QUOTED = (
    r"""[\w.-]{0,80}+(?:\\?["'])?(?:\s*\])?"""
    r"""(?:\s*(?::\s*[\w.\[\]| ]{1,40})?=\s*|\s*:\s*"""
    r"""|(?<=["'])\s*,\s*(?:(?P<default>(?:[^()]|\([^()]{0,200}\)){0,200}?\bdefault\s*=\s*))?)"""
    r"""(?:[rbufRBUF]{1,2}(?=["'\\]))?\\?["'](?P<value>[^"'\s{}<>$%]{12,}?)\\?["']"""
)
_CALLED = r"""\(\s*\\?["'][\w.-]*\Z"""
_SETTING = r"""[\w.-]{0,80}+["']?[ \t]*[:=][ \t]*["']?(?P<value>[^\s"',#]{8,})"""
# The same of a name that the user has called secret, whatever its value looks like.
_QUOTED_OWN = _QUOTED.replace(r"""[^"'\s{}<>$%]{12,}?""", r"""[^"'\n\\]+""")
_SETTING_OWN = r"""[\w.-]{0,80}+["']?[ \t]*[:=][ \t]*["']?(?P<value>[^\s"'#](?:[^\s"'#]|(?<!\s)#|[ \t]+(?=[^\s#]))*)"""
# In a flow mapping of YAML, `{name: value, …}`, a value without quotes ends at a comma or a bracket; it may have spaces
# and go on in the next line.
_IN_FLOW = r"""(?:(?<!\$)\{|[,\[])\s*(?:\#[^\n]*\n\s*)*(?:\?\s+)?["']?[\w.-]*\Z"""
_FLOW = (
    r"""[\w.-]{0,80}+(?:["']\s*:\s*|\s*:\s+)(?:[!&][^\s,{}\[\]]*\s+)*(?:"(?P<double>(?:\\.|[^"\\]){0,4096})"|'(?P<single>(?:''|[^']){0,4096})'"""
    r"""|(?P<bare>[^\s,\[\]{}"'#](?:[^\s,\[\]{}:]|:(?![\s,\[\]{}])|\s+(?=[^\s\#,\[\]{}:])){0,512}))"""
)
_LIST = r"""[\w.-]{0,80}+["']?\s*:\s*\[(?P<items>[^\[\]{}]{0,65536})\]?"""
_ITEM = r"""[^\s,"'](?:[^,"'\n]*[^\s,"'])?"""
_BEFORE = r"""(?P<line>(?:^|\n)[ \t]*(?:- |export |set )?["']?)?(?P<name>[\w.-]*)\Z"""
_REST = r"[\w.-]{0,80}+"
_ALLOWED = ("pragma: allowlist secret", "gitleaks:allow")


def find(text: str, settings: bool, known: list[Span]) -> list[Span]:
    """Where source code, or a file of settings, has a secret written down.

    Literals count where their name says so and they do not look like words. Lines that other scanners are told to
    allow (`pragma: allowlist secret`) are allowed here.

    Args:
        known: Further places.
    """
    spans = [*known, *_studio_shapes.find_tokens(text), *_studio_headers.find(text, written=True)]
    spans += [s for s in _studio_shapes.find_logins(text) if made_up(text[s[0] : s[1]].partition(":")[2])]
    spans += [s for s in _studio_headers.find_logins(text) if made_up(text[s[0] : s[1]])]
    spans += [s for s in _studio_headers.find_queries(text) if made_up(text[s[0] : s[1]])]
    spans += [(begin, end, "a secret by its name") for begin, end in _written(text, settings)]
    if any(mark in text for mark in _ALLOWED):
        spans = [s for s in spans if not any(mark in _line(text, s[0]) for mark in _ALLOWED)]
    return _studio_shapes.merge(iter(spans))


def _written(text: str, settings: bool) -> Iterator[tuple[int, int]]:
    """Values in source whose names say that they are secret."""
    blocks, brackets = _studio_blocks.Blocks(text, settings), _studio_shapes.Brackets(text if settings else "")
    for at, own in _named(text):
        name = _name_at(text, at)
        if not own and not strong(name, ""):
            continue
        spans = list(_in_flow(text, at, name, own, brackets)) if settings else []
        if not spans:
            spans = list(_after(text, at, name, own, settings))
        if not spans and settings and (own or certain(name)):
            spans = list(_listed(text, at, own))
        yield from spans
        yield from blocks.find(at, name, own, spans)


def _named(text: str) -> Iterator[tuple[int, bool]]:
    """Where a name may say so, once for each name: at a word of a secret, or at the beginning of one of the user's."""
    lowered = text.lower()
    if len(lowered) != len(text):  # letters whose capitals are two
        lowered = text
    found: list[int] = []
    for word in _WORDS:
        at = lowered.find(word)
        while at >= 0:
            found.append(at)
            at = lowered.find(word, at + len(word))
    until = 0
    for at in sorted(found):
        if at >= until:
            until = compiled(_REST).match(text, at).end()  # type: ignore[union-attr]
            yield at, False
    if os.environ.get(_studio_names.NAMES):
        for match in compiled(r"[A-Za-z_][\w.-]*").finditer(text):
            name, start = match.group(), 0
            while start < len(name) and not _studio_names.own(name[start:], os.environ[_studio_names.NAMES]):
                start = name.find(".", start) + 1 or len(name)  # of `self.licence`, `licence`
            if start < len(name):
                yield match.start() + start, True


def _after(text: str, at: int, name: str, own: bool, settings: bool) -> Iterator[tuple[int, int]]:
    """The value that stands behind the name at `at`, in quotes, or in a line of settings without."""
    quoted, setting = compiled(_QUOTED_OWN if own else _QUOTED), compiled(_SETTING_OWN if own else _SETTING)
    match = quoted.match(text, at) or (setting.match(text, at) if settings else None)
    if match is None or not counts(match.group("value"), own):
        return
    value, ahead = match.group("value"), compiled(_BEFORE).search(text[max(0, at - 90) : at])
    whole = match.re is quoted and (own or ("/" not in value[:1] and "://" not in value))
    if whole and "," in match.group()[: match.start("value") - at] and match.group("default") is None:
        whole = compiled(_CALLED).search(text[max(0, at - 90) : at]) is not None
    if not whole and ahead is not None and ahead.group("line") is not None:
        whole = is_literal(value, own)
    if whole and (own or strong(name, value)):
        yield match.span("value")


def _flows(text: str, at: int, brackets: _studio_shapes.Brackets) -> bool:
    """Whether the name at `at` stands in a flow mapping, as far as the text around tells."""
    ahead = text[max(0, at - 90) : at]
    if compiled(_IN_FLOW).search(ahead):
        return True
    found = compiled(_BEFORE).search(ahead)
    return found is not None and found.group("line") is not None and brackets.is_open(at)


def _in_flow(text: str, at: int, name: str, own: bool, brackets: _studio_shapes.Brackets) -> Iterator[tuple[int, int]]:
    match = compiled(_FLOW).match(text, at)
    if match is None or match.lastgroup is None:
        return
    value = match.group(match.lastgroup)
    if (
        not counts(value, own)
        or not is_literal(value, own)
        or not (own or strong(name, value))
        or not _flows(text, at, brackets)
    ):
        return
    if match.lastgroup == "bare":
        if not brackets.is_open(at):  # a part of a file, or a line of prose
            value = value.partition("\n")[0].rstrip()
    elif not own and " " in value and not certain(name):  # "token": "a text"
        return
    if counts(value, own):
        begin = match.start(match.lastgroup)
        yield begin, begin + len(value)


def _listed(text: str, at: int, own: bool) -> Iterator[tuple[int, int]]:
    """The items of a list in brackets, `passwords: [one, two]`; `tokens: [COVID-19, …]` may be data."""
    match = compiled(_LIST).match(text, at)
    if match is not None:
        for item in compiled(_ITEM).finditer(text, *match.span("items")):
            if counts(item.group(), own) and is_literal(item.group(), own):
                yield item.span()


def _name_at(text: str, at: int) -> str:
    """The whole name of which a part stands at `at`."""
    begin, first = at, max(0, at - 90)
    while begin > first and (text[begin - 1].isalnum() or text[begin - 1] in "_.-"):
        begin -= 1
    return text[begin:at] + compiled(_REST).match(text, at).group()  # type: ignore[union-attr]


def _line(text: str, at: int) -> str:
    end = text.find("\n", at)
    return text[text.rfind("\n", 0, at) + 1 : end if end >= 0 else len(text)]
