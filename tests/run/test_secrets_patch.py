"""Secrets in uncommitted changes and in the workspace: not kept, said, and the patch can still be applied."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.run.test_snapshot import git
from tests.studio_process import opened, record, studio

GITHUB = "ghp_" + "aB3dE6gH" * 4 + "1234"
GITHUB_2 = "ghp_" + "zY8xW7vU" * 4 + "5678"
KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEA\n" * 4
    + "-----END RSA PRIVATE KEY-----\n"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with one commit."""
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.py").write_text("import os\n\n\ndef f():\n    return 1\n\n\nprint(f())\n")
    (folder / "held.py").write_text(f"TOKEN = '{GITHUB_2}'\nx = 1\n")
    (folder / "plain.txt").write_text("one\ntwo\nthree\n")
    (folder / "server.pem").write_text("committed long ago\n")
    (folder / "kind").write_text("a file that becomes a link\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def ran(tree: Path, **env: str) -> tuple[bytes, str]:
    """The patch that a run kept, and what the user was told."""
    done = studio("run", "a.py", cwd=tree, env=env)
    assert done.returncode == 0, done.stderr
    found = record().git
    assert found is not None and found.patch is not None
    return opened().tracking.artifacts.read_blob(found.patch), done.stderr.decode()


def applied(tree: Path, patch: bytes) -> Path:
    """A clean clone with the patch applied."""
    clone = tree.parent / "clone"
    subprocess.run(["git", "clone", "-q", str(tree), str(clone)], check=True)
    (tree.parent / "p").write_bytes(patch)
    git(clone, "apply", "--index", str(tree.parent / "p"))
    return clone


def everything(home: Path) -> bytes:
    return b"".join(p.read_bytes() for p in (home / ".studioml").rglob("*") if p.is_file())


def test_a_token_in_an_added_line_is_masked_and_the_patch_applies(tree: Path, home: Path) -> None:
    (tree / "a.py").write_text(f"import os\n\nTOKEN = '{GITHUB}'\n\ndef f():\n    return 2\n\n\nprint(f())\n")
    (tree / "new.yaml").write_text("db:\n  password: hunter2-canary\n  url: postgres://ada:canary77pw@example.org/db\n")
    (tree / "kind").unlink()
    (tree / "kind").symlink_to("plain.txt")
    (tree / "plain.txt").rename(tree / "ünd ein 'name.txt")
    patch, said = ran(tree)
    clone = applied(tree, patch)
    assert (clone / "a.py").read_text() == (tree / "a.py").read_text().replace(GITHUB, "***")
    assert (clone / "new.yaml").read_text() == "db:\n  password: ***\n  url: postgres://***@example.org/db\n"
    assert (clone / "kind").is_symlink() and (clone / "ünd ein 'name.txt").read_text() == "one\ntwo\nthree\n"
    assert "a.py (a GitHub token in line 3, kept as ***)" in said
    assert "left out of the git patch" not in said  # it would name the same files
    assert GITHUB not in said
    for canary in (GITHUB, "hunter2-canary", "canary77pw"):
        assert canary.encode() not in everything(home)
    again = studio("run", record().key, cwd=tree)
    assert again.stdout == b"2\n", "the code runs again"


def test_flow_settings_and_names_of_secret_names_are_kept_nowhere(tree: Path, home: Path) -> None:
    canaries = [f"s3kr1tZZ-{n}-value" for n in range(4)]
    (tree / "a.py").write_text(f"licence = '{canaries[0]}'\nprint(1)\n")
    (tree / "studio.yaml").write_text("secret_names: [licence, '*_pin']\n")
    (tree / "my.yaml").write_text(f"env: {{MODE: fast, API_KEY: {canaries[1]}}}\nLICENCE: {canaries[2]}\n")
    (tree / "only").write_text(canaries[3])
    done = studio("run", "--env", f"MY_TOKEN={canaries[3]}", "a.py", cwd=tree)
    assert done.returncode == 0, done.stderr
    found, ref = record().git, record().artifacts["workspace"]
    assert found is not None and found.patch is not None and ref.manifest is not None
    read = opened().tracking.artifacts
    assert read.read(ref.manifest, "my.yaml") == b"env: {MODE: fast, API_KEY: ***}\nLICENCE: ***\n"
    assert read.manifest(ref.manifest).entry("only") is None
    patch = read.read_blob(found.patch)
    assert b"+licence = '***'" in patch and b"+env: {MODE: fast, API_KEY: ***}" in patch
    assert not [canary for canary in canaries if canary.encode() in patch + everything(home)]


def test_changes_around_a_committed_secret_are_left_out_and_the_rest_applies(tree: Path) -> None:
    (tree / "held.py").write_text("TOKEN = None\nx = 2\n")
    (tree / "server.pem").write_text("changed\n")
    (tree / "notes.txt").write_text(KEY)
    (tree / "image.bin").write_bytes(b"\0\1\2" + GITHUB.encode() + b"\0")
    (tree / "plain.txt").write_text("one\n2\nthree\n")
    (tree / "known.txt").write_text("the value is known-Canary here\n")
    patch, said = ran(tree, MY_TOKEN="known-Canary")
    for canary in (GITHUB_2, "changed", "MIIEvQ", GITHUB, "known-Canary"):
        assert canary.encode() not in patch
    clone = applied(tree, patch)
    assert (clone / "plain.txt").read_text() == "one\n2\nthree\n"
    assert (clone / "held.py").read_text() == f"TOKEN = '{GITHUB_2}'\nx = 1\n"
    assert (clone / "known.txt").read_text() == "the value is *** here\n"
    assert "held.py (what it changes, or what stands around, has a secret in it)" in said
    assert "server.pem (looks like a secret)" in said
    assert "notes.txt (holds a private key)" in said
    assert "image.bin (holds a token)" in said


def test_secret_files_are_left_out_wherever_they_are(tree: Path, home: Path) -> None:
    for name in (
        ".env",
        ".npmrc",
        "deep/.aws/credentials",
        "deep/id_ed25519",
        "client_secret_1.json",
        ".git-credentials",
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("planted-canary\n")
    (tree / "ok.txt").write_text("kept\n")
    patch, _ = ran(tree)
    assert b"+kept" in patch and b"canary" not in patch
    assert b"planted-canary" not in everything(home)
    assert (applied(tree, patch) / "ok.txt").exists()


def test_ordinary_code_is_kept_as_it_is(tree: Path) -> None:
    (tree / "a.py").write_text(
        "tokenizer = str('bert-base-uncased-v2')\n"
        "pad_token = '[PAD]'\n"
        "digest = 'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'\n"
        "password_file = '/etc/passwords2024/file'\n"
        "key = lambda item: item[0]\n"
        "url = 'https://example.org/a@v1.2.3/b?x=1'\n"
        "name = 'sk-learn-pipeline-with-many-words'\n"
        f"fake = '{GITHUB}'  # pragma: allowlist secret\n"
        "print(1)\n"
    )
    patch, said = ran(tree)
    assert (applied(tree, patch) / "a.py").read_text() == (tree / "a.py").read_text()
    assert "a.py: " not in said
    ref = record().artifacts["workspace"]
    assert ref.manifest is not None
    assert opened().tracking.artifacts.read(ref.manifest, "a.py") == (tree / "a.py").read_bytes()


def test_a_second_capture_says_the_same_and_a_file_that_was_mended_is_whole_again(tree: Path) -> None:
    (tree / "a.py").write_text(f"token = '{GITHUB}'\nprint(1)\n")
    for _ in range(3):
        told = ran(tree)[1]
        assert told.count("a.py, held.py (a GitHub token in line 1, kept as ***)") == 1, told
    (tree / "a.py").write_text("token = None\nprint(1)\n")
    assert "a.py" not in ran(tree)[1]
    ref = record().artifacts["workspace"]
    assert ref.manifest is not None
    assert opened().tracking.artifacts.read(ref.manifest, "a.py") == b"token = None\nprint(1)\n"
