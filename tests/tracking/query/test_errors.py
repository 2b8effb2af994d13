"""Wrong input is one clear error that points at its place; text never becomes SQL."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import ConfigError
from studio.tracking.index import Index
from studio.tracking.query import compile_query
from tests.tracking.query.evaluator import quoted
from tests.tracking.query.records import ALL, keys

PIECES = st.sampled_from(
    [
        "and",
        "or",
        "not",
        "in",
        "(",
        ")",
        ",",
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "~",
        "!~",
        "+",
        "-",
        "*",
        "/",
        '"a"',
        "'b'",
        "1e-3",
        "2h",
        "3g",
        "-7d",
        "none",
        "true",
        "now",
        "tags",
        "metrics.acc",
        "params.lr",
        "key",
        "added",
        "duration",
        "2026-11-01",
        "adam",
        '"("',
        '"["',
        "metrics.",
        "params.",
        'params."a',
        'b"',
        "packages",
        ";",
        "--",
        "/*",
        "?",
        "\x00",
        '"',
        "\\",
        "é",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(PIECES, max_size=12).map(" ".join)
    | st.text(max_size=40)
    | st.text(string.punctuation + "ab1 ", max_size=30)
)
def test_garbage_is_an_answer_or_a_config_error(index: Index, query: str) -> None:
    try:
        assert index.search(query, limit=3) is not None
    except ConfigError as exc:
        assert "\n" not in exc.message and len(exc.message) < 400
        assert "query" in exc.message


@pytest.mark.parametrize(
    ("query", "column", "said", "hint"),
    [
        ("stauts = finished", 1, "there is no field 'stauts'", "did you mean 'status'?"),
        ("status = failed and metrcs.loss < 1", 21, "no field 'metrcs.loss'", ""),
        ("loss < 1", 1, "no field 'loss'", "a metric is metrics.loss, a parameter params.loss"),
        ("git.brnch = main", 1, "no field 'git.brnch'", "git.branch"),
        ("(status = failed", 1, "parenthesis is never closed", ""),
        ("status = failed)", 16, "unexpected ')'", ""),
        ("status =", 9, "ends too early", ""),
        ("status = failed and", 20, "ends too early", ""),
        ("a && b", 3, "unexpected character", "use: and"),
        ("a | b", 3, "unexpected character", "use: or"),
        ('notes = "half', 9, "quote is never closed", ""),
        ("status", 1, "needs a comparison", "quotes"),
        ("metrics.acc > 0.1 > 0.2", 19, "do not chain", "a < b and b < c"),
        ("tags > 3", 1, "many values", "~"),
        ("metrics.acc ~ x", 1, "~ looks into texts", ""),
        ('tags ~ "(a"', 8, "regular expression", ""),
        ('tags ~ "(a)\\\\1"', 8, "not supported", ""),
        ("added > 3x", 9, "is not a time", "2026-11-01"),
        ("added > 2026-13-01", 9, "is not a time", ""),
        ("duration > 3x", 12, "is not a duration", "2h"),
        ("metrics.acc > 5m", 15, "duration or a size", ""),
        ("metrics.acc > key", 15, "key is a text", ""),
        ("metrics.acc - key > 1", 15, "key is a text", ""),
        ("finished-started > 1", 1, "no field", "spaces around a minus"),
        ("tags in x", 9, "list in parentheses", "in ("),
        ("metrics.acc + 1", 1, "a condition is expected", ""),
        ("(metrics.acc > 1) > 2", 1, "a value is expected", ""),
        ("exit.code < none", 13, "nothing can be", "="),
        ("metrics.acc = nan", 15, "nothing is = nan", "metrics.acc is nan"),
        ("metrics.acc + 1 < nan", 19, "nothing equals nan", "is nan"),
        ("notes is nan", 1, "a text, which is never nan", 'notes = "nan"'),
        ("stauts is none", 1, "no field 'stauts'", "status"),
        ("metrics.acc:mean > 1", 1, "a metric has no 'mean'", "min|max"),
        ("metric.acc > 1", 1, "no field 'metric.acc'", "metrics.acc"),
        ("metrics.acc > 1 and * 2", 21, "unexpected '*'", ""),
    ],
)
def test_an_error_points_at_its_column(index: Index, query: str, column: int, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        index.search(query)
    assert caught.value.message.startswith(f"query, column {column}: ")
    assert said in caught.value.message and "▸" in caught.value.message
    assert hint in caught.value.hint


def test_length_depth_and_count_are_capped() -> None:
    for query in (
        "a" * 4001,
        "(" * 41 + "a" + ")" * 41,
        "not " * 60 + "a",
        "-" * 60 + "1 > 2",
        " ".join("a" * 401),
        "1 + " * 399,
    ):
        with pytest.raises(ConfigError):
            compile_query(query)
    assert compile_query(" or ".join(["status = failed"] * 80))
    assert compile_query("metrics.a + " * 150 + "1 > 0")


def test_values_never_become_sql(index: Index) -> None:
    for text in ("'; DROP TABLE experiments; --", '" OR 1=1 --', "%' OR ''='"):
        for query in (f"key = {quoted(text)}", quoted(text), f"tags ~ {quoted(re.escape(text).replace(chr(32), ' '))}"):
            sql, values = compile_query(query)
            assert "DROP" not in sql and "1=1" not in sql
            assert keys(index, query) == []
    name = 'a"; DROP TABLE metrics; --'
    sql, values = compile_query(f"metrics.{quoted(name)} > 1")
    assert "DROP" not in sql and name in values
    assert len(keys(index, "")) == len(ALL)
