"""Finds secrets in what HTTP and its tools write: header lines, queries of URLs, `user:password` of curl."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from re import Match

    from . import _studio_names
    from ._studio_names import certain, compiled, made_up, secret, strong
    from ._studio_shapes import Span
else:
    import _studio_names
    from _studio_names import certain, compiled, made_up, secret, strong

OPTIONS = frozenset({"H", "header", "headers", "http-header", "proxy-header", "extra-header", "extra-headers"})
"""Options whose value is a header."""
LOGINS = frozenset({"u", "user", "proxy-user", "auth", "basic-auth"})
"""Options whose value may be `user:password`."""

_ALWAYS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "cookie2", "set-cookie2"})
_WORDS = ("authorization", "cookie", "key", "token", "secret", "passw", "credential", "auth")
_LINE = 8192
_FIELD = r"(?:(?<![\w.-])|(?<=-H))(?P<name>[A-Za-z][\w-]{1,60})[ \t]{0,8}:[ \t]{0,8}(?=[^\s:=/])"
_AHEAD = r"(?:^|\n)(?:[ \t>]{0,30}|--?[\w-]{1,20}[= ][ \t]{0,8}|-H)\Z"
_SCHEME = r"(?i)(?:basic|bearer|token|digest|negotiate|apikey|ntlm|[\w-]{0,20}hmac[\w-]{0,20})[ \t]{1,8}(?=\S)"
_WORD = r"""[^\s"'`,;<>]+"""
_COOKIES = r"""[^\s;"'`,=]{1,200}=[^\s;"'`,]*(?:;[ \t]{0,8}[^\s;"'`,=]{1,200}=[^\s;"'`,]*)*"""
_PLACE = r"\$\{?\w+\}?|\$\(.*|\{[^{}]*\}|<[^<>]*>|%\w|%\(\w+\)s|\*+|\.{3}|…|[|>][+-]?"
_TUPLE = (
    r"""[(\[]\s{0,8}(["'])(?P<name>[A-Za-z][\w-]{1,60})\1\s{0,8},\s{0,8}"""
    r"""(["'])(?P<value>[^"'\n]{1,4096})\3\s{0,8}[)\]]"""
)
_BEARER = r"(?i)\bbearer[ \t]{1,8}(?P<value>[\w.~+/=-]{8,})"
_QUERY = r"(?:[?&]|&amp;)(?P<name>[A-Za-z][\w.-]{0,60})=(?P<value>[\w%+/=~.:-]{4,})"
_SIGNATURE = r"(?:.*[-_.])?(?:sig|signature|hmac)"
_LOGIN = r"""(?:^|(?<=\s))(?:-u|--user|--proxy-user)[ =]["']?(?P<login>[\w.@+-]{1,64}:[^\s"':/]{1,256})"""
_KEYS = r"(?:X-|[A-Z]).*-[Kk](?:ey|EY)|x-.*-key"
_FAILURES = ("Error", "Exception", "Warning", "Failure")


def find(text: str, *, written: bool = False) -> Iterator[Span]:
    """Where the value of a header stands that is a secret: `X-Api-Key: …`, `Cookie: …`, `Authorization: Basic …`.

    A header has a hyphen in its name, or is a well-known one. Other names, `password: …`, count at the beginning of a
    line, or in quotes, with one word behind them.

    Args:
        written: The text is source code: values must look made by a machine, and names outside quotes have capitals.
    """
    if ":" in text:
        for match in _fields_in_source(text) if written else compiled(_FIELD).finditer(text):
            span = _value(text, match.group("name"), match.start(), match.end(), written)
            if span is not None and _counts(text[span[0] : span[1]], match.group("name"), written):
                yield span[0], span[1], "a header"
    if "-" in text or "uthorization" in text or "ookie" in text:
        for match in compiled(_TUPLE).finditer(text):
            if is_header(match.group("name")) and _counts(match.group("value"), match.group("name"), written):
                yield match.start("value"), match.end("value"), "a header"
    if "earer" in text or "EARER" in text:
        for match in compiled(_BEARER).finditer(text):
            if _counts(match.group("value"), "", written):
                yield match.start("value"), match.end("value"), "a header"


def find_queries(text: str) -> Iterator[Span]:
    """Where a signature or a token stands in the query of a URL: `?sig=…`, `&X-Amz-Signature=…`, `&access_token=…`."""
    if "=" not in text or ("?" not in text and "&" not in text):
        return
    for match in compiled(_QUERY).finditer(text):
        name, value = match.group("name"), match.group("value")
        if compiled(_SIGNATURE).fullmatch(name.lower()) or strong(name, value):
            yield match.start("value"), match.end("value"), "a signature"


def find_logins(text: str) -> Iterator[Span]:
    """Where the password of `curl -u user:password` stands in a shell's line."""
    if "-u" in text or "user" in text:
        for match in compiled(_LOGIN).finditer(text):
            password = password_in(match.group("login"))
            if password:
                yield match.end("login") - len(password), match.end("login"), "a login"


def password_in(word: str) -> str:
    """The password of `user:password`; "" for `1000:1000` (numbers of a user and a group) or a path."""
    user, _, password = word.partition(":")
    if not user or not password or password == user or "/" in user or password[0] in "/\\$*":
        return ""
    return "" if user.isdigit() and password.isdigit() else password


def value_in(header: str) -> str:
    """The secret part of `name: value`, all of the value if the name says so, whatever its form; else ""."""
    name, colon, value = header.partition(":")
    if not colon or not compiled(r"[\w-]+").fullmatch(name.strip()) or not (is_header(name) or secret(name.strip())):
        return ""
    match = compiled(_SCHEME).match(value.strip())
    found = value.strip()[match.end() :] if match else value.strip()
    return found if _counts(found, name, False) else ""


def is_header(name: str) -> bool:
    """Whether it is the name of a header whose value is a secret."""
    if name.lower() in _ALWAYS:
        return True
    return "-" in name and (strong(name, "") or (compiled(_KEYS).fullmatch(name) is not None and secret(name)))


def _fields_in_source(text: str) -> Iterator[Match[str]]:
    """The same fields, but only those whose names have a word of `_WORDS`: much of a source is `name: value`."""
    lowered = text.lower()
    found = set()
    for word in _WORDS if len(lowered) == len(text) else ():
        at = lowered.find(word)
        while at >= 0:
            if compiled(r"[\w-]{0,60}[ \t]{0,8}:").match(text, at) is not None:
                begin = at
                while begin > max(0, at - 60) and (text[begin - 1].isalnum() or text[begin - 1] in "_-"):
                    begin -= 1
                found.add(begin + 2 * text.startswith("-H", begin))
            at = lowered.find(word, at + len(word))
    for begin in sorted(found):
        match = compiled(_FIELD).match(text, begin)
        if match is not None:
            yield match


def _value(text: str, name: str, start: int, begin: int, written: bool) -> tuple[int, int] | None:
    """Where the secret part of a value at `begin` is, of a name at `start`; None if the two are no header."""
    quote = text[start - 1] if start and text[start - 1] in "\"'`" else ""
    header = is_header(name) and (not written or quote != "" or name != name.lower())
    if not header and (written or name.endswith(_FAILURES) or not secret(name)):
        return None
    line = text.find("\n", begin, begin + _LINE)
    end = line if line >= 0 else min(len(text), begin + _LINE)
    whole = quote != "" or compiled(_AHEAD).search(text[max(0, start - 64) : start]) is not None
    if quote and text.find(quote, begin, end) >= 0:
        end = text.find(quote, begin, end)
        end -= text[end - 1] == "\\"
    end = begin + len(text[begin:end].rstrip())
    if not header:
        value = text[begin:end]
        fits = whole and " " not in value and strong(name, value) and (certain(name) or made_up(value))
        return (begin, end) if fits else None
    scheme = None if "ookie" in name else compiled(_SCHEME).match(text, begin, end)
    begin = begin if scheme is None else scheme.end()
    if whole:
        return begin, end
    match = compiled(_COOKIES if "ookie" in name else _WORD).match(text, begin, end)
    return None if match is None else match.span()


def _counts(value: str, name: str, written: bool) -> bool:
    """Whether it is a value, not the place of one; in source code, whether it looks made by a machine."""
    if value.lower() in _studio_names.NOTHING or compiled(_PLACE).fullmatch(value):
        return False
    if not written:
        return True
    if "{" in value or "$" in value or "%s" in value:
        return False
    return made_up(value) or ("uthorization" in name and _is_basic(value))


def _is_basic(value: str) -> bool:
    """Whether it is the base64 of `user:password`."""
    import base64

    try:
        return b":" in base64.b64decode(value, validate=True)
    except ValueError:
        return False
