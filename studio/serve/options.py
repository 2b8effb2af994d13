"""Says what is wrong with a server's options before anything is loaded, bound, written or recorded."""

from __future__ import annotations

import os
import shlex
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, ModelLoadError, StoreError
from ..models.base import DictModel, LoadedModel, TensorModel
from ..tracking.named_secrets import FILE_OPTIONS, VALUE_OPTIONS, remember_file, remember_value
from ..tracking.sensitive import holds_private_key
from ..units import check_duration, check_size
from .access import check_token
from .certificates import check_pair, dates
from .networks import check_networks, parse_hosts, parse_networks

__all__ = ["cautions", "check_mode", "check_options", "check_wrapper", "parse_limits", "remember_secrets"]


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses options that no server can start with. Nothing is written; the port is not tried.

    Args:
        options: As `studio.serve_main.serving_options` names them.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    check_duration(options["killafter"], "--killafter")
    parse_limits(options)
    _check_host(options["host"])
    check_networks(options["host"], parse_networks(options["allow"]))
    parse_hosts(options["allowed_host"])
    check_pair(options["tls_cert"], options["tls_key"])
    _check_choice(options)
    for name in ("model", "name"):
        if options[name] == "":
            raise ConfigError(f"--{name} is empty", hint="leave it out, or give a name")
    if options["wrapper"] is not None:
        check_wrapper(options["wrapper"])
    check_token(
        options["host"], token=options["token"], token_file=token_file(options), no_token=options["no_token"],
        insecure=options["insecure"],
    )  # fmt: skip


def parse_limits(options: Mapping[str, Any]) -> tuple[int, float]:
    """Bytes of the largest body and seconds of the longest wait.

    Raises:
        ConfigError: one of them is none.
    """
    max_body = check_size(options["max_body"], "--max-body")
    return max_body, check_duration(options["timeout"], "--timeout", zero=False)


def cautions(options: Mapping[str, Any]) -> list[str]:
    """What to warn of at the start of a server whose options can be used."""
    out = dates(options["tls_cert"]) if options["tls_cert"] is not None else []
    for option in FILE_OPTIONS:
        path = options[option[2:].replace("-", "_")]
        if path is None:
            continue
        found = os.stat(path)
        if stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_IROTH | stat.S_IWOTH):
            can = "read" if found.st_mode & stat.S_IROTH else "change"
            out.append(f"{option} {path}: every user of this machine can {can} it; chmod 600 {shlex.quote(path)}")
    return out


def remember_secrets(home: Path, options: Mapping[str, Any]) -> str:
    """Keeps what these options name as secret out of every capture, now and later; what to say if that fails."""
    try:
        for option in FILE_OPTIONS:
            if (path := options.get(option[2:].replace("-", "_"))) is not None:
                remember_file(home, option, Path(path))
        for option in VALUE_OPTIONS:
            if (value := options.get(option[2:])) is not None:
                remember_value(home, option, value)
        cert = options.get("tls_cert")
        if cert is not None and holds_private_key(Path(cert).read_bytes()):
            remember_file(home, "--tls-cert", Path(cert))
    except StoreError as exc:
        return f"{exc.message}: a later run in its folder may capture it"
    return ""


def token_file(options: Mapping[str, Any]) -> Path | None:
    """The file of `--token-file`."""
    return None if options["token_file"] is None else Path(options["token_file"])


def _check_host(host: str) -> None:
    hint = "--host takes an address or a name of this machine; 0.0.0.0 serves the network"
    if not host:
        raise ConfigError("--host is empty", hint=hint)
    try:
        socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        raise ConfigError(
            f"--host {host[:100]!r} is neither an address nor a name that can be found", hint=hint
        ) from exc


def _check_choice(options: Mapping[str, Any]) -> None:
    """Of the options that say which model is served, one counts."""
    given = [f"--{name}" for name in ("wrapper", "identity", "model", "best") if options[name]]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} exclude each other", hint="give one of them")


def check_mode(mode: str, model: LoadedModel) -> None:
    """Refuses `--batch-mode loop` for a model that might hold the event loop, where no time limit ends it.

    Raises:
        ConfigError: nothing shows that it cannot.
    """
    quick = model.bounded if isinstance(model, TensorModel) else isinstance(model, DictModel) and not model.threads
    if mode == "loop" and not quick:
        raise ConfigError(
            f"--batch-mode loop: a call of {model.file or model.style} may take long, and all others would wait for "
            "it, beyond --timeout",
            hint="leave it out: the model runs in threads",
        )


def check_wrapper(spec: str) -> Path:
    """The file of `FILE[:attribute]`, which is read and not run.

    Raises:
        ConfigError: it is not there, or has no such function.
    """
    from ..models.wrapper import find_wrapper
    from ..models.wrapper_source import check_source

    try:
        path, attribute = find_wrapper(spec)
        check_source(path, attribute)
        return path
    except ModelLoadError as exc:
        raise ConfigError(exc.message, hint=exc.hint or "-w takes FILE or FILE:ATTRIBUTE") from exc
