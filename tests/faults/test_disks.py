"""Every reading command on a full disk, a read-only one and one without permission answers as on a good one."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Ran, run_all
from tests.studio_process import studio

TRAIN = """
import os, sys, studio
from studio import fs_tracker
studio.params({"lr": float(sys.argv[1])})
for step in range(5):
    studio.log({"loss": 1 / (step + 1)}, step=step)
studio.log_text("story", "once")
with open(os.path.join(fs_tracker.get_model_directory(), "weights.txt"), "w") as file:
    file.write("weights")
print("trained with", sys.argv[1])
"""
CORE: list[list[str]] = [
    words.split() for words in ("runs list", "runs list all --json", "runs show one", "runs show last", "runs logs two")
]
READS: list[list[str]] = [
    *CORE,
    *(words.split() for words in (
        "runs list --short", "runs list users", "runs list projects --json", "runs list --metric loss:min",
        "runs show two --json", "runs show thr", "runs media one", "runs media two --output {free}/media",
        "runs compare one two --json", "runs compare one two --diff", "runs export {free}/all.csv",
        "runs export {free}/curves.json --curves", "runs get one modeldir {free}/got --overwrite", "config --json",
        "config store", "completion bash", "index rebuild",
    )),
    ["runs", "list", "params.lr > 0.5", "--columns", "key,params.lr,metrics.loss"],
    ["sql", "SELECT key, last FROM metrics WHERE name = 'loss' ORDER BY key"],
    ["sql", "--csv", "SELECT count(*) FROM curves"],
]  # fmt: skip
MAY_REFUSE: list[list[str]] = [
    ["store", "check"], ["doctor"], ["runs", "tag", "one", "new"], ["runs", "note", "one", "new"],
    ["runs", "delete", "two", "--yes"], ["run", "--", "true"], ["runs", "get", "one", "modeldir", "{disk}/here"],
    ["runs", "export", "{disk}/all.csv"], ["sql", "-o", "{disk}/all.csv", "SELECT 1"],
]  # fmt: skip
"""What writes: it says why it cannot, and changes nothing."""
INDEXES = ("warm", "behind", "logged", "missing")
QUICK = {("both", "warm"), ("both", "logged"), ("home", "behind"), ("home", "missing"), ("store", "warm")}
EACH = pytest.mark.parametrize(
    ("where", "index"),
    [
        pytest.param(where, index, marks=[] if (where, index) in QUICK else [pytest.mark.soak])
        for where in ("home", "store", "both")
        for index in INDEXES
    ],
)
"""Which disk is in trouble, and what the index knows."""


class Used:
    """A home and a store, each in a folder of its own where a disk can be mounted; `kept` has copies of both."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.home, self.store, self.free = base / "a" / "home", base / "b" / "store", base / "free"
        self.kept = base / "kept"
        for folder in (self.home.parent, self.store.parent, self.free, self.kept, base / "work"):
            folder.mkdir(parents=True)
        (base / "work" / "train.py").write_text(TRAIN)

    @property
    def env(self) -> dict[str, str]:
        return {"STUDIOML_HOME": str(self.home), "STUDIOML_STORE": f"file://{self.store}", "HOME": str(self.base)}

    def ask(self, commands: list[list[str]], disk: Path, **more: str) -> list[Ran]:
        """What these commands say; where files go stands in braces."""
        shutil.rmtree(self.free, ignore_errors=True)
        self.free.mkdir()
        self.free.chmod(0o777)
        spelled = [[word.format(free=self.free, disk=disk) for word in words] for words in commands]
        return run_all(spelled, cwd=self.base / "work", env={**self.env, **more})

    def keep(self, name: str) -> None:
        shutil.copytree(self.home, self.kept / name)

    def bring(self, index: str) -> None:
        """Puts the copies into place, with the index in one of four states."""
        for target, source in ((self.home, index), (self.store, "store")):
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(self.kept / source, target)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Used:
    """Two runs that the index knows, and one that it may not know yet."""
    made = Used(tmp_path_factory.mktemp("disks"))
    for key in ("one", "two"):
        done = studio("run", "-e", key, "train.py", "0.1", cwd=made.base / "work", env=made.env)
        assert done.returncode == 0, done.stderr
    made.keep("behind")
    (index,) = (made.home / "index").glob("*.sqlite")
    reader = sqlite3.connect(index)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM experiments").fetchone()  # keeps the log from being taken into the file
    done = studio("run", "-e", "three", "train.py", "0.9", cwd=made.base / "work", env=made.env)
    assert done.returncode == 0, done.stderr
    assert Path(f"{index}-wal").stat().st_size
    made.keep("logged")
    reader.close()
    done = studio("runs", "list", cwd=made.base / "work", env=made.env)
    assert b"three" in done.stdout
    made.keep("warm")
    shutil.rmtree(made.home / "index")
    made.keep("missing")
    shutil.copytree(made.store, made.kept / "store")
    return made


@pytest.fixture(scope="module")
def right(used: Used) -> dict[tuple[str, ...], bytes]:
    """What each command says where all is well."""
    used.bring("warm")
    said = used.ask(READS, used.free)
    for one in said:
        assert one.code == 0, (one.words, one.err)
    return {one.words: one.out for one in said}


@contextlib.contextmanager
def mounted(*folders: Path, options: tuple[str, ...] = ("-t", "tmpfs", "-o", "size=4m", "tmpfs")) -> Iterator[None]:
    """A disk in place of each of these folders."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small disk")
    done: list[Path] = []
    try:
        for folder in folders:
            one = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
            if one.returncode != 0:
                pytest.skip(f"no right to mount: {one.stderr.strip()}")
            done.append(folder)
        yield
    finally:
        for folder in done:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leaves not a byte on the disk of this folder."""
    with pytest.raises(OSError, match="No space"), open(folder / "ballast", "wb", buffering=0) as file:
        for size in (65536, 512, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass
        file.write(b"x")


def same(right: dict[tuple[str, ...], bytes], found: list[Ran]) -> None:
    wrong = [
        f"studio {' '.join(one.words)}: exit {one.code} {one.out[:300]!r} {one.err}"
        for one in found
        if one.code != 0 or one.out != right[one.words] or "Traceback" in one.err
    ]
    assert not wrong, "\n".join(wrong)


def refused(found: list[Ran]) -> None:
    """Each says in one line why not, or did it."""
    for one in found:
        said = f"studio {' '.join(one.words)}: exit {one.code} {one.out!r} {one.err}"
        assert "Traceback" not in one.err, said
        assert one.code in (0, 3, 5), said
        if one.code and not one.out:
            lines = [line for line in one.err.splitlines() if not line.startswith("  hint:")]
            assert 1 <= len(lines) <= 2, said
            assert any(word in one.err for word in ("full", "read-only", "permission", "No space", "Read-only")), said


def agree(used: Used, disk: Path) -> None:
    """After writes that were refused, or not: the listing is that of a home which never saw this store."""
    (listed,) = used.ask([["runs", "list", "all", "--json"]], disk)
    (fresh,) = used.ask([["runs", "list", "all", "--json"]], disk, STUDIOML_HOME=str(used.base / "free" / "home"))
    assert (listed.code, fresh.code) == (0, 0), listed.err + fresh.err
    assert listed.out == fresh.out


@EACH
def test_a_full_disk_makes_no_answer_wrong(
    used: Used, right: dict[tuple[str, ...], bytes], where: str, index: str
) -> None:
    disks = [p.parent for p, name in ((used.home, "home"), (used.store, "store")) if where in (name, "both")]
    for folder in (used.home, used.store):
        shutil.rmtree(folder, ignore_errors=True)
    with mounted(*disks):
        used.bring(index)
        for disk in disks:
            fill(disk)
        all_of_it = (where, index) not in QUICK or (where, index) == ("both", "logged")
        same(right, used.ask(READS if all_of_it else CORE, disks[0]))
        refused(used.ask(MAY_REFUSE if all_of_it else MAY_REFUSE[2:4], disks[0]))
        agree(used, disks[0])


@EACH
def test_a_read_only_disk_makes_no_answer_wrong(
    used: Used, right: dict[tuple[str, ...], bytes], where: str, index: str
) -> None:
    used.bring(index)
    disks = [p.parent for p, name in ((used.home, "home"), (used.store, "store")) if where in (name, "both")]
    with contextlib.ExitStack() as stack:
        for disk in disks:
            stack.enter_context(mounted(disk, options=("--bind", str(disk))))
            subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
        all_of_it = (where, index) not in QUICK or (where, index) == ("both", "logged")
        same(right, used.ask(READS if all_of_it else CORE, disks[0]))
        refused(used.ask(MAY_REFUSE if all_of_it else MAY_REFUSE[2:4], disks[0]))
        agree(used, disks[0])
