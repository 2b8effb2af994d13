"""Sixty records with a bit of everything, some of it missing: what queries are asked about."""

from __future__ import annotations

import math
import random
import time
from typing import Any

from studio.experiment import ArtifactRef, Command, Exit, Experiment, Git, Host, Metric, Summary, Times, to_json
from studio.tracking.index import Index

NOW = time.time()
TEXTS = ["adam", "sgd", "Adam", "", "v2.1", "v2.10", 'it\'s "q" \\', "ünï", "%", "a_b", "0.5", "true"]
NUMBERS = [0.0, 1.0, -1.0, 0.5, 2.0, 1e-3, 1e300, -7.25, 3.0]


def _some(chance: random.Random, values: list[Any]) -> Any:
    return chance.choice([*values, None])


def made(count: int = 60) -> list[Experiment]:
    chance = random.Random(3)
    found = []
    for i in range(count):
        metrics = {
            name: Summary(
                *(chance.choice([*NUMBERS, math.nan, math.inf]) for _ in range(3)),
                chance.randrange(5),
                3,
                _some(chance, NUMBERS),
            )
            for name in ("acc", "train/loss", "a.b", "max")
            if chance.random() < 0.7
        }
        params: dict[str, Any] = {}
        for name in ("lr", "opt", "a b", "x.y", "n"):
            value = _some(chance, [*NUMBERS, *TEXTS, True, False, 3, 10**30, [1, 2]])
            if value is not None:
                params[name] = value
        added = NOW - chance.choice([10.0, 3600.0, 90000.0, 864000.0])
        found.append(
            Experiment(
                key=f"k{i:02d}-{chance.randrange(100):02d}",
                command=Command("script", chance.choice(["train.py", "a b.py"]), (chance.choice(TEXTS), "--lr")),
                project=chance.choice(["digits", "v2.1", "Ünï"]), owner=chance.choice(["ada", "bob", ""]),
                status=chance.choice(["finished", "failed", "waiting"]),
                packages=tuple(chance.sample(["keras==3.1", "numpy==2.4", "six==1"], 2)),
                git=_some(chance, [Git(None, "9f3c", "main", dirty=chance.random() < 0.5)]),
                host=_some(chance, [Host("laptop", cores=8, memory=2**34), Host("", cores=2)]),
                params=params, tags=tuple(chance.sample(["v2.1", "v2.10", "base", "Adam"], chance.randrange(4))),
                notes=chance.choice(TEXTS), metric=_some(chance, [Metric("acc", "max")]), summary=metrics,
                artifacts={
                    n: ArtifactRef(files=i, bytes=i << 20)
                    for n in chance.sample(["modeldir", "tb"], chance.randrange(3))
                },
                times=Times(added, _some(chance, [added + 1]), _some(chance, [added + 60, added + 4000])),
                exit=_some(chance, [Exit(0, None, "finished"), Exit(None, 9, "killed")]),
            )
        )  # fmt: skip
    return found


ALL = {one.key: to_json(one) for one in made()}


def keys(index: Index, query: str) -> list[str]:
    return [one.key for one in index.search(query, sort="key", limit=None)]
