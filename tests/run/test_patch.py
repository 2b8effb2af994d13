"""Uncommitted changes in odd states of a work tree: the patch brings a clean clone to it, and nothing is touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.run.git import Worktree
from tests.run.test_snapshot import git


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with one commit."""
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    for name in ("a.py", "b.py", "below/c.py"):
        (folder / name).write_text("".join(f"line {n} of {name}\n" for n in range(9)))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """What a work tree holds, by name."""
    found = [p for p in folder.rglob("*") if p.is_file() and ".git" not in p.relative_to(folder).parts[:1]]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def kept(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file of .git, with inode and time; but a shared index, whose time any git moves that reads it."""
    found = [p for p in (folder / ".git").rglob("*") if p.is_file()]
    return {
        str(p): (p.stat().st_ino, 0 if p.name.startswith("sharedindex.") else p.stat().st_mtime_ns, p.read_bytes())
        for p in found
    }


def applied(tree: Path, start: Path) -> dict[str, bytes]:
    """The files of a clean clone once the patch that `start` is told of is applied; .git stays as it was."""
    before = kept(tree)
    found = Worktree(start).read()
    assert kept(tree) == before
    assert found is not None and found[0].dirty and found[0].commit is not None and found[1]
    clone = tree.parent / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    git(tree.parent, "clone", "-q", "--no-checkout", str(tree), str(clone))
    git(clone, "checkout", "-q", found[0].commit)
    (tree.parent / "patch").write_bytes(found[1])
    git(clone, "apply", "--index", str(tree.parent / "patch"))
    return files(clone)


def _edit(tree: Path) -> None:
    text = (tree / "a.py").read_text()
    (tree / "a.py").write_text(text.replace("line 4", "LINE 4"))


def _touched(tree: Path) -> None:
    _edit(tree)
    os.utime(tree / "b.py", (1, 1))  # looks changed, is not


def _untracked_folder(tree: Path) -> None:
    (tree / "new" / "deep").mkdir(parents=True)
    (tree / "new" / "deep" / "x.py").write_text("x\n")
    (tree / "new" / "ünd 'so\".txt").write_text("y\n")
    (tree / "zero").write_bytes(b"")


def _staged_and_changed_again(tree: Path) -> None:
    (tree / "s.py").write_text("one\n")
    git(tree, "add", "s.py")
    (tree / "s.py").write_text("two\n")
    git(tree, "mv", "b.py", "moved.py")
    (tree / "below" / "c.py").unlink()


def _removed_from_the_index_only(tree: Path) -> None:
    _edit(tree)
    git(tree, "rm", "-q", "--cached", "b.py")


def _settings_of_the_users(tree: Path) -> None:
    _edit(tree)
    (tree / "n.bin").write_bytes(bytes(range(256)))
    for name, value in (
        ("diff.noprefix", "true"), ("diff.mnemonicPrefix", "true"), ("diff.autoRefreshIndex", "false"),
        ("core.splitIndex", "true"), ("color.ui", "always"), ("status.relativePaths", "true"),
        ("status.showUntrackedFiles", "no"), ("diff.renames", "copies"), ("core.untrackedCache", "true"),
    ):  # fmt: skip
        git(tree, "config", name, value)
    git(tree, "update-index", "--split-index")
    os.utime(tree / "b.py", (1, 1))


STATES: list[Callable[[Path], None]] = [
    _edit, _touched, _untracked_folder, _staged_and_changed_again, _removed_from_the_index_only, _settings_of_the_users,
]  # fmt: skip


@pytest.mark.parametrize("make", STATES, ids=lambda make: make.__name__.strip("_"))
def test_the_patch_is_what_changed(tree: Path, make: Callable[[Path], None]) -> None:
    make(tree)
    assert applied(tree, tree) == files(tree)
    assert applied(tree, tree / "below") == files(tree)


def test_a_merge_under_way_is_kept_as_it_lies_there(tree: Path) -> None:
    git(tree, "checkout", "-q", "-b", "other")
    _edit(tree)
    git(tree, "commit", "-q", "-am", "theirs")
    git(tree, "checkout", "-q", "main")
    (tree / "a.py").write_text((tree / "a.py").read_text().replace("line 4", "mine 4"))
    git(tree, "commit", "-q", "-am", "ours")
    with pytest.raises(AssertionError):
        git(tree, "merge", "-q", "other")
    assert b"<<<<<<<" in (tree / "a.py").read_bytes()
    assert applied(tree, tree) == files(tree)


def test_a_linked_work_tree_has_a_patch_of_its_own(tree: Path) -> None:
    linked = tree.parent / "linked"
    git(tree, "worktree", "add", "-q", str(linked))
    _untracked_folder(linked)
    _edit(linked)
    found = Worktree(linked / "below").read()
    assert found is not None and found[0].branch == "linked"
    assert b"LINE 4" in found[1] and b"new/deep/x.py" in found[1]
    clean = Worktree(tree).read()
    assert clean is not None and not clean[0].dirty and clean[1] == b""


def test_a_change_in_the_tick_of_the_commit_is_seen(tree: Path) -> None:
    git(tree, "config", "core.trustctime", "false")
    tick = (tree / "a.py").stat().st_mtime_ns - 10**10
    os.utime(tree / "a.py", ns=(tick, tick))
    git(tree, "update-index", "--refresh")
    text = (tree / "a.py").read_text()
    (tree / "a.py").write_text(text.replace("line 4", "LINE 4"))
    for path in (tree / "a.py", tree / ".git" / "index"):  # a file as long and as old as git noted, in the same tick
        os.utime(path, ns=(tick, tick))
    (tree / "new.py").write_text("x\n")
    assert applied(tree, tree) == files(tree)


def test_an_index_that_cannot_be_read_costs_time_but_no_change(tree: Path) -> None:
    _edit(tree)
    (tree / ".git" / "index").unlink()
    found = Worktree(tree).read()
    assert found is not None and b"LINE 4" in found[1]
