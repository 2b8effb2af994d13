"""`studio predict`: sends files to a served model and prints or keeps the answers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigError, ServeError
from .cells import one_line
from .options import say
from .predict_inputs import CsvFile, ImageFile, Refuse, fit_files, list_files, read_values

if TYPE_CHECKING:
    from ..client import ModelClient, PartialAnswer

MESSAGE = 2000
"""Characters of a server's message that are shown."""


@click.command()
@click.argument("url")
@click.option("--input", "-i", "inputs", metavar="[KEY=]FILE", multiple=True, required=True,
              help=".npy, .npz, .json, .csv, image, a folder of these, - for JSON from stdin; repeatable.")  # fmt: skip
@click.option("--output", "-o", metavar="FILE", help="Keep the answers: .npz, .npy (one answer) or .json.")
@click.option("--json", "as_json", is_flag=True, help="Print the answers as one JSON document.")
@click.option("--token", metavar="TEXT", help="The server's token; better: --token-file.")
@click.option("--token-file", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="File with the token.")
@click.option("--insecure", is_flag=True, help="Send the token over plain HTTP.")
@click.option("--fingerprint", metavar="SHA256", help="Accept exactly this certificate.")
@click.option("--batch", metavar="N", type=click.IntRange(1), default=64, show_default=True,
              help="Values in one request.")  # fmt: skip
@click.option("--timeout", metavar="DURATION", default="60", help="Longest wait for an answer. [60]")
@click.option("--max-answer", metavar="SIZE", default="256MiB", help="Largest answer that is read. [256MiB]")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(
    url: str, inputs: tuple[str, ...], output: str | None, as_json: bool, token: str | None, token_file: str | None,
    insecure: bool, fingerprint: str | None, batch: int, timeout: str, max_answer: str, debug: bool,
) -> int:  # fmt: skip
    """Send inputs to the model at URL and print its answers.

    A JSON file with an object is the whole request; any other file is one value, named after it unless KEY= is given. A
    folder stands for the files in it; many values go in several requests. One of several files that cannot be read is
    told and left out.
    """
    from ..client import ModelClient, PartialAnswer
    from ..config import home
    from ..serve.options import remember_secrets
    from ..units import check_duration, check_size

    if said := remember_secrets(home(), {"token": token, "token_file": token_file}):
        say(f"studio: {said}")
    wait_s, most = check_duration(timeout, "--timeout", zero=False), check_size(max_answer, "--max-answer")
    if token_file is not None:
        token = _read_token(token_file, token)
    if output is not None:
        _check_output(Path(output))
    files = list_files(inputs)
    answers = PartialAnswer()
    refused: list[str] = []

    def refuse(key: str, exc: ServeError) -> None:
        refused.append(key)
        say(f"studio: no answer for {key!r}: {one_line(exc.message, most=MESSAGE)}")

    told_of = refuse if len(files) > 1 else None
    with ModelClient(
        url, token=token, timeout_s=wait_s, fingerprint=fingerprint, insecure=insecure, max_answer=most
    ) as client:
        try:
            for number, values in enumerate(_batches(read_values(files, told_of), batch, len(files))):
                part = _ask(client, values, told_of)
                if output is None and not as_json:
                    _print(part)
                if part.caveat and part.caveat != answers.caveat:
                    answers.caveat = part.caveat
                    say(f"studio: {one_line(_warning(part.caveat), most=MESSAGE)}")
                answers.update(part)
                answers.errors = {**answers.errors, **part.errors}
                for key, told in part.errors.items():
                    say(f"studio: no answer for {key!r}: {one_line(str(told.get('error', '')), most=MESSAGE)}")
                if number and sys.stderr.isatty():
                    click.echo(f"{(number + 1) * batch} of {len(files)}\r", err=True, nl=False)
        finally:  # what was answered before a request failed is kept
            if output is not None and answers:
                _keep(answers, Path(output))
    if as_json:
        click.echo(_document(answers))
    return ServeError.exit_code if answers.errors or refused else 0


def _batches(values: Iterator[tuple[str, object]], size: int, files: int) -> Iterator[dict[str, object]]:
    """The values in groups for one request each; those of a single file stay together."""
    while group := dict(islice(values, size) if files > 1 else values):
        yield group


def _ask(client: ModelClient, values: dict[str, object], refuse: Refuse | None) -> PartialAnswer:
    from ..client import PartialAnswer

    if any(isinstance(value, (ImageFile, CsvFile)) for value in values.values()):
        values = fit_files(values, client.metadata(), refuse)
        if not values:
            return PartialAnswer()
    client.form = "pickle" if all(hasattr(value, "dtype") for value in values.values()) else "json"
    return client.predict(values)


def _warning(caveat: str) -> str:
    """What the server told of the model that answered, as a sentence."""
    kind, _, why = caveat.partition(";")
    who = {"older": "an older model answered", "other": "another model answered"}.get(kind)
    if kind == "identity":
        return "no model is served: the answers are the inputs"
    return f"{who}: {why.strip()}" if who else f"the server told of its model: {caveat}"


def _read_token(name: str, token: str | None) -> str:
    if token is not None:
        raise ConfigError("--token and --token-file exclude each other")
    try:
        found = Path(name).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--token-file {name} cannot be read: {type(exc).__name__}") from exc
    if not found:
        raise ConfigError(f"--token-file {name} is empty")
    return found


def _check_output(path: Path) -> None:
    """Refuses what cannot be written before anything is asked."""
    if path.suffix.lower() not in (".npz", ".npy", ".json"):
        raise ConfigError(f"cannot write answers to {path.name}", hint="take .npz, .npy (one answer) or .json")
    if not path.parent.is_dir():
        raise ConfigError(f"--output {path}: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"--output {path} cannot be written")


def _keep(answers: PartialAnswer, path: Path) -> None:
    import numpy as np

    suffix = path.suffix.lower()
    if suffix == ".npy" and len(answers) != 1:
        raise ConfigError(f"cannot write {len(answers)} answers to {path.name}", hint="take .npz or .json")
    try:
        if suffix == ".json":
            path.write_text(_document(answers) + "\n")
        elif suffix == ".npy":
            np.save(path, np.asarray(next(iter(answers.values()))))
        else:
            with path.open("wb") as stream:
                np.savez(stream, **{k: np.asarray(v) for k, v in answers.items()})  # type: ignore[arg-type]
    except (OSError, TypeError, ValueError) as exc:  # ragged lists, a key that NumPy keeps for itself, a full disk
        raise ConfigError(f"the answers cannot be written to {path}: {exc}", hint="take .json") from exc


def _document(answers: PartialAnswer) -> str:
    try:
        return json.dumps(_plain(dict(answers)))
    except (TypeError, ValueError, RecursionError) as exc:
        raise ServeError(f"the answers cannot be written as JSON: {exc}", hint="take --output answers.npz") from exc


def _print(answers: PartialAnswer) -> None:
    for key, value in answers.items():
        shape = getattr(value, "shape", None)
        text = f"{value}" if shape is None else f"{value}  {value.dtype}{list(shape)}"  # type: ignore[attr-defined]
        click.echo(f"{key}: {text}")


def _plain(value: object) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
