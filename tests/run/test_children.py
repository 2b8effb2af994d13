"""`studio.start()` within a run: each is a child of it, whole, whatever becomes of the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from studio.errors import ModelLoadError
from studio.experiment import Experiment
from studio.fleet.serving import plan_serving
from studio.run.plan import Plan
from tests.studio_process import environment, opened, studio

CHILD = """
import multiprocessing, os, subprocess, sys, threading
import studio


def child(how, i):
    with studio.start(tags=[how]) as run:
        studio.params(how=how, i=i)
        for step in range(50):
            studio.log({"loss": i + step / 100}, step=step)
        studio.log_text("said", f"{how} {i}")
        (studio.artifact("modeldir") / "x.txt").write_text(f"{how} {i}")
        if i == 1:
            raise ValueError("of the second")


def tried(how, i):
    try:
        child(how, i)
    except ValueError:
        pass


def at_once(kind, how):
    workers = [kind(target=tried, args=(how, i)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    studio.params(outer=1)
    studio.log({"outer": 1.0}, step=0)
    for i in range(3):
        tried("loop", i)
    at_once(threading.Thread, "thread")
    for how in ("fork", "spawn"):
        at_once(multiprocessing.get_context(how).Process, how)
    code = "import studio\\nwith studio.start(tags=['subprocess']): studio.params(how='subprocess', i=0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    studio.params(after=2)
    studio.log({"outer": 2.0}, step=1)
    print(os.environ["STUDIOML_EXPERIMENT"])
"""


def experiments() -> dict[str, Experiment]:
    return {e.key: e for e in opened().experiments("", limit=None)}


@pytest.mark.timeout(300)
def test_each_start_is_a_child_of_the_run_and_whole(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(CHILD)
    done = studio("run", "-e", "k", "--project", "p", "a.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"k\n"), done.stderr
    found = experiments()
    parent = found.pop("k")
    assert (parent.params, parent.summary["outer"].count, parent.status) == ({"outer": 1, "after": 2}, 2, "finished")
    wanted = {(how, i) for how in ("loop", "thread", "fork", "spawn") for i in range(3)} | {("subprocess", 0)}
    assert {(e.params["how"], e.params["i"]) for e in found.values()} == wanted and len(found) == len(wanted)
    for experiment in found.values():
        how, i = experiment.params["how"], experiment.params["i"]
        assert (experiment.parent, experiment.project, experiment.tags) == ("k", "p", (how,))
        assert experiment.status == ("failed" if i == 1 else "finished"), experiment
        if how != "subprocess":
            assert (experiment.summary["loss"].count, experiment.summary["loss"].last) == (50, i + 0.49)
            assert opened().media(experiment.key).names() == ["said"]
            assert experiment.artifacts["modeldir"].files == 1
    listed = studio("runs", "list", "all", "--tree", "--columns", "key,status", cwd=tmp_path).stdout.decode()
    assert [line.startswith("  ") for line in listed.splitlines()] == [False, False] + [True] * len(found)
    shown = json.loads(studio("runs", "show", "k", "--json", cwd=tmp_path).stdout)
    assert sorted(shown["children"]) == sorted(found)
    first = min(found)
    assert f"{first}  " in studio("runs", "show", "k", cwd=tmp_path).stdout.decode().partition("children:")[2]


NESTED = """
import os, threading, studio

def helper():
    studio.params(of_the_helper=1)

with studio.start(key="outer") as outer:
    with studio.start(key="inner"):
        studio.params(level=2)
        thread = threading.Thread(target=helper)
        thread.start()
        thread.join()
        outer.params(said_from_within=1)
        print(os.environ["STUDIOML_EXPERIMENT"], studio.artifact("modeldir").parent.name)
    studio.params(level=1)
    print(os.environ["STUDIOML_EXPERIMENT"], studio.artifact("modeldir").parent.name)
with studio.start(key="next"):
    pass
print(os.environ.get("STUDIOML_EXPERIMENT"))
outer.params(too_late=1)
"""


def test_starts_within_one_another_without_the_runner(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NESTED], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "inner inner\nouter outer\nNone\n", done.stderr
    found = experiments()
    assert {key: e.parent for key, e in found.items()} == {"outer": None, "inner": "outer", "next": None}
    assert found["outer"].params == {"level": 1, "said_from_within": 1}
    assert found["inner"].params == {"level": 2, "of_the_helper": 1}


LEFT = """
import os, signal, studio
with studio.start(key="one"):
    studio.log({"x": 1.0})
    with studio.start(key="two"):
        studio.log({"y": 2.0})
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_children_end_with_a_run_that_is_killed_and_go_with_it_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(LEFT)
    assert studio("run", "-e", "k", "a.py", cwd=tmp_path).returncode == 128 + 9
    found = experiments()
    ends = {key: (e.status, e.exit.signal if e.exit else None, e.parent) for key, e in found.items()}
    assert ends == {"k": ("failed", 9, None), "one": ("failed", 9, "k"), "two": ("failed", 9, "one")}
    said = studio("runs", "delete", "two", "--yes", cwd=tmp_path).stderr.decode()
    assert "stay" not in said
    said = studio("runs", "delete", "k", "--yes", cwd=tmp_path).stderr.decode()
    assert "its only child stays: studio runs delete one" in said
    listed = studio("runs", "list", "all", "--tree", "--short", cwd=tmp_path).stdout.decode()
    assert listed == "one\n"  # its parent is gone
    assert studio("runs", "delete", "one", "--children", "--yes", cwd=tmp_path).returncode == 0
    assert experiments() == {}


def test_many_threads_start_runs_at_once(tmp_path: Path) -> None:
    """A run that begins is never taken for one that died by another one, which looks for such when it begins."""
    (tmp_path / "a.py").write_text(
        "import threading, studio\nbarrier = threading.Barrier(16)\n"
        "def work(i):\n    barrier.wait()\n    with studio.start() as run:\n        run.params(i=i)\n"
        "threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
    )
    for _ in range(3):
        done = subprocess.run([sys.executable, "a.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    found = opened().experiments(limit=None)
    assert sorted(e.params["i"] for e in found) == sorted([*range(16)] * 3)
    assert {e.status for e in found} == {"finished"}


CHILDREN_WITH_MODELS = """
import studio

def keep(key, name, text):
    with studio.start(key=key) as run:
        (run.artifact("modeldir") / name).write_text(text)

BOOSTER, LOST = '{"learner":{}}', '{"lost": [{"name": "Net", "trained": 1.0, "why": "no room"}]}'
with studio.start(key="many"):
    for i in range(5):
        keep(f"many{i}", "model.json", BOOSTER)
    with studio.start(key="between"):
        keep("below", "model.json", BOOSTER)
with studio.start(key="lost"):
    keep("lost1", ".studio.json", LOST)
with studio.start(key="weights"):
    keep("weights1", "net.pt", "weights")
with studio.start(key="itself") as run:
    (run.artifact("modeldir") / "model.json").write_text(BOOSTER)
    keep("itself1", "model.json", BOOSTER)
with studio.start(key="plain"):
    keep("plain1", "notes.md", "no model")
"""
NO_IDENTITY = {
    "many": "kept no model itself; its children did: studio serve below, many4, many3, many2, many1, and more",
    "between": "kept no model itself; its child did: studio serve below",
    "lost": "and its children kept no model: lost1 trained Net, which could not be kept: no room",
    "weights": "and its children kept no model: net.pt of weights1 holds weights only, or a pickle of PyTorch's",
}


def test_a_run_whose_children_trained_is_not_served_as_the_identity(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(CHILDREN_WITH_MODELS)
    done = studio("run", "-e", "top", "a.py", cwd=tmp_path)
    assert b"; next: studio serve itself1\n" in done.stderr, done.stderr
    for key, said in NO_IDENTITY.items():
        with pytest.raises(ModelLoadError) as caught:
            planned(key)
        assert caught.value.message.startswith(f"experiment {key} {said}"), caught.value.message
        assert (caught.value.exit_code, caught.value.hint.partition(" ")[0]) == (8, "--identity")
    with pytest.raises(ModelLoadError, match="its children did"):
        planned("many", "--model", "model")
    assert [planned(key).parent for key in ("itself", "plain", "below")] == ["itself", "plain", "below"]
    assert planned("many", "--identity").parent == "many"


def planned(key: str, *options: str) -> Plan:
    store = opened()
    store.recover()
    store.tracking.index.sync()
    return plan_serving(key, options, tracking=store.tracking, config=store.config)
