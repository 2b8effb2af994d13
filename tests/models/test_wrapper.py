"""Wrappers: what is found, what is called, and one clear line for everything that is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.errors import ModelLoadError, ServeError
from studio.models import DictModel, load_model
from studio.pipe import Outcome

ECHO = "def create_model(modeldir):\n    return lambda data: {'dir': modeldir, **data}\n"


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """What a wrapper adds to this process goes with its test."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not getattr(sys.modules[name], "__name__", "").startswith(("studio.", "numpy")):
            del sys.modules[name]


def write(folder: Path, text: str, name: str = "wrapper.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def load(spec: object, modeldir: Path | None = None, *, debug: bool = False) -> DictModel:
    model = load_model(modeldir, wrapper=str(spec), debug=debug)
    assert isinstance(model, DictModel)
    return model


def test_create_model_gets_the_folder_as_text_or_none(tmp_path: Path) -> None:
    path = write(tmp_path, ECHO)
    assert load(path).call({"a": 1}) == {"dir": None, "a": 1}
    model = load(path, tmp_path)
    assert model.call({}) == {"dir": str(tmp_path)}
    assert (model.style, model.file, model.arrays) == ("create_model", "wrapper.py", False)


def test_any_folder_and_its_own_imports_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "a b" / "deep"
    write(deep, "N = 7\n", "beside_the_wrapper.py")
    write(deep, "from beside_the_wrapper import N\ndef create_model(d):\n    return lambda data: {'n': N}\n", "w.py")
    assert load(deep / "w.py").call({}) == {"n": 7}
    monkeypatch.chdir(tmp_path / "a b")
    for spec in ("deep/w.py", "deep/w", "deep/w.py:create_model", "deep/w:create_model"):
        assert load(spec).call({}) == {"n": 7}


def test_a_wrapper_named_like_a_library_hides_nothing(tmp_path: Path) -> None:
    import json

    path = write(
        tmp_path, "import json\ndef create_model(d):\n    return lambda data: {'s': json.dumps(data)}\n", "json.py"
    )
    assert load(path).call({"a": 1}) == {"s": '{"a": 1}'}
    assert json.dumps({}) == "{}"


def test_another_attribute_arrays_and_an_object_with_predict(tmp_path: Path) -> None:
    text = (
        "class Model:\n    def predict(self, data):\n        return {'p': sorted(data)}\n"
        "def make(d):\n    return Model()\nmake.arrays = True\n"
    )
    model = load(f"{write(tmp_path, text)}:make")
    assert model.call({"b": 1, "a": 2}) == {"p": ["a", "b"]} and model.arrays and model.style == "make"


def test_async_functions_are_awaited(tmp_path: Path) -> None:
    text = (
        "import asyncio\nasync def answer(data):\n    await asyncio.sleep(0)\n    return {'ok': 1}\n"
        "def create_model(d):\n    return answer\n"
    )
    assert load(write(tmp_path, text)).call({}) == {"ok": 1}


def test_a_pipe_answers_by_key_and_keeps_errors(tmp_path: Path) -> None:
    text = (
        "from studio.model_util import ModelPipe\n"
        "def create_model(d):\n"
        "    return ModelPipe().add(lambda x: 1 // x, num_workers=2).add(lambda x: x + 1)\n"
    )
    model = load(write(tmp_path, text))
    answer = model.call({"one": 1, "zero": 0})
    assert isinstance(answer, Outcome)
    assert answer.values == {"one": 2} and isinstance(answer.errors["zero"], ZeroDivisionError)
    assert model.threads >= 32
    model.close()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("def create_modell(d): return d\n", "has no create_model()", "create_modell"),
        ("x = 1\n", "has no create_model()", "defines create_model"),
        ("import no_such_library_at_all\n" + ECHO, "import of wrapper.py raised ModuleNotFoundError", "--debug"),
        (
            "def create_model(d):\n    raise KeyError('weights')\n",
            "create_model() of wrapper.py raised KeyError",
            "--debug",
        ),
        ("import sys\nsys.exit(3)\n" + ECHO, "raised SystemExit", "--debug"),
        ("def create_model(d) return\n", "raised SyntaxError", "--debug"),
        ("def create_model(d): return 5\n", "returned a int, not a function", "ModelPipe"),
    ],
)
def test_one_line_for_what_is_wrong(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        load(write(tmp_path, text))
    assert message in caught.value.message and "\n" not in caught.value.message
    assert hint in caught.value.hint


def test_the_line_of_the_wrapper_that_raised_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"ZeroDivisionError: .*\(line 3\)"):
        load(write(tmp_path, "x = 1\n\ny = x / 0\n" + ECHO))


def test_debug_lets_the_original_exception_through(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        load(write(tmp_path, "1 / 0\n" + ECHO), debug=True)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, ECHO, "my_wrapper.py")
    with pytest.raises(ModelLoadError, match="no wrapper file") as caught:
        load(tmp_path / "my_wraper.py")
    assert "my_wrapper.py" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "def create_model(d):\n    return lambda data: later(data)\n",
        "import functools\ndef create_model(d):\n    return functools.partial(later)\n",
        "class M:\n    def predict(self, data): return later(data)\ndef create_model(d): return M()\n",
    ],
)
def test_what_a_plain_function_leaves_to_be_awaited_is_awaited(tmp_path: Path, text: str) -> None:
    model = load(write(tmp_path, "async def later(data):\n    return {'ok': data}\n" + text))
    assert model.call({"a": 1}) == {"ok": {"a": 1}}


@pytest.mark.parametrize("form", ["", "async "])
def test_a_generator_is_refused_in_one_line(tmp_path: Path, form: str) -> None:
    model = load(write(tmp_path, f"{form}def answer(data):\n    yield data\ndef create_model(d): return answer\n"))
    with pytest.raises(ServeError, match="generator: streaming answers is not there yet"):
        model.call({"a": 1})
