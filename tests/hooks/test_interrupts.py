"""Ctrl-C, alarms and warnings while a hook works: the script sees what it would see without studio."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import joblib
import pytest

SLOW = """
    import os, signal, sys, time
    import numpy as np
    from sklearn.linear_model import Ridge

    class Slow(Ridge):
        def __getstate__(self):  # the hook pickles it
            if not getattr(Slow, "done", False):
                Slow.done = True
                act()
                until = time.monotonic() + LONG
                while time.monotonic() < until:
                    time.sleep(0.01)
                print("saved", flush=True)
            return super().__getstate__()
"""


@pytest.mark.parametrize(("long", "out"), [("0.1", "saved\n"), ("60", "")])
def test_ctrl_c_inside_a_hook_is_the_scripts(bench, long, out):
    """A short save ends; a long one is interrupted and done again at the end."""
    bench.needs("sklearn")
    ran = bench.run(
        SLOW.replace("LONG", long)
        + """
    act = lambda: os.kill(os.getpid(), signal.SIGINT)
    Slow(alpha=3).fit(np.eye(3), np.ones(3))
    print("not reached")
    """
    )
    assert (ran.code, ran.out) == (-signal.SIGINT, out)
    lines = ran.err.splitlines()
    assert [line for line in lines if "File" in line] == [f'  File "{bench.script}", line 18, in <module>'], ran.err
    assert lines[-1] == "KeyboardInterrupt" and lines[2].strip() == "Slow(alpha=3).fit(np.eye(3), np.ones(3))"
    assert joblib.load(ran.modeldir / ran.chosen["file"]).alpha == 3
    assert ran.params["sklearn.alpha"] == 3 and ran.of_type("warning") == []


def test_the_scripts_own_except_clause_gets_it_once(bench):
    bench.needs("sklearn")
    ran = bench.run(
        SLOW.replace("LONG", "0.1")
        + """
    import traceback
    act = lambda: os.kill(os.getpid(), signal.SIGINT)
    for number in range(3):
        try:
            Slow(alpha=number + 1).fit(np.eye(3), np.ones(3))
            print("fitted", number)
        except KeyboardInterrupt as exc:
            print("caught", [frame.name for frame in traceback.extract_tb(exc.__traceback__)])
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """
    )
    shown = ["<module>"] if sys.version_info >= (3, 11) else ["<module>", "fit"]
    assert ran.out.splitlines()[:2] == ["saved", f"caught {shown}"]
    assert ran.out.splitlines()[2:] == ["fitted 1", "fitted 2", "True"] and (ran.code, ran.err) == (0, "")
    assert {ran.params[f"{name}.alpha"] for name in ("sklearn", "sklearn2", "sklearn3")} == {1, 2, 3}


def test_an_alarm_inside_a_hook_raises_in_the_script(bench):
    """A hook swallows its own exceptions, but not those of the script's handlers, which run at once."""
    bench.needs("sklearn")
    ran = bench.run(
        SLOW.replace("LONG", "0.1")
        + """
    def late(number, frame):
        print("handler", frame.f_code.co_filename == __file__ or frame.f_code.co_name)
        raise TimeoutError("too late")
    signal.signal(signal.SIGALRM, late)
    act = lambda: signal.raise_signal(signal.SIGALRM)
    try:
        Slow().fit(np.eye(3), np.ones(3))
    except TimeoutError as exc:
        print(exc)
    print(signal.getsignal(signal.SIGALRM) is late)
    """
    )
    assert (ran.code, ran.out, ran.err) == (0, "handler True\nsaved\ntoo late\nTrue\n", "")
    assert ran.of_type("warning") == []


WARNINGS = """
import argparse, sys, threading, traceback, warnings
sys.path.insert(0, "own")
from absl import flags

class Parser(argparse.ArgumentParser):
    def parse_known_args(self, *args, **kwargs):
        warnings.warn("seen from the caller of parse_args", stacklevel=3)
        return super().parse_known_args(*args, **kwargs)

for _ in range(3):
    Parser().parse_args([])
Parser().parse_args([])

import joblib, numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge

class Mine(BaseEstimator):
    def fit(self, X, y=None):
        warnings.warn("seen from the caller of fit", stacklevel=2)
        return self

class Told:
    def __reduce__(self):
        warnings.warn("seen in the caller of dump", stacklevel=7)
        return int, ()

X = np.arange(12.0).reshape(6, 2)
for _ in range(2):
    Mine().fit(X)
    LogisticRegression(max_iter=1).fit(X, [0, 1, 0, 1, 0, 1])
    joblib.dump(Told(), "told.joblib")
Mine().fit(X)
thread = threading.Thread(target=lambda: Ridge().fit(X, [1.0]))
thread.start()
thread.join()

def wrong():
    try:
        Ridge().fit(X, [1.0])
    except ValueError as exc:
        if sys.version_info >= (3, 11):
            traceback.print_exc()
        raise RuntimeError("of the script") from exc

wrong()
"""


def test_warnings_and_tracebacks_show_the_same_lines(bench):
    bench.needs("sklearn")
    (bench.folder / "own" / "absl").mkdir(parents=True)
    (bench.folder / "own" / "absl" / "__init__.py").touch()
    warns = "import warnings\nwarnings.warn('seen from the import', stacklevel=2)\n"
    flags = "class FlagValues:\n    def __call__(self): pass\n"
    (bench.folder / "own" / "absl" / "flags.py").write_text(warns + flags)
    ran = bench.run(WARNINGS)
    bare = subprocess.run(
        [sys.executable, str(bench.script)], cwd=bench.folder, capture_output=True, text=True,
        env=bench.env(PYTHONPATH=None, STUDIOML_SPOOL=None),
    )  # fmt: skip
    assert bare.stderr.count("seen") >= 6 and bare.stderr.count("Traceback") >= 3
    thread = ("Exception in thread", "threading.py")
    kept = [
        [line for line in err.splitlines() if not any(word in line for word in thread)]
        for err in (ran.err, bare.stderr)
    ]
    assert kept[0] == kept[1] and "_studio" not in ran.err, ran.err
    assert (ran.code, ran.out) == (bare.returncode, bare.stdout)
    assert [json.dumps(event) for event in ran.of_type("warning")] == []
