"""The work that every tracker is given: one adapter says how, this file says what and for how long.

Only the standard library; runs in the peer's own environment, in the folder that it is to write to.

    with_<peer>.py empty | single | ten | many | steady | newest | fill COUNT | search | curve | read | nothing
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

MARK = struct.Struct("<qd")  # step, the moment at which logging it returned
PACE = 100  # points a second of `steady`
BATCH = 1000  # steps in a call of `many`
CURVE = 100_000
TEN = {f"metric{n}": 0.5 for n in range(10)}
SHOWN = 50


class Peer(Protocol):
    """A tracker, driven as its own documentation does it. Constructing it imports it."""

    def run(self, body: Callable[[], None]) -> None:
        """Starts a run, calls `body`, ends the run: all is stored when this returns."""

    def one(self, step: int) -> None:
        """Logs one value at a step."""

    def ten(self, step: int) -> None:
        """Logs `TEN` at a step."""

    def many(self, steps: range) -> None:
        """Logs many steps of one name in one call; missing where the peer has no such call."""

    def newest(self) -> int:
        """The greatest step of `one` that can be read back from the only run there is."""

    def fill(self, runs: Iterable[tuple[str, dict[str, Any], dict[str, float]]]) -> None:
        """Makes runs: name, parameters, last values of metrics. Missing where there is no search."""

    def open(self) -> None:
        """Opens the store for `search` and `read`, nothing read yet."""

    def search(self) -> list[str]:
        """Names of the 50 runs with opt = adam and the greatest val_acc above 0.9, best first."""

    def curve(self, values: list[float]) -> None:
        """Makes one run with one curve of these values."""

    def read(self) -> tuple[int, float]:
        """All points of that curve as numbers: how many, and their sum."""


def experiments(count: int, limit_s: float, made: list[str]) -> Iterable[tuple[str, dict[str, Any], dict[str, float]]]:
    """The same experiments for everyone; ends early when the time is over."""
    until = time.monotonic() + limit_s
    for i in range(count):
        if time.monotonic() > until:
            return
        metrics = {"val_acc": i * 7919 % 10007 / 10007, **{f"m{n}": (i * n % 101) / 101 for n in range(4)}}
        made.append(f"run-{i:05d}")
        yield made[-1], {"opt": ("adam", "sgd")[i % 2], "lr": 0.001 * (i % 10 + 1), "layers": i % 5}, metrics


def timed_points(peer: Peer, work: Callable[[int], None], seconds: float, points: int) -> dict[str, float]:
    """Points a second while calling, and until all is stored."""
    calls = 0
    spent_s = ended = 0.0

    def body() -> None:
        nonlocal calls, spent_s, ended
        work(0)  # whatever is made at the first point only
        calls = 1
        began = time.perf_counter()
        until = began + seconds
        while time.perf_counter() < until:
            for step in range(calls, calls + 20):
                work(step)
            calls += 20
        ended = time.perf_counter()
        spent_s = ended - began

    peer.run(body)
    stored_s = spent_s + time.perf_counter() - ended
    done = points * (calls - 1)
    return {"calls": done / spent_s, "stored": done / stored_s}


def steady(peer: Peer, seconds: float) -> None:
    """`PACE` points a second; the file `marks` says when each was logged. To be killed, or to be traced."""

    def body() -> None:
        marks = os.open("marks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        peer.one(0)
        os.write(marks, MARK.pack(0, time.time()))
        with contextlib.suppress(OSError):
            os.rmdir("mark-of-the-begin")  # visible to strace
        print("ready", flush=True)
        began, step = time.monotonic(), 1
        while (now := time.monotonic()) < began + seconds:
            if now < began + step / PACE:
                time.sleep(began + step / PACE - now)
            peer.one(step)
            os.write(marks, MARK.pack(step, time.time()))
            step += 1
        with contextlib.suppress(OSError):
            os.rmdir("mark-of-the-end")

    peer.run(body)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def answer(peer: Peer, asked: argparse.Namespace) -> object:
    """Does one verb; what it returns is printed."""
    verb = asked.verb
    if verb == "empty":
        peer.run(lambda: None)
    elif verb == "single":
        return timed_points(peer, peer.one, asked.seconds, 1)
    elif verb == "ten":
        return timed_points(peer, peer.ten, asked.seconds, len(TEN))
    elif verb == "many":
        many = peer.many
        return timed_points(peer, lambda i: many(range(i * BATCH, (i + 1) * BATCH)), asked.seconds, BATCH)
    elif verb == "steady":
        steady(peer, asked.seconds)
    elif verb == "newest":
        return peer.newest()
    elif verb == "fill":
        made: list[str] = []
        peer.fill(experiments(asked.count, asked.seconds, made))
        return len(made)
    elif verb == "search":
        peer.open()
        found = peer.search()
        first_s = time.time() - asked.began
        return {"first": first_s, "again": [timed(peer.search)[0] for _ in range(3)], "found": found}
    elif verb == "curve":
        peer.curve([float(i % 997) for i in range(CURVE)])
    elif verb == "read":
        peer.open()
        read = peer.read()
        first_s = time.time() - asked.began
        again_s, _ = timed(lambda: (peer.open(), peer.read()))
        right = read == (CURVE, sum(float(i % 997) for i in range(CURVE)))
        return {"first": first_s, "again": [again_s], "right": right}
    return None


def main(peer: Callable[[], Peer]) -> None:
    """The command line of an adapter; the last line of its output is the result as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb")
    parser.add_argument("count", nargs="?", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--began", type=float, default=0.0, help="when the process was started, seconds since 1970")
    asked = parser.parse_args()
    if asked.verb == "nothing":
        return
    result = answer(peer(), asked)
    if asked.verb != "empty":
        print("\n" + json.dumps(result), flush=True)
