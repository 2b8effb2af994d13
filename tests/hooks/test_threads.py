"""The first call of a process comes from sixteen threads at once: nothing is lost, of any public call."""

from __future__ import annotations

import json

import pytest

CALLS = """
import base64, threading, wave
import studio
from studio import fs_tracker
from studio.torch import Reporter

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
with open("one.png", "wb") as file:
    file.write(base64.b64decode(PNG))
with wave.open("one.wav", "wb") as sound:
    sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000), sound.writeframes(b"\\0" * 64)
together, failed, keys = threading.Barrier(16), [], set()


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
    assert counts["all"] == 320
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


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_nothing_is_lost_in_a_thousand_runs(bench, tmp_path):
    for number in range(1000):
        folder = tmp_path / str(number)
        folder.mkdir()
        _check(type(bench)(folder))
