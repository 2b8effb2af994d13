"""What SQL answers is what a plain evaluator answers; literals, bare values and the documented examples."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings

from studio.experiment import Command, Experiment, Times
from studio.stores.memory import MemoryStore
from studio.tracking import fields
from studio.tracking.index import Index, open_index
from studio.tracking.query import compile_query
from studio.tracking.records import Records
from tests.tracking.query.evaluator import ATOMS, CONDITIONS, Condition, Record
from tests.tracking.query.records import ALL, keys


@settings(max_examples=300, deadline=None)
@given(CONDITIONS)
def test_sql_answers_what_a_plain_evaluator_does(index: Index, condition: Condition) -> None:
    query, holds = condition
    assert keys(index, query) == [key for key, record in sorted(ALL.items()) if holds(record)]
    assert index.count(query) == sum(map(holds, ALL.values()))


@settings(max_examples=200, deadline=None)
@given(ATOMS, ATOMS, ATOMS)
def test_precedence_is_pythons(index: Index, a: Condition, b: Condition, c: Condition) -> None:
    found = keys(index, f"{a[0]} or {b[0]} and not {c[0]}")
    assert found == [k for k, r in sorted(ALL.items()) if a[1](r) or (b[1](r) and not c[1](r))]
    found = keys(index, f"not {a[0]} and {b[0]} or {c[0]}")
    assert found == [k for k, r in sorted(ALL.items()) if (not a[1](r) and b[1](r)) or c[1](r)]


DAY = 86400.0


def test_relative_and_written_times(tmp_path: Path) -> None:
    now = 1795180502.0
    store = MemoryStore(f"memory://{tmp_path.name}")
    found = open_index(store, tmp_path)
    records = Records(store, found)
    for key, added in (("day", now - DAY), ("week", now - 7 * DAY), ("new", now - 60)):
        records.create(Experiment(key=key, command=Command("exec", "x"), times=Times(added, added + 1, added + 9001)))

    def keys_at(query: str) -> list[str]:
        sql, values = compile_query(query, now=now)
        rows = found._select(f"SELECT key FROM experiments e WHERE {sql} ORDER BY key", values)
        return [row[0] for row in rows]

    assert keys_at("added > -2h") == ["new"]
    assert keys_at('added > "-2d"') == ["day", "new"]
    assert keys_at("added < now - 6d") == ["week"]
    assert keys_at("now - 2d < added") == ["day", "new"]
    written = time.strftime("%Y-%m-%d", time.localtime(now - DAY))
    assert keys_at(f"added = {written}") == ["day"] == keys_at(f'times.added = "{written}"')
    assert keys_at("added = yesterday") == ["day"] and keys_at("added >= today") == ["new"]
    assert keys_at(f"added != {written}") == ["new", "week"]
    utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now - DAY))
    assert keys_at(f'added = "{utc}Z"') == ["day"] == keys_at(f'added = "{utc}+00:00"')
    assert keys_at(f'added >= "{time.strftime("%Y-%m-%d %H:%M", time.localtime(now - DAY))}"') == ["day", "new"]
    assert keys_at("duration > 2h and duration < 2h30m1s") == ["day", "new", "week"]
    assert keys_at("2h < duration") == keys_at("duration >= 9000") == keys_at("finished - started > 149m")
    assert keys_at("duration / 2 > 1.2h") == ["day", "new", "week"]
    assert keys_at(f"added in ({written}, yesterday)") == ["day"]
    found.close()


def test_sizes_and_truth(index: Index) -> None:
    def records(holds: Callable[[Record], Any]) -> list[str]:
        return [k for k, r in sorted(ALL.items()) if holds(r)]

    assert keys(index, "host.memory >= 16g") == records(lambda r: (r["host"] or {}).get("memory") == 2**34)
    assert keys(index, "artifacts.modeldir.bytes > 20m") == records(
        lambda r: r["artifacts"].get("modeldir", {}).get("bytes", 0) > 20 << 20
    )
    dirty = records(lambda r: (r["git"] or {}).get("dirty"))
    assert keys(index, "git.dirty") == keys(index, "git.dirty = true") == keys(index, "not not git.dirty") == dirty
    assert keys(index, "dirty") == dirty and keys(index, "not dirty") == keys(index, "not git.dirty")
    assert (
        keys(index, "not git.dirty")
        == keys(index, "git.dirty != true")
        == records(lambda r: not (r["git"] or {}).get("dirty"))
    )
    assert keys(index, "params.lr = true") == records(
        lambda r: r["params"].get("lr") in (True, 1.0) or r["params"].get("lr") == 1
    )


def test_bare_values_and_names(index: Index) -> None:
    assert keys(index, "status = finished") == keys(index, "status == 'finished'") == keys(index, '"finished" = status')
    assert keys(index, "params.opt = adam") == keys(index, 'params.opt = "adam"')
    assert keys(index, "tags = v2.1 base") == keys(index, 'tags = "v2.1" and "base"')
    assert keys(index, "params.lr = params.lr") == keys(index, "params.lr != none and params.lr + 0 = params.lr + 0")
    assert keys(index, "key > key") == [] and keys(index, "params.n = git.branch") == []
    assert keys(index, "") == keys(index, "  ") == sorted(ALL)
    assert keys(index, "params.opt = duration") == [] != keys(index, "times.duration != none")
    assert keys(index, "user = ada") == keys(index, "owner = ada")


def test_every_documented_example_is_a_query(index: Index) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "query.md").read_text("utf-8")
    examples = page.partition("## Examples")[2].split("```")[1].strip().splitlines()
    assert len(examples) > 5
    for query in examples:
        index.search(query)
    for name in fields.STATIC:
        assert f"`{name}`" in page or f"`.{name.rpartition('.')[2]}`" in page
