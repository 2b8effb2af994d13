"""Hides what secrets look like whatever they are called: tokens of known services, private keys, passwords in URLs.

Nothing is told by how random it looks: a digest, a UUID or a path is never taken for a secret.
"""

from __future__ import annotations

import bisect
import functools
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Span = tuple[int, int, str]  # from, to, what it is

# (what it is, texts of which one must be there, the whole). A pattern is compiled when such a text is first seen.
SHAPES = (
    ("a token of studio", ("studio_token_",), r"\bstudio_token_[\w-]{40,}"),
    ("an AWS key", ("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{20,}"),
    ("a GitHub token", ("github_pat_",), r"\bgithub_pat_[A-Za-z0-9_]{20,}"),
    ("a GitLab token", ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-"), r"\bgl(?:pat|dt|rt|ptt|cbt)-[\w.-]{20,}"),
    ("a Slack token", ("xox", "xapp-"), r"\bx(?:ox[abceoprs]|app)-[A-Za-z0-9-]{10,}"),
    ("a Slack webhook", ("hooks.slack.com/",), r"(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/[\w/+-]{20,}"),
    ("an API key", ("sk-",), r"\bsk-(?:(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{20,}|(?:[a-z0-9]{2,8}-)*[0-9a-f]{32,})"),
    ("a Hugging Face token", ("hf_",), r"\bhf_[A-Za-z0-9]{30,}"),
    ("a Google API key", ("AIza",), r"\bAIza[\w-]{30,}"),
    ("a Google token", ("ya29.", "GOCSPX-", "1//0"), r"\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}|\b1//0[\w-]{40,}"),
    ("a JSON web token", ("eyJ",), r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"),
    ("an npm token", ("npm_",), r"\bnpm_[A-Za-z0-9]{30,}"),
    ("a PyPI token", ("pypi-",), r"\bpypi-[\w-]{50,}"),
    ("a Stripe key", ("_live_", "_test_", "whsec_"), r"\b(?:[rsp]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}"),
    ("a SendGrid key", ("SG.",), r"\bSG\.[\w-]{16,}\.[\w-]{16,}"),
    ("a Databricks token", ("dapi",), r"\bdapi[0-9a-f]{32}\b"),
    ("a Vault token", ("hvs.", "hvb."), r"\bhv[sb]\.[\w-]{20,}"),
    ("a DigitalOcean token", ("_v1_",), r"\bdo[opr]_v1_[0-9a-f]{32,}"),
    ("a Weights & Biases key", ("wandb_v1_",), r"\bwandb_v1_[\w-]{20,}"),
    ("a Replicate token", ("r8_",), r"\br8_[A-Za-z0-9]{30,}"),
    (
        "an Azure key",
        ("AccountKey", "SharedAccess"),
        r"(?<=Key=)[A-Za-z0-9+/]{20,}={0,2}|(?<=Signature=)[^;\s\"']{20,}",
    ),
    ("a signature", ("sig=", "Signature="), r"(?<=[?&]sig=)[\w%+/=-]{20,}|(?<=[?&]X-Amz-Signature=)[0-9a-f]{32,}"),
    (
        "a private key",
        ("PRIVATE KEY",),
        r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:(?!-----BEGIN )[^\"'`]){1,20000}?-----END [A-Z0-9 ]{0,60}PRIVATE KEY(?: BLOCK)?-----"
        r"|(?:\\[nr]|\s)*[A-Za-z0-9+/=]{40,}(?:(?:\\[nr]|\s)+[A-Za-z0-9+/=]{4,})*)",
    ),
)
_NEAR = 4096
_NO_USERS = frozenset(
    {"mailto", "sip", "sips", "xmpp", "acct", "npm", "serviceaccount", "group", "git", "http", "https", "file"}
)
"""What stands before a colon and an address of mail."""
_MARKS = tuple((mark, number) for number, (_, marks, _) in enumerate(SHAPES) for mark in marks)


def find_tokens(text: str) -> Iterator[Span]:
    """Where something of a known shape stands."""
    for number in dict.fromkeys(number for mark, number in _MARKS if mark in text):
        for match in _pattern(number).finditer(text):
            yield match.start(), match.end(), SHAPES[number][0]


def find_logins(text: str) -> Iterator[Span]:
    """Where user and password stand in URLs; for http also a user alone, since tokens are written so.

    A password may hold `@`, `/`, `?` or `#` although it should not. Without a scheme, `user:password@host`, it may not.
    """
    at = text.find("://")
    while at >= 0:
        start = at + 3
        word = _word()
        match = word.match(text, start)
        rest = match.group() if match else ""
        host = re.split(r"[/?#]", rest, maxsplit=1)[0]
        user, colon, password = host.partition(":")
        cut = host.rfind("@")
        if cut < 0 and colon and password and not password.isdigit() and "[" not in user:
            cut = rest.rfind("@")
        if cut > 0:
            scheme = re.search(r"[A-Za-z0-9+.-]*\Z", text[max(0, at - 32) : at])
            web = scheme is not None and re.search(r"https?\Z", scheme.group(), re.IGNORECASE) is not None
            if web or rest[:cut].partition(":")[2]:
                yield start, start + cut, "a login in a URL"
        at = text.find("://", start)
    yield from _find_bare_logins(text)


def _find_bare_logins(text: str) -> Iterator[Span]:
    """Where `user:password@host` stands without a scheme."""
    at = text.find("@")
    while at >= 0:
        colon = text.rfind(":", max(0, at - 130), at)
        begin = colon
        while begin > max(0, colon - 65) and (text[begin - 1].isalnum() or text[begin - 1] in "_.+%-"):
            begin -= 1
        match = _bare_login().match(text, begin) if 0 <= begin < colon else None
        if match is not None and match.end("login") == at:
            user, _, password = match.group("login").partition(":")
            if user.lower() not in _NO_USERS and not (user.isdigit() and password.isdigit()):
                yield begin, at, "a login"
        at = text.find("@", at + 1)


class Brackets:
    """Where brackets are open in a text; it is read once, whatever is asked."""

    def __init__(self, text: str) -> None:
        self._places: list[int] = []
        self._innermost: list[int] = []
        is_open: list[int] = []
        for match in _brackets().finditer(text):
            if match.group() not in "}]":
                is_open.append(match.start())
            elif is_open:
                is_open.pop()
            self._places.append(match.start())
            self._innermost.append(is_open[-1] if is_open else -1)

    def is_open(self, at: int) -> bool:
        """Whether a bracket not far before `at` is still open there."""
        before = bisect.bisect_left(self._places, at) - 1
        return before >= 0 and self._innermost[before] >= 0 and at - self._innermost[before] <= _NEAR


def merge(spans: Iterator[Span]) -> list[Span]:
    """The spans in order, those that touch each other made one."""
    out: list[Span] = []
    for start, end, what in sorted(spans):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]), out[-1][2])
        else:
            out.append((start, end, what))
    return out


def replace(text: str, spans: list[Span], mask: str, *, lines: bool = False) -> str:
    """The text with `mask` in the place of each span; with `lines` there are as many lines as before."""
    if not spans:
        return text
    out, at = [], 0
    for start, end, _ in spans:
        out += [text[at:start], mask, "\n" * text.count("\n", start, end) if lines else ""]
        at = end
    return "".join([*out, text[at:]])


@functools.lru_cache(maxsize=64)
def _pattern(number: int) -> re.Pattern[str]:
    return re.compile(SHAPES[number][2], re.ASCII)


@functools.lru_cache(maxsize=64)
def _word() -> re.Pattern[str]:
    return re.compile(r"[^\s\"'<>`]{0,1024}")


@functools.lru_cache(maxsize=64)
def _brackets() -> re.Pattern[str]:
    return re.compile(r"(?<!\$)\{|[}\[\]]")


@functools.lru_cache(maxsize=64)
def _bare_login() -> re.Pattern[str]:
    return re.compile(
        r"(?<![\w.+:/@%-])(?P<login>[\w.+%-]{1,64}:[^\s:@/\\\"'<>`|(){}\[\],;]{1,128})@"
        r"(?:(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}|localhost|\d{1,3}(?:\.\d{1,3}){3}|[A-Za-z][\w.-]{0,100}:\d{1,5})"
        r"(?![\w@-])",
        re.ASCII,
    )
