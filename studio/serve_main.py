"""The server process: `python -m studio.serve_main --modeldir DIR`, also as `studio run studio::serve_main …`."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from .errors import ConfigError, ServeError, StudioError
from .option_words import refuse_options_as_values
from .units import check_duration

if TYPE_CHECKING:
    import socket

    from .fleet.kept_code import KeptCode
    from .models.base import LoadedModel

__all__ = ["command", "main", "serving_options"]

F = TypeVar("F", bound=Callable[..., Any])
SOURCE = "STUDIOML_SERVE_SOURCE"
SHORT = 300
CALLS = ("trial", "model")
"""Names of threads that call the model."""
GONE_S = 0.3
"""An idle one ends at once."""


class ModelName(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A model of what is served; the shell completes it."""

    name = "NAME"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names of the models that the experiment or folder on the command line holds."""
        from .fleet.names import model_names_of

        what = ctx.params.get("what") or next(iter(ctx.args), None)  # click leaves it there: --model has no value yet
        known = model_names_of(what, ctx.params.get("store"), ctx.params.get("project"))
        return [CompletionItem(name) for name in known if name.startswith(incomplete)]


_OPTIONS = (
    click.option("--wrapper", "-w", metavar="FILE[:ATTR]", help="Python file with create_model(modeldir)."),
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; 0.0.0.0 serves the network."),
    click.option("--port", type=click.IntRange(0, 65535), help="Default: 5000 or the next free one; 0 = any."),
    click.option(
        "--killafter", metavar="DURATION", default="3600", help="End after this time unused; 0 = never. [3600]"
    ),
    click.option(
        "--runtime", type=click.Choice(["auto", "keras", "onnx"]), default="auto", help="What runs the model."
    ),
    click.option("--best", is_flag=True, help="The checkpoint with the best metric instead of the newest."),
    click.option("--model", type=ModelName(), help="Another model of the run, by name or file."),
    click.option("--identity", is_flag=True, help="Answer with the input, whatever models there are."),
    click.option("--trust", is_flag=True, help="Load formats that run code (joblib) from other users' folders."),
    click.option(
        "--nulls",
        type=click.Choice(["refuse", "nan"]),
        default="refuse",
        show_default=True,
        help="null among numbers, for a model that does not say that it takes missing values.",
    ),
    click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Most rows of one batch. [the model's]"),
    click.option(
        "--batch-mode",
        type=click.Choice(["auto", "loop", "thread"]),
        default="auto",
        help="Where it runs: by measured cost; loop: others may wait 50 ms for it; thread: never.",
    ),
    click.option("--max-inflight", type=click.IntRange(1), default=1024, metavar="N", help="Requests at once. [1024]"),
    click.option("--max-body", default="64MiB", metavar="SIZE", help="Largest request body. [64MiB]"),
    click.option("--timeout", default="60", metavar="DURATION", help="Longest wait for an answer. [60]"),
    click.option("--token", metavar="TEXT", help="Bearer token; better: --token-file."),
    click.option("--token-file", metavar="FILE", help="File with the token; made if there is none."),
    click.option("--no-token", is_flag=True, help="No token; off loopback only with --insecure."),
    click.option("--insecure", is_flag=True, help="Allow --no-token where others can reach the server."),
    click.option(
        "--allowed-host", metavar="NAME", multiple=True, help="Host name that requests may carry; repeatable."
    ),
    click.option("--allow", metavar="CIDR", multiple=True, help="Client network that may ask; repeatable. [all]"),
    click.option("--tls-cert", metavar="FILE", help="Certificate chain (PEM)."),
    click.option("--tls-key", metavar="FILE", help="Private key (PEM)."),
    click.option("--name", metavar="NAME", help="What to call the model. [file or style]"),
)


def serving_options(function: F) -> F:
    """Adds the options of a server to a click command; `--debug` is the command's own."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--modeldir", metavar="DIR", help="Folder with checkpoints, or one checkpoint. [artifact modeldata]")
@click.option("--source", metavar="JSON", envvar=SOURCE, help="Where the model came from, for the metadata.")
@click.option("--debug", is_flag=True, help="Tracebacks in the terminal and in error replies.")
@serving_options
def command(modeldir: str | None, source: str | None, **options: Any) -> int:
    """Serve a model over HTTP until it is stopped or unused for --killafter."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    return _serve(_modeldir(modeldir), _source(source, modeldir), options)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the server and exits: 0 stopped or unused, 130 Ctrl-C, else the code of the error's class."""
    code = _run(list(sys.argv[1:] if argv is None else argv))
    calling = [thread for thread in threading.enumerate() if thread.name in CALLS]
    for thread in calling:
        thread.join(GONE_S)
    if any(thread.is_alive() for thread in calling):
        # ONNX Runtime aborts the process if it is still in a call when its exit code runs: end without that.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(words: list[str]) -> int:
    from .serve.told import one_line

    try:
        refuse_options_as_values(command, words)
        done = command.main(args=words, prog_name="studio serve", standalone_mode=False)
    except click.ClickException as exc:
        _tell_run(exc, exc.format_message())
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except StudioError as exc:
        _tell_run(exc, exc.message)
        if "--debug" in words:
            traceback.print_exception(exc)
        click.echo(f"studio serve: {one_line(exc.message)}", err=True)
        if exc.hint:
            click.echo(f"  hint: {one_line(exc.hint)}", err=True)
        return exc.exit_code
    except Exception as exc:  # noqa: BLE001 - a fault of studio's own is one line too
        _tell_run(exc, str(exc))
        if "--debug" in words:
            traceback.print_exception(exc)
        said = one_line(exc, SHORT)
        click.echo(
            f"studio serve: {type(exc).__name__}{': ' + said if said else ''}\n  hint: --debug shows where", err=True
        )
        return 1
    return done if isinstance(done, int) else 0


def _tell_run(exc: BaseException, message: str) -> None:
    """The record of the serving gets the reason why it ends; nothing where the server is no run."""
    from .run.inject import _studio_track

    _studio_track.event("exception", name=type(exc).__name__, text=message, frame="")
    _studio_track.flush()


def _modeldir(given: str | None) -> Path | None:
    if given is not None:
        return Path(given)
    from . import fs_tracker

    found = fs_tracker.get_artifacts().get("modeldata")
    return None if found is None else Path(found)


def _source(text: str | None, modeldir: str | None) -> dict[str, Any]:
    if text is None:
        return {"kind": "path", "path": None if modeldir is None else str(Path(modeldir).absolute())}
    try:
        told = json.loads(text)
    except ValueError as exc:
        raise ConfigError("--source is not JSON") from exc
    if not isinstance(told, dict):
        raise ConfigError("--source must be a JSON object")
    return told


def _serve(modeldir: Path | None, source: dict[str, Any], options: dict[str, Any]) -> int:
    from .extras import silent
    from .fs_tracker import get_studio_home
    from .models.load import load_model
    from .serve.access import Access, choose_token
    from .serve.address import listen
    from .serve.facts import Facts
    from .serve.idle import Idle
    from .serve.library_warnings import show_once
    from .serve.options import check_mode, check_options, token_file
    from .serve.server import Server
    from .serve.told import one_line

    os.environ.update(silent(Path(get_studio_home())))  # before a wrapper imports a library
    check_options(options)
    show_once()
    settings = _settings(options)
    host = options["host"]
    file = token_file(options)
    token, _ = choose_token(
        host, token=options["token"], token_file=file, no_token=options["no_token"], insecure=options["insecure"]
    )
    _caution(options, Path(get_studio_home()))
    idle = Idle(check_duration(options["killafter"]))
    sock, note = listen(host, options["port"])
    if note:
        click.echo(note, err=True)
    own = source.pop("own", True) is True
    code = _kept_code(source, trusted=own or options["trust"], wrapper=options["wrapper"])
    model = load_model(
        modeldir, wrapper=options["wrapper"], model=options["model"], best=options["best"],
        as_identity=options["identity"], runtime=options["runtime"], trust=options["trust"],
        own=own, private=source.get("kind") == "experiment", of=_experiment(source), debug=options["debug"],
    )  # fmt: skip
    check_mode(options["batch_mode"], model)
    if code is not None:
        model = replace(model, warnings=(*model.warnings, *code.notes))
    if options["nulls"] == "nan":
        model = replace(model, handles_missing=True)
    for warning in model.warnings:
        click.echo(f"WARNING: {one_line(warning)}", err=True)
    port = sock.getsockname()[1]
    access = Access(
        host, token, options["allowed_host"], options["allow"], cookie=f"studio_token_{port}",
        tls=settings.tls_cert is not None,
    )  # fmt: skip
    name = one_line(options["name"] or model.file or model.style)
    facts = Facts(model, idle, name, source, needs_token=token is not None, debug=settings.debug)
    url = _url(sock, options)
    with _kept_token(token, file, port) as secret:
        server = Server(
            facts, sock, access, settings,
            lambda: _say_ready(model, name, url, secret, facts.example(), port, cert=settings.tls_cert),
            lambda reason: _tell_run(ServeError(reason), reason),
        )  # fmt: skip
        return server.run()


def _caution(options: dict[str, Any], home: Path) -> None:
    """Says what is odd about files that options name; no later run captures those that are secret."""
    from .serve.options import cautions, remember_secrets
    from .serve.told import one_line

    for said in (remember_secrets(home, options), *cautions(options)):
        if said:
            click.echo(f"WARNING: {one_line(said)}", err=True)


def _url(sock: socket.socket, options: dict[str, Any]) -> str:
    """Where the server is; an address at which this machine itself may ask, or it says that there is none."""
    from .serve.address import is_loopback, url_of
    from .serve.certificates import is_for, names
    from .serve.networks import address_to_ask, parse_networks

    shown, allowed = address_to_ask(sock, options["host"], parse_networks(options["allow"]))
    if not allowed:
        click.echo(f"--allow {', '.join(options['allow'])}: this machine's own requests are refused", err=True)
    cert = options["tls_cert"]
    if cert is not None and not is_for(known := names(cert), shown):
        if is_for(known, "localhost") and is_loopback(shown):
            shown = "localhost"
        else:
            told = f"it is for {', '.join(known[:5])}, not for {shown}" if known else "it has no names"
            click.echo(f"WARNING: --tls-cert {cert}: {told}; clients that check the name refuse it", err=True)
    return url_of(sock, shown, tls=cert is not None)


def _experiment(source: dict[str, Any]) -> str:
    """What messages call the copy of an experiment's models that the server reads; "" for the user's own folders."""
    return f"experiment {source.get('key')}" if source.get("kind") == "experiment" else ""


def _kept_code(source: dict[str, Any], *, trusted: bool, wrapper: str | None) -> KeptCode | None:
    """The run's own code on the path, for models that refer to it; a wrapper brings what it needs."""
    told = source.pop("code", None)
    if not isinstance(told, dict) or not trusted or wrapper is not None:
        return None
    from .fleet.kept_code import KeptCode

    code = KeptCode(told, str(source.get("store")), _private_folder() / "code")
    code.install()
    return code


def _settings(options: dict[str, Any]) -> Any:
    from .serve.endpoint import Limits
    from .serve.options import parse_limits
    from .serve.server import Settings

    max_body, timeout_s = parse_limits(options)
    limits = Limits(max_body, options["max_inflight"], timeout_s)
    return Settings(
        limits, options["batch_size"], options["batch_mode"], options["tls_cert"], options["tls_key"], options["debug"]
    )


def _private_folder() -> Path:
    """Where this server keeps what only its user may read: in a run its spool, else the home."""
    from . import fs_tracker

    spool = os.environ.get("STUDIOML_SPOOL")
    folder = Path(spool) if spool else Path(fs_tracker.get_studio_home()) / "serving"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@contextmanager
def _kept_token(token: str | None, token_file: Path | None, port: int) -> Iterator[Path | None]:
    """A file with the token while the server runs, so that it need not stand in the terminal or in a log."""
    if token is None or token_file is not None:
        yield token_file if token is not None else None
        return
    from .run.held import held_file

    with held_file(_private_folder() / f"token-{port}", token + "\n") as path:
        yield path


def _fingerprint(cert: str) -> str | None:
    """SHA-256, in hex, of the server's own certificate, the first one of its chain; None if it is not plain PEM."""
    import hashlib
    import re
    import ssl

    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    found = re.search(f"{begin}[^-]+{end}", Path(cert).read_text("latin-1"))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(found[0])).hexdigest() if found else None


def _say_ready(
    model: LoadedModel, name: str, url: str, secret: Path | None, example: str, port: int, *, cert: str | None
) -> None:
    from .serve.told import one_line

    told = [part for part in (model.style, model.file) if part not in (None, name)]
    what = name + (f" ({one_line(', '.join(map(str, told)), SHORT)})" if told else "")
    click.echo(f"Serving {what} at {url}")
    sys.stdout.flush()
    trusted = ["--cacert", os.path.abspath(cert)] if cert else []  # so that one that nobody signed does
    words = ["curl", f"{url}/", *trusted, "-H", "Content-Type: application/json"]
    auth = "" if secret is None else f' -H "Authorization: Bearer $(cat {shlex.quote(os.path.abspath(secret))})"'
    if len(example) > SHORT:
        path = _private_folder() / f"example-{port}.json"
        path.write_text(example)
        example = f"@{path}"
    if example:
        click.echo(shlex.join(words) + auth + " -d " + shlex.quote(example), err=True)
        if not model.inputs and model.style != "identity":
            click.echo(f"{model.style} without a contract: the body of that line shows the form only", err=True)
    else:
        click.echo(f"studio predict {url} --input image.png" + (f" --token-file {secret}" if secret else ""), err=True)
    shown = _fingerprint(cert) if cert else None
    if shown is not None:
        click.echo(f"certificate: studio predict accepts exactly this one with --fingerprint {shown}", err=True)
    if secret is not None:
        click.echo(f"in a browser: {url}/?token=… with the token in {secret}", err=True)


if __name__ == "__main__":
    main()
