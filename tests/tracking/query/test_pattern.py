"""Patterns mean what they mean in Python, and none hangs."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import ConfigError
from studio.tracking.handle import Handle
from studio.tracking.pattern import Pattern


def test_a_query_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    handle = Handle(tmp_path / "index.sqlite", query_s=0.05)
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(ConfigError) as caught:
        handle.query(lambda db: db.execute(forever).fetchall())
    assert "takes more than 0.05 s" in caught.value.message
    assert handle.query(lambda db: db.execute("SELECT 1").fetchall()) == [(1,)]
    slow = "(a|b)*a" + "(a|b)" * 30 + "c"
    text = "".join(random.Random(1).choices("ab", k=3000))
    with pytest.raises(ConfigError):
        handle.query(lambda db: db.execute("SELECT regexp(?, ?)", (slow, text * 50)).fetchall())
    handle.close()


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(.*)*x", "a?" * 60 + "b", "(a*)*(a*)*(a*)*b", ".*.*.*.*.*.*b"]
)
def test_no_pattern_hangs(pattern: str) -> None:
    assert not Pattern(pattern).search("a" * 50 + "!" + "a" * 20_000 + "!")


def _pattern(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeats = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{,2}", "{2,}", "*?", "+?"])
    return (
        st.builds("{}{}".format, inner, inner)
        | st.builds("({}|{})".format, inner, inner)
        | st.builds("(?:{}){}".format, inner, repeats)
        | st.builds("{}{}".format, st.sampled_from(["^", "\\b"]), inner)
        | st.builds("{}{}".format, inner, st.just("$"))
    )


ONES = [
    "a",
    "b",
    "1",
    ".",
    "[ab]",
    "[^a-c]",
    "[a-z0-9_]",
    "[]x]",
    "[\\w-]",
    "\\d",
    "\\w",
    "\\W",
    "\\s",
    "\\.",
    "_",
    "\\x41",
    "é",
    "{",
    "",
]
REGEXES = st.recursive(st.sampled_from(ONES), _pattern, max_leaves=8)


@settings(max_examples=500, deadline=None)
@given(REGEXES, st.booleans(), st.lists(st.text("abAB1_-. é{", max_size=8), min_size=1, max_size=6))
def test_patterns_mean_what_they_mean_in_python(regex: str, fold: bool, texts: list[str]) -> None:
    regex = "(?i)" + regex if fold else regex
    try:
        known = re.compile(regex)
    except re.error:
        with pytest.raises(ValueError):
            Pattern(regex)
        return
    try:
        pattern = Pattern(regex)
    except ValueError as exc:
        assert "too many" in str(exc) or "nothing to repeat" in str(exc)
        return
    for text in texts:
        assert pattern.search(text) == (known.search(text) is not None), (regex, text)


@pytest.mark.parametrize(
    "regex",
    [
        "(",
        ")",
        "[",
        "[a",
        "*",
        "a**",
        "a{2}{3}",
        "(?=a)",
        "(?P<x>a)",
        "\\1",
        "\\q",
        "\\",
        "[b-a]",
        "a{3,2}",
        "x" * 201,
        "(a{1,900}){900}",
    ],
)
def test_a_pattern_that_cannot_be_used_says_where(regex: str) -> None:
    with pytest.raises(ValueError):
        Pattern(regex)
