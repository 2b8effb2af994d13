"""What of a large workspace is kept, and how much of it is looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.tracking.scan import MOST_MET, MOST_SEEN, scan
from studio.tracking.selection import MOST_FILES, MOST_LISTED, LeftOut, Sized, listed, select

LIMIT = 1000


def kept(*members: tuple[str, int], crowds: dict[str, int] | None = None) -> tuple[list[str], list[LeftOut]]:
    """What is kept of these, and what is not."""
    found = select([Sized(*one) for one in members], crowds or {}, LIMIT)
    return sorted(found.kept), found.left_out


def test_what_fits_is_kept_whatever_it_is() -> None:
    assert kept(("data/a.csv", 100), ("net.pt", 100), ("link", 0)) == (["data/a.csv", "link", "net.pt"], [])


def test_a_large_file_is_left_out_whatever_else_there_is() -> None:
    assert kept(("a.py", 101), ("b.py", 100)) == (["b.py"], [LeftOut("a.py", 1, 101)])


def test_code_comes_first_then_what_is_no_data() -> None:
    code = [(f"src/{n}.py", 90) for n in range(9)]
    found = kept(("assets/font", 80), ("assets/logo.svg", 95), ("data/x.csv", 95), ("readme.md", 20), *code)
    assert found[0] == sorted(["readme.md", *(name for name, _ in code), "assets/font"])
    assert found[1] == [LeftOut("assets/", 1, 95), LeftOut("data/", 1, 95)]


def test_a_folder_of_data_is_kept_whole_or_not_at_all() -> None:
    half = [(f"photos/{n % 7}/{n}.jpg", 30) for n in range(40)]
    assert kept(("words.dat", 90), *half) == (["words.dat"], [LeftOut("photos/", 40, 1200)])


def test_texts_that_are_many_are_data() -> None:
    labels = [(f"boxes/{n}.txt", 1) for n in range(MOST_FILES)]
    found = kept(("config/a.txt", 1), ("train.py", 1), *labels)
    assert found == (["config/a.txt", "train.py"], [LeftOut("boxes/", MOST_FILES, MOST_FILES)])


def test_what_nobody_looked_at_is_named_first() -> None:
    found = kept(("a.py", 1), ("d/1.png", 50), ("e/1.png", 101), crowds={"d/x/": 7, "d/y/": 3, "": 2})
    assert found == (["a.py"], [LeftOut("d/", 11, -1), LeftOut("./", 2, -1), LeftOut("e/1.png", 1, 101)])


def test_many_places_are_listed_by_their_topmost_folders() -> None:
    many = [LeftOut(f"top/{n}/", 2, 10) for n in range(MOST_LISTED)] + [LeftOut("a.bin", 1, 7)]
    assert listed(many[1:]) == many[1:]
    assert listed(many) == [LeftOut("top/", 2 * MOST_LISTED, 10 * MOST_LISTED), LeftOut("a.bin", 1, 7)]
    wide = [LeftOut(f"{n}/", 1, n) for n in range(2 * MOST_LISTED)]
    assert len(listed(wide)) == MOST_LISTED + 1 and sum(one.files for one in listed(wide)) == 2 * MOST_LISTED


def test_only_so_much_is_looked_at_and_code_is_found_all_the_same(tmp_path: Path) -> None:
    most = 10
    for folder in ("data/a", "data/b", "src/deep/deeper", "zoo"):
        (tmp_path / folder).mkdir(parents=True)
    for n in range(MOST_SEEN * most):
        (tmp_path / "data" / f"{n}.csv").touch()
        (tmp_path / "zoo" / f"{n}.csv").touch()
    for path in ("src/deep/deeper/net.py", "train.py", "data/a/load.py", "zoo/z.py", "data/b/x.csv"):
        (tmp_path / path).touch()
    found = scan(tmp_path, "workspace", frozenset(), most=most)
    programs = {"src/deep/deeper/net.py", "train.py", "data/a/load.py", "zoo/z.py"}
    assert programs <= set(found.members) and set(found.crowds) <= {"data/", "data/b/", "zoo/"}
    assert len(found.members) + sum(found.crowds.values()) == 2 * MOST_SEEN * most + 5
    assert len(found.members) <= MOST_SEEN * most + 5
    whole = scan(tmp_path, "workspace", frozenset())
    assert len(whole.members) == 2 * MOST_SEEN * most + 5 and not whole.crowds


def test_a_forest_of_folders_is_not_walked_to_its_end(tmp_path: Path) -> None:
    most = 2
    for n in range(MOST_MET * most + 20):
        (tmp_path / "data" / f"{n}" / "inner").mkdir(parents=True)
        (tmp_path / "data" / f"{n}" / "inner" / "x").touch()
    (tmp_path / "src" / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "src" / "a" / "b" / "c" / "net.py").touch()
    found = scan(tmp_path, "workspace", frozenset(), most=most)
    assert "src/a/b/c/net.py" in found.members
    assert len(found.members) < 20 and found.crowds


@pytest.mark.parametrize("rules", ["plain", "workspace"])
def test_empty_folders_are_members_and_those_that_are_left_out_are_not(tmp_path: Path, rules: str) -> None:
    for folder in ("a/b/c", "d", "e/f", "env/lib", "g/.git", "skip/x"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "e" / "f" / "file").touch()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / ".studioml_ignore").write_text("skip\n")
    os.symlink("nowhere", tmp_path / "link")
    found = scan(tmp_path, rules, frozenset())
    folders = [path for path, seen in found.members.items() if seen.size < 0 and seen.text is None]
    assert sorted(folders) == ["a/b/c", "d", "g"]
