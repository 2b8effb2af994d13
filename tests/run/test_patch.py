"""Uncommitted changes in odd states of a work tree: the patch brings a clean clone to it, and nothing is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.experiment import Experiment
from studio.run.changes import LARGEST, MOST_LOOKED, MOST_UNTRACKED, TOO_LARGE, TOO_MANY
from studio.run.git import Found, Worktree
from tests.run.test_snapshot import git
from tests.studio_process import opened, record, studio


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
    assert found is not None and found.git.dirty and found.git.commit is not None and found.patch
    assert (found.lost, found.problems, found.notes) == ([], [], [])
    clone = tree.parent / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    git(tree.parent, "clone", "-q", "--no-checkout", str(tree), str(clone))
    git(clone, "checkout", "-q", found.git.commit)
    (tree.parent / "patch").write_bytes(found.patch)
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


def _told_not_to_look(tree: Path) -> None:
    git(tree, "update-index", "--assume-unchanged", "a.py", "below/c.py")
    git(tree, "update-index", "--skip-worktree", "b.py")
    _edit(tree)
    (tree / "b.py").write_text("other\n")
    (tree / "below" / "c.py").unlink()
    assert git(tree, "status", "--porcelain") == ""


STATES: list[Callable[[Path], None]] = [
    _edit, _touched, _untracked_folder, _staged_and_changed_again, _removed_from_the_index_only, _settings_of_the_users,
    _told_not_to_look,
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
    assert found is not None and found.git.branch == "linked"
    assert b"LINE 4" in found.patch and b"new/deep/x.py" in found.patch
    clean = Worktree(tree).read()
    assert clean is not None and not clean.git.dirty and clean.patch == b""


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
    assert found is not None and b"LINE 4" in found.patch


def _text_attributes(tree: Path) -> None:
    (tree / ".gitattributes").write_text("*.py diff=shown\n")
    git(tree, "config", "diff.shown.textconv", "rev")
    git(tree, "config", "diff.shown.command", "false")
    git(tree, "config", "diff.external", "false")
    git(tree, "config", "diff.context", "0")
    git(tree, "config", "core.fsmonitor", "false-monitor")
    (tree / "b.py").write_text("y\n")
    _edit(tree)


def _odd_names(tree: Path) -> None:
    for name in ("with space.py", "new\nline.py", "tab\there.py", "-q", '"quoted".py', "b\udcff.py", ":(top)x", "*.py"):
        (tree / name).write_text(f"print({name!r})\n".encode("utf-8", "replace").decode())
    git(tree, "add", "--", "with space.py")
    _edit(tree)


def _intended(tree: Path) -> None:
    (tree / "later.py").write_text("later\n")
    git(tree, "add", "--intent-to-add", "later.py")
    (tree / "a.py").chmod(0o755)
    (tree / "b.py").unlink()
    (tree / "b.py").symlink_to("a.py")


def _a_folder_for_a_file(tree: Path) -> None:
    (tree / "other.py").write_text("other\n")
    (tree / "b.py").unlink()
    (tree / "b.py").mkdir()
    (tree / "b.py" / "z.py").write_text("z\n")


def _replaced(tree: Path) -> None:
    git(tree, "replace", git(tree, "rev-parse", "HEAD:a.py").strip(), git(tree, "rev-parse", "HEAD:b.py").strip())
    _edit(tree)


def _restored_by_a_checkout(tree: Path) -> None:
    (tree / ".gitattributes").write_text(
        "*.bat text eol=crlf\n*.u text working-tree-encoding=UTF-16\n*.bin filter=none\n"
    )
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "attributes")
    (tree / "x.bat").write_bytes(b"a\r\nb\r\n")
    (tree / "x.u").write_bytes("h\u00e4llo\n".encode("utf-16"))
    (tree / "x.bin").write_text("of a filter that is not there\n")


def _a_link_outside(tree: Path) -> None:
    (tree.parent / "outside").mkdir()
    (tree.parent / "outside" / "z.py").write_text("z\n")
    (tree / "out").symlink_to(tree.parent / "outside")


KINDS = [
    _text_attributes, _odd_names, _intended, _a_folder_for_a_file, _replaced, _restored_by_a_checkout, _a_link_outside,
]  # fmt: skip


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__.strip("_"))
def test_settings_names_and_kinds_of_all_sorts(tree: Path, make: Callable[[Path], None]) -> None:
    make(tree)
    assert applied(tree, tree) == files(tree)


def test_variables_of_the_users_change_no_patch(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _edit(tree)
    commit = found_in(tree).git.commit
    (tree.parent / "other").mkdir()
    git(tree.parent / "other", "init", "-q", "-b", "elsewhere")
    for name, value in (
        ("GIT_DIFF_OPTS", "--unified=0"), ("GIT_EXTERNAL_DIFF", "/bin/true"), ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_DIR", f"{tree.parent}/other/.git"), ("GIT_WORK_TREE", f"{tree.parent}/other"),  # as of a hook of another
        ("GIT_INDEX_FILE", ".git/next-index-1.lock"), ("GIT_PREFIX", "below/"), ("GIT_OBJECT_DIRECTORY", "/nowhere"),
        ("GIT_COMMON_DIR", "/nowhere"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    assert (found_in(tree).git.commit, found_in(tree).git.branch) == (commit, "main")
    changed = found_in(tree).patch
    (tree / "b.py").write_bytes(b"x" * (6 << 20))  # left out by a pathspec with magic
    found = found_in(tree)
    assert found.patch == changed and [lost.path for lost in found.lost] == ["b.py"] and not found.problems
    monkeypatch.undo()
    git(tree, "checkout", "-q", "b.py")
    assert found_in(tree).patch == changed


def test_a_file_that_git_refuses_costs_no_other_its_place(tree: Path) -> None:
    (tree / ".gitattributes").write_text("bad.py working-tree-encoding=UTF-16\n")
    for name in ("m.py", "git~1", "bad.py", "z.py", "n.py"):  # the second might be .git, on another system
        (tree / name).write_text(f"print({name!r})\n")
    found = found_in(tree)
    why = {lost.path: lost.why for lost in found.lost}
    assert sorted(why) == ["bad.py", "git~1"] and "UTF-16" in why["bad.py"] and "of this name" in why["git~1"], why
    assert all(f"b/{name}\n".encode() in found.patch for name in ("m.py", "n.py", "z.py", ".gitattributes"))


def found_in(folder: Path) -> Found:
    """What git says of a folder; nothing is touched."""
    found = Worktree(folder).read()
    assert found is not None
    return found


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_no_commit_yet_and_a_detached_head(tree: Path, tmp_path: Path, form: str) -> None:
    git(tree, "checkout", "-q", "--detach")
    _edit(tree)
    found = found_in(tree)
    assert found.git.branch is None and found.git.commit and b"LINE 4" in found.patch
    (tmp_path / "new").mkdir()
    git(tmp_path / "new", "init", "-q", "-b", "main", f"--object-format={form}")
    (tmp_path / "new" / "x.py").write_text("x\n")
    found = found_in(tmp_path / "new")
    assert (found.git.branch, found.git.commit) == ("main", None) and b"+++ b/x.py" in found.patch
    assert found.problems == []


def _corrupt_index(tree: Path) -> str:
    (tree / ".git" / "index").write_bytes(b"DIRC" + bytes(50))
    return "git ls-files failed: index file corrupt"


def _missing_object(tree: Path) -> str:
    head = git(tree, "rev-parse", "HEAD:a.py").strip()
    (tree / ".git" / "objects" / head[:2] / head[2:]).unlink()
    return "git diff failed: "


def _missing_commit(tree: Path) -> str:
    head = git(tree, "rev-parse", "HEAD").strip()
    (tree / ".git" / "objects" / head[:2] / head[2:]).unlink()
    return "git status failed: "


def _bare(tree: Path) -> str:
    git(tree, "config", "core.bare", "true")
    return "git rev-parse failed: this operation must be run in a work tree"


def _broken_config(tree: Path) -> str:
    (tree / ".git" / "config").write_text("[core\n")
    return "git ls-files failed: bad config"


def _of_another_user(tree: Path) -> str:
    if os.getuid() != 0:
        pytest.skip("only root gives files away")
    for path in (tree, tree / ".git"):
        os.chown(path, 12345, 12345)
    told = f"'{tree}' (git config --global --add safe.directory {tree})"
    return f"git ls-files failed: detected dubious ownership in repository at {told}; what is"


def _gone_elsewhere(tree: Path) -> str:
    shutil.rmtree(tree / ".git")
    (tree / ".git").write_text("gitdir: /nowhere\n")
    return "git ls-files failed: not a git repository: /nowhere"


SPOILS = [
    _corrupt_index, _missing_object, _missing_commit, _bare, _broken_config, _of_another_user, _gone_elsewhere,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__.strip("_"))
def test_each_failure_of_git_is_told_with_its_words(tree: Path, spoil: Callable[[Path], str]) -> None:
    _edit(tree)
    said = spoil(tree)
    found = found_in(tree)
    assert len(found.problems) == 1 and found.problems[0].startswith(said) and not found.patch
    assert "uncommitted" in found.problems[0]


def test_a_lock_that_was_left_behind_matters_to_nobody(tree: Path) -> None:
    (tree / ".git" / "index.lock").touch()
    _edit(tree)
    (tree / "new.py").write_text("n\n")
    found = found_in(tree)
    assert found.problems == [] and b"LINE 4" in found.patch and b"new.py" in found.patch


def test_git_that_is_not_there_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tree))
    assert found_in(tree).problems == [
        "git cannot be started: No such file or directory; what is uncommitted is not known"
    ]


def test_large_changes_are_left_out_by_name_and_all_else_is_kept(tree: Path) -> None:
    for name in ("was", "is"):
        (tree / f"{name}.bin").write_bytes(os.urandom(LARGEST + 1 if name == "was" else 10))
    (tree / "gone.bin").write_bytes(os.urandom(LARGEST + 1))
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "two")
    (tree / "was.bin").write_bytes(b"small now")
    (tree / "is.bin").write_bytes(os.urandom(LARGEST + 2))
    (tree / "gone.bin").unlink()
    (tree / "fresh.bin").write_bytes(os.urandom(LARGEST + 1))
    _edit(tree)
    found = found_in(tree)
    assert b"LINE 4" in found.patch and len(found.patch) < 1000
    assert sorted((lost.path, lost.why, lost.text) for lost in found.lost) == [
        (f"{name}.bin", TOO_LARGE, f"{name}.bin of 5.0 MiB") for name in ("fresh", "gone", "is", "was")
    ]


def test_of_many_untracked_files_programs_come_first(tree: Path) -> None:
    (tree / "many").mkdir()
    for number in range(MOST_UNTRACKED + 5):
        (tree / "many" / f"{number}.txt").write_text("1")
    (tree / "zoo.py").write_text("print(1)\n" * 100)
    found = found_in(tree)
    assert b"+++ b/zoo.py" in found.patch and found.patch.count(b"diff --git") == MOST_UNTRACKED
    assert len(found.lost) == 6 and {lost.why for lost in found.lost} == {TOO_MANY}
    for number in range(MOST_UNTRACKED + 5):
        (tree / "many" / f"{number}.py").write_text("1")
    with open(tree / "vast.bin", "wb") as file:
        file.truncate(LARGEST + 1)
    found = found_in(tree)
    assert [lost.path for lost in found.lost if lost.why == TOO_LARGE] == ["vast.bin"]
    assert {lost.why for lost in found.lost} == {TOO_LARGE, TOO_MANY} and found.problems == []


def test_of_very_many_untracked_files_folders_with_few_are_looked_at(tree: Path) -> None:
    names = [f"data/d/{number}.txt" for number in range(MOST_LOOKED)]
    (tree / "data" / "d").mkdir(parents=True)
    for name in names:
        os.close(os.open(tree / name, os.O_CREAT))
    for name in ("data/x.py", "data/d/y.py", "notes.txt"):
        (tree / name).write_text("1\n")
    found = found_in(tree)
    ((lost, text),) = [(lost, lost.text) for lost in found.lost]
    assert (lost.path, lost.why, text) == ("data/", TOO_MANY, "data/ with 5,000 files") and set(lost.names) == set(
        names
    )
    assert found.patch.count(b"\n+++ b/") == 3
    assert all(f"+++ b/{name}\n".encode() in found.patch for name in ("data/x.py", "data/d/y.py", "notes.txt"))


def test_repositories_inside_and_submodules_are_named(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "main")
    (other / "o.py").write_text("o\n")
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "one")
    git(tree, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    git(tree, "config", "--file", ".gitmodules", "submodule.sub.ignore", "all")
    git(tree, "commit", "-q", "-a", "-m", "with a submodule")
    shutil.copytree(other, tree / "nested")
    (tree / "sub" / "o.py").write_text("changed\n")
    (tree / "new.py").write_text("n\n")
    found = found_in(tree)
    assert sorted(lost[:2] for lost in found.lost) == [
        ("nested/", "a repository of its own"), ("sub", "a submodule with changes of its own")
    ]  # fmt: skip
    assert b"new.py" in found.patch and found.problems == []


def _line_ends(tree: Path) -> dict[str, str]:
    git(tree, "config", "core.autocrlf", "input")
    git(tree, "config", "core.safecrlf", "true")
    for name in ("b.py", "new.py"):
        (tree / name).write_bytes(b"x\r\ny\r\n")
    return dict.fromkeys(("b.py", "new.py"), "its CRLF line ends are LF in the patch")


def _filters(tree: Path) -> dict[str, str]:
    (tree / ".gitattributes").write_text("*.bin filter=short\n*.id ident\n")
    (tree / "old.bin").write_bytes(b"123")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "two")
    git(tree, "config", "filter.short.clean", "wc -c")
    for name in ("old.bin", "new.bin"):
        (tree / name).write_bytes(b"12345")
    (tree / "x.id").write_text("$Id: mine $\n")
    why = "the patch has what git keeps of it"
    return {"old.bin": f"filtered by short, {why}", "new.bin": "untracked, filtered by short", "x.id": why}


def _pipe(tree: Path) -> dict[str, str]:
    (tree / "b.py").unlink()
    os.mkfifo(tree / "b.py")
    return {"b.py": "not a regular file"}


@pytest.mark.parametrize("make", [_line_ends, _filters, _pipe], ids=lambda make: make.__name__.strip("_"))
def test_what_the_patch_has_in_another_form_is_named(tree: Path, make: Callable[[Path], dict[str, str]]) -> None:
    why = make(tree)
    _edit(tree)
    found = found_in(tree)
    assert {lost.path: lost.why for lost in found.lost} == why and found.problems == found.notes == []
    assert b"LINE 4" in found.patch


def test_no_program_runs_that_git_status_would_not_run(tree: Path) -> None:
    program = tree.parent / "program"
    program.write_text(f"#!/bin/sh\ntouch {tree.parent}/ran\ncat\n")
    program.chmod(0o755)
    for name in (
        "diff.mine.textconv", "diff.mine.command", "diff.external", "core.fsmonitor", "core.pager", "gpg.program",
        "filter.mine.clean", "filter.mine.process", "core.sshCommand", "credential.helper",
    ):  # fmt: skip
        git(tree, "config", name, str(program))
    for folder in (tree / ".git" / "hooks", tree.parent / "hooks"):
        folder.mkdir(exist_ok=True)
        shutil.copy(program, folder / "post-index-change")
    _told_not_to_look(tree)
    (tree / ".gitattributes").write_text("*.py diff=mine\n*.bin filter=mine\n")
    (tree / "new.bin").write_text("1")
    (tree.parent / "ran").unlink(missing_ok=True)
    for _ in range(2):
        found = found_in(tree)
        assert not (tree.parent / "ran").exists() and b"LINE 4" in found.patch and b".gitattributes" in found.patch
        git(tree, "config", "core.hooksPath", str(tree.parent / "hooks"))


def test_sparse_and_unreadable_files(tree: Path) -> None:
    git(tree, "sparse-checkout", "set", "--no-cone", "/a.py", "/b.py")
    assert not (tree / "below").exists()
    _edit(tree)
    found = found_in(tree)
    assert b"LINE 4" in found.patch and b"below" not in found.patch and found.lost == []
    (tree / "below").mkdir()
    (tree / "below" / "c.py").write_text("here after all\n")
    assert b"+here after all" in found_in(tree).patch


@pytest.mark.parametrize("merging", [False, True])
def test_a_file_that_is_rightly_absent_is_not_deleted_by_the_patch(tree: Path, merging: bool) -> None:
    git(tree, "update-index", "--skip-worktree", "below/c.py")
    (tree / "below" / "c.py").unlink()
    assert found_in(tree).patch == b""
    _edit(tree)
    if merging:
        blob = git(tree, "rev-parse", "HEAD:b.py").strip()
        git(tree, "update-index", "--force-remove", "a.py")
        lines = "".join(f"100644 {blob} {stage}\ta.py\n" for stage in (1, 2, 3))
        subprocess.run(["git", "update-index", "--index-info"], cwd=tree, input=lines.encode(), check=True)
    found = found_in(tree)
    assert b"LINE 4" in found.patch and b"below" not in found.patch and found.problems == found.lost == []


@pytest.mark.parametrize(
    ("remotes", "own", "url", "others"),
    [
        ({"upstream": "https://a:b@example.org/u.git"}, "", "https://example.org/u.git", {}),
        ({"x": "git@example.org:x.git", "origin": "/srv/o.git"}, "", "/srv/o.git", {"x": "git@example.org:x.git"}),
        ({"fork": "https://tok@example.org/f", "origin": "https://example.org/o"}, "fork", "https://example.org/f",
         {"origin": "https://example.org/o"}),
    ],
)  # fmt: skip
def test_remotes_of_all_names_without_logins(
    tree: Path, remotes: dict[str, str], own: str, url: str, others: dict[str, str]
) -> None:
    for name, address in remotes.items():
        git(tree, "remote", "add", name, address)
    if own:
        git(tree, "config", "branch.main.remote", own)
    found = found_in(tree).git
    assert found.url == url and found.extra.get("remotes", {}) == others


SLOW_GIT = """#!/bin/sh
case " $* " in *" {command} "*) {what} ;; esac
PATH={path} exec git "$@"
"""


def slow_git(folder: Path, command: str, what: str) -> dict[str, str]:
    """A git that is slow, or fails, at one of its commands."""
    (folder / "bin").mkdir()
    (folder / "bin" / "git").write_text(SLOW_GIT.format(command=command, what=what, path=os.environ["PATH"]))
    (folder / "bin" / "git").chmod(0o755)
    return {"PATH": f"{folder}/bin:{os.environ['PATH']}"}


@pytest.mark.parametrize("command", ["status", "update-index", "diff"])
def test_a_slow_git_holds_up_no_script_and_its_answer_is_kept(tree: Path, tmp_path: Path, command: str) -> None:
    (tree / "new.py").write_text("n\n")
    (tree / "a.py").write_text("import pathlib; pathlib.Path('../mark').touch(); print('ran')\n")
    waits = "until [ -e ../mark ] || [ -e ../../mark ]; do sleep 0.1; done; sleep 1"  # it answers once the script ran
    env = slow_git(tmp_path, command, waits)
    done = studio("run", "-e", "k", "a.py", cwd=tree, env=env)
    said = done.stderr.decode()
    assert done.stdout == b"ran\n" and f"git {command} is slow here, so the script starts now." in said, said
    found = record("k").git
    assert found is not None and found.patch and found.commit and found.dirty and not found.extra
    patch = studio("runs", "show", "k", "--patch", cwd=tree).stdout
    assert b"+++ b/new.py" in patch and b"+++ b/a.py" in patch


@pytest.mark.parametrize("command", ["status", "update-index", "diff", "cat-file"])
@pytest.mark.parametrize("workspace", [True, False])
def test_what_a_failing_git_loses_is_said_and_kept_with_the_record(
    tree: Path, tmp_path: Path, command: str, workspace: bool
) -> None:
    (tree / "new.py").write_text("n\n")
    (tree / "a.py").write_text("print('ran')\n")
    env = slow_git(tmp_path, command, "echo 'fatal: no luck' >&2; exit 128")
    done = studio("run", "-e", "k", *([] if workspace else ["--no-workspace"]), "a.py", cwd=tree, env=env)
    assert done.stdout == b"ran\n"
    line = f"git {command} failed: no luck"
    shown = studio("runs", "show", "k", cwd=tree).stdout.decode()
    assert line in done.stderr.decode() and f"not in the patch: {'new.py (' * (command == 'update-index')}" in shown
    assert line in shown
    if command == "update-index":
        assert ("the workspace has it" in shown) == workspace
        shown = studio("runs", "show", "k", "--patch", cwd=tree)
        assert b"+++ b/a.py" in shown.stdout and b"not in the patch: new.py" in shown.stderr


def told(said: bytes) -> list[str]:
    """The lines on what is left out, and on git; but that it is slow, for the machine may be."""
    lines = [line for line in said.decode().splitlines() if "left out" in line or "git" in line]
    return [
        line for line in lines if " is slow here, so the script starts now." not in line and "waiting up to" not in line
    ]


def test_a_run_has_two_short_lines_on_all_that_is_left_out(tree: Path) -> None:
    (tree / "data" / "images").mkdir(parents=True)
    for number in range(MOST_UNTRACKED + 500):
        (tree / "data" / "images" / f"{number:05}.jpg").write_text("1")
    with open(tree / "data" / "train.bin", "wb") as file:
        file.truncate(1 << 28)
    (tree / ".env").write_text("x")
    (tree / "big.dat").write_bytes(bytes(LARGEST + 1))
    (tree / "a.py").write_text("print('ran')\n")
    done = studio("run", "-e", "k", "a.py", cwd=tree)
    assert told(done.stderr) == [
        "studio: left out of the workspace: .env (looks like a secret); data/train.bin of 256.0 MiB (limit: 102 MiB"
        " a file). To keep it: --capture-once data/train.bin:NAME. To silence this: list it in .studioml_ignore.",
        "studio: left out of the git patch: big.dat of 5.0 MiB (limit: 5 MiB a file); 500 files in data/images/ (limit:"
        " 1,000 untracked files). The workspace has them.",
    ]
    shown = studio("runs", "show", "k", cwd=tree).stdout.decode()
    assert "not in the patch: data/train.bin of 256.0 MiB (limit: 5 MiB a file)\n" in shown
    below = studio("run", "--no-workspace", "../a.py", cwd=tree / "data").stderr
    (line,) = told(below)
    assert len(line) < 200 and line.endswith(" and 500 more.") and "workspace" not in line
    assert "patch: .env (looks like a secret); big.dat of 5.0 MiB, " in line


def serving() -> Experiment:
    """The newest record of a server."""
    found = [experiment for experiment in opened().experiments() if experiment.kind == "serving"]
    return max(found, key=lambda experiment: experiment.times.added)


def test_a_server_does_not_ask_git_about_the_callers_folder(tree: Path, tmp_path: Path) -> None:
    (tree / "new.py").write_text("n\n")
    env = slow_git(tmp_path, "-c", "touch ../asked")
    (tree / "a.py").write_text(
        "import json, os\n"
        "open(json.loads(os.environ['STUDIOML_ARTIFACT_MAPPING'])['modeldir'] + '/model.joblib', 'w').write('none')\n"
    )
    assert studio("run", "-e", "k", "a.py", cwd=tree).returncode == 0
    for folder in (tree, tree / "below"):
        (folder / "model.joblib").write_bytes(b"none")
    for what in ("k", "./model.joblib", "./below"):
        done = studio("serve", what, "--port", "0", cwd=tree, env=env)
        assert done.returncode and b"for git" not in done.stderr and b"left out" not in done.stderr, done.stderr
        assert serving().git is None
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("what", ["touch ../asked", "touch ../asked; sleep 100"])
def test_a_server_with_a_wrapper_never_waits_for_git(tree: Path, tmp_path: Path, what: str) -> None:
    (tree / "w.py").write_text(
        "import pathlib, time\n"
        "def create_model(modeldir):\n"
        "    while not pathlib.Path('../asked').exists(): time.sleep(0.1)\n"
        "    raise ValueError('no model')\n"
    )
    for number in range(MOST_UNTRACKED + 5):
        (tree / f"{number}.txt").write_text("1")
    done = studio("serve", "./w.py", "--port", "0", cwd=tree, env=slow_git(tmp_path, "status", what))
    assert b"no model" in done.stderr and b"for git" not in done.stderr and b"left out" not in done.stderr
    found = serving().git
    assert found is not None and not (found.patch and "sleep" in what)
