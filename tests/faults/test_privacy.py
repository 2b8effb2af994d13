"""No command connects to anything but this machine, or leaves a file outside the folders that studio names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.test_onnx import model
from tests.studio_process import STUDIO, environment

CONNECT = re.compile(
    r"(?:connect|sendto|sendmsg)\(.*sa_family=(AF_INET6?), .*?(?:inet_addr\(\"|inet_pton\(AF_INET6, \")([^\"]+)"
)
MAKES = ("open", "openat", "creat", "mkdir", "mkdirat", "mknod", "mknodat", "link", "linkat", "symlink", "symlinkat")
MOVES = ("rename", "renameat", "renameat2")
MADE = re.compile(rf"(?:{'|'.join(MAKES + MOVES)})\(")
PATHS = re.compile(r"(?:AT_FDCWD(?:<([^>]*)>)?, |\d+<([^>]*)>, )?\"((?:[^\"\\]|\\.)*)\"")
TRACED = ",".join(["connect", "sendto", "sendmsg", *MAKES, *MOVES])
LOCAL = re.compile(r"127\.|::1$|::ffff:127\.|0\.0\.0\.0$|::$")

SCRIPT = "import studio\nstudio.params({'a': 1})\nstudio.log({'loss': 0.5}, step=0)\nprint('ran')\n"


class Traced:
    """What a command, and all that it started, connected to and made."""

    def __init__(self, log: Path, folders: list[Path]) -> None:
        self.connected: list[str] = []
        self.made: list[str] = []
        allowed = (*(str(folder.resolve()) for folder in folders), "/dev", "/proc")
        for line in log.read_text(errors="replace").splitlines():
            if found := CONNECT.search(line):
                if not LOCAL.match(found[2]):
                    self.connected.append(line)
            elif MADE.search(line) and " = -1 " not in line and ("O_CREAT" in line or "open" not in line):
                for base1, base2, path in PATHS.findall(line):
                    full = os.path.normpath(os.path.join(base1 or base2 or str(folders[0]), path))
                    if not full.startswith(allowed):
                        self.made.append(line)


def traced(words: list[str], place: Path, program: tuple[str, ...] = STUDIO) -> Traced:
    """Runs a command under strace."""
    strace = shutil.which("strace")
    if strace is None or sys.platform != "linux":
        pytest.skip("strace is not installed, so connections cannot be watched")
    work, home, user, temporary = (place / name for name in ("work", "studio-home", "user", "tmp"))
    for folder in (work, user, temporary):
        folder.mkdir(exist_ok=True)
    (work / "train.py").write_text(SCRIPT)
    log = place / "trace"
    more = {"HOME": str(user), "STUDIOML_HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
    known = environment(**more)
    for name in [n for n in known if n.startswith(("XDG_", "KERAS_", "HF_", "ORT_", "MPLCONFIGDIR"))]:
        del known[name]
    done = subprocess.run(
        [strace, "-f", "-qq", "-y", "-s", "4096", "-o", str(log), "-e", f"trace={TRACED}", *program, *words],
        cwd=work, env=known, capture_output=True, stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip
    if b"Operation not permitted" in done.stderr and not log.exists():
        pytest.skip("no right to trace processes")
    assert done.returncode in (0, 3, 4, 5), done.stderr.decode()
    found = Traced(log, [work, home, temporary])
    left = sorted(str(p.relative_to(user)) for p in user.rglob("*"))
    assert not left, f"studio {' '.join(words)} left in the user's home: {left}"
    return found


def quiet(found: Traced, words: list[str]) -> None:
    assert not found.connected, f"studio {' '.join(words)} connected to: {found.connected}"
    assert not found.made, f"studio {' '.join(words)} made: {found.made[:5]}"


MAKERS = {
    "keras": "import keras; keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save('model/m.keras')",
    "sklearn": "import joblib; from sklearn.linear_model import Ridge\n"
    "joblib.dump(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]), 'model/m.joblib')",
}


def make(kind: str, folder: Path) -> None:
    """A folder with a model of this kind, made by a process of its own."""
    folder.mkdir(parents=True)
    if kind == "onnx":
        (folder / "m.onnx").write_bytes(model("Neg"))
        return
    env = environment(KERAS_HOME=str(folder.parent.parent / "keras"))
    done = subprocess.run([sys.executable, "-c", MAKERS[kind]], cwd=folder.parent, env=env, capture_output=True)
    if b"ModuleNotFoundError" in done.stderr:
        pytest.skip(f"the libraries for {kind} are not installed")
    assert done.returncode == 0, done.stderr.decode()


COMMANDS = [
    ["run", "-e", "one", "train.py"],
    ["runs", "list"],
    ["runs", "show", "one"],
    ["runs", "compare", "one", "one"],
    ["runs", "export", "all.csv"],
    ["sql", "SELECT * FROM curves"],
    ["doctor"],
    ["config"],
    ["store", "check"],
    ["index", "rebuild"],
    ["completion", "bash"],
    ["run", "--", "true"],
]


def test_no_command_connects_or_leaves_files_elsewhere(tmp_path: Path) -> None:
    for words in COMMANDS:
        quiet(traced(words, tmp_path), words)


@pytest.mark.parametrize("kind", ["onnx", "keras", "sklearn"])
def test_a_server_connects_to_nothing_and_leaves_no_file(tmp_path: Path, kind: str) -> None:
    make(kind, tmp_path / "work" / "model")
    words = ["serve", "./model", "--port", "0", "--killafter", "1"]
    quiet(traced(words, tmp_path), words)


def test_the_official_runtime_reports_unless_it_is_told_not_to(tmp_path: Path) -> None:
    """The trap works: without the variable the library leaves its files, and perhaps a connection."""
    make("onnx", tmp_path / "work" / "model")
    code = "import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1])"
    try:
        traced([code, "model/m.onnx"], tmp_path, (sys.executable, "-c"))
    except AssertionError as exc:
        assert "left in the user's home" in str(exc)
    else:
        pytest.skip("this build of onnxruntime reports nothing")


def test_the_trace_sees_what_it_is_to_see(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    code = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))"
    found = traced(["run", "--", sys.executable, "-c", code + "; open('../elsewhere', 'w')"], tmp_path)
    assert found.connected and any("elsewhere" in line for line in found.made)
