"""Says what is wrong with a server's options before anything is loaded, bound, written or recorded."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, ModelLoadError, StoreError
from ..models.base import DictModel, LoadedModel, TensorModel
from ..tracking.named_secrets import FILE_OPTIONS, VALUE_OPTIONS, remember_file, remember_value
from ..tracking.sensitive import holds_private_key
from ..units import parse_duration, parse_size
from .access import check_token, parse_networks

__all__ = ["check_mode", "check_options", "check_wrapper", "parse_limits", "remember_secrets"]


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses options that no server can start with. Nothing is written; the port is not tried.

    Args:
        options: As `studio.serve_main.serving_options` names them.

    Raises:
        ConfigError: the first thing that is wrong.
    """
    _duration("--killafter", options["killafter"])
    parse_limits(options)
    _check_host(options["host"])
    parse_networks(options["allow"])
    _check_tls(options["tls_cert"], options["tls_key"])
    _check_choice(options)
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
    try:
        max_body = parse_size(options["max_body"])
    except ConfigError as exc:
        raise ConfigError(f"--max-body: {exc.message}", hint=exc.hint) from exc
    except OverflowError as exc:
        raise ConfigError("--max-body: more than any machine has") from exc
    if max_body <= 0:
        raise ConfigError("--max-body must be more than 0", hint="for example --max-body 64MiB")
    timeout_s = _duration("--timeout", options["timeout"])
    if timeout_s <= 0:
        raise ConfigError("--timeout must be more than 0", hint="for example --timeout 60s")
    return max_body, timeout_s


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


def _duration(name: str, text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ConfigError as exc:
        raise ConfigError(f"{name}: {exc.message}", hint=exc.hint) from exc
    if seconds == float("inf"):
        raise ConfigError(f"{name}: no clock runs so long")
    return seconds


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


def _check_tls(cert: str | None, key: str | None) -> None:
    if (cert is None) != (key is None):
        raise ConfigError("--tls-cert and --tls-key belong together")
    if cert is None or key is None:
        return
    for path in (cert, key):
        if not Path(path).is_file():
            raise ConfigError(f"no file {path}", hint="--tls-cert and --tls-key take PEM files")
    try:  # the empty password: a key that wants one is refused instead of asked for
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=b"")
    except (OSError, ValueError) as exc:
        said = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or "not in PEM form"
        raise ConfigError(
            f"--tls-cert {cert} and --tls-key {key} are not a certificate and its key: {said}",
            hint="both take PEM files, the key without a password",
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
