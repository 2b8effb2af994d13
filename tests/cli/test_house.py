"""config, doctor, store, completion, help and how the command line says that something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.cli.main import VERBS
from studio.config import KNOWN, load
from studio.errors import ConfigError
from tests.studio_process import ROOT, STUDIO, environment, studio


def test_help_lists_every_verb_and_an_unknown_one_names_the_nearest(tmp_path: Path) -> None:
    done = studio("--help", cwd=tmp_path)
    for verb in VERBS:
        assert f"  {verb} ".encode() in done.stdout
        assert studio(verb, "--help", cwd=tmp_path).returncode == 0, verb
    done = studio("srve", cwd=tmp_path)
    assert done.returncode == 2 and b"did you mean 'serve'?" in done.stderr
    assert studio("--version", cwd=tmp_path).stdout.startswith(b"studio ")


def origins(*words: str, cwd: Path, env: dict[str, str] | None = None) -> dict[str, tuple[object, str]]:
    done = studio("config", "--json", *words, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return {s["name"]: (s["value"], s["origin"]) for s in json.loads(done.stdout)["settings"]}


def test_each_setting_says_where_it_comes_from(tmp_path: Path, home: Path) -> None:
    user = home / ".studioml" / "config.yaml"
    user.parent.mkdir()
    user.write_text(
        "project: from-user\nowner: from-user\nheartbeat: 5s\nexperiment_lifetime: 7\n"
        "saveWorkspaceFrequency: 2m\nqueue: local\n"
    )
    (tmp_path / "studio.yaml").write_text("project: from-project\nowner: from-project\nheartbeat: 3s\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "extra.yaml").write_text("heartbeat: $BEAT\n")
    env = {"STUDIOML_OWNER": "from-env", "BEAT": "4s"}
    found = origins("--project", "from-flag", "--config", "../extra.yaml", cwd=tmp_path / "deep", env=env)
    assert found["project"] == ("from-flag", "--project")
    assert found["owner"] == ("from-env", "STUDIOML_OWNER")
    assert found["heartbeat"] == (4.0, "../extra.yaml")
    assert found["experiment_lifetime"] == (7.0, str(user))
    assert found["save_workspace_frequency"] == (120.0, str(user))
    assert found["lost_after"] == (60.0, "default")
    assert studio("config", "owner", cwd=tmp_path).stdout == b"from-project\n"
    assert b"queue is a setting of the original" in studio("config", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("projct: x\n", "unknown setting 'projct'", "'project'"),
        ("heartbeat: soon\n", "'soon' is not a duration", "90s"),
        ("artifact_limit: 1x\n", "'1x' is not a size", "10GB"),
        ("- a\n", "is not a mapping", "YAML"),
        ("a: [\n", "cannot read", "YAML"),
        ("env: 3\n", "'3' is not a mapping of names", "{MODE: fast}"),
        ("env: [A=1]\n", "is not a mapping of names", "{MODE: fast}"),
        ("env:\n", "env: it has no value", "delete the line"),
        ("env: {A: ~}\n", "A has no value", "A: ''"),
        ("env: {A: [1, 2]}\n", "the value of A is a list", "MODE"),
        ("env: {A: {b: c}}\n", "the value of A is a mapping", "MODE"),
        ('env: {A: "\\ud800"}\n', "the variable 'A' cannot be written: surrogates not allowed", "texts"),
        ("env: {A B: c}\n", "'A B' is not the name of an environment variable", "no space"),
        ("env: {'': c}\n", "'' is not the name of an environment variable", "no space"),
        ("env: {STUDIOML_HOME: c}\n", "STUDIOML_HOME is set by studio", "another name"),
        ("env: {A: 1, A: 2}\n", "A is set twice: line 1 and line 1", "YAML"),
        ("project: a\nowner: b\nproject: c\n", "project is set twice: line 1 and line 3", "YAML"),
        (
            "experimentLifetime: 1\nexperiment_lifetime: 1\n",
            "experiment_lifetime is set twice, once with another spelling",
            "once",
        ),
        ("project:\n", "project: it has no value", "studio config project"),
        ("project: my team\n", "project 'my team' is not a valid name", "letter or digit"),
        ("project: ''\n", "project '' is not a valid name", "letter or digit"),
        ("project: [a]\n", "is not a text", ""),
        ("owner: ' '\n", "owner: it is empty", ""),
        ('owner: "a\\nb"\n', "holds a control character", ""),
        ("store: ''\n", "store: it is empty", ""),
        ("store: $NOT_SET_ANYWHERE/x\n", "$NOT_SET_ANYWHERE is not set", "$$"),
        ("verbose: loud\n", "'loud' is not a level", "debug"),
        ("heartbeat: -5s\n", "'-5s' is negative", "90s"),
        ("heartbeat: 0\n", "heartbeat: it must be more than 0", "90s"),
        ("stop_grace: 400d\n", "'400d' is too long", "at most 365d"),
        ("stop_grace: 1:30\n", "'1:30' is not a duration", "90s"),
        ("lost_after: 5s\n", "must be longer than heartbeat", "heartbeat: 10s"),
        (f"artifact_limit: {'9' * 400}\n", "more than any machine has", "10GB"),
        ("artifact_limit: -1\n", "'-1' is not a size", "10GB"),
        ("resources_needed: {cpu: 2}\n", "unknown resource 'cpu'", "cpus, gpus"),
        ("resources_needed: {cpus: 1.5}\n", "'1.5' is not a count", "whole number"),
        ("resources_needed: {ram: much}\n", "'much' is not a size", "10GB"),
        ("secret_names: {a: b}\n", "is not a list of names", "one,two"),
        ("mask_output: perhaps\n", "is neither true nor false", ""),
    ],
)
def test_a_bad_settings_file_is_never_ignored(tmp_path: Path, text: str, message: str, hint: str) -> None:
    (tmp_path / "studio.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(folder=tmp_path)
    said = caught.value.message
    assert "studio.yaml" in said and message in said and hint in caught.value.hint, (said, caught.value.hint)
    assert "\n" not in said + caught.value.hint


def test_a_bad_settings_file_ends_a_command_with_one_line_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "studio.yaml").write_text("projct: x\n")
    done = studio("runs", "list", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.decode().splitlines() == [
        f"studio: {tmp_path}/studio.yaml: unknown setting 'projct'", "  hint: did you mean 'project'?"
    ]  # fmt: skip


def _make_folder(path: Path) -> None:
    path.mkdir()


def _make_link_to_nothing(path: Path) -> None:
    path.symlink_to("gone")


def _make_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "what"),
    [(_make_folder, "a folder"), (_make_link_to_nothing, "a link to nothing"), (_make_fifo, "a pipe or a device")],
)
@pytest.mark.parametrize("where", ["project", "user", "option"])
def test_settings_that_are_no_file_are_an_error(tmp_path: Path, home: Path, make, what: str, where: str) -> None:
    path = {"project": tmp_path / "studio.yaml", "user": home / ".studioml" / "config.yaml"}.get(where, tmp_path / "x")
    path.parent.mkdir(exist_ok=True)
    make(path)
    (tmp_path / "below").mkdir()
    with pytest.raises(ConfigError, match=f"{path} is {what}, not a file of settings"):
        load(folder=tmp_path / "below", file=str(path) if where == "option" else None)


GOOD: dict[str, object] = {
    "store": "file:///somewhere/else", "project": "digits", "owner": "ada lovelace", "verbose": "debug",
    "python": "/usr/bin/python3", "env": "MODE=fast GREETING='hello world' EMPTY= EQUALS=a=b",
    "save_workspace_frequency": "2m", "heartbeat": "3s", "lost_after": "1h", "stop_grace": "0",
    "artifact_limit": "2GiB", "capture_limit": "0", "resources_needed": "cpus=2 ram=3g", "experiment_lifetime": "1d",
    "secret_names": "licence, *_pin", "mask_output": "no",
}  # fmt: skip
MEANT = {
    **GOOD, "env": {"MODE": "fast", "GREETING": "hello world", "EMPTY": "", "EQUALS": "a=b"},
    "save_workspace_frequency": 120.0, "heartbeat": 3.0, "lost_after": 3600.0, "stop_grace": 0.0,
    "artifact_limit": 2 << 30, "capture_limit": 0,
    "resources_needed": {"cpus": 2, "ram": 3 << 30}, "experiment_lifetime": 86400.0,
    "secret_names": ["licence", "*_pin"], "mask_output": False,
}  # fmt: skip


def test_every_setting_comes_from_the_environment_and_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(GOOD) == set(KNOWN), "a setting is missing here"
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert rows == list(KNOWN)
    (tmp_path / "studio.yaml").write_text("".join(f"{name}: {json.dumps(MEANT[name])}\n" for name in GOOD))
    found = load(folder=tmp_path).settings
    assert {name: found[name].value for name in KNOWN} == MEANT
    assert {s.origin for s in found.values()} == {f"{tmp_path}/studio.yaml"}
    (tmp_path / "studio.yaml").unlink()
    for name, text in GOOD.items():
        monkeypatch.setenv(f"STUDIOML_{name.upper()}", str(text))
    found = load(folder=tmp_path).settings
    assert {name: found[name].value for name in KNOWN} == MEANT
    assert {name: found[name].origin for name in KNOWN} == {name: f"STUDIOML_{name.upper()}" for name in KNOWN}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("env", "MODE", "'MODE' is not a mapping of names to values"),
        ("env", "A='x", "No closing quotation"),
        ("env", "A=1 A=2", "A is set twice"),
        ("resources_needed", "gpus=-1", "'-1' is not a count"),
        ("heartbeat", "-1", "'-1' is negative"),
        ("project", "a/b", "project 'a/b' is not a valid name"),
        ("verbose", "12x", "'12x' is not a level"),
    ],
)
def test_a_bad_variable_is_never_ignored(tmp_path: Path, monkeypatch, name: str, text: str, message: str) -> None:
    monkeypatch.setenv(f"STUDIOML_{name.upper()}", text)
    with pytest.raises(ConfigError) as caught:
        load({name: GOOD[name]}, folder=tmp_path)  # also where something else counts
    assert caught.value.message.startswith(f"STUDIOML_{name.upper()}: ") and message in caught.value.message


def test_values_of_a_file_are_what_is_written_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PART", "b")
    (tmp_path / "studio.yaml").write_text(
        "project: 1.10\nowner: 007\n"
        "env: {A: 1.10, B: yes, C: 010, D: 12:30, E: 2026-01-01, F: '', G: 'a${PART}c$$PART', H: null-ish}\n"
    )
    found = load(folder=tmp_path)
    assert (found["project"], found["owner"]) == ("1.10", "007")
    assert found["env"] == {
        "A": "1.10", "B": "yes", "C": "010", "D": "12:30", "E": "2026-01-01", "F": "", "G": "abc$PART", "H": "null-ish",
    }  # fmt: skip


def test_variables_that_are_no_settings_are_named(tmp_path: Path) -> None:
    done = studio("config", cwd=tmp_path, env={"STUDIOML_PROJCT": "x", "STUDIOML_DEBUG": ""})
    assert done.stderr.decode() == "STUDIOML_PROJCT is no setting: did you mean 'STUDIOML_PROJECT'?\n"


def test_settings_reach_the_script_and_the_record(tmp_path: Path) -> None:
    (tmp_path / "studio.yaml").write_text("project: digits\nenv: {MY_SETTING: hello}\n")
    (tmp_path / "a.py").write_text("import os; print(os.environ['MY_SETTING'])")
    assert studio("run", "-e", "k", "a.py", cwd=tmp_path).stdout == b"hello\n"
    assert json.loads(studio("runs", "show", "k", "--json", cwd=tmp_path).stdout)["project"] == "digits"


def test_doctor_names_what_is_missing_and_what_mends_it(tmp_path: Path) -> None:
    done = studio("doctor", "--json", cwd=tmp_path)
    found = {f["name"]: f for f in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0, done.stdout
    assert found["store"]["state"] == found["index"]["state"] == found["home"]["state"] == "ok"
    for finding in found.values():
        assert finding["state"] == "ok" or finding["mend"], finding
    (tmp_path / "file").write_text("")
    done = studio("doctor", "--store", f"file://{tmp_path}/file", cwd=tmp_path)
    assert done.returncode == 3 and b"broken" in done.stdout
    assert done.stderr == b"studio: broken: store, index\n"


def test_store_init_and_check(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/team"
    done = studio("store", "init", url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"export STUDIOML_STORE={url}".encode() in done.stderr
    done = studio("store", "check", url, cwd=tmp_path)
    assert done.returncode == 0 and b"FAILED" not in done.stdout
    assert all(f["ok"] for f in json.loads(studio("store", "check", url, "--json", cwd=tmp_path).stdout)["findings"])
    (tmp_path / "file").write_text("")
    done = studio("store", "check", f"file://{tmp_path}/file", "--json", cwd=tmp_path)
    assert done.returncode == 5 and [f["ok"] for f in json.loads(done.stdout)["findings"]] == [False]
    assert b"the store cannot be used: can be written and read: FAILED: store file://" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(tmp_path: Path, shell: str) -> None:
    done = studio("completion", shell, cwd=tmp_path)
    assert done.returncode == 0 and b"_STUDIO_COMPLETE" in done.stdout


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    def offered(words: str, number: int) -> list[str]:
        env = environment(_STUDIO_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(number))
        done = subprocess.run([*STUDIO], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert offered("studio ser", 1) == ["serve"]
    assert "--metric" in offered("studio run --m", 2)
    (tmp_path / "a.py").write_text("")
    assert studio("run", "-e", "some-key", "a.py", cwd=tmp_path).returncode == 0
    assert offered("studio runs show so", 3) == ["some-key"]
    assert offered("studio serve l", 2) == ["last"]
    env = environment(_STUDIO_COMPLETE="bash_complete", COMP_WORDS="studio run a", COMP_CWORD="2")
    done = subprocess.run([*STUDIO], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("file,"), "the shell completes files itself"
    assert set(offered("studio runs ", 2)) >= {"list", "show", "logs", "stop"}


def test_a_bug_shows_a_traceback_and_debug_shows_one_for_errors(tmp_path: Path) -> None:
    done = studio("runs", "show", "none", cwd=tmp_path)
    assert b"Traceback" not in done.stderr
    done = studio("runs", "show", "--debug", "none", cwd=tmp_path)
    assert done.returncode == 4 and b"Traceback" in done.stderr


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = " ".join([sys.executable, "-m", "studio", "config", "|", "head", "-1"])
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, timeout=120)
    assert done.stderr == b""


def test_the_hyphenated_spellings(tmp_path: Path) -> None:
    body = "import sys; sys.argv = ['studio-runs', 'list']; from studio.cli import spellings; spellings.runs()"
    done = subprocess.run(
        [sys.executable, "-c", body], cwd=tmp_path, env=environment(), capture_output=True, timeout=120
    )
    assert done.returncode == 0 and b"no experiments yet" in done.stderr


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print('ran')")
    (tmp_path / "file").write_text("")
    done = studio("run", "a.py", cwd=tmp_path, env={"STUDIOML_HOME": str(tmp_path / "file" / "home")})
    assert (done.returncode, done.stdout) == (5, b"")
    said = done.stderr.decode()
    assert said.startswith("studio: ") and "STUDIOML_HOME" in said and "Traceback" not in said


def test_private_files_are_private(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.py").write_text("print(1)")
    assert studio("run", "a.py", cwd=tmp_path).returncode == 0
    for base, folders, files in os.walk(home / ".studioml"):
        for name in [*folders, *files]:
            mode = os.lstat(os.path.join(base, name)).st_mode & 0o077
            assert mode == 0, f"{base}/{name} is open to others: {mode:o}"


def test_a_message_is_one_line_whatever_it_names(tmp_path: Path) -> None:
    (tmp_path / "new\nline\x1b[31m").write_bytes(bytes(3 << 20))
    (tmp_path / "a.py").write_text("")
    done = studio("run", "a.py", cwd=tmp_path, env={"STUDIOML_ARTIFACT_LIMIT": "2m"})
    said = done.stderr.decode().splitlines()
    assert done.returncode == 0 and len(said) == 3, said
    named = [line for line in said if "new\\nline\\x1b[31m" in line]
    assert len(named) == 1 and named[0].startswith("studio: left out of the workspace: "), said
