"""`log`, `log_many`, `params`, `tags`, `note` in a script: what arrives, what is refused, how processes end."""

from __future__ import annotations

import json
import math
import signal
import stat
import sys
import time

import numpy as np
import pytest

from studio.run.inject import _studio_track


def test_values_of_any_kind_and_steps_in_any_order(bench):
    ran = bench.run(
        """
        import _studio_track as t, numpy as np
        from fractions import Fraction
        t.log({"f": 1.5, "i": 3, "b": True, "nan": float("nan"), "inf": float("-inf")}, step=7)
        t.log({"f": np.float32(2.5), "i": np.int8(4), "zero-d": np.array(6.0), "frac": Fraction(1, 4)}, step=2)
        t.log({"f": 3.5}, step=np.int64(9))
        t.log({"f": 4.5})
        t.log({"f": 9.5}, step=2)
        t.log({"big": 10 ** 400}, step=-5)
        t.log({"next": 1.0}); t.log({"next": 2.0}); t.log({"next": 3.0}, step=10); t.log({"next": 4})
        """
    )
    assert (ran.code, ran.err) == (0, "")
    curves = ran.curves
    steps, times, values = curves.curve("f")
    assert (steps.tolist(), values.tolist()) == ([2, 7, 9, 10], [9.5, 1.5, 3.5, 4.5])
    assert abs(times[0] - time.time()) < 60
    assert curves.curve("next")[0].tolist() == [0, 1, 10, 11]
    short = curves.summary()
    assert math.isnan(short["nan"].last) and short["inf"].last == -math.inf and short["big"].last == math.inf
    assert (short["b"].last, short["zero-d"].last, short["frac"].last, short["big"].step) == (1.0, 6.0, 0.25, -5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("t.log({'a': '3'})", "the value of metric 'a' must be one number, not str"),
        ("t.log({'a': None})", "the value of metric 'a' must be one number, not NoneType"),
        ("t.log({'a': [1]})", "the value of metric 'a' must be one number, not list"),
        ("t.log({'a': 1j})", "the value of metric 'a' must be one number, not complex"),
        (
            "t.log({'ok': 1.0, 'a': np.zeros(3)})",
            "the value of metric 'a' must be one number, not ndarray of shape (3,)",
        ),
        ("t.log({1: 2.0})", "the name of a metric is a str, not int"),
        ("t.log({'a': 1.0}, step=1.5)", "a step is a whole number, not 1.5"),
        ("t.log({'a': 1.0}, step=2 ** 63)", f"step {2**63} of metric 'a' does not fit 64 bits"),
        ("t.log(3.0)", "studio.log takes a mapping of names to numbers, not float"),
        ("t.log_many('a', [1, 2], [1.0])", "metric 'a': 2 steps but 1 value"),
        ("t.log_many('a', None, ['x'])", "the value of metric 'a' must be one number, not str"),
    ],
)
def test_a_wrong_value_is_a_type_error_at_the_call_and_nothing_is_recorded(tmp_path, call, message):
    _studio_track.attach(str(tmp_path))
    try:
        with pytest.raises(TypeError) as caught:
            eval(call, {"t": _studio_track, "np": np})
        assert str(caught.value) == message
    finally:
        _studio_track.detach()
    assert not (tmp_path / "metrics").exists()


def test_many_points_at_once(tmp_path):
    from studio.tracking.metrics import Curves

    _studio_track.attach(str(tmp_path))
    _studio_track.log_many("lists", [3, 1, 2], [0.3, 0.1, 0.2])
    _studio_track.log_many("arrays", np.arange(200_000), np.arange(200_000) / 2)
    _studio_track.log_many("counted", None, [1, 2])
    _studio_track.log_many("counted", None, np.float32([3, 4]))
    _studio_track.detach()
    curves = Curves.from_folder(tmp_path / "metrics")
    assert [part.tolist() for part in curves.curve("lists")[::2]] == [[1, 2, 3], [0.1, 0.2, 0.3]]
    assert curves.curve("arrays")[2].sum() == np.arange(200_000).sum() / 2
    assert curves.curve("counted")[0].tolist() == [0, 1, 2, 3]


def test_outside_a_run_all_calls_are_harmless():
    assert _studio_track.spool() is None
    _studio_track.log({"a": 1.0})
    _studio_track.log_many("a", [1], [1.0])
    _studio_track.params({"a": 1})
    _studio_track.tags("x")
    _studio_track.note("y")
    _studio_track.flush()


def test_the_package_and_the_injected_modules_are_the_same():
    import _studio_track as injected

    import studio.run.inject._studio_track as by_path

    assert injected is _studio_track is by_path


LISTS = {
    "a": (["relu", None, True], ["relu", None, True]), "b": ((64, 1.5), [64, 1.5]), "c": ([], []),
    "d": ([[1, "x"], {"password": "hunter2", "n": 1}], [[1, "x"], {"password": "***", "n": 1}]),
    "e": ([float("inf"), 2**70], [float("inf"), 2**70]), "f": ({1}, "{1}"),
    "g": (["password=hunter2hunter2"], ["password=***"]),
    "api_keys": (["abc", "def"], "***"), "long": (["x" * 3000, "y" * 3000], None), "loop": ([[...]], None),
}  # fmt: skip
LISTS["loop"][0][0][0] = LISTS["loop"][0]


def test_lists_are_kept_as_lists(tmp_path):
    _studio_track.attach(str(tmp_path))
    _studio_track.params({name: value for name, (value, _) in LISTS.items()})
    _studio_track.detach()
    (event,) = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    for name, (_, kept) in LISTS.items():
        found = event["values"][name]
        assert found == kept if kept is not None else isinstance(found, str), (name, found)


def test_parameters_are_flat_scalars_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIOML_HOME", str(tmp_path / "home"))
    _studio_track.params(api_key="abc")
    assert not (tmp_path / "home").exists(), "outside a run, nothing is written"
    _studio_track.attach(str(tmp_path))
    _studio_track.params(
        {"opt": {"name": "adam", "lr": np.float64(0.5)}, "layers": [1, 2], "n": np.int32(3)}, seed=None
    )
    _studio_track.params(api_key="abc", auth_token="def", db={"password": "ghi"}, tokenizer="bert", max_tokens=512)
    _studio_track.params(bad=float("nan"), top=np.float32("inf"), low=float("-inf"), yes=True, monkey="see")
    _studio_track.tags("a", "b")
    _studio_track.tags()
    _studio_track.tags("", " ")
    _studio_track.tags(["c", "d "], "e")
    _studio_track.note("hello\nworld")
    _studio_track.detach()
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert events[0]["values"] == {"opt.name": "adam", "opt.lr": 0.5, "layers": [1, 2], "n": 3, "seed": None}
    masked = {"api_key": "***", "auth_token": "***", "db.password": "***", "tokenizer": "bert", "max_tokens": 512}
    assert events[1]["values"] == masked
    digests = events[1]["digests"]
    assert sorted(digests) == ["api_key", "auth_token", "db.password"] and len({d for d, _ in digests.values()}) == 3
    assert repr(events[2]["values"]) == "{'bad': nan, 'top': inf, 'low': -inf, 'yes': True, 'monkey': 'see'}"
    assert events[3:] == [
        {"type": "tags", "values": ["a", "b"]},
        {"type": "tags", "values": ["c", "d", "e"]},
        {"type": "note", "text": "hello\nworld"},
    ]
    assert stat.S_IMODE((tmp_path / "events").stat().st_mode) == 0o600


ENDINGS = {
    "return": ("pass", 0),
    "exit": ("sys.exit(3)", 3),
    "raise": ("raise ValueError", 1),
    "term": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_nothing_is_lost_when_a_script_ends_at_once(bench, how):
    ending, code = ENDINGS[how]
    ran = bench.run(
        f"""
        import os, signal, sys, time, _studio_track as t
        for i in range(1000):
            t.log({{"x": i}}, step=i)
        {ending}
        """
    )
    assert ran.code == code
    assert ran.curves.summary()["x"].count == 1000
    (stream,) = ran.streams
    assert stat.S_IMODE(stream.stat().st_mode) == 0o600 and stream.name.split("-")[0].isdigit()


def test_forked_spawned_and_threaded_writers_lose_and_mix_nothing(bench):
    ran = bench.run(
        """
        import multiprocessing as mp, os, threading, _studio_track as t
        def work(name, n=2000):
            for i in range(n):
                t.log({name: i}, step=i)
        if __name__ == "__main__":
            t.log({"parent": 1.0}, step=0)
            threads = [threading.Thread(target=work, args=("thread",)) for _ in range(4)]
            counted = [threading.Thread(target=lambda: [t.log({"counted": 1}) for _ in range(1000)]) for _ in range(4)]
            [x.start() for x in threads + counted]
            children = [mp.get_context(how).Process(target=work, args=(how,)) for how in ("fork", "spawn")]
            [c.start() for c in children]
            [x.join() for x in threads + counted + children]
            print([c.exitcode for c in children])
        """,
        PYTHONWARNINGS="ignore",
    )
    assert (ran.out, ran.err) == ("[0, 0]\n", "")
    assert len(ran.streams) == 3
    for name in ("thread", "fork", "spawn"):
        steps, _, values = ran.curves.curve(name)
        assert steps.tolist() == values.astype(int).tolist() == list(range(2000)), name
    assert ran.curves.curve("counted")[0].tolist() == list(range(4000))
    assert len(ran.curves.curve("parent")[0]) == 1


def test_points_logged_while_the_interpreter_ends_still_arrive(bench):
    ran = bench.run(
        """
        import atexit
        atexit.register(lambda: t.log({"late": 2.0}))
        import _studio_track as t
        t.log({"early": 1.0})
        """
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.curves.names() == ["early", "late"]


def test_a_signal_handler_may_log_in_the_midst_of_logging(bench):
    ran = bench.run(
        """
        import signal, _studio_track as t
        def handler(number, frame):
            t.log({"signal": 1.0, "other": 2.0})
        signal.signal(signal.SIGALRM, handler)
        t.log({"first": 1.0})
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        for i in range(100_000):
            t.log({"a": float(i)}, step=i)
            t.log({"b": i, "c": -i}, step=i)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one may still be on its way to a thread
        """
    )
    assert (ran.code, ran.err) == (0, "")
    for name, sign in (("a", 1), ("b", 1), ("c", -1)):
        steps, _, values = ran.curves.curve(name)
        assert np.array_equal(steps, np.arange(100_000)) and np.array_equal(values, sign * np.arange(100_000.0))
    assert len(ran.curves.curve("signal")[0]) > 10


def test_a_signal_handler_may_log_in_the_midst_of_a_flush(bench):
    ran = bench.run(
        """
        import itertools, signal, _studio_track as t
        count = itertools.count()
        def handler(number, frame):  # which may itself be interrupted by the next signal
            t.log({"signal": 1.0}, step=next(count))
        signal.signal(signal.SIGALRM, handler)
        t.log({"x": 0.0}, step=0)
        t._writer.close()  # as at the end of the process: from here on this thread writes by itself
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.0007)
        for i in range(20_000):
            t.log({"x": float(i)}, step=i)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one may still be on its way to a thread
        t.flush()
        print(next(count))
        """
    )
    assert (ran.code, ran.err) == (0, "")
    assert len(ran.curves.curve("x")[0]) == 20_000
    assert ran.curves.curve("signal")[0].tolist() == list(range(int(ran.out))) and int(ran.out) > 10


def test_a_script_with_its_own_sigterm_handler_keeps_it(bench):
    ran = bench.run(
        """
        import os, signal, sys, _studio_track as t
        signal.signal(signal.SIGTERM, lambda *a: sys.exit(5))
        t.log({"a": 1.0})
        os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    assert ran.code == 5 and ran.curves.names() == ["a"]


def test_a_hundred_thousand_names(tmp_path):
    from studio.tracking.metrics import Curves, Summariser

    _studio_track.attach(str(tmp_path))
    names = [f"layer/{i}" for i in range(100_000)]
    for name in names + names[-1000:]:
        _studio_track.log({name: 1.0})
    _studio_track.detach()
    summary = Summariser(tmp_path / "metrics").read()
    assert len(summary) == 100_000 and summary["layer/99999"].step == 1
    assert len(Curves.from_folder(tmp_path / "metrics").names()) == 100_000


def test_a_disk_that_hangs_neither_stops_the_script_nor_fills_its_memory(tmp_path):
    import os

    import _studio_metrics

    said: list[str] = []
    writer = _studio_metrics.Writer(str(tmp_path / "metrics"), said.append)
    read_end, writer._fd = os.pipe()  # nobody reads: a write blocks for ever
    writer._identity = _studio_metrics._identity(writer._fd)
    logged = 0
    while not writer.dropped:
        writer.log_many("x", None, [0.5] * 10_000)
        logged += 10_000
        assert logged < 20_000_000
    held = sum(len(curve.points) for curve in writer._curves.values())
    assert held <= 24 * (_studio_metrics.HELD_POINTS + 10_000)
    os.close(read_end)  # now it fails instead
    writer.close()
    assert len(said) == 2 and f"{writer.dropped} points were dropped" in said[-1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs the rlimits of Linux")
def test_a_full_disk_costs_the_oldest_points_bounds_memory_and_is_said_once(bench):
    ran = bench.run(
        """
        import resource, signal, time, _studio_track as t, _studio_metrics
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))  # the disk is full at 1 MB
        _studio_metrics.HELD_BYTES = 4 << 20
        n = 0
        end = time.monotonic() + 60
        while not t._writer or not t._writer.dropped:
            for _ in range(20):
                t.log_many("x", range(n, n + 1000), [0.5] * 1000)
                n += 1000
            time.sleep(0.01)
            assert time.monotonic() < end
        held = sum(len(data) for data, _ in t._writer._unwritten)
        assert held < 16 << 20, held
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))  # room again
        t.log({"x": 1.0}, step=n)
        print(n)
        """
    )
    assert (ran.code, ran.err) == (0, "")  # the supervisor reads the warning and says it
    assert ["File too large" in warning["text"] for warning in ran.of_type("warning")].count(True) == 1
    steps, _, values = ran.curves.curve("x")
    assert steps[-1] == int(ran.out) and values[-1] == 1.0  # the newest are there
    assert 0 < len(steps) < int(ran.out)
    assert "points were dropped" in ran.of_type("warning")[-1]["text"]
