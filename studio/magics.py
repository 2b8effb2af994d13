"""`%%studio_run` in notebooks: the cell runs as an experiment of its own, its results come back into the notebook.

    from studio import magics                  # or: %load_ext studio

    %%studio_run --project digits -- --lr 0.1
    model = train(data)

What stands on the line are options of `studio run`; after `--`, the arguments that the cell sees in `sys.argv`.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, TextIO, cast

from .errors import ConfigError, RunFailed
from .run import interpreter
from .run.cell import compose
from .run.inject import _studio_cell

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["load_ipython_extension", "studio_run"]

FLAGS = frozenset({"--force-git", "--no-autolog", "--no-workspace", "--debug"})
"""Options of `studio run` without a value that a cell may have."""
_HISTORY = re.compile(r"_(?:i+|i?\d+|_{0,2}|oh|dh|sh|exit_code)")


class Shell(Protocol):
    """The part of IPython's shell that is needed here."""

    user_ns: dict[str, object]
    user_ns_hidden: Mapping[str, object]

    def push(self, variables: Mapping[str, object]) -> None:
        """Puts names into the notebook."""

    def register_magic_function(self, func: Callable[..., object], magic_kind: str, magic_name: str) -> None:
        """Makes a function a magic."""


def load_ipython_extension(ipython: Shell) -> None:
    """Registers `%%studio_run`; what `%load_ext studio` and `%load_ext studio.magics` call."""

    def run(line: str, cell: str) -> None:
        studio_run(line, cell, ipython)

    run.__doc__ = studio_run.__doc__
    ipython.register_magic_function(run, "cell", "studio_run")


def studio_run(line: str, cell: str, shell: Shell) -> None:
    """Runs the cell as a script by `studio run`; its output appears below the cell while it runs.

    The cell sees the modules, functions, classes and values of the notebook that it names, as far as they can be
    pickled. What it assigns at its top level, or changes, is in the notebook afterwards, also if it fails half-way.

    Args:
        line: Options of `studio run`; after `--` the arguments of the script.
        cell: Plain Python.
        shell: The notebook.

    Raises:
        SyntaxError: the cell is not plain Python.
        RunFailed: the script ended with another code than 0.
    """
    options, arguments = _words(line)
    protocol = _protocol(options)
    hidden = shell.user_ns_hidden
    namespace = {k: v for k, v in shell.user_ns.items() if k not in hidden and not _HISTORY.fullmatch(k)}
    history = [str(text) for text in cast("Sequence[object]", shell.user_ns.get("In", ()))]
    with tempfile.TemporaryDirectory(prefix="studio-cell-") as private:
        script = compose(cell, namespace, history, Path(private), protocol)
        _say("not carried into the cell", script.left_out)
        with _file(script.text) as path:
            command = [sys.executable, "-m", "studio", "run", *options, path, *arguments]
            code, interrupted = _run(command, {**os.environ, "STUDIOML_CELL": private})
        _merge(Path(private, "back"), shell)
    if interrupted:
        raise KeyboardInterrupt
    if code:
        raise RunFailed(f"the cell ended with code {code}", hint="studio runs show last", exit_code=code)


def _words(line: str) -> tuple[list[str], list[str]]:
    try:
        words = shlex.split(line)
    except ValueError as exc:
        raise ConfigError(f"%%studio_run {line}: {exc}") from exc
    at = words.index("--") if "--" in words else len(words)
    options, arguments = words[:at], words[at + 1 :]
    _check_options(options)
    if not any(word.partition("=")[0] == "--python" for word in options):
        options = ["--python", sys.executable, *options]
    return options, arguments


def _check_options(options: Sequence[str]) -> None:
    """Refuses what would run something else than the cell, or without its values."""
    if "--detach" in options:
        raise ConfigError(
            "%%studio_run --detach: a cell gives its values back when it ends, so that the notebook has to wait",
            hint="leave --detach out, or write the code to a file: !studio run --detach train.py",
        )
    takes_value = False
    for word in options:
        if not takes_value and (word == "-m" or not word.startswith("-")):
            raise ConfigError(
                f"%%studio_run {word}: the cell is the script", hint=f"its arguments stand behind --: -- {word}"
            )
        takes_value = not takes_value and "=" not in word and word not in FLAGS


def _protocol(options: Sequence[str]) -> int:
    """The pickle protocol for the values of the notebook, which the cell's Python has to read.

    Raises:
        ConfigError: there is no such Python, or hooks and pickles do not work with it.
    """
    given = [i for i, word in enumerate(options) if word.partition("=")[0] == "--python"]
    word = options[given[-1]] if given else ""
    wanted = word.partition("=")[2] if "=" in word else "".join(options[given[-1] + 1 :][:1]) if given else ""
    python = interpreter.choose(wanted)
    with tempfile.TemporaryDirectory(prefix="studio-cell-") as scratch:
        version = interpreter.describe(python, Path(scratch))[0]
    known = tuple(int(part) for part in version.split(".")[:2])
    if known < (3, 7):
        raise ConfigError(
            f"%%studio_run --python {wanted}: a cell cannot run with Python {version}",
            hint="take Python 3.7 or newer, or write the code to a file: !studio run train.py",
        )
    return _studio_cell.PROTOCOL if known >= (3, 8) else 4


@contextlib.contextmanager
def _file(text: str) -> Iterator[str]:
    """The script's name in the current folder, where its imports work and its capture finds it; removed afterwards."""
    stem = f"cell_{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"
    for number in range(1, 1000):
        path = Path(f"{stem}.py" if number == 1 else f"{stem}_{number}.py")
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            break
        except FileExistsError:
            continue  # the same cell, run by another notebook
        except OSError as exc:
            raise ConfigError(
                f"cannot write {path.absolute()}: {exc.strerror}", hint="%cd to a folder of yours"
            ) from exc
    else:
        raise ConfigError(f"{Path.cwd()} is full of {stem}_*.py", hint="remove them")
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        yield path.name
    finally:
        path.unlink(missing_ok=True)


def _run(command: Sequence[str], env: Mapping[str, str]) -> tuple[int, bool]:
    """Runs to the end, its streams passed on as they come; a code, and whether Ctrl-C (or the stop button) came."""
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    interrupted = False
    with process, selectors.DefaultSelector() as selector:
        for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            selector.register(cast("IO[bytes]", source), selectors.EVENT_READ, (decoder, target))
        while selector.get_map():
            try:
                _pass_on(selector)
            except KeyboardInterrupt:
                interrupted = True
                process.send_signal(signal.SIGINT)
        return process.wait(), interrupted


def _pass_on(selector: selectors.BaseSelector) -> None:
    for key, _ in selector.select():
        decoder, target = cast("tuple[codecs.IncrementalDecoder, TextIO]", key.data)
        data = os.read(key.fd, 1 << 16)
        text = decoder.decode(data, not data)
        if not data:
            selector.unregister(key.fileobj)
        if text:
            target.write(text)
            target.flush()


def _merge(back: Path, shell: Shell) -> None:
    """Takes what the script gave back into the notebook."""
    try:
        index = _studio_cell.read_index(str(back))
    except (OSError, ValueError):
        return  # it did not begin, or was killed
    found: dict[str, object] = {}
    left_out = dict(index["left_out"])
    for name, file in index["values"].items():
        try:
            found[name] = _studio_cell.load(str(back / file))
        except Exception as exc:  # noqa: BLE001  (what unpickling an object calls may raise anything)
            left_out[name] = f"{type(exc).__name__}: {exc}"
    shell.push(found)
    _say("not brought back from the cell", left_out)


def _say(what: str, left_out: Mapping[str, str]) -> None:
    for name, reason in left_out.items():
        sys.stderr.write(f"studio: {what}: {name} ({reason})\n")


def _register() -> None:
    """In a notebook, `from studio import magics` is enough; elsewhere it does nothing."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        load_ipython_extension(shell)


_register()
