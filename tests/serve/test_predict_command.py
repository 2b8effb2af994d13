"""`studio predict`: what files become, how answers are kept, what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from studio.cli.predict import command
from studio.cli.predict_inputs import ImageFile, fit_files
from studio.errors import BadInput, ConfigError, ServeError, StudioError

from .conftest import Served


def ask(*words: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(command, [str(w) for w in words], input=stdin, standalone_mode=False)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.full((10, 20, 3), (255, 0, 128), np.uint8)).save(path)
    return path


def test_files_are_named_after_themselves_or_as_told(identity: Served, tmp_path: Path, picture: Path) -> None:
    x = np.arange(6, dtype=np.int16).reshape(2, 3)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "z.npz", p=x, q=x * 2)
    (tmp_path / "rows.csv").write_text("1,2\n3,4\n")
    out = tmp_path / "answers.npz"
    done = ask(
        identity.url, "-i", tmp_path / "x.npy", "-i", f"other={tmp_path / 'x.npy'}", "-i", tmp_path / "z.npz",
        "-i", tmp_path / "rows.csv", "-i", picture, "-o", out,
    )  # fmt: skip
    assert done.exception is None, done.exception
    with np.load(out) as got:
        assert sorted(got.files) == ["other", "p", "photo", "q", "rows", "x"]
        np.testing.assert_array_equal(got["x"], x)
        np.testing.assert_array_equal(got["rows"], [[1, 2], [3, 4]])
        assert got["photo"].shape == (10, 20, 3) and got["photo"].dtype == np.uint8


@pytest.mark.parametrize("text", ["a,b\n1,2\n3,4\n", '\ufeff"a","b"\r\n"1","2"\r\n\r\n3,4', "1,2\n3,4"])
def test_a_csv_may_have_a_line_of_names(identity: Served, tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.csv").write_text(text, "utf-8")
    assert json.loads(ask(identity.url, "-i", tmp_path / "rows.csv", "--json").stdout) == {"rows": [[1, 2], [3, 4]]}


@pytest.mark.parametrize("text", ["", "a,b\n", "a,b\nc,d\n", "1,2\n3\n"])
def test_a_csv_without_rows_of_numbers_says_what_is_wanted(identity: Served, tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.csv").write_text(text)
    done = ask(identity.url, "-i", tmp_path / "rows.csv")
    assert isinstance(done.exception, BadInput) and "rows.csv" in done.exception.message, done.exception
    assert "rows of numbers" in done.exception.hint


def test_a_file_that_is_no_array_is_named(identity: Served, tmp_path: Path) -> None:
    (tmp_path / "broken.npy").write_bytes(b"nonsense")
    done = ask(identity.url, "-i", tmp_path / "broken.npy")
    assert isinstance(done.exception, BadInput) and str(tmp_path / "broken.npy") in done.exception.message


def test_one_of_several_files_that_cannot_be_read_is_told_and_costs_no_other(
    identity: Served, tmp_path: Path, picture: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        np.save(folder / f"{number}.npy", np.arange(number + 1))
    (folder / "2b.npy").write_bytes(b"nonsense")
    (folder / "1b.png").write_bytes(b"nonsense")
    picture.rename(folder / "9.png")
    words = ["predict", identity.url, "-i", str(folder), "--batch", "1", "-o", str(tmp_path / "out.npz")]
    done = subprocess.run([sys.executable, "-m", "studio", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 8
    assert sorted(line.split(":")[1] for line in done.stderr.splitlines()) == [
        " no answer for '1b'", " no answer for '2b'", " no model is served"
    ]  # fmt: skip
    with np.load(tmp_path / "out.npz") as got:
        assert sorted(got.files) == ["0", "1", "2", "3", "4", "9"]


def test_json_is_the_whole_request_or_one_value(identity: Served, tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text('{"a": [1, 2], "b": "text"}')
    assert json.loads(ask(identity.url, "-i", path, "--json").stdout) == {"a": [1, 2], "b": "text"}
    assert json.loads(ask(identity.url, "-i", f"k={path}", "--json").stdout) == {"k": {"a": [1, 2], "b": "text"}}
    assert json.loads(ask(identity.url, "-i", "-", "--json", stdin="[1, 2]").stdout) == {"input": [1, 2]}


@pytest.mark.parametrize(
    ("shape", "expected"), [([-1, 4, 6, 3], (4, 6, 3)), ([-1, 5, 5, 1], (5, 5, 1)), ([-1, 5, 5], (5, 5))]
)
def test_a_picture_is_fitted_to_the_contract(picture: Path, shape: list[int], expected: tuple[int, ...]) -> None:
    about = {"inputs": [{"name": "x", "shape": shape}]}
    pixels = np.asarray(fit_files({"photo": ImageFile(picture)}, about)["photo"])
    assert pixels.shape == expected and pixels.dtype == np.float32 and 0 <= pixels.min() <= pixels.max() <= 1


def test_what_cannot_be_sent(identity: Served, tmp_path: Path) -> None:
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY nonsense")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.png").write_bytes(b"nonsense")
    (tmp_path / "notes.txt").write_text("x")
    np.save(tmp_path / "x.npy", np.zeros(2))
    cases: list[tuple[list[object], type[StudioError], str]] = [
        (["-i", tmp_path / "broken.npy"], BadInput, ""),
        (["-i", tmp_path / "broken.json"], BadInput, "not JSON"),
        (["-i", tmp_path / "broken.png"], BadInput, "image"),
        (["-i", tmp_path / "notes.txt"], ConfigError, "no reader"),
        (["-i", tmp_path / "none.npy"], ConfigError, "no file"),
        (["-i", tmp_path / "x.npy", "-i", f"x={tmp_path / 'x.npy'}"], ConfigError, "two inputs"),
        (["-i", tmp_path / "x.npy", "-o", tmp_path / "y.parquet"], ConfigError, "cannot write"),
    ]
    for words, kind, said in cases:
        done = ask(identity.url, *words)
        assert isinstance(done.exception, kind) and said in str(done.exception), (words, done.exception)


def test_what_is_wrong_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "latin.json").write_bytes(b'"\xfc"')
    nobody = "http://127.0.0.1:9"
    cases: list[tuple[str, list[object], type[StudioError], str]] = [
        (nobody, ["-o", "/nope/x.npz"], ConfigError, "no folder /nope"),
        (nobody, ["-o", f"{tmp_path}/none/x.npz"], ConfigError, "no folder"),
        (nobody, ["-o", "x.txt"], ConfigError, "cannot write"),
        (nobody, ["--token", "a\nb"], ConfigError, "printable"),
        (nobody, ["--token-file", tmp_path / "binary"], ConfigError, "cannot be read"),
        (nobody, ["--token", "a", "--token-file", tmp_path / "binary"], ConfigError, "exclude"),
        (nobody, ["--timeout", "0"], ConfigError, "more than 0"),
        (nobody, ["--fingerprint", "xyz"], ConfigError, "64"),
        ("http://127.0.0.1:99999", [], ConfigError, "not an address"),
        (nobody, ["-i", tmp_path / "latin.json"], BadInput, "not JSON"),
    ]
    for url, words, kind, said in cases:
        done = ask(url, *([] if "-i" in words else ["-i", "-"]), *words, stdin="1")
        assert isinstance(done.exception, kind) and said in str(done.exception), (words, done.exception)


@pytest.mark.parametrize("inputs", [3, [1], [{"name": "x"}], [{"name": "x", "shape": "abc"}],
                                    [{"name": "x", "shape": [-1, 10**9, 10**9, 3]}]])  # fmt: skip
def test_a_contract_that_is_none(picture: Path, inputs: object) -> None:
    with pytest.raises(ServeError, match="metadata"):
        fit_files({"photo": ImageFile(picture)}, {"inputs": inputs})


def test_answers_that_no_file_can_hold(identity: Served, tmp_path: Path) -> None:
    done = ask(identity.url, "-i", "-", "-o", tmp_path / "x.npz", stdin='{"file": 1}')
    assert isinstance(done.exception, ConfigError), done.exception


def test_a_key_without_an_answer_is_told_and_the_exit_code_says_so(
    serve: Callable[..., Served], wrapper: Callable[..., Path], home: Path
) -> None:
    text = (
        "from studio.model_util import ModelPipe\n"
        "def create_model(d):\n    return ModelPipe().add(lambda x: 1 / x, num_workers=1)\n"
    )
    server = serve("--wrapper", wrapper(text))
    done = subprocess.run(
        [sys.executable, "-m", "studio", "predict", server.url, "-i", "-"],
        input='{"good": 2, "bad": 0}', capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "good: 0.5\n" and done.returncode == 8
    assert "no answer for 'bad'" in done.stderr


def test_tokens_pasted_wrong_and_missing(serve: Callable[..., Served], tmp_path: Path) -> None:
    server = serve("--token", "t-1")
    (tmp_path / "x.json").write_text('{"a": [1.0]}')
    (tmp_path / "empty").touch()

    def said(address: str, *words: object) -> str:
        done = ask(address, "-i", tmp_path / "x.json", "--json", *words)
        if isinstance(done.exception, StudioError):
            return f"{done.exception.message} · {done.exception.hint}"
        return done.stdout

    assert json.loads(said(f"{server.url}/?token=t-1")) == {"a": [1.0]}
    assert json.loads(said(server.url, "--token", "t-1", "--insecure")) == {"a": [1.0]}
    assert said(server.url).startswith("a token is needed · pass the server's token")
    assert said(f"{server.url}?token=t-2").startswith("the token is wrong · ")
    assert "is another" in said(f"{server.url}?token=t-2", "--token", "t-1")
    assert "is empty" in said(server.url, "--token-file", tmp_path / "empty")
    assert "needs https" in said(server.url, "--fingerprint", "0" * 64)
    assert "--insecure" in said("http://model.invalid", "--token", "t")
    assert "cannot reach" in said("http://model.invalid", "--token", "t", "--insecure", "--timeout", "20")


def test_a_folder_stands_for_its_files_and_goes_in_several_requests(identity: Served, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for number in range(7):
        np.save(tmp_path / "in" / f"{number}.npy", np.full(2, number))
    np.save(tmp_path / "in" / "deep" / "x.npy", np.zeros(1))
    (tmp_path / "in" / "notes.txt").write_text("no input")
    out = tmp_path / "out.json"
    done = ask(identity.url, "-i", tmp_path / "in", "--batch", "3", "-o", out)
    assert done.exception is None, done.exception
    assert json.loads(out.read_text()) == {**{str(n): [n, n] for n in range(7)}, "deep/x": [0.0]}
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="nothing to send"):
        raise ask(identity.url, "-i", tmp_path / "empty").exception or AssertionError
