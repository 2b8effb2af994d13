"""Every block of the documentation does what the page says that it does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import Block, Command, blocks, commands
from tests.docs.session import Failed, Session
from tests.docs.transcript import begins, lines, matches

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LEFT_OUT = [(page, block) for page in PAGES for block in blocks(page) if block.not_run]
WAIT_S = 120.0


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name)
def test_page(page: Path, tmp_path: Path, home: Path) -> None:
    for tool in ("curl", "git"):
        if shutil.which(tool) is None and any(re.search(rf"\b{tool} ", block.body) for block in blocks(page)):
            pytest.skip(f"{name(page)} uses {tool}, which is not installed")
    folder = tmp_path / "page"
    folder.mkdir()
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    with Session(folder, home) as session:
        for block in blocks(page):
            failure = execute(block, folder, session)
            if failure:
                pytest.fail(f"{name(page)}, block at line {block.line}: {failure}", pytrace=False)


def execute(block: Block, folder: Path, session: Session) -> str | None:
    """Writes or runs one block; what went wrong, if anything did."""
    if block.not_run:
        return None
    if block.file:
        target = folder / block.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.body, encoding="utf-8")
        return None
    try:
        if block.language == "console":
            for command in commands(block.body):
                session.run(command, wait_s=WAIT_S)
        else:
            program = sys.executable if block.language == "python" else "bash -eu"
            script = folder / f".block-{block.line}"
            script.write_text(session.here(block.body), encoding="utf-8")
            session.run(Command(f"{program} {script}", (), 0), wait_s=WAIT_S)
    except (Failed, ValueError) as error:
        return str(error)
    return None


@pytest.mark.parametrize(("page", "block"), LEFT_OUT, ids=[f"{name(page)}:{block.line}" for page, block in LEFT_OUT])
def test_block_that_cannot_run_here(page: Path, block: Block) -> None:
    assert len((block.not_run or "").split()) > 2, "a block that is left out says why, in words"
    pytest.skip(f"{name(page)}:{block.line}: {block.not_run}")


def test_every_console_block_can_be_read() -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.language == "console" and not block.file:
                assert commands(block.body), f"{name(page)}:{block.line}"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md"], ids=name
)
def test_links_of_pages_outside_docs_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


# ---------------------------------------------------------------- the reader of pages itself


def page_of(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def test_blocks_are_found_with_their_names_and_markers(tmp_path: Path) -> None:
    text = (
        "# T\n\n```python\n# train.py\nprint(1)\n```\n\n<!-- not run: needs a cloud -->\n```sh\nfalse\n```\n"
        "- in a list:\n\n  ```console\n  $ echo a \\\n      b\n  a b\n  $ false  # exit 1\n  ```\n\n```json\n{}\n```\n"
    )
    first, second, third = blocks(page_of(tmp_path, text))
    assert (first.file, first.not_run, first.line) == ("train.py", None, 3)
    assert (second.file, second.not_run) == (None, "needs a cloud")
    assert commands(third.body) == [Command("echo a \\\n    b", ("a b",), 0), Command("false", (), 1)]


def test_a_here_document_belongs_to_its_command() -> None:
    (command,) = commands("$ cat <<EOF\na\nEOF\na\n")
    assert command == Command("cat <<EOF\na\nEOF", ("a",), 0)


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a...c", "abc", True),
        ("...\nc", "a\nb\nc", True),
        ("...\nc", "a\nb", False),
        ("a\n...", "a", True),
        ("a", "a\nb", False),
        ("finished in 3.2s", "finished in 11s", True),
        ("key 20260101-000000-abcdef", "key 20271231-235959-zzzzzz", True),
        ("loss: 0.1234", "loss: 12.8888", True),
        ('{"a": 2}', '{"a": 3}', False),
        ("[2.0, 3.0]", "[2.0, 4.0]", False),
    ],
)
def test_what_may_differ(expected: str, got: str, same: bool) -> None:
    assert matches(lines(expected), lines(got)) is same


def test_a_server_is_waited_for_by_its_first_lines() -> None:
    assert begins(["ready ..."], ["ready at last", "more"])
    assert not begins(["ready ..."], ["wait"])


def test_a_session_keeps_its_folder_and_ends_what_it_started(tmp_path: Path, home: Path) -> None:
    (tmp_path / "sub").mkdir()
    with Session(tmp_path, home) as session:
        session.run(Command("cd sub", (), 0), wait_s=30)
        session.run(Command("basename $PWD", ("sub",), 0), wait_s=30)
        session.run(Command("sh -c 'echo up; exec sleep 1000' &", ("up",), 0), wait_s=30)
        (sleeper,) = session._started()
        session.run(Command("exit_with() { return 4; }; exit_with", (), 4), wait_s=30)
        with pytest.raises(Failed, match="ended with 1"):
            session.run(Command("false", (), 0), wait_s=30)
        with pytest.raises(Failed, match="should print"):
            session.run(Command("echo a", ("b",), 0), wait_s=30)
    assert not sleeper.is_running()


def test_the_built_pages_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for attribute in ('src="http', 'src="//', 'rel="stylesheet" href="http', "@import url(http"):
            assert attribute not in text, f"{page.name} loads something from elsewhere"
