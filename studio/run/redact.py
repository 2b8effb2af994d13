"""Takes secrets out of what a record keeps, and says which they were, so that a log can be kept without them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Config
from ..errors import ConfigError
from ..experiment import Command, check_name
from ..tracking.sensitive import SCAN_BYTES
from . import inject as inject
from .plan import parse_value

if TYPE_CHECKING:
    from .inject import _studio_headers, _studio_secrets, _studio_shapes
else:  # the copy that the hooks of this process use
    import _studio_headers
    import _studio_secrets
    import _studio_shapes

MASK = _studio_secrets.MASK
clean = _studio_secrets.clean
"""A text without tokens, logins in URLs, `password=…` and values of this process's secret variables."""

_NAME = re.compile(r"[+-]{0,2}[A-Za-z_][\w./@-]*")
learn = _studio_secrets.learn
"""Makes values secret in whatever is recorded from here on; in memory only."""

SETTINGS = (".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".json", ".properties", ".tfvars", ".sh", ".env", ".txt")
"""Endings of files that hold values without quotes."""


_SHORT = frozenset({"H", "u"})
_SHORT_OPTIONS = frozenset(f"-{letter}" for letter in _SHORT)
_LONGEST_LINE = 4096
_FILE_OF = re.compile(r"[_.-]?(?:files?|paths?)$", re.IGNORECASE)


def names_secret_file(name: str) -> bool:
    """Whether a variable whose value is a path names a file with a secret: `DB_PASSWORD_FILE`, `SSL_KEYFILE`."""
    return bool(_studio_secrets.secret(_FILE_OF.sub("", name)))


def use_names(config: Config) -> None:
    """From here on, in this process and those that it starts, names of the setting `secret_names` are secrets."""
    names = config["secret_names"]
    if names:
        os.environ[_studio_secrets.NAMES] = ",".join(names)


def redact_params(params: Mapping[str, object]) -> dict[str, object]:
    """The parameters with secret ones shown as `***`."""
    return {name: _studio_secrets.shown(name, value) for name, value in params.items()}


def redact_args(args: Iterable[str]) -> tuple[str, ...]:
    """The arguments with the values of secret options (`--token X`, `--token=X`, `token=X`) shown as `***`."""
    return tuple(shown for shown, _ in _redacted(args))


def redact_command(command: Command) -> Command:
    """The command as its record may keep it."""
    return replace(command, args=redact_args(command.args))


def check_tag(tag: str) -> str:
    """The tag itself, if it is a name without a secret; whoever gives one, by whatever way.

    Raises:
        ConfigError: it holds a token or a password, or does not fit the grammar of names.
    """
    if clean(tag) != tag:
        raise ConfigError("a tag holds what looks like a token or a password", hint="choose another tag")
    return check_name(tag, "tag")


def redact_url(url: str) -> str:
    """The URL without user name and password, and without tokens elsewhere in it."""
    logins = [(start, end + 1, what) for start, end, what in _studio_shapes.find_logins(url)]
    return clean(_studio_shapes.replace(url, logins, ""))


def secrets_of(args: Iterable[str], params: Mapping[str, object], env: Mapping[str, str]) -> list[str]:
    """What is secret in arguments, parameters and variables, each once: what a script's output is searched for."""
    found: dict[str, None] = {}
    for _, taken in _redacted(args):
        found.update(dict.fromkeys(value for value in taken if not os.path.exists(value)))  # as of --tls-key FILE
    texts = {name: str(value) for name, value in params.items()}
    found.update(dict.fromkeys(_studio_secrets.values_of({**texts, **env})))
    return [value for value in found if len(value) >= _studio_secrets.LEAST_CHARS]


def redact_source(path: str, data: bytes, *, known: bool = False) -> tuple[bytes, str]:
    """A file's content without tokens and passwords that are written in it, and which they were and where.

    It has as many lines as before. The text is empty if the content is as it was, as it is for binary files.

    Args:
        known: Values of this process's secret variables are taken out too.
    """
    if b"\0" in data[:8192]:
        return data, ""
    text = data.decode("latin-1")
    spans = _studio_secrets.find_in_source(text, settings=path.lower().endswith(SETTINGS), known=known)
    if not spans:
        return data, ""
    where = [f"{what} in line {text.count(chr(10), 0, start) + 1}" for start, _, what in spans[:3]]
    more = f" and {len(spans) - 3} more" if len(spans) > 3 else ""
    return _studio_shapes.replace(text, spans, MASK, lines=True).encode("latin-1"), ", ".join(where) + more


def written_in(script: Path) -> list[str]:
    """What is secret in a script's own text: it may be printed. Nothing of a script that cannot be read, or is huge."""
    try:
        if script.stat().st_size > SCAN_BYTES:
            return []
        text = script.read_text("utf-8", errors="surrogateescape")
    except OSError:
        return []
    found = [text[start:end] for start, end, _ in _studio_secrets.find_in_source(text)]
    return [value for value in found if len(value) >= _studio_secrets.LEAST_CHARS]


def written_alone_in(path: Path) -> list[str]:
    """The secret of a file that holds nothing else: one line of text, which may be printed."""
    try:
        text = path.read_text("utf-8").strip() if path.stat().st_size <= _LONGEST_LINE else ""
    except (OSError, ValueError):
        return []
    return [text] if len(text) >= _studio_secrets.LEAST_CHARS and text.isprintable() else []


def _redacted(args: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Each argument as it may be kept, and what was taken out of it."""
    option = ""
    for arg in args:
        name, equals, value = arg.partition("=")
        is_option = arg.startswith("--") or (arg.startswith("-") and len(arg) < _studio_secrets.LEAST_CHARS)
        secret = "" if is_option else _in_tool(option, arg)
        if secret:
            yield arg[: -len(secret)] + MASK, [secret]
        elif option and option not in _SHORT and not is_option and hides(option, arg):
            yield MASK, [arg]
        elif equals and _NAME.fullmatch(name) and hides(name.lstrip("+-"), value):
            yield f"{name}={MASK}", [value]
        else:
            yield clean(arg), list(_studio_secrets.taken_from(arg))
        option = arg.lstrip("-") if (arg.startswith("--") and not equals) or arg in _SHORT_OPTIONS else ""


def _in_tool(option: str, arg: str) -> str:
    """What is secret in the value of `-H` (a header) or `-u` (`user:password`), as curl and its like take them."""
    if option in _studio_headers.OPTIONS:
        return str(_studio_headers.value_in(arg))
    return str(_studio_headers.password_in(arg)) if option in _studio_headers.LOGINS else ""


def hides(name: str, value: str) -> bool:
    """Whether the value is a secret by its name; counts (`--max-tokens 512`) and switches are none."""
    if value.lower() in _studio_secrets.NOTHING:
        return False
    return bool(_studio_secrets.shown(name, parse_value(value)) == MASK) and clean(value) != MASK
