"""The first call of a process comes from sixteen threads at once: nothing is lost, of any public call, nor by forks."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.studio_process import environment

CALLS = """
import base64, io, threading, wave
import studio
from studio import fs_tracker
from studio.torch import Reporter

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
with open("one.png", "wb") as file:
    file.write(base64.b64decode(PNG))
with wave.open("one.wav", "wb") as sound:
    sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000), sound.writeframes(b"\\0" * 64)
together, failed, keys = threading.Barrier(16), [], set()
SHARED = Reporter(log_interval=1, logdir="scalars", smooth_interval=3)


def work(i):
    together.wait()
    for call in range(len(CALLS)):
        CALLS[(call + i) % len(CALLS)](studio, i)  # each thread begins with another one


def log(studio, i):
    for step in range(20):
        studio.log({f"own{i}": float(step)}, step=step)
        studio.log({"all": float(i)})


def reporter(studio, i):
    Reporter(log_interval=1000).record(1, **{f"reported{i}": 1.0})
    for value in range(10):
        SHARED.record(10 * i + value, shared=1.0, **{f"of{i}": 2.0})
        SHARED.report(io.StringIO())


def key(studio, i):
    keys.add(fs_tracker.get_experiment_key())


CALLS = [
    log,
    lambda studio, i: studio.log_many(f"many{i}", None, [1.0, 2.0, 3.0]),
    lambda studio, i: studio.params({"nested": {f"n{i}": i}}, **{f"p{i}": i}),
    lambda studio, i: studio.tags(f"t{i}"),
    lambda studio, i: studio.note(f"note {i}"),
    lambda studio, i: studio.log_text("text", f"text {i}"),
    lambda studio, i: studio.log_table(f"table{i}", [{"a": i}]),
    lambda studio, i: studio.log_image(f"image{i}", "one.png"),
    lambda studio, i: studio.log_audio(f"audio{i}", "one.wav"),
    lambda studio, i: studio.log_histogram(f"histogram{i}", [1.0, 2.0, i]),
    lambda studio, i: (studio.artifact("modeldir") / f"{i}.md").write_text("a"),
    reporter,
    key,
]


def guarded(i):
    try:
        work(i)
    except BaseException as exc:
        failed.append(repr(exc))


threads = [threading.Thread(target=guarded, args=(i,)) for i in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed and len(keys) == 1, (failed, keys)
"""


def _check(bench) -> None:
    bench.modeldir.mkdir(exist_ok=True)
    ran = bench.run(CALLS, STUDIOML_EXPERIMENT=None)
    assert (ran.code, ran.err) == (0, ""), ran.err
    counts = {name: curve.count for name, curve in ran.curves.summary().items()}
    for i in range(16):
        assert (counts[f"own{i}"], counts[f"many{i}"], counts[f"reported{i}"]) == (20, 3, 1), counts
    assert (counts["all"], counts["shared"]) == (320, 160)
    (scalars,) = (bench.folder / "scalars").iterdir()
    names = re.findall(rb"\n.(shared|of\d+)\x15", scalars.read_bytes())
    assert (names.count(b"shared"), len(set(names)), len(names)) == (160, 17, 320)
    params = {f"nested.n{i}": i for i in range(16)} | {f"p{i}": i for i in range(16)}
    assert {name: value for name, value in ran.params.items() if not name.startswith("seed")} == params
    assert {tag for event in ran.of_type("tags") for tag in event["values"]} == {f"t{i}" for i in range(16)}
    assert {event["text"] for event in ran.of_type("note")} == {f"note {i}" for i in range(16)}
    assert ran.of_type("warning") == []
    media = [json.loads(line) for line in (ran.spool / "media" / "index").read_text().splitlines()]
    assert len(media) == 16 * 5 and sorted(m["step"] for m in media if m["name"] == "text") == list(range(16))
    assert len(list(ran.modeldir.iterdir())) == 16


def test_the_first_calls_of_many_threads_are_all_kept(bench):
    _check(bench)


FORKS = """
# Here, since a child that is forked in the midst of the script's own imports hangs without studio too.
import multiprocessing.pool, multiprocessing.popen_fork, multiprocessing.queues, multiprocessing.synchronize
import multiprocessing, os, tempfile, threading
import studio

together, failed = threading.Barrier(13), []
CALLS = [
    lambda i: studio.log({f"own{i}": 1.0}),
    lambda i: studio.log_many(f"a long name that may be a secret {i}", None, [1.0, 2.0]),
    lambda i: studio.params({f"p{i}": i}),
    lambda i: studio.tags(f"t{i}"),
    lambda i: studio.note(f"note {i}"),
    lambda i: studio.log_text(f"text {i}", f"text {i}"),
    lambda i: studio.log_table(f"table{i}", [{"a": i}]),
    lambda i: studio.log_histogram(f"histogram{i}", [1.0, 2.0, i]),
    lambda i: studio.artifact("modeldir"),
]


def calls(i):
    for call in range(len(CALLS)):
        CALLS[(call + i) % len(CALLS)](i)


def forks(i):
    for n in range(4):
        child = os.fork()
        if not child:
            try:
                calls(100 * i + n)
            except BaseException:
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            failed.append((i, n))


def pools(i):
    for n in range(2):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(calls, [100 * i + 2 * n, 100 * i + 2 * n + 1], chunksize=1)


def guarded(work, i):
    together.wait()
    try:
        work(i)
    except BaseException as exc:
        failed.append(repr(exc))


works = [(calls, i) for i in range(10)] + [(forks, 1), (forks, 2), (pools, 3)]
threads = [threading.Thread(target=guarded, args=work) for work in works]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
"""


@pytest.mark.parametrize("number", range(8))
def test_forks_in_the_midst_of_first_calls_neither_hang_nor_lose(bench, number):
    bench.modeldir.mkdir()
    ran = bench.run(FORKS, PYTHONWARNINGS="ignore")  # Python 3.12 and later warn of forks while threads run
    assert (ran.code, ran.err) == (0, ""), ran.err
    everyone = {*range(10), *(100 * i + n for i in (1, 2, 3) for n in range(4))}
    counts = {name: curve.count for name, curve in ran.curves.summary().items()}
    assert {name: counts.get(f"own{name}") for name in everyone} == dict.fromkeys(everyone, 1)
    assert {counts.get(f"a long name that may be a secret {i}") for i in everyone} == {2}
    assert {tag for event in ran.of_type("tags") for tag in event["values"]} == {f"t{i}" for i in everyone}
    assert {name for name in ran.params if name.startswith("p")} == {f"p{i}" for i in everyone}
    assert len((ran.spool / "media" / "index").read_text().splitlines()) == 3 * len(everyone)
    assert ran.of_type("warning") == []
    assert 10 <= len(ran.streams) <= 13  # eight children that forked, one for each worker that got a task, the parent


WAITS = """
import os, sys, threading
import studio

here, waits = threading.get_ident(), threading.Event()
os.register_at_fork(before=lambda: waits.set())  # runs before studio's, which waits for the lock


def fork():
    child = os.fork()
    if not child:
        import logging, concurrent.futures.thread
        logging.getLogger("a").info("no lock is held")
        os._exit(0)
    codes.append(os.waitpid(child, 0)[1])


codes = []
forks = threading.Thread(target=fork)
with studio.loading():
    forks.start()
    waits.wait()
    assert not {"logging", "concurrent.futures.thread"} & set(sys.modules), "the test needs them unloaded"
    import logging, concurrent.futures.thread
forks.join()
fork()
assert codes == [0, 0], codes
logging.warning("said")
with concurrent.futures.ThreadPoolExecutor(1) as pool:
    pool.submit(print, "done").result()
"""


def test_a_fork_that_waits_for_an_import_prints_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WAITS], capture_output=True, text=True, timeout=120, env=environment()
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "WARNING:root:said\n")


STARTS = """
import os, sys, threading
import studio

late = []


class Watch:
    def find_spec(self, name, path=None, target=None):
        if not studio.loading()._is_owned() and not name.startswith("_studio") and threading.current_thread() is main:
            late.append(name)


main = threading.main_thread()
sys.meta_path.insert(0, Watch())
with studio.start() as run:
    assert late == [], late
holds, goes = threading.Event(), threading.Event()


def hold():
    from studio.tracking.handle import Handle
    from studio.tracking import index
    handle = index._shared[0]._handle
    with handle.lock:
        holds.set()
        goes.wait(0.2)


threading.Thread(target=hold).start()
holds.wait()
child = os.fork()
if not child:
    with studio.start() as run:
        run.log({"a": 1.0})
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(len(studio.experiments()))
"""


def test_a_fork_while_a_run_starts_copies_no_lock(tmp_path):
    (tmp_path / "a.py").write_text("a")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STARTS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env=environment(),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_nothing_is_lost_in_a_thousand_runs(bench, tmp_path):
    for number in range(1000):
        folder = tmp_path / str(number)
        folder.mkdir()
        _check(type(bench)(folder))
