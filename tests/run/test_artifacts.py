"""Captured, reused and mutable artifacts, and how a script finds them."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.experiment import Exit, Experiment
from studio.run.left_out import lacking_file
from studio.stores.filelock import locked
from studio.stores.folder import Tree
from tests.studio_process import opened, record, start, studio, until

EXAMPLES = Path(__file__).parents[2] / "examples"
REWRITE = (
    "import sys\nfrom studio import fs_tracker\npath = fs_tracker.get_artifact('f')\n"
    "print(open(path).read())\nif len(sys.argv) > 1:\n    open(path, 'w').write(sys.argv[1])\n"
)


def content(found: Experiment, name: str, path: str) -> bytes:
    manifest = found.artifacts[name].manifest
    assert manifest is not None
    return opened().tracking.artifacts.read(manifest, path)


def test_a_captured_file_is_read_rewritten_stored_and_reused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(REWRITE)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file.txt").write_text("first")
    done = studio("run", "-e", "one", "--capture=data/file.txt:f", "a.py", "second", cwd=tmp_path)
    assert done.stdout == b"first\n", done.stderr
    assert content(record("one"), "f", "file.txt") == b"second"
    assert (tmp_path / "data" / "file.txt").read_text() == "second", "local runs work in place"
    (tmp_path / "data" / "file.txt").unlink()
    done = studio("run", "-e", "two", "--reuse=one/f:f", "a.py", cwd=tmp_path)
    assert done.stdout == b"second\n", done.stderr
    assert not record("two").artifacts["f"].mutable
    assert record("two").artifacts["f"].manifest == record("one").artifacts["f"].manifest


def test_a_folder_that_the_script_makes_is_captured(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os\nfrom studio import fs_tracker\np = fs_tracker.get_artifact('out')\nos.makedirs(p + '/deep/empty')\n"
        "open(p + '/deep/x', 'w').write('x')\n"
    )
    done = studio("run", "-c", "results:out", "a.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert content(record(), "out", "deep/x") == b"x"


def test_capture_once_is_taken_at_the_start_and_never_again(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(REWRITE)
    (tmp_path / "d.txt").write_text("first")
    assert studio("run", "-co", "d.txt:f", "a.py", "second", cwd=tmp_path).stdout == b"first\n"
    assert content(record(), "f", "d.txt") == b"first"
    assert not record().artifacts["f"].mutable


def test_mutable_artifacts_are_captured_while_the_script_runs(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os\nfrom studio import fs_tracker\n"
        "def put(path, text):\n    open('new', 'w').write(text)\n    os.replace('new', path)\n"
        "put(fs_tracker.get_model_directory() + '/one.txt', '1')\n"
        "put(fs_tracker.get_tensorboard_dir() + '/events', '2')\n"
        "while not os.path.exists('go'): pass\n"
        "put(fs_tracker.get_model_directory() + '/one.txt', 'changed')\n"
    )

    def captured(name: str, path: str) -> bytes | None:  # a file appears whole, by a rename
        found = opened().experiments()
        manifest = found[0].artifacts[name].manifest if found else None
        artifacts = opened().tracking.artifacts
        return None if manifest is None else artifacts.read(manifest, path)

    process = start("run", "-e", "k", "a.py", cwd=tmp_path, env={"STUDIOML_SAVE_WORKSPACE_FREQUENCY": "0.2"})
    until(lambda: captured("modeldir", "one.txt") == b"1", "the first capture")
    until(lambda: captured("tb", "events") == b"2", "the other capture")
    (tmp_path / "go").touch()
    assert process.wait(120) == 0
    assert content(record("k"), "modeldir", "one.txt") == b"changed"


def test_a_slow_store_never_blocks_the_script(tmp_path: Path) -> None:
    """The script prints more than a pipe holds while its record cannot be written: another one has its lock."""
    (tmp_path / "a.py").write_text(
        "import os\nfrom studio import fs_tracker\n"
        "open(fs_tracker.get_model_directory() + '/file', 'wb').write(bytes(1000))\n"
        "while not os.path.exists('go'): pass\n"
        "print('.' * (1 << 20), flush=True)\nopen('printed', 'w').close()\n"
    )
    env = {"STUDIOML_SAVE_WORKSPACE_FREQUENCY": "0.1"}
    process = start("run", "-e", "k", "a.py", cwd=tmp_path, env=env)
    assert process.stdout is not None
    reader = threading.Thread(target=process.stdout.read)
    reader.start()
    until(lambda: [e.status for e in opened().experiments()] == ["running"], "the start")
    root = Path(opened().tracking.url.removeprefix("file://"))
    with locked(Tree(root), "records/k.json"):
        (tmp_path / "go").touch()
        until((tmp_path / "printed").exists, "the end of the script")
        assert process.poll() is None, "the run's record is still to be written"
    assert process.wait(120) == 0
    reader.join()
    assert record("k").artifacts["modeldir"].bytes == 1000


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server with one file."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "d.csv").write_text("a,b\n1,2\n")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "web"))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_capture_once_of_a_url(tmp_path: Path, web: str) -> None:
    (tmp_path / "a.py").write_text("from studio import fs_tracker; print(open(fs_tracker.get_artifact('d')).read())")
    done = studio("run", "-co", f"{web}/d.csv:d", "a.py", cwd=tmp_path)
    assert done.stdout == b"a,b\n1,2\n\n", done.stderr
    assert record().artifacts["d"].bytes == 8
    done = studio("run", "-co", f"{web}/none.csv:d", "a.py", cwd=tmp_path)
    assert done.returncode == 5
    assert b"cannot fetch" in done.stderr and b"404" in done.stderr
    assert len(opened().experiments()) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-r", "one/nothing:x"], 4, "has no artifact 'nothing'"),
        (["-r", "two/modeldir:x"], 4, "no experiment 'two'"),
    ],
)
def test_reuse_of_what_is_not_there(tmp_path: Path, words: list[str], code: int, message: str) -> None:
    (tmp_path / "a.py").write_text("")
    assert studio("run", "-e", "one", "a.py", cwd=tmp_path).returncode == 0
    done = studio("run", *words, "a.py", cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr.decode()
    assert len(opened().experiments()) == 1


def test_the_output_of_another_run_can_be_reused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print('said')")
    (tmp_path / "b.py").write_text("from studio import fs_tracker; print(open(fs_tracker.get_artifact('log')).read())")
    assert studio("run", "-e", "one", "a.py", cwd=tmp_path).returncode == 0
    assert studio("run", "-r", "one/output:log", "b.py", cwd=tmp_path).stdout == b"said\n\n"


def test_the_originals_general_examples(tmp_path: Path) -> None:
    for name in ("train_linreg.py", "print_norm_linreg.py"):
        shutil.copy(EXAMPLES / "general" / name, tmp_path)
    words = ["--capture=weights:weights", "--experiment", "linear_regression", "train_linreg.py"]
    done = studio("run", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    norm = done.stdout.decode().split()[-1]
    done = studio("run", "--reuse=linear_regression/weights:w", "print_norm_linreg.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == ["*****", "lr_w_09.npy", norm, "*****"]


def test_fs_tracker_inside_and_outside_a_run(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os\nfrom studio import fs_tracker as f\nprint(f.get_experiment_key(), f.get_artifact('nothing'))\n"
        "print(f.get_artifact('modeldir') == f.get_model_directory(), os.path.isdir(f.get_tensorboard_dir()))\n"
        "print(f.get_artifact('workspace') == os.getcwd(), sorted(f.get_artifacts()))\n"
    )
    done = studio("run", "-e", "k", "a.py", cwd=tmp_path)
    assert done.stdout.decode().splitlines() == [
        "k None",
        "True True",
        "True ['modeldir', 'output', 'tb', 'workspace']",
    ]
    from studio import fs_tracker

    assert fs_tracker.get_model_directory("n") == str(home / ".studioml" / "experiments" / "n" / "modeldir")
    assert fs_tracker.get_artifact("x") == os.path.join(os.getcwd(), "..", "x")


def test_a_large_workspace_runs_and_says_once_what_is_not_in_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_bytes(bytes(2000))
    (tmp_path / "a\nb.bin").write_bytes(bytes(300))
    (tmp_path / "train.py").write_text("print(len(open('data/rows.csv').read()))")
    (tmp_path / "studio.yaml").write_text("artifact_limit: 2000\n")
    done = studio("run", "-e", "k", "train.py", cwd=tmp_path)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (0, b"2000\n"), said
    assert said.count("rows.csv") == 1
    line = "left out of the workspace: data/rows.csv of 2.0 KiB, a\\nb.bin of 300 B (limit: 200 B a file). To keep one:"
    assert line in said
    assert "--capture-once PATH:NAME" in said and ".studioml_ignore" in said
    ref = record("k").artifacts["workspace"]
    assert ref.extra["left_out"] == [
        {"path": "data/rows.csv", "files": 1, "bytes": 2000}, {"path": "a\nb.bin", "files": 1, "bytes": 300},
    ]  # fmt: skip
    shown = studio("runs", "show", "k", cwd=tmp_path).stdout.decode()
    assert "not captured:\n  data/rows.csv  2.0 KiB\n  a\\nb.bin       300 B\n" in shown

    again = studio("runs", "rerun", "k", "-e", "l", cwd=tmp_path).stderr.decode()
    assert "not restored, as k did not capture it: data/rows.csv of 2.0 KiB, a\\nb.bin of 300 B\n" in again
    assert "studio: data/rows.csv was not captured with k; run the script where it is, or capture it" in again

    (tmp_path / ".studioml_ignore").write_text("*.bin\n")
    (tmp_path / ".gitignore").write_text("data/\n")
    done = studio("run", "-e", "m", "train.py", cwd=tmp_path)
    assert b"left out" not in done.stderr and b"data" not in done.stderr, "what the user's own files say is no news"
    assert record("m").artifacts["workspace"].extra["left_out"] == [
        {"path": "data/", "files": 0, "bytes": -1, "reason": ".gitignore"},
        {"path": "a\nb.bin", "files": 1, "bytes": -1, "reason": ".studioml_ignore"},
    ]
    shown = studio("runs", "show", "m", cwd=tmp_path).stdout.decode()
    assert "not captured:\n  data/     .gitignore\n  a\\nb.bin  .studioml_ignore\n" in shown
    again = studio("runs", "rerun", "m", "-e", "n", cwd=tmp_path).stderr.decode()
    line = "data/ (.gitignore), a\\nb.bin (.studioml_ignore)\n"
    assert f"studio: not restored, as m did not capture it: {line}" in again
    assert "studio: data/ was not captured with m (.gitignore); run the script where it is, or capture it" in again
    silent = record("n").with_changes(exit=Exit(3, None, "failed"))  # for no such reason, as far as it tells
    assert lacking_file(silent, record("m")) + "\n" == f"n ran without what m did not capture: {line}"


def test_what_is_too_large_for_an_artifact_is_left_out_unless_the_limit_is_raised(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "big.bin").write_bytes(bytes(2000))
    (tmp_path / "out" / "small").write_text("x")
    (tmp_path / "a.py").write_text("for n in range(3):\n    open(f'out/new{n}.bin', 'wb').write(bytes(2000))\n")
    words = ("-c", "out:out", "-co", "out/big.bin:once", "-c", "out:modeldir", "a.py")
    done = studio("run", "-e", "k", "--capture-limit", "2000", *words, cwd=tmp_path)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    line = "left out of the artifact out: big.bin of 2.0 KiB (limit: 200 B a file). To keep all: --capture-limit 0."
    assert said.count(line) == 1 and said.count("big.bin of") == 1 and "new1.bin of 2.0 KiB" in said
    found = record("k").artifacts
    assert (found["out"].files, found["once"].files, found["modeldir"].files) == (1, 1, 5)
    assert {one["path"] for one in found["out"].extra["left_out"]} == {"big.bin", "new0.bin", "new1.bin", "new2.bin"}
    assert b"out: big.bin" in studio("runs", "show", "k", cwd=tmp_path).stdout
    for words, env in ((("--capture-limit", "0"), {}), ((), {"STUDIOML_CAPTURE_LIMIT": "1m"})):
        assert b"left out" not in studio("run", *words, "-c", "out:out", "a.py", cwd=tmp_path, env=env).stderr
        assert record().artifacts["out"].files == 5
    refused = studio("run", "--capture-limit", "1999", "-co", "out/big.bin:once", "a.py", cwd=tmp_path)
    assert refused.returncode == 3 and b"is over the limit of an artifact" in refused.stderr


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("shutil.rmtree('out')", "no longer exists; the last capture is kept (1 file, 1 B)"),
        ("os.remove('out/x')", "is empty now; the last capture is kept (1 file, 1 B)"),
    ],
)
def test_an_artifact_that_was_captured_and_removed_is_said_to_be_kept(tmp_path: Path, end: str, said: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_text("x")
    (tmp_path / "a.py").write_text(f"import os, shutil\n{end}\n")
    done = studio("run", "-c", "out:out", "-c", "never:never", "a.py", cwd=tmp_path)
    assert f"artifact out: {tmp_path}/out {said}" in done.stderr.decode(), done.stderr
    assert f"artifact never: {tmp_path}/never does not exist" in done.stderr.decode()
    assert content(record(), "out", "x") == b"x"
