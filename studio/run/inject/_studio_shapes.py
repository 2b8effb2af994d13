"""Hides what secrets look like whatever they are called: tokens of known services, private keys, passwords in URLs.

Nothing is told by how random it looks: a digest, a UUID or a path is never taken for a secret.
"""

from __future__ import annotations

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
        r"(?:[^\"'`]{1,20000}?-----END [A-Z0-9 ]{0,60}PRIVATE KEY(?: BLOCK)?-----"
        r"|(?:\\[nr]|\s)*[A-Za-z0-9+/=]{40,}(?:(?:\\[nr]|\s)+[A-Za-z0-9+/=]{4,})*)",
    ),
)
_MARKS = tuple((mark, number) for number, (_, marks, _) in enumerate(SHAPES) for mark in marks)


def find_tokens(text: str) -> Iterator[Span]:
    """Where something of a known shape stands."""
    for number in dict.fromkeys(number for mark, number in _MARKS if mark in text):
        for match in _pattern(number).finditer(text):
            yield match.start(), match.end(), SHAPES[number][0]


def find_logins(text: str) -> Iterator[Span]:
    """Where user and password stand in URLs; for http also a user alone, since tokens are written so.

    A password may hold `@`, `/`, `?` or `#` although it should not.
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
            scheme = re.search(r"[A-Za-z0-9+.-]*\Z", text[:at])
            web = scheme is not None and re.search(r"https?\Z", scheme.group(), re.IGNORECASE) is not None
            if web or rest[:cut].partition(":")[2]:
                yield start, start + cut, "a login in a URL"
        at = text.find("://", start)


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
    return re.compile(r"[^\s\"'<>`]*")
