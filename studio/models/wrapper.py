"""Loads a user's wrapper file: its own imports beside it, `create_model(modeldir)`, errors in one line."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ModelLoadError, ServeError, StudioError, nearest
from ..pipe import ModelPipe, settled
from .base import DictModel
from .wrapper_source import check_source

DEFAULT_ATTRIBUTE = "create_model"
THREADS = 8
PIPE_THREADS = 64
"""Requests inside a pipe at once: its own stages decide how much of that runs, and merge it into batches."""


def load_wrapper(spec: str, modeldir: Path | None, *, debug: bool = False) -> DictModel:
    """The model that the wrapper makes.

    Args:
        spec: `FILE[:attribute]`; `.py` may be left out; the attribute is `create_model` unless given.
        modeldir: Passed to `create_model` as a string, or None.
        debug: The wrapper's own exception comes through instead of one line about it.

    Raises:
        ModelLoadError: the file, the attribute or a usable result is missing, or the wrapper raised.
    """
    path, attribute = find_wrapper(spec)
    check_source(path, attribute)
    module = _import(path, debug=debug)
    create = getattr(module, attribute, None)
    if not callable(create):
        near = nearest(attribute, [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")])
        raise ModelLoadError(
            f"{path.name} has no {attribute}()",
            hint=near or "a wrapper defines create_model(modeldir) that returns a function from dict to dict",
        )
    made = _guarded(lambda: create(None if modeldir is None else str(modeldir)), path, f"{attribute}()", debug=debug)
    return _wrap(made, path.name, attribute, arrays=bool(getattr(create, "arrays", False)),
                 handles_missing=bool(getattr(create, "handles_missing", False)))  # fmt: skip


def find_wrapper(spec: str) -> tuple[Path, str]:
    """File and attribute; a file whose name has a colon in it wins over the split.

    Raises:
        ModelLoadError: there is no such file.
    """
    for text, attribute in ((spec, DEFAULT_ATTRIBUTE), (spec.rpartition(":")[0], spec.rpartition(":")[2])):
        for path in (Path(text), Path(text + ".py")):
            if text and attribute.isidentifier() and path.is_file():
                return path.absolute(), attribute
    text = spec.rpartition(":")[0] or spec
    folder = Path(text).parent
    names = [p.name for p in folder.glob("*.py")] if folder.is_dir() else []
    raise ModelLoadError(f"no wrapper file {text} in {Path.cwd()}", hint=nearest(Path(text).name, names))


def _import(path: Path, *, debug: bool) -> ModuleType:
    folder = str(path.parent)
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    name = (
        path.stem if path.stem.isidentifier() and path.stem not in sys.modules else f"studio_wrapper_{abs(hash(path))}"
    )
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ModelLoadError(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    loader = found.loader
    _guarded(lambda: loader.exec_module(module), path, "import", debug=debug)
    return module


def _guarded(work: Callable[[], Any], path: Path, what: str, *, debug: bool) -> Any:
    try:
        return work()
    except StudioError:
        raise
    except (Exception, SystemExit) as exc:
        if debug:
            raise
        text = " ".join(str(exc).split())[:300]
        raise ModelLoadError(
            f"{what} of {path.name} raised {type(exc).__name__}{': ' + text if text else ''}{_line_of(exc, path)}",
            hint="--debug shows the traceback",
        ) from exc


def _line_of(exc: BaseException, path: Path) -> str:
    trace, line = exc.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""


def _wrap(made: Any, name: str, attribute: str, *, arrays: bool, handles_missing: bool) -> DictModel:
    style = "create_model" if attribute == DEFAULT_ATTRIBUTE else attribute
    threads = int(getattr(made, "threads", 0) or THREADS)
    close = getattr(made, "close", None)
    call: Callable[[dict[str, object]], object]
    if isinstance(made, ModelPipe):
        pipe, threads = made, PIPE_THREADS
        call = lambda data: pipe.call(data, on_error="drop")  # noqa: E731
    elif callable(made):
        call = made
    elif callable(getattr(made, "predict", None)):
        call = made.predict
    else:
        raise ModelLoadError(
            f"{attribute}() of {name} returned a {type(made).__name__}, not a function",
            hint="return a function from dict to dict, a ModelPipe, or an object with predict()",
        )
    return DictModel(
        style=style, file=name, arrays=arrays, handles_missing=handles_missing, threads=max(1, threads),
        call=call if isinstance(made, ModelPipe) else _Settled(call), close=close if callable(close) else lambda: None,
    )  # fmt: skip


class _Settled:
    """Calls a function from any thread; what it leaves to be awaited runs on one private loop, not on the server's."""

    def __init__(self, call: Callable[[dict[str, object]], object]) -> None:
        self._call = call

    def __call__(self, data: dict[str, object]) -> object:
        answer = self._call(data)
        if inspect.isgenerator(answer) or inspect.isasyncgen(answer):
            raise _streaming()
        answer = settled(answer)
        if inspect.isgenerator(answer) or inspect.isasyncgen(answer):
            raise _streaming()
        return answer


def _streaming() -> ServeError:
    return ServeError(
        "the model returned a generator: streaming answers is not there yet",
        hint="return one dictionary with the whole answer",
    )
