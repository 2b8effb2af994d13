"""What options name as secret is captured nowhere: not by the run that names it, not by later ones, not as a copy."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from studio.cli.main import VERBS, command
from studio.errors import ConfigError, StoreError
from studio.run.redact import redact_source
from studio.serve.access import new_token
from studio.stores import open_store
from studio.tracking.artifacts import Artifacts
from studio.tracking.named_secrets import FILE_OPTIONS, VALUE_OPTIONS, named_secrets, remember_file, remember_value
from tests.run.test_secrets import unpacked
from tests.run.test_snapshot import git
from tests.studio_process import opened, record, studio

TOKEN = "Canary-token-5d41402a"
KEY = "Canary-key-that-no-rule-knows-7d793037"


def everything(home: Path) -> bytes:
    return b"".join(unpacked(p.read_bytes()) for p in (home / ".studioml").rglob("*") if p.is_file())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "deep").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.py").write_text("print(1)\n")
    (folder / "old").write_text("committed\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    (folder / "tok").write_text(TOKEN + "\n")
    (folder / "deep" / "server.key.txt").write_text(KEY)
    (folder / "old").write_text(TOKEN)  # a committed file that became the same token
    return folder


def test_no_run_stores_what_options_named_now_or_before(project: Path, home: Path) -> None:
    words = ["--token-file", "tok", f"--tls-key={project}/deep/server.key.txt", "--capture-once", "deep:deep"]
    server = studio("run", *words[3:], "studio::serve_main", *words[:3], cwd=project)  # ends at once: no certificate
    assert server.returncode == 3 and b"tok (named as a secret by --token-file)" in server.stderr, server.stderr
    (project / "a copy.txt").write_text(f"  {TOKEN}\r\n")
    os.link(project / "tok", project / "deep" / "same")
    (project / "tok").rename(project / "moved")
    done = studio("run", "--capture", "deep:deep", "a.py", cwd=project)
    assert done.returncode == 0 and b"holds the secret of --token-file" in done.stderr, done.stderr
    refused = studio("run", "--capture-once", "deep/server.key.txt:k", "a.py", cwd=project)
    assert refused.returncode == 3 and b"is never captured: named as a secret by --tls-key" in refused.stderr
    found = record()
    assert found.git is not None and found.git.patch is None
    kept = everything(home)
    assert TOKEN.encode() not in kept and KEY.encode() not in kept
    files = [f.path for f in opened().tracking.artifacts.manifest(str(found.artifacts["workspace"].manifest)).files]
    assert "a.py" in files and not {"tok", "moved", "old", "a copy.txt", "deep/same"} & set(files)


def test_files_that_variables_name_are_not_captured(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text("import os\nprint(open(os.environ['DB_PASSWORD_FILE']).read())\n")
    (tmp_path / "pw").write_text(TOKEN)
    (tmp_path / "gcp").write_text(KEY)
    (tmp_path / "data.csv").write_text("kept")
    (tmp_path / "studio.yaml").write_text("env: {SSL_KEYFILE: gcp, INPUT_FILE: data.csv}\n")
    done = studio("run", "--env", f"DB_PASSWORD_FILE={tmp_path}/pw", "a.py", cwd=tmp_path)
    assert done.returncode == 0 and TOKEN.encode() in done.stdout
    assert b"pw (named as a secret by the variable DB_PASSWORD_FILE)" in done.stderr, done.stderr
    artifacts = opened().tracking.artifacts
    files = [f.path for f in artifacts.manifest(str(record().artifacts["workspace"].manifest)).files]
    assert files == ["a.py", "data.csv", "studio.yaml"]
    kept = everything(home)
    assert TOKEN.encode() not in kept and KEY.encode() not in kept


@pytest.mark.parametrize("rules", ["plain", "workspace"])
def test_a_capture_leaves_out_files_and_copies_that_it_took_before(tmp_path: Path, rules: str) -> None:
    folder, home = tmp_path / "folder", tmp_path / "home"
    folder.mkdir()
    for name in ("named", "hard", "copy", "other"):
        (folder / name).write_text(TOKEN + ("x" if name == "other" else ""))
    os.link(folder / "named", folder / "hard link")
    (tmp_path / "link").symlink_to(folder / "named")
    later = 10_000_000_000  # no file counts as just changed: what was read before is known
    artifacts = Artifacts(open_store(str(tmp_path / "store")), home / "cache", clock=lambda: time.time_ns() + later)

    def captured() -> list[str]:
        done = artifacts.capture(folder, rules=rules)
        return [file.path for file in artifacts.manifest(done.manifest).files]

    assert len(captured()) == 5
    remember_file(home, "--token-file", tmp_path / "link")
    assert captured() == ["other"] and captured() == ["other"]
    (folder / "named").unlink()
    (folder / "named").write_text("another token, made in its place")
    assert captured() == ["other"]
    remember_value(home, "--token", TOKEN + "x")
    remember_value(home, "--token", "short")
    (folder / "short").write_text("short")
    assert captured() == ["short"]
    with pytest.raises(ConfigError, match="never captured: holds the secret of --token"):
        artifacts.capture(folder / "other")
    lines = (home / "secrets.jsonl").read_text()
    remember_file(home, "--token-file", folder / "named")
    remember_file(home, "--token-file", folder / "named")
    assert (home / "secrets.jsonl").read_text().count("--token-file") == lines.count("--token-file") + 1
    assert TOKEN not in lines and os.stat(home / "secrets.jsonl").st_mode & 0o777 == 0o600


def test_a_list_that_is_cut_short_keeps_the_rest_and_one_that_cannot_be_read_stops_captures(tmp_path: Path) -> None:
    (tmp_path / "secrets.jsonl").write_text('["--token-file", "/somewhere/a", "", "", 0]\n["--token-fi')
    remember_file(tmp_path, "--tls-key", tmp_path / ".." / "later")
    assert list(named_secrets(tmp_path).paths.values()) == ["--token-file", "--tls-key"]
    (tmp_path / "secrets.jsonl").unlink()
    (tmp_path / "secrets.jsonl").mkdir()
    with pytest.raises(StoreError, match=r"secrets\.jsonl"):
        named_secrets(tmp_path)


def test_a_token_that_studio_made_is_masked_wherever_it_is_written_down() -> None:
    token = new_token()
    kept, said = redact_source("notes.md", f"curl -H 'X: {token}' # mine\n".encode())
    assert token.encode() not in kept and b"# mine" in kept and "a token of studio" in said


def every_option() -> Iterator[click.Option]:
    with click.Context(command) as ctx:
        waiting = [command.get_command(ctx, verb) for verb in VERBS]
    from studio.serve_main import command as server

    waiting.append(server)
    for one in waiting:
        waiting.extend(one.commands.values() if isinstance(one, click.Group) else ())
        yield from (p for p in (one.params if one is not None else ()) if isinstance(p, click.Option))


def test_every_option_that_names_a_secret_is_known() -> None:
    found = {o.opts[0] for o in every_option() if not o.is_flag and re.search("token|key|pass|secret|cred", o.opts[0])}
    assert found == {*FILE_OPTIONS, *VALUE_OPTIONS}
