"""`studio serve` from a tracked script to answers: resolution, the serving's own record, the original's spelling."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from studio.cli.main import command
from studio.errors import ConfigError
from tests.studio_process import readable

from .conftest import END_S, START_S, wait_until

TRAIN = """\
import joblib
from sklearn.linear_model import LinearRegression
from studio import fs_tracker

joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), fs_tracker.get_model_directory() + "/model.joblib")
"""
WRAPPER = """\
import os

def create_model(modeldir):
    names = sorted(os.listdir(modeldir)) if modeldir else []
    return lambda data: {"names": names, **data}
"""


class Serving:
    """A `studio` command that serves, and what it printed when it was ready."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.errors_file = folder / f"stderr-{'-'.join(words[:2]).replace('/', '_')}"
        with self.errors_file.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "studio", *words], cwd=folder, stdout=subprocess.PIPE, stderr=errors
            )
        assert self.process.stdout is not None
        found = readable(self.process.stdout, START_S)
        self.line = self.process.stdout.readline().decode().strip() if found else ""
        assert self.line.startswith("Serving "), (self.line, self.errors_file.read_text())
        self.url = self.line.rpartition(" at ")[2]

    def ask(self, values: object) -> object:
        with urllib.request.urlopen(urllib.request.Request(self.url, json.dumps(values).encode()), timeout=120) as got:
            return json.loads(got.read())

    def metadata(self) -> dict[str, object]:
        with urllib.request.urlopen(self.url + "/metadata", timeout=120) as got:
            told: dict[str, object] = json.loads(got.read())
        return told

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_S)


def studio(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "studio", *words], cwd=folder, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "wrapper.py").write_text(WRAPPER)
    return tmp_path


@pytest.fixture
def serving(folder: Path) -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def start(*words: str) -> Serving:
        started.append(Serving(folder, *words))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        assert one.process.stdout is not None
        one.process.stdout.close()


def records(folder: Path) -> dict[str, dict[str, object]]:
    told = json.loads(studio(folder, "runs", "list", "--json").stdout)
    return {record["key"]: record for record in told["experiments"]}


def test_last_is_served_as_an_experiment_of_kind_serving(folder: Path, serving: Callable[..., Serving]) -> None:
    done = studio(folder, "run", "-e", "trained", "train.py")
    assert done.returncode == 0, done.stderr
    first = serving("serve", "last", "--port", "0")
    assert first.ask({"a": [3.0]}) == {"a": pytest.approx(6.0)}
    source = first.metadata()["source"]
    assert isinstance(source, dict) and source["kind"] == "experiment" and source["key"] == "trained"
    assert first.line.startswith("Serving trained (checkpoint, model.joblib) at ")
    second = serving("serve", "trai", "--port", "0", "--wrapper", "wrapper.py")  # `last` is still the run
    assert second.ask({"a": 1}) == {"names": [".studio.json", "model.joblib"], "a": 1}
    kinds = {key: (record["kind"], record["parent"]) for key, record in records(folder).items()}
    assert kinds.pop("trained") == ("run", None)
    assert list(kinds.values()) == [("serving", "trained")] * 2
    assert first.stop() in (0, 143)
    stopped = next(key for key in kinds if records(folder)[key]["status"] == "running")
    assert studio(folder, "runs", "stop", stopped).returncode == 0
    second.process.wait(END_S)
    wait_until(lambda: all(r["status"] != "running" for r in records(folder).values()), "all have ended")


def test_a_model_that_is_not_there_makes_no_experiment(folder: Path) -> None:
    assert studio(folder, "run", "-e", "trained", "train.py").returncode == 0
    (folder / "models").mkdir()
    (folder / "models" / "ridge.joblib").write_bytes(b"")
    for what, name in (("trained", "experiment trained"), ("models/", str(folder / "models"))):
        unknown = studio(folder, "serve", what, "--model", "modle", "--port", "0")
        assert unknown.returncode == 4 and unknown.stderr.startswith(f"studio: no model 'modle' in {name}\n")
        assert "modeldata" not in unknown.stderr and "known: " in unknown.stderr
        best = studio(folder, "serve", what, "--best", "--port", "0")
        assert (best.returncode, best.stderr.partition("\n")[0]) == (
            3, f"studio: --best: no checkpoint of {name} has a metric"
        )  # fmt: skip
    assert list(records(folder)) == ["trained"]


def test_a_server_that_cannot_load_its_model_records_why(folder: Path) -> None:
    (folder / "models").mkdir()
    (folder / "models" / "ridge.joblib").write_bytes(b"nonsense")
    done = studio(folder, "serve", "models/", "--port", "0")
    assert done.returncode == 8 and "ridge.joblib" in done.stderr
    ((_, record),) = records(folder).items()
    error = record["exit"]["error"]  # type: ignore[index]
    assert error["type"] == "ModelLoadError" and "joblib cannot load ridge.joblib" in error["message"]


def test_the_originals_long_form_serves(folder: Path, serving: Callable[..., Serving]) -> None:
    assert studio(folder, "run", "-e", "trained", "train.py").returncode == 0
    server = serving("run", "--reuse=trained/modeldir:modeldata", "--force-git", "studio::serve_main",
                     "--wrapper=wrapper.py", "--port=0", "--host=127.0.0.1", "--killafter=3600")  # fmt: skip
    assert server.ask({"a": 1}) == {"names": [".studio.json", "model.joblib"], "a": 1}


def test_paths_and_wrappers_need_no_experiment(folder: Path, serving: Callable[..., Serving]) -> None:
    assert serving("serve", "./wrapper.py", "--port", "0").ask({"a": 1}) == {"names": [], "a": 1}
    assert serving("serve", "--wrapper", "wrapper.py", "--port", "0").ask({"b": 1}) == {"names": [], "b": 1}
    (folder / "empty").mkdir()
    assert serving("serve", "empty/", "--port", "0").ask({"a": "b"}) == {"a": "b"}


def test_a_wrapper_takes_its_own_files_only(folder: Path, serving: Callable[..., Serving]) -> None:
    (folder / "wrapper.py").write_text("import beside\n\ndef create_model(modeldir):\n    return beside.answer\n")
    (folder / "beside.py").write_text("def answer(data):\n    return data\n")
    with (folder / "data.bin").open("wb") as file:
        file.truncate(3 << 30)
    (folder / "many").mkdir()
    for number in range(200):
        (folder / "many" / f"{number}.py").write_text("")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for words in (("--wrapper", "wrapper.py"), ("./wrapper.py",)):
        assert serving("serve", *words, "--port", "0").ask({"a": 1}) == {"a": 1}
    for key in records(folder):
        got = folder / f"got-{key}"
        assert studio(folder, "runs", "get", key, "workspace", str(got)).returncode == 0
        assert sorted(p.name for p in got.rglob("*")) == ["beside.py", "wrapper.py"]


def test_a_training_script_is_not_run(folder: Path) -> None:
    script = "import joblib\nopen('trained', 'w').close()\n"
    for text in (
        script,
        script + "def create_model():\n    return 1\n",
        "if True:\n    " + script.replace("\n", "; ", 1),
    ):
        (folder / "train.py").write_text(text)
        for words in (("train.py",), ("./train.py",), ("--wrapper", "train.py"), ("-w", "train")):
            done = studio(folder, "serve", *words)
            assert done.returncode == 3 and "studio run train.py" in done.stderr, (words, done.stderr)
    assert not (folder / "trained").exists() and records(folder) == {}


def test_a_path_that_is_neither_file_nor_folder_is_one_line(folder: Path) -> None:
    os.mkfifo(folder / "pipe.keras")
    (folder / "link.py").symlink_to("nothing.py")
    (folder / "loop.keras").symlink_to("loop.keras")
    (folder / "null.h5").symlink_to("/dev/zero")
    refused = {
        "pipe.keras": "is a named pipe", "link.py": "is a link that leads nowhere", "null.h5": "is a device",
        "loop.keras": "cannot be read: Too many levels", "/dev/null": "is a device", "a" * 5000: "no ",
        "new\n.keras": "no ", "./new\n.keras": "no file or folder './new",
    }  # fmt: skip
    for what, said in refused.items():
        for spelled in {what, what if "/" in what else f"./{what}"}:
            done = studio(folder, "serve", spelled)
            lines = done.stderr.splitlines()
            assert done.returncode in (3, 4) and said in lines[0] and len(lines) <= 2, (spelled, done.stderr)
    assert records(folder) == {}


def test_a_killed_servers_token_goes_with_the_next_command(
    folder: Path, home: Path, serving: Callable[..., Serving]
) -> None:
    kept = home / ".studioml" / "serving"
    serving("serve", "./wrapper.py", "--port", "0", "--token", "correct-horse-battery")
    (living,) = kept.glob("token-*")
    server = serving("serve", "./wrapper.py", "--port", "0", "--token", "other-horse-battery")
    server.process.kill()
    server.process.wait(120)
    assert len(list(kept.glob("token-*"))) == 2
    studio(folder, "runs", "list")
    assert list(kept.glob("token-*")) == [living]
    assert living.read_text() == "correct-horse-battery\n"


def test_a_token_never_reaches_the_record(folder: Path, home: Path, serving: Callable[..., Serving]) -> None:
    server = serving("serve", "./wrapper.py", "--port", "0", "--token", "correct-horse-battery")
    kept = home / ".studioml" / "serving"
    assert len(list(kept.glob("token-*"))) == 1
    assert server.stop() in (0, 143)
    assert not list(kept.glob("token-*"))
    for root, _, names in os.walk(home / ".studioml" / "store"):
        for name in names:
            assert b"correct-horse" not in (Path(root) / name).read_bytes()
    assert b"correct-horse" not in server.errors_file.read_bytes()


REFUSED = [
    (("traned",), 4, "did you mean 'trained'?"),
    (("digits:3",), 4, "no model 'digits:3'"),
    (("./nothing",), 3, "no file or folder ./nothing"),
    ((), 2, "nothing to serve"),
    (("train",), 3, "means two things"),
    (("trained", "--wrapper", "none.py"), 3, "no wrapper file none.py"),
]


BAD_OPTIONS = [
    (("--killafter", "banana"), "--killafter: 'banana' is not a duration"),
    (("--max-body", "x"), "--max-body: 'x' is not a size"),
    (("--max-body", "0"), "--max-body: it must be more than 0"),
    (("--max-body", "9" * 400), "--max-body"),
    (("--timeout", "0"), "--timeout: it must be more than 0"),
    (("--host", "no.such.host.invalid"), "--host 'no.such.host.invalid' is neither"),
    (("--host", "a..b"), "--host 'a..b' is neither"),
    (("--host", ""), "--host is empty"),
    (("--host", "192.0.2.1"), "cannot listen on 192.0.2.1"),
    (("--allow", "300.1.1.1"), "--allow: '300.1.1.1'"),
    (("-w", "nope.py"), "no wrapper file nope.py"),
    (("--tls-cert", "train.py"), "belong together"),
    (("--tls-cert", "none.pem", "--tls-key", "none.pem"), "no file none.pem"),
    (("--tls-cert", "train.py", "--tls-key", "train.py"), "train.py holds no certificate in PEM form"),
    (("--allowed-host", "proxy:80"), "--allowed-host 'proxy:80' can never match"),
    (("--allow", "10.0.0.0/8"), "--allow 10.0.0.0/8 can never match: only this machine"),
    (("--token", "x", "--token-file", "y"), "exclude each other"),
    (("--token", "a\nb"), "printable ASCII"),
    (("--token-file", "."), "--token-file . cannot be read"),
    (("--no-token", "--host", "0.0.0.0"), "would let anybody ask"),
    (("--model", ""), "--model is empty"),
    (("--name", ""), "--name is empty"),
    (("--model", "x", "--best"), "--model and --best exclude each other"),
    (("--identity", "--model", "x"), "--identity and --model exclude each other"),
    (("-w", "wrapper.py", "--model", "x"), "--wrapper and --model exclude each other"),
    (("-w", "wrapper.py", "--best"), "--wrapper and --best exclude each other"),
]


def test_options_that_cannot_be_used_are_no_experiment(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for words, said in BAD_OPTIONS:
        done = CliRunner().invoke(command, ["serve", str(folder / "wrapper.py"), *words], standalone_mode=False)
        assert isinstance(done.exception, ConfigError) and said in done.exception.message, (words, done.exception)
        assert "\n" not in done.exception.message
    done = studio(folder, "serve", "./wrapper.py", "--tls-cert", "train.py", "--tls-key", "train.py")
    assert done.returncode == 3 and done.stderr.startswith("studio: --tls-cert") and "Traceback" not in done.stderr
    assert studio(folder, "serve", "./nothing", "--token", "correct-horse").returncode == 3
    assert not list(home.rglob("token-*")) and not (folder / "y").exists()
    assert records(folder) == {}


def test_what_cannot_be_served(folder: Path) -> None:
    assert studio(folder, "run", "-e", "trained", "train.py").returncode == 0
    (folder / "train").mkdir()
    for words, code, said in REFUSED:
        done = studio(folder, "serve", *words)
        assert (done.returncode, said in done.stderr) == (code, True), (words, done.stderr)
        assert "Traceback" not in done.stderr
