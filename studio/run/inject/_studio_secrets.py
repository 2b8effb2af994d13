"""Hides what is a secret, by the name it goes by or by what it looks like; secrets are recorded as `***`."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from . import _studio_headers, _studio_shapes
    from ._studio_names import LEAST_CHARS, MASK, NAMES, NOTHING, certain, compiled, secret, strong
    from ._studio_shapes import Span
else:
    import _studio_headers
    import _studio_shapes
    from _studio_names import LEAST_CHARS, MASK, NAMES, NOTHING, certain, compiled, secret, strong

__all__ = [
    "LEAST_CHARS", "MASK", "NAMES", "NOTHING", "clean", "clean_text", "find_in_source", "learn", "learn_also", "secret",
    "shown", "taken_from", "values_in", "values_of",
]  # fmt: skip

_ASSIGNED = (
    r"""(?<![\w.-])(?:(?P<quote>["'])(?P<key>[A-Za-z_][\w.-]{0,80})(?P=quote)\s*[:=]|(?P<name>[A-Za-z_][\w.-]{0,80})\s*="""
    r"""|(?<=[{, ])(?P<flow>[A-Za-z_][\w.-]{0,80})\s*:)"""
    r"""\s*(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|(?P<bare>[^\s;&|,"'(){}[\]]+))"""
)
_learnt: list[str] = []
_values: tuple[int, list[str]] = (-1, [])


def shown(name: str, value: Any) -> Any:
    """`value`, or `***` if its name says that it is a secret. Counts (`max_tokens=512`) and switches are none."""
    if value is None or isinstance(value, bool) or value == "":
        return value
    if isinstance(value, (int, float)) and not certain(name):
        return value
    if secret(name):
        return MASK
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: shown(key, inner) if isinstance(key, str) else inner for key, inner in value.items()}
    return _items(value) if isinstance(value, (list, tuple)) else value


def _items(values: Any) -> list[Any]:
    """The items of a list, which may be a command line: behind `--token` stands a secret."""
    found: list[Any] = []
    before = ""
    for value in values:
        text = value if isinstance(value, str) else ""
        if before and text[:1] != "-" and shown(before, value) == MASK:
            found.append(MASK)
        else:
            found.append(shown("", value))
        before = text.lstrip("-") if text[:2] == "--" and "=" not in text else ""
    return found


def clean(text: str) -> str:
    """A short text of a record without what is a secret: also `password=…`, and values of secret variables."""
    if len(text) < LEAST_CHARS and "=" not in text and ":" not in text:
        return text
    spans = _studio_shapes.merge(iter([*_spans(text), *_assigned(text), *_known(text)]))
    return _studio_shapes.replace(text, spans, MASK)


def clean_text(text: str) -> str:
    """A long text, or a name, without tokens, passwords in URLs and headers, and values of secret variables."""
    if len(text) < LEAST_CHARS:
        return text
    return _studio_shapes.replace(text, _studio_shapes.merge(iter([*_spans(text), *_known(text)])), MASK)


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
    """Tokens, values of headers, and passwords of URLs that stand in a text."""
    for start, end, _ in [*_studio_shapes.find_tokens(text), *_in_http(text)]:
        yield text[start:end]
    for start, end, _ in _studio_shapes.find_logins(text):
        user, _, password = text[start:end].partition(":")
        yield password or user


def find_in_source(text: str, *, settings: bool = False, known: bool = False) -> list[Span]:
    """Where source code, or a file of settings, has a secret written down; see `_studio_written.find`.

    Args:
        settings: It is a file of settings (YAML, INI, a shell's variables): values stand there without quotes.
        known: Values of this process's secret variables count as well.
    """
    if TYPE_CHECKING:
        from . import _studio_written
    else:  # no script needs it
        import _studio_written

    return _studio_written.find(text, settings, list(_known(text)) if known else [])


def _spans(text: str) -> Iterator[Span]:
    yield from _studio_shapes.find_tokens(text)
    yield from _studio_shapes.find_logins(text)
    yield from _in_http(text)


def _in_http(text: str) -> Iterator[Span]:
    yield from _studio_headers.find(text)
    yield from _studio_headers.find_queries(text)
    yield from _studio_headers.find_logins(text)


def _assigned(text: str) -> Iterator[Span]:
    if "=" in text or ":" in text:
        brackets = None
        for match in compiled(_ASSIGNED).finditer(text):
            value = match.group(match.lastgroup or "bare")
            name = match.group("key") or match.group("name") or match.group("flow")
            if match.group("flow"):
                brackets = brackets or _studio_shapes.Brackets(text)
                if not brackets.is_open(match.start()):
                    continue  # prose
            if value.lower() not in NOTHING and value[0] != "$" and strong(name, value):
                begin, end = match.span(match.lastgroup or "bare")
                yield begin, end, "a secret by its name"


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
