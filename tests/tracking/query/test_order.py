"""The order of what is found, and its ties."""

from __future__ import annotations

from typing import Any

import pytest

from studio.errors import ConfigError
from studio.tracking.index import Index
from studio.tracking.order import compile_sort
from tests.tracking.query.evaluator import at, duration, number, summary_of
from tests.tracking.query.records import ALL


@pytest.mark.parametrize(
    ("sort", "value", "down"),
    [
        ("key", at("key"), False),
        ("-key", at("key"), True),
        ("metrics.acc", summary_of("acc", "last"), False),
        ("-metrics.acc.max", summary_of("acc", "max"), True),
        ("duration", duration, False),
        ("-git.branch", at("git", "branch"), True),
        ("exit.code", at("exit", "code"), False),
        ("-status", at("status"), True),
        ("-host.memory", at("host", "memory"), True),
    ],
)
@pytest.mark.parametrize("limit", [None, 7, 1000])
def test_missing_values_come_last_and_ties_go_by_key(
    index: Index, sort: str, value: Any, down: bool, limit: int | None
) -> None:
    there = sorted(k for k, r in ALL.items() if value(r) is not None)
    there.sort(key=lambda k: value(ALL[k]), reverse=False)
    if down:  # stable by key within equal values
        there = sorted(sorted(there), key=lambda k: value(ALL[k]), reverse=True)
        groups: dict[Any, list[str]] = {}
        for key in there:
            groups.setdefault(value(ALL[key]), []).append(key)
        there = [key for group in groups.values() for key in sorted(group)]
    wanted = there + sorted(set(ALL) - set(there))
    assert [e.key for e in index.search(sort=sort, limit=limit)] == wanted[:limit]
    assert [e.key for e in index.search(sort=sort, limit=5, offset=3)] == wanted[3:8]
    assert [e.key for e in index.search(sort=sort, limit=5, offset=len(ALL) - 2)] == wanted[-2:]


def test_more_than_one_order(index: Index) -> None:
    found = [(e.status, e.project, e.key) for e in index.search(sort="status,-project", limit=None)]
    assert found == sorted(
        sorted(sorted(found, key=lambda f: f[2]), key=lambda f: f[1], reverse=True), key=lambda f: f[0]
    )
    numbers = [e.params.get("lr") for e in index.search("params.lr != none", sort="params.lr", limit=None)]
    as_numbers = [number(v) for v in numbers]
    there = [n for n in as_numbers if n is not None]
    assert as_numbers == sorted(there) + [None] * (len(numbers) - len(there))


@pytest.mark.parametrize("sort", ["stauts", "tags", "-packages", "metrics.", "key; DROP TABLE x", "a,b", "--key x"])
def test_an_unknown_order_is_an_error(sort: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_sort(sort)
    assert "cannot sort by" in caught.value.message and caught.value.hint
