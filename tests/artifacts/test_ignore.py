"""Ignore patterns do what git and tar themselves do with them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from studio.tracking.ignore import git_patterns, tar_patterns
from studio.tracking.scan import scan
from tests.artifacts.trees import put

NAMES = ["a", "b", "ab", "a.py", "b.pyc", "build", "x y", "[a]", "!a", "#a", "*", "a*b", "-"]
PIECES = ["a", "b", "ab", "*", "**", "?", "/", "/", "[ab]", "[!a]", "[a-b]", "[^b]*", ".py", ".", "build", "\\*", "\\#",
          " ",           "\\ ", "[[:alpha:]]", "[", "]", "[]", "\\"]  # fmt: skip
lines = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
ignore_texts = st.lists(st.tuples(st.sampled_from(["", "", "", "!", "/"]), lines).map("".join), max_size=6).map(
    "\n".join
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git work tree with three levels of odd names."""
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for above in ("", "a/", "b/", "build/", "a/ab/"):
        for name in NAMES:
            path = root / above / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir() and f"{above}{name}" not in ("a", "b", "build", "a/ab"):
                path.write_text("x")
    return root


def kept_by_git(root: Path) -> set[str]:
    command = ["git", "-c", "core.excludesFile=", "ls-files", "-z", "--others", "--exclude-per-directory=.gitignore"]
    done = subprocess.run(command, cwd=root, capture_output=True, check=True)
    return {os.fsdecode(n) for n in done.stdout.split(b"\0") if n}


def kept_by_us(root: Path) -> set[str]:
    return {p for p, seen in scan(root, "workspace", frozenset()).members.items() if seen.size >= 0}


@given(top=ignore_texts, below=ignore_texts)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@example(top="a\n!a/b", below="")
@example(top="a/*\n!a/ab", below="*.py")
@example(top="**/a\nb/**\na/**/b", below="")
@example(top="*\n!*/\n!*.py", below="!a")
@example(top="/build/\n!build", below="/a")
@example(top="/a**\n!a", below="/a**/b")
@example(top="**\\/a", below="***")
@example(top="a \nb\\ \n[a-]\n[]a]", below="")
def test_git_leaves_out_the_same(repository: Path, top: str, below: str) -> None:
    put(repository, **{".gitignore": top, "a__.gitignore": below})
    assert kept_by_us(repository) == kept_by_git(repository)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@given(top=ignore_texts, below=ignore_texts)
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
def test_git_leaves_out_the_same_at_length(repository: Path, top: str, below: str) -> None:
    put(repository, **{".gitignore": top, "a__.gitignore": below})
    assert kept_by_us(repository) == kept_by_git(repository)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "*.py",
        "b.p*",
        "a/ab",
        "a/*.py",
        "a?",
        "[ab]",
        "ab/a",
        "*b",
        "build",
        "x y",
        "a*b",
        "\\*",
        "b/b*",
        "*/a",
        "a\nb",
    ],
)
def test_tar_leaves_out_the_same(repository: Path, tmp_path: Path, text: str) -> None:
    if shutil.which("tar") is None:
        pytest.skip("there is no tar")
    put(repository, **{".gitignore": "", "a__.gitignore": ""})
    (tmp_path / "patterns").write_text(text + "\n")
    archive = subprocess.run(
        ["tar", "-C", str(repository), "--exclude-from", str(tmp_path / "patterns"), "--exclude=.git", "-cf", "-", "."],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    listed = subprocess.run(
        ["tar", "-tf", "-", "--quoting-style=literal"], input=archive, capture_output=True, check=True
    )
    by_tar = {os.fsdecode(n)[2:] for n in listed.stdout.split(b"\n") if n and not n.endswith(b"/")}
    (repository / ".studioml_ignore").write_text(text)
    try:
        by_us = {p for p, s in scan(repository, "plain", frozenset()).members.items() if s.size >= 0}
    finally:
        (repository / ".studioml_ignore").unlink()
    assert by_us - {".studioml_ignore"} == by_tar


@pytest.mark.parametrize(
    ("text", "path", "folder", "out"),
    [
        ("# a", "a", False, False), ("", "a", False, False), ("/a", "b/a", False, False), ("/a", "a", False, True),
        ("./a", "a", False, True), ("a/", "a", True, True), ("a/", "a", False, False),
        ("*.ckpt", "x/y.ckpt", False, True),

        ("  a  ", "a", False, True), ("a\r", "a", False, True), ("x*z", "x/y/z", False, True),
    ],
)  # fmt: skip
def test_what_studioml_ignore_knows_beyond_tar(text: str, path: str, folder: bool, out: bool) -> None:
    assert bool(tar_patterns(text).verdict(path, folder)) is out


def test_broken_patterns_match_nothing_and_do_not_fail() -> None:
    for text in ("[", "[a", "a\\", "[[:nope:]]", "[z-a]", "!", "/", "//", "[!", "[]", "a**b/"):
        for patterns in (git_patterns(text), tar_patterns(text)):
            assert patterns.verdict("some/name", False) is None
