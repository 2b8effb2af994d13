"""The benchmark's command line: environments, measures in order, tables."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator

from . import measures
from .environments import ROOT, NotInstalled, environment, version
from .figures import Figures
from .peers import PEERS
from .processes import Place

OUT = ROOT / "benchmarks" / "out" / "tracking"


def places(names: list[str]) -> tuple[list[Place], dict[str, str], list[str]]:
    """Every peer that can be installed here, their versions, and a line for each that cannot."""
    found, versions, left_out = [], {}, []
    for peer in PEERS:
        if names and peer.name.lower() not in names and peer.name != "studio":
            continue
        try:
            python = environment(peer.environment, peer.packages, OUT)
        except NotInstalled as exc:
            left_out.append(f"{peer.name} is left out: {exc}")
            continue
        versions[peer.name] = version(python, peer.packages[0] if peer.packages else "studio")
        found.append(Place(peer, python, OUT / "work" / "any" / peer.name.replace(" ", "-")).fresh("any"))
    return found, versions, left_out


def tables(asked: argparse.Namespace, peers: list[Place], versions: dict[str, str]) -> Iterator[Figures]:
    """All measures, one after the other."""
    filled = measures.corpora(peers, OUT, asked.experiments, versions)
    yield Figures("", "s")  # all is made: what comes now is measured
    yield from measures.start_up(peers, asked.turns)
    yield measures.empty_run(peers, asked.turns)
    yield from measures.points(peers, min(asked.turns, 3), asked.seconds)
    yield from measures.searches(peers, min(asked.turns, 3), filled, asked.experiments)
    yield from measures.reads(peers, min(asked.turns, 3), filled)
    yield measures.kills(peers, asked.kills, random.Random(asked.seed))
    if found := measures.syncs(peers, 3):
        yield found


def main() -> None:
    """Prints a table for each kind of work."""
    parser = argparse.ArgumentParser(description="studio beside other trackers, in one run")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="logging, for each figure of points/s")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peers", default="", help="only these, separated by commas, beside studio")
    asked = parser.parse_args()
    peers, versions, left_out = places([name.strip().lower() for name in asked.peers.split(",") if name.strip()])
    began = time.monotonic()
    results = tables(asked, peers, versions)
    next(results)
    ready = time.monotonic()
    print(f"{os.cpu_count()} cores, CPython {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}; min, median, max;")
    print("× how many times better studio's median is (below 1: worse)")
    for place in peers:
        print(f"  {place.peer.name:14s} {versions[place.peer.name]:8s} {place.peer.durability}")
    print("\n".join(left_out), flush=True)
    for table in results:
        print("\n".join(table.lines()) + "\n", flush=True)
    print(f"{time.monotonic() - ready:.0f} s, after {ready - began:.0f} s of filling; load {os.getloadavg()[0]:.1f}")
    shutil.rmtree(OUT / "work", ignore_errors=True)
