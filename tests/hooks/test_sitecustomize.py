"""The injected sitecustomize hides itself, runs the one that was there before, and knows which process logs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

INJECT = Path(__file__).parents[2] / "studio" / "run" / "inject"
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
OTHER_PYTHONS = sorted(PYENV.glob("versions/[23].*.*/bin/python"))


def test_the_folder_is_not_on_sys_path_and_the_modules_are_found(bench):
    ran = bench.run(
        """
        import sys
        assert not any("inject" in entry for entry in sys.path), sys.path
        import _studio_track
        _studio_track.log({"a": 1.0})
        assert "numpy" not in sys.modules and "json" not in sys.modules
        """
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.curves.names() == ["a"]


def test_the_users_own_sitecustomize_runs_and_is_the_one_that_is_seen(bench, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import builtins; builtins.was_here = True; NAME = 'the users'")
    ran = bench.run(
        "import sys; print(was_here, sys.modules['sitecustomize'].NAME, '_studio_hooks' in sys.modules)",
        PYTHONPATH=f"{INJECT}{os.pathsep}{own}",
    )
    assert (ran.out, ran.err) == ("True the users True\n", "")


def test_a_failing_sitecustomize_of_the_users_says_what_it_says_without_studio(bench, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("1 / 0")
    with_studio = bench.run("import _studio_hooks; print('ran')", PYTHONPATH=f"{INJECT}{os.pathsep}{own}")
    without = bench.run("print('ran')", PYTHONPATH=str(own))
    assert (with_studio.out, with_studio.err) == (without.out, without.err)
    assert "ZeroDivisionError" in without.err


def test_without_a_spool_nothing_is_loaded(bench):
    ran = bench.run(
        "import sys; print([m for m in sys.modules if m.startswith('_studio')], 'inject' in ' '.join(sys.path))",
        STUDIOML_SPOOL=None,
    )
    assert ran.out == "[] False\n"


def test_no_autolog_leaves_no_trace(bench):
    ran = bench.run(
        """
        import os, sys
        print(len(sys.meta_path), sys.excepthook is sys.__excepthook__, "PYTHONPATH" in os.environ)
        print(any("_studio" in type(f).__module__ for f in sys.meta_path))
        """,
        STUDIOML_AUTOLOG="0",
    )
    bare = bench.run("import sys; print(len(sys.meta_path))", PYTHONPATH=None)
    assert ran.out == f"{bare.out.strip()} True False\nFalse\n"


def test_a_raising_hook_is_reported_once_and_the_script_goes_on(bench, tmp_path):
    (tmp_path / "keras.py").write_text("fine = 1")
    ran = bench.run("import keras, importlib; importlib.reload(keras); print(keras.fine, keras.__spec__.loader.name)")
    assert (ran.code, ran.out, ran.err) == (0, "1 keras\n", "")
    warnings = [event["text"].partition(":")[0] for event in ran.of_type("warning")]
    assert warnings == ["the keras hook stepped aside", "the saves hook stepped aside"]


def test_an_uncaught_exception_is_noted_and_shown_as_ever(bench):
    source = """
        def f(n):
            raise MemoryError("no room")
        try:
            {}["x"]
        except KeyError:
            f(3)
        """
    with_studio = bench.run(source)
    without = bench.run(source, PYTHONPATH=None)
    assert with_studio.code == without.code == 1
    assert with_studio.err == without.err and "no room" in without.err
    (event,) = with_studio.of_type("exception")
    assert event.pop("frame").endswith("in f")
    assert event == {"type": "exception", "name": "MemoryError", "text": "no room", "memory": True}


CHILDREN = """
    import os, subprocess, sys
    code = "import _studio_track as t, _studio_hooks as h; t.log({'child': 2.0}); print(h.working())"
    for rank in [{}, {"RANK": "0"}, {"RANK": "1"}]:
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **rank}, check=True)
    import _studio_hooks
    print("main", _studio_hooks.working())
    pid = os.fork()
    if not pid:
        print("fork", _studio_hooks.working(), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    """


def test_children_log_with_writers_of_their_own_and_only_rank_0_has_hooks(bench):
    ran = bench.run(CHILDREN)
    assert ran.err == ""
    assert ran.out.split() == ["False", "True", "False", "main", "True", "fork", "False"]
    assert len(ran.streams) == 3


@pytest.mark.parametrize(
    ("words", "watched"),
    [
        (["-c", "import _studio_hooks as h; print(h.working())", "torchrun"], True),
        (["-X", "utf8", "-m", "papermill"], False),
        (["-u", "bin/torchrun"], False),
        (["-W", "ignore", "torchrun.py", "torchrun"], True),
    ],
)
def test_a_launcher_leaves_its_place_to_the_script(bench, tmp_path, words, watched):
    code = "import _studio_hooks as h; print(h.working())"
    (tmp_path / "bin").mkdir()
    for name in ("papermill.py", "bin/torchrun", "torchrun.py"):
        (tmp_path / name).write_text(code)
    shown = subprocess.run(
        [sys.executable, *words], env=bench.env(PYTHONPATH=f"{INJECT}{os.pathsep}{tmp_path}"), cwd=tmp_path,
        capture_output=True, text=True,
    )  # fmt: skip
    assert (shown.stdout, shown.stderr) == (f"{watched}\n", "")


def test_a_run_inside_a_run_has_its_own_first_process(bench, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    ran = bench.run(
        f"""
        import os, subprocess, sys
        env = dict(os.environ, STUDIOML_SPOOL={str(inner)!r})
        subprocess.run([sys.executable, "-c", "import _studio_hooks; print(_studio_hooks.working())"], env=env)
        """
    )
    assert ran.out == "True\n"


@pytest.mark.parametrize("python", OTHER_PYTHONS or [sys.executable], ids=lambda path: Path(path).parts[-3])
def test_any_interpreter_starts_and_one_that_is_too_old_says_so(bench, python):
    """3.7 and later log; older ones, Python 2 included, run as ever, and their run hears that it lacks something."""
    version = subprocess.run(
        [str(python), "-c", "import sys; print('%d %d' % sys.version_info[:2])"], capture_output=True, text=True, env={}
    )
    major, minor = map(int, version.stdout.split())
    logs = (
        "import _studio_track as t; t.log({'a': 1.0}, step=3); t.params(password='x', db='db://a:b@c ghp_' + 'x' * 36)"
    )
    ran = bench.run(
        f"{logs}; print(1)" if (major, minor) >= (3, 7) else "print(1)", python=str(python), STUDIOML_DESCRIBE="1"
    )
    assert (ran.code, ran.out, ran.err) == (0, "1\n", "")
    (told,) = ran.of_type("python")
    assert told["version"].startswith(f"{major}.{minor}.") and Path(told["executable"]).exists() and told["folders"]
    if (major, minor) >= (3, 7):
        assert (ran.params, len(ran.streams)) == ({"password": "***", "db": "db://***@c ***"}, 1)
        assert ran.of_type("warning") == []
    else:
        (warning,) = ran.of_type("warning")
        assert warning["text"].startswith(f"Python {major}.{minor} is older than 3.7: output, code and files")


@pytest.mark.parametrize("path", sorted(INJECT.glob("*.py")), ids=lambda path: path.name)
def test_the_hooks_are_written_for_the_oldest_python(path):
    """What 3.7 cannot parse, or, where any Python has to start, Python 2."""
    tree = ast.parse(path.read_text(), feature_version=(3, 7))
    nodes = list(ast.walk(tree))
    assert not [n.lineno for n in nodes if isinstance(n, ast.Yield) and isinstance(n.value, ast.Tuple)
                and any(isinstance(part, ast.Starred) for part in n.value.elts)]  # fmt: skip
    if path.name in ("sitecustomize.py", "_studio_old.py"):
        new = (ast.JoinedStr, ast.AnnAssign, ast.FunctionDef, ast.Starred, ast.NamedExpr, ast.Nonlocal)
        calls = [n for n in nodes if isinstance(n, ast.Call)]
        starred = {id(arg) for call in calls for arg in call.args}  # f(*args), which Python 2 has
        assert not [n.lineno for n in nodes if isinstance(n, new) and id(n) not in starred]


OLD = f"""
import os, runpy, sys
sys.version_info = (3, 6, 1)
{{claim}}
runpy.run_path(os.path.join({str(INJECT)!r}, "_studio_old.py"))
print("json" in sys.modules)
"""


@pytest.mark.parametrize("helper", [False, True])
def test_what_an_old_interpreter_tells(bench, helper):
    """Told by this one, whatever others there are; a helper of a script that has hooks tells nothing."""
    claim = "os.environ['STUDIOML_MAIN'] = '1 ' + os.environ['STUDIOML_SPOOL']" if helper else ""
    ran = bench.run(OLD.format(claim=claim), PYTHONPATH='/with "quotes" \\ und ä😀', STUDIOML_DESCRIBE="1")
    assert (ran.code, ran.out, ran.err) == (0, "False\n", "")
    assert [event["type"] for event in ran.events] == ([] if helper else ["warning", "python"])
    if not helper:
        assert ran.of_type("python")[0]["folders"][1].startswith('/with "quotes" \\ und ä')
