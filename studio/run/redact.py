"""Takes secrets out of what a record keeps: values of options, parameters and URLs that look like credentials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..experiment import Command
from .inject._studio_secrets import MASK, clean, secret, shown


def redact_params(params: Mapping[str, object]) -> dict[str, object]:
    """The parameters with secret ones shown as `***`."""
    return {
        name: clean(value) if isinstance(value := shown(name, given), str) else value for name, given in params.items()
    }


def redact_args(args: Iterable[str]) -> tuple[str, ...]:
    """The arguments with the values of secret options (`--token X`, `--token=X`, `token=X`) shown as `***`."""
    out: list[str] = []
    hide_next = False
    for arg in args:
        name, equals, _ = arg.partition("=")
        if hide_next and not arg.startswith("-"):
            out.append(MASK)
            hide_next = False
        elif equals and secret(name.lstrip("-")):
            out.append(f"{name}={MASK}")
        else:
            hide_next = arg.startswith("--") and not equals and secret(arg.lstrip("-"))
            out.append(clean(arg))
    return tuple(out)


def redact_command(command: Command) -> Command:
    """The command as its record may keep it."""
    return replace(command, args=redact_args(command.args))
