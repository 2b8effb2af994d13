"""What a run keeps of code, git state, packages and machine; nothing of the user's is touched."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.cli.sheet import sheet
from studio.experiment import Command, Experiment, modules_of
from studio.run.commandline import not_kept
from studio.run.imported import unkept
from studio.run.plan import Plan, make_command
from studio.run.script import find_script
from tests.studio_process import opened, record, studio


def git(folder: Path, *words: str) -> str:
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = {f"GIT_{a}_{b}": "x" for a in ("AUTHOR", "COMMITTER") for b in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, env={**os.environ, **quiet, **who}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with one commit, and staged, unstaged, untracked, deleted, renamed and binary changes."""
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "remote", "add", "origin", "https://ada:hunter2@example.org/ada/digits.git")
    (folder / "a.py").write_text("print('committed')\n")
    (folder / "gone.txt").write_text("gone\n")
    (folder / "old name.txt").write_text("the same text, long enough to be seen as a rename\n" * 5)
    (folder / ".gitignore").write_text("ignored/\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    (folder / "staged.txt").write_text("staged\n")
    git(folder, "add", "staged.txt")
    git(folder, "mv", "old name.txt", "näw name.txt")
    (folder / "a.py").write_text("print('changed')")
    (folder / "gone.txt").unlink()
    (folder / "untracked").mkdir()
    (folder / "untracked" / "blob.bin").write_bytes(bytes(range(256)) * 4)
    (folder / "ignored").mkdir()
    (folder / "ignored" / "big.txt").write_text("ignored")
    (folder / ".env").write_text("SECRET=planted-canary\n")
    (folder / "id_rsa").write_text("planted-canary")
    return folder


def visible(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file below a folder, .git included, with inode, time and mode."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            state = os.lstat(os.path.join(base, name))
            found[os.path.join(base, name)] = (state.st_ino, state.st_mtime_ns, state.st_mode)
    return found


def test_the_patch_brings_a_clean_clone_to_the_state_that_ran(tree: Path, tmp_path: Path) -> None:
    before = visible(tree)
    done = studio("run", "a.py", cwd=tree)
    assert (done.returncode, done.stdout) == (0, b"changed\n"), done.stderr
    assert visible(tree) == before, "something in the user's folder was touched"

    found = record()
    assert found.git is not None and found.git.patch is not None
    assert (found.git.branch, found.git.dirty) == ("main", True)
    assert found.git.commit == git(tree, "rev-parse", "HEAD").strip()
    assert found.git.url == "https://example.org/ada/digits.git"
    patch = opened().tracking.artifacts.read_blob(found.git.patch)
    assert b"canary" not in patch

    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(tree), str(clone))
    (tmp_path / "p").write_bytes(patch)
    git(clone, "apply", "--index", str(tmp_path / "p"))
    for name in ("a.py", "staged.txt", "näw name.txt", "untracked/blob.bin"):
        assert (clone / name).read_bytes() == (tree / name).read_bytes()
    assert not (clone / "gone.txt").exists() and not (clone / "old name.txt").exists()
    assert not (clone / "ignored").exists()


def test_secrets_reach_no_file_of_the_store(tree: Path, home: Path) -> None:
    words = ["--api-key", "planted-canary", "--url=https://u:planted-canary@example.org/x", "token=planted-canary"]
    done = studio(
        "run", "--param", "password=planted-canary", "--param", "lr=1", "a.py", *words, cwd=tree,
        env={"AWS_SECRET_ACCESS_KEY": "planted-canary", "MY_VAR": "planted-canary"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (record().params["password"], record().params["lr"]) == ("***", 1)
    for path in (home / ".studioml").rglob("*"):
        if path.is_file():
            assert b"planted-canary" not in path.read_bytes(), path


def test_a_clean_tree_has_no_patch_and_a_folder_without_git_no_git(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    assert studio("run", "a.py", cwd=tmp_path).returncode == 0
    assert record().git is None
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    assert studio("run", "a.py", cwd=tmp_path).returncode == 0
    found = record().git
    assert found is not None
    assert (found.dirty, found.patch, found.url) == (False, None, None)


def test_a_run_that_goes_on_with_other_code_says_so_and_is_never_repeated_by_a_rerun(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    assert studio("run", "-e", "k", "a.py", cwd=tmp_path).returncode == 0
    assert b"goes on" not in studio("run", "--resume", "k", cwd=tmp_path).stderr
    before = record("k").git
    (tmp_path / "a.py").write_text("1\n")
    done = studio("run", "--resume", "k", cwd=tmp_path)
    assert before is not None and before.commit is not None and not before.resumed
    told = f"goes on with commit {before.commit[:12]} with uncommitted changes; its record keeps the code that it began"
    assert told.encode() in done.stderr, done.stderr
    after = record("k").git
    assert after is not None and after.at_its_begin() == before and len(after.resumed) == 1
    assert after.resumed[0].encode() in studio("runs", "show", "k", cwd=tmp_path).stdout
    done = studio("runs", "rerun", "k", "-e", "again", "--check", cwd=tmp_path)
    assert done.returncode == 9 and b"k: after --resume it ran with commit" in done.stderr, done.stderr
    assert record("again").git == before


def test_a_repository_that_git_refuses_is_not_taken_for_a_clean_one(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / ".git" / "HEAD").write_text("ref: nothing\n")
    assert studio("run", "-e", "k", "--no-workspace", "a.py", cwd=tmp_path).returncode == 0
    found = record("k").git
    assert found is not None and found.unknown and found.dirty and found.patch is None
    assert b"git       not known\n" in studio("runs", "show", "k", cwd=tmp_path).stdout.replace(
        b"git      ", b"git       "
    )
    assert studio("runs", "list", "-s", "not git.dirty", cwd=tmp_path).stdout == b""


def test_a_tree_without_a_commit_is_captured_as_a_patch(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a.py").write_text("print(1)\n")
    assert studio("run", "a.py", cwd=tmp_path).returncode == 0
    found = record().git
    assert found is not None and found.patch is not None
    assert (found.commit, found.dirty) == (None, True)
    assert b"+print(1)" in opened().tracking.artifacts.read_blob(found.patch)


def test_the_workspace_is_captured_before_the_script_changes_it(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("open('data.txt', 'w').write('after')")
    (tmp_path / "data.txt").write_text("before")
    assert studio("run", "a.py", cwd=tmp_path).returncode == 0
    ref = record().artifacts["workspace"]
    assert ref.manifest is not None and not ref.mutable
    assert opened().tracking.artifacts.read(ref.manifest, "data.txt") == b"before"


def test_packages_and_host(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    assert studio("run", "a.py", cwd=tmp_path).returncode == 0
    found = record()
    assert any(p.lower().startswith("click==") for p in found.packages)
    assert list(found.packages) == sorted(found.packages, key=lambda p: p.partition("==")[0].lower())
    assert found.host is not None
    assert found.host.cores >= 1 and found.host.memory > 1 << 28 and found.host.name
    assert found.command.python == sys.version.split()[0]


def test_a_large_file_is_not_in_the_workspace_unless_the_limit_is_raised(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print('ran')")
    (tmp_path / "huge.bin").write_bytes(bytes(3 << 20))
    for limit, files, said in (("2m", 1, True), ("40m", 2, False)):
        done = studio("run", "a.py", cwd=tmp_path, env={"STUDIOML_ARTIFACT_LIMIT": limit})
        assert done.stdout == b"ran\n" and (b"left out of the workspace: huge.bin of 3.0 MiB" in done.stderr) == said
        assert record().artifacts["workspace"].files == files


def test_the_home_folder_is_never_captured_whole(home: Path) -> None:
    (home / "a.py").write_text("print('ran')")
    (home / "private.txt").write_text("x")
    done = studio("run", "a.py", cwd=home)
    assert done.stdout == b"ran\n"
    assert b"workspace is not captured" in done.stderr
    ref = record().artifacts["script"]
    assert ref.manifest is not None and record().artifacts["workspace"].manifest is None
    assert [f.path for f in opened().tracking.artifacts.manifest(ref.manifest).files] == ["a.py"]


def test_show_writes_the_patch_that_a_clean_clone_takes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.py").write_text("x = 1\n")
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "one")
    assert studio("run", "-e", "clean", "a.py", cwd=tree).returncode == 0
    (tree / "a.py").write_text("x = 2\n")
    (tree / "new.bin").write_bytes(bytes(range(256)))
    assert studio("run", "-e", "changed", "a.py", cwd=tree).returncode == 0
    done = studio("runs", "show", "changed", "--patch", cwd=tmp_path)
    (tmp_path / "patch").write_bytes(done.stdout)
    git(tmp_path, "clone", "-q", str(tree), "clone")
    git(tmp_path / "clone", "apply", str(tmp_path / "patch"))
    assert (tmp_path / "clone" / "a.py").read_text() == "x = 2\n"
    assert (tmp_path / "clone" / "new.bin").read_bytes() == bytes(range(256))
    done = studio("runs", "show", "clean", "--patch", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (4, b"") and b"no uncommitted changes" in done.stderr


TRAIN = """\
import helper, studio
try:
    import lib, local
except ImportError:
    print("alone")
studio.log({"v": helper.V}, step=0)
"""


@pytest.fixture
def two_trees(tmp_path: Path) -> tuple[Path, Path]:
    """A work tree in which commands are typed, and another one with the script."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "train.py").write_text("raise SystemExit('the wrong one')\n" if folder == here else TRAIN)
        (folder / "helper.py").write_text("V = 1\n")
        (folder / ".gitignore").write_text("local.py\n")
        git(folder, "init", "-q", "-b", folder.name)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", folder.name)
    (here / "link.py").symlink_to("../there/train.py")
    return here, there


def test_the_code_that_ran_is_recorded_wherever_the_command_was_typed(two_trees: tuple[Path, Path]) -> None:
    here, there = two_trees
    commit = git(there, "rev-parse", "HEAD").strip()
    words = {"plain": ["../there/train.py"], "link": ["--", sys.executable, "link.py"]}
    for number, (key, command) in enumerate(words.items(), 2):
        (there / "helper.py").write_text(f"V = {number}\n")
        done = studio("run", "-e", key, *command, cwd=here)
        assert done.returncode == 0 and f"its folder {there} is captured too".encode() in done.stderr
        found = record(key)
        assert found.git is not None and (found.git.commit, found.git.branch) == (commit, "there")
        assert found.git.patch is not None and f"+V = {number}" in studio_patch(found.git.patch)
    found = opened().compare(["plain", "link"])
    assert [d.name for d in found if d.section == "script"] == ["helper.py"]
    (there / "helper.py").unlink()
    done = studio("runs", "rerun", "link", "-e", "again", "--check", cwd=Path("/"))
    assert done.returncode == 0 and b"metrics agree" in done.stderr, done.stderr
    link, again = record("link"), record("again")
    assert again.git == link.git and again.artifacts["script"] == link.artifacts["script"]
    code = "".join(opened().code_diff("plain", "link"))
    assert "-V = 2\n+V = 3\n" in code and "+++ link/../helper.py\n" in code


def studio_patch(digest: str) -> str:
    return opened().tracking.artifacts.read_blob(digest).decode()


def test_modules_that_no_artifact_has_are_named_with_a_digest(two_trees: tuple[Path, Path], tmp_path: Path) -> None:
    there = two_trees[1]
    beside = tmp_path / "beside"
    beside.mkdir()
    (there / "local.py").write_text("PASSWORD = 'hunter2-hunter2'\n")
    for key in ("one", "two"):
        (beside / "lib.py").write_text(f"WHICH = {key!r}\n")
        done = studio("run", "-e", key, "train.py", cwd=there, env={"PYTHONPATH": str(beside)})
        assert done.returncode == 0 and b"alone" not in done.stdout, done.stderr
    found = modules_of(record("two"))
    digest = hashlib.sha256((beside / "lib.py").read_bytes()).hexdigest()
    assert [(one.name, one.path) for one in found] == [
        ("lib", str(beside / "lib.py")), ("local", str(there / "local.py"))
    ]  # fmt: skip
    assert found[0].sha256 == digest
    assert found[1].sha256 != hashlib.sha256((there / "local.py").read_bytes()).hexdigest(), "a secret can be tried"
    assert [d.name for d in opened().compare(["one", "two"]) if d.section == "modules"] == ["lib"]
    assert f"  lib    {beside}/lib.py, {digest[:12]}" in list(sheet(record("two")))
    assert list(not_kept(record("one"))) == ["lib, local: not captured with one, so as it is now"]


def test_a_module_that_says_it_is_from_a_pipe_or_a_device_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.py")
    files = [("m", str(tmp_path / "m.py")), ("zero", "/dev/zero"), ("here", __file__)]
    found = unkept(files, Experiment("k", Command("script", "a.py", ())), {}, opened().tracking)
    assert [(module.name, module.sha256 is not None) for module in found] == [
        ("m", False),
        ("zero", False),
        ("here", True),
    ]


def test_where_the_code_of_a_module_lies_is_found_before_it_runs(
    two_trees: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = two_trees
    monkeypatch.setenv("PYTHONPATH", str(there))
    (there / "pkg").mkdir()
    (there / "pkg" / "mod.py").write_text("")
    (there / "bin").mkdir()
    for name in ("python", "tool.py"):
        (there / "bin" / name).write_text("")
    python = sys.executable
    for kind, target, args, file in (
        ("script", "link.py", ["helper.py"], there / "train.py"),
        ("script", "../there/bin/tool.py", ["run", "../there/train.py"], there / "train.py"),
        ("script", "../there/bin/tool.py", ["run"], None),
        ("module", "helper", [], here / "helper.py"),
        ("module", "pkg.mod", [], there / "pkg"),
        ("module", "http.server", [], None),
        ("module", "pytest", ["../there/train.py"], there / "train.py"),
        ("exec", python, ["-u", "-m", "pkg.mod"], there / "pkg"),
        ("exec", python, ["-c", "pass"], None),
        ("exec", "bash", ["-x", "~nobody/x.py", "a" * 5000 + ".py", "link.py", "helper.py"], there / "train.py"),
    ):
        command, program, argv = make_command(kind, target, args, folder=here, python=None)
        plan = Plan(command, program, argv, here, "p", "o")
        found = find_script(plan, here, opened().config)
        assert (found and found.file) == (file and Path(os.path.realpath(file))), (kind, target, args)
