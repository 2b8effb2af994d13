"""The variables of `--env` and of the setting `env`: in the record, in comparisons, and in a run that runs again."""

from __future__ import annotations

from pathlib import Path

from tests.studio_process import record, studio

KEY = "sk-canary-of-the-variables"
SCRIPT = """import os, studio
studio.log({'x': len(os.environ.get('DEPTH', ''))})
print(os.environ.get('API_KEY'))
key = os.environ.get('API_KEY')
studio.params(db={'password': key}, dsn='mysql://a:' + str(key) + '@h/d', many=[{'secret': key}], api_key=7, n=1)
"""


def test_variables_are_recorded_and_a_rerun_has_them_or_says_which_it_lacks(tmp_path: Path, home: Path) -> None:
    (tmp_path / "t.py").write_text(SCRIPT)
    (tmp_path / "studio.yaml").write_text("env: {FROM_FILE: here}\n")
    given = ("--env", "DEPTH=3", "--env", f"API_KEY={KEY}", "--env", "URL=http://u:hidden-word@h/")
    given += ("--param", f"typed_password={KEY}", "--param", "lr=0.1")
    assert studio("run", "-e", "a", *given, "t.py", cwd=tmp_path).stdout.decode() == f"{KEY}\n"
    env = record("a").env
    assert env is not None
    assert [(name, one.value) for name, one in env.items()] == [
        ("API_KEY", "***"), ("DEPTH", "3"), ("FROM_FILE", "here"), ("URL", "http://***@h/"),
    ]  # fmt: skip
    assert env["API_KEY"].digest and env["API_KEY"].salt == env["URL"].salt and env["DEPTH"].digest is None
    one = record("a")
    assert {n: v for n, v in one.params.items() if "***" in str(v)} == {
        "db.password": "***", "dsn": "***", "many": [{"secret": "***"}], "api_key": "***",
        "typed_password": "***",
    }  # fmt: skip
    assert sorted(one.digests) == ["api_key", "db.password", "dsn", "many", "typed_password"]
    assert {salt for _, salt in one.digests.values()} == {env["API_KEY"].salt}
    assert one.digests["db.password"] == one.digests["typed_password"] != one.digests["dsn"]
    again = studio("runs", "rerun", "a", "-e", "b", cwd=tmp_path, env={"API_KEY": KEY, "URL": "http://other"})
    assert again.stdout.decode() == f"{KEY}\n"
    assert b"b ran with other variables than a: URL http://other (was http://***@h/" in again.stderr
    assert record("b").digests == one.digests and b"not compared" not in again.stderr
    lacking = studio("runs", "rerun", "a", "-e", "c", cwd=tmp_path).stderr
    assert b"studio: it runs without API_KEY, URL: the value was not kept with a." in lacking
    assert b"c ran with other variables than a: without API_KEY, without URL" in lacking and b"agree" not in lacking
    compared = studio("runs", "compare", "a", "c", cwd=tmp_path).stdout.decode()
    assert "*** (secret, digest " in compared and "db.password" in compared and "typed_password" not in compared
    repeated = record("b").env
    assert repeated is not None and sorted(repeated) == sorted(env) and repeated["API_KEY"] == env["API_KEY"]
    salt = (home / ".studioml" / "salt").read_bytes()
    kept = [path for path in home.rglob("*") if path.is_file() and path.name != "salt"]
    assert not [path for path in kept for data in [path.read_bytes()] if KEY.encode() in data or salt in data]


def test_a_run_that_goes_on_says_which_variables_it_lacks_and_records_those_it_has(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("import os\nprint(os.environ.get('API_KEY'), os.environ.get('MODE'))")
    given = ("--no-workspace", "--env", f"API_KEY={KEY}", "--env", "MODE=fast")
    assert studio("run", "-e", "a", *given, "t.py", cwd=tmp_path).stdout.decode() == f"{KEY} fast\n"
    first = record("a").env
    there = studio("run", "--resume", "a", cwd=tmp_path, env={"API_KEY": KEY})
    assert there.stdout.decode() == f"{KEY} fast\n" and b"without" not in there.stderr
    assert record("a").env == first
    lacks = studio("run", "--resume", "a", "t.py", cwd=tmp_path)
    assert lacks.stdout == b"None fast\n"
    said, _, _ = lacks.stderr.partition(b"submitted")
    assert b"studio: it runs without API_KEY: the value was not kept with a. To give one:" in said, said
    assert b"studio run --env API_KEY=VALUE --resume a" in said
    assert list(record("a").env or {}) == ["MODE"]
