"""`studio demo`: the two commands on real data, as a person would type them, and what came of it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .. import config
from ..errors import MissingExtra, RunFailed, ServeError
from ..extras import silent

HELD_OUT = 360  # as in the script: the last images, which it does not train on
SHOWN = 8
SHADES = " .:-=+*#%@"
FOLDER = Path(__file__).resolve().parent.parent / "examples" / "digits"


@click.command()
@click.option("--project", default="demo", show_default=True, help="Project that the experiment is filed under.")
def command(project: str) -> None:
    """Train a Keras model on handwritten digits, serve it, and ask it about digits that it has not seen.

    Takes about half a minute and ends by itself. The experiment stays in your store.
    """
    _require("keras", "sklearn")
    click.echo(f"An ordinary Keras script, {FOLDER / 'train.py'}, is run and tracked:\n")
    key = _train(project)
    click.echo("\nIts newest checkpoint is served:\n")
    images, labels = _held_out()
    with _serving(project) as url:
        click.echo(f"\n{HELD_OUT} images that it has not seen are sent there; {SHOWN} of them with the answers:\n")
        answers = _ask(url, images)
    first = _activation()
    right = sum(_most_likely(answer) == label for answer, label in zip(answers, labels, strict=True))
    for line in _pictures(images, labels, answers):
        click.echo(line)
    click.echo(
        f"{right} of {HELD_OUT} answers are right ({right / HELD_OUT:.1%}).\n\n"
        f"What happened: train.py ran unchanged as experiment {key} of project {project}; its code,\n"
        "environment, output, metrics and checkpoints are kept. Its newest checkpoint answered over HTTP;\n"
        f"that server has ended. Look around{', once `studio` is on your path' if first else ''}:\n\n"
        f"{first}  studio runs list\n  studio runs show {key}\n  studio runs logs {key}\n  studio serve {key}"
    )


def _activation() -> str:
    """A line to type before `studio` means this one; "" where it does already."""
    here, found = Path(sys.executable).parent, shutil.which("studio")
    if found and Path(found).parent.resolve() == here.resolve():
        return ""
    if not (here / "activate").is_file():
        return f"  alias studio={shlex.quote(f'{shlex.quote(sys.executable)} -m studio')}\n"
    inside = here.is_relative_to(Path.cwd())
    return f"  . {shlex.quote(str(here.relative_to(Path.cwd()) if inside else here))}/activate\n"


def _require(*modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"the demo trains with Keras on data of scikit-learn, and {' and '.join(missing)} cannot be imported",
            hint="pip install 'studio[keras,sklearn]'",
        )


def _environment() -> Mapping[str, str]:
    """This interpreter runs the script, whichever environment is active, and TensorFlow keeps quiet."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    return {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", **silent(config.home()), **kept}


def _studio(*arguments: str) -> list[str]:
    click.echo("$ " + " ".join(["studio", *arguments]))
    return [sys.executable, "-m", "studio", *arguments]


def _train(project: str) -> str:
    """Runs the script with its output passed through; the experiment's key."""
    key = ""
    process = subprocess.Popen(
        _studio("run", "--project", project, "train.py"),
        cwd=FOLDER,
        env=_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None  # noqa: S101  (for the type checker: it is a pipe)
    try:
        for line in process.stderr:
            click.echo(line, nl=False, err=True)
            found = re.match(r"studio run: submitted experiment (\S+)", line)
            key = found[1] if found else key
    finally:  # Ctrl-C reaches it too: it ends its script and writes the last record before this one goes
        click.echo(process.stderr.read(), nl=False, err=True)
        code = process.wait()
    if code != 0 or not key:
        raise RunFailed(f"the demo's script ended with {code}", hint="studio doctor")
    return key


@contextmanager
def _serving(project: str) -> Iterator[str]:
    """A server for the newest checkpoint of the newest run; its address; it is stopped on leaving."""
    server = subprocess.Popen(
        _studio("serve", "last", "--project", project, "--port", "0", "--killafter", "10m"),
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None  # noqa: S101
        line = server.stdout.readline()
        url = line.rpartition(" at ")[2].strip()
        if not url.startswith("http"):
            raise ServeError(
                f"the server ended before it could answer (exit code {server.wait()})", hint="studio doctor"
            )
        click.echo(line, nl=False)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def _held_out() -> tuple[list[Any], list[int]]:
    """The images (8 × 8 × 1, from 0 to 1) and labels that the script does not train on."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images[-HELD_OUT:, :, :, None] / 16
    return images.tolist(), [int(label) for label in digits.target[-HELD_OUT:]]


def _ask(url: str, images: list[Any]) -> list[list[float]]:
    """One request with all images under keys of their own; ten probabilities for each."""
    body = json.dumps({str(at): image for at, image in enumerate(images)}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  (our own server)
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
        answers = json.loads(reply.read())
    return [answers[str(at)] for at in range(len(images))]


def _pictures(images: list[Any], labels: list[int], answers: list[list[float]]) -> Iterator[str]:
    """Lines of a small table: each picture with its true label and the answer below."""
    chosen = range(0, HELD_OUT, HELD_OUT // SHOWN)[:SHOWN]
    for start in range(0, SHOWN, 4):
        row = chosen[start : start + 4]
        for y in range(8):
            yield "  ".join("".join(SHADES[min(9, int(p * 10))] * 2 for (p,) in images[at][y]) for at in row).rstrip()
        captions = []
        for at in row:
            answer = _most_likely(answers[at])
            captions.append(f"true {labels[at]}, answer {answer}{'' if answer == labels[at] else ' !'}".ljust(16))
        yield "  ".join(captions).rstrip()
        yield ""


def _most_likely(probabilities: list[float]) -> int:
    return max(range(len(probabilities)), key=probabilities.__getitem__)
