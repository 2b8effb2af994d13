"""Parameters that refer to themselves, or that unfold without end, cost a script neither its end nor its time."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.experiment import Command, Experiment, to_json
from studio.run.inject import _studio_text as text
from studio.run.inject import _studio_track as track

import _studio_params as params  # isort: skip
from tests.studio_process import record, studio


def test_a_dictionary_within_itself_is_shown_as_python_prints_it() -> None:
    ring: dict[str, Any] = {"lr": 0.1, "inner": {"depth": 3}}
    ring["inner"]["up"] = ring
    assert params.Flat([ring]).values == {"lr": 0.1, "inner.depth": 3, "inner.up": "{...}"}


def test_shared_dictionaries_end_at_the_most_parameters() -> None:
    shared: dict[str, Any] = {"v": 1}
    for _ in range(40):
        shared = {"a": shared, "b": shared}
    assert len(params.Flat([shared]).values) == params.MOST_PARAMETERS


class Key:
    def __str__(self) -> str:
        return "k"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"a.b": 1, "a": {"b": 0}}, {'"a.b"': 1, "a.b": 0}),
        ({"a": {"b": {"c": 0}, "b.c": 1}, "a.b": {"c": 2}, "x.y": 3},
         {"a.b.c": 0, 'a."b.c"': 1, '"a.b".c': 2, "x.y": 3}),
        ({1: "int", "1": "text"}, {"1": "int", '"1"': "text"}),
        ({"a": {True: 1, "True": 2, None: 3, "None": 4}},
         {"a.True": 1, 'a."True"': 2, "a.None": 3, 'a."None"': 4}),
        ({Key(): 1, "a": {Key(): 2}}, {"k": 1, "a.k": 2}),
        ({"a": {}, "b": {"c": {}}, "d": [{}]}, {"a": {}, "b.c": {}, "d": [{}]}),
        ({"a": {"": 1}, "a.": 2}, {"a.": 1, '"a."': 2}),
        ({"layers": [{"n": 1, "n.m": 2}, {1: 2}]}, {"layers": "[{'n': 1, 'n.m': 2}, {1: 2}]"}),
        ({"big": 2**1024 - 1, "bigs": [2**1024 - 1]}, {"big": 2**1024 - 1, "bigs": [2**1024 - 1]}),
    ],
)  # fmt: skip
def test_no_two_values_get_one_name(tmp_path: Path, given: dict[Any, Any], kept: dict[str, Any]) -> None:
    track.attach(str(tmp_path))
    track.params(given)
    track.detach()
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert events[-1]["values"] == kept
    assert any(e["type"] == "warning" for e in events) == any('"' in name for name in kept)


def test_keys_and_large_numbers_that_look_alike_stay_two() -> None:
    assert params.Flat([{Key(): 1, Key(): 2}]).values == {"k": 1, "k'": 2}
    assert params.Flat([{"a": {"b": 1}, "c": 0}, {"a": {"b": 2}, "c": 3}]).values == {"a.b": 2, "c": 3}
    texts = {str(params.scalar(10**digits + one)) for digits in (400, 4250, 4800, 6000) for one in (0, 1)}
    assert len(texts) == 8 and all(one.startswith("<an integer of ") for one in texts)
    assert (
        params.scalar(10**400) == to_json(Experiment("k", Command("exec", "x"), params={"n": 10**400}))["params"]["n"]
    )
    assert len({str(params.plain("n", [10**4800 + one])) for one in (0, 1)}) == 2


def doubled(kind: Callable[[list[Any]], Any], times: int = 40) -> Any:
    """A container that shares itself so often that its text has 2^40 parts."""
    value = kind([1])
    for _ in range(times):
        value = kind([value, value])
    return value


@dataclasses.dataclass
class Config:
    """Has a `__repr__` that Python made."""

    layers: Any


class Raises:
    def __repr__(self) -> str:
        raise ValueError("no text")


class Vast:
    def __str__(self) -> str:
        return "x" * 10_000_000


Pair = collections.namedtuple("Pair", "a b")
ring: list[Any] = [1]
ring.append(ring)

ORDINARY = [
    1, 2.5, float("nan"), True, None, "a'b", ["a'b\n"], b"\xff", (), (1,), (1, "x"), [], [1, [(2,)]], {}, set(), {1},
    {1: [2], "a": {}}, frozenset({2}), Pair(1, [2]), [Pair(1, 2)], Config([1]), [Config({})], datetime.date(2020, 1, 1),
    Path("x"), [Path("x")], collections.OrderedDict(a=1), collections.deque([1]), ring, 10**100, len, range(3), ...,
    collections.defaultdict(list, {1: [2]}), ValueError("x"), ValueError(), ValueError(1, [2]), KeyError("k"),
    OSError(2, "no", "f"),
]  # fmt: skip


@pytest.mark.parametrize("value", ORDINARY, ids=repr)
def test_the_text_of_what_is_ordinary_is_pythons(value: Any) -> None:
    assert (text.of(value), text.spelled(value)) == (str(value), repr(value))


@pytest.mark.parametrize(
    ("value", "begins"),
    [
        (doubled(list), "[[[["), (doubled(tuple), "(((("), (doubled(lambda x: dict(enumerate(x))), "{0: {0: "),
        (Config(doubled(list)), "<tests.run.test_endless_parameters.Config object>"),
        ([collections.deque([doubled(tuple)])], "[<collections.deque object>]"), (ValueError(doubled(list)), "[[[["),
        (Raises(), "<tests.run.test_endless_parameters.Raises object: its __str__ raised ValueError>"),
        (Vast(), "xxx"), (10**6000, "<an integer of 19932 bits, sha256 "), (doubled(lambda x: [x[0]], 5000), "[[[["),
        (list(range(10**6)), "[0, 1, 2, "), ("x" * 10**6, "xxx"),
    ],
    ids=range(12),
)  # fmt: skip
def test_the_text_of_anything_ends(value: Any, begins: str) -> None:
    found = text.of(value)
    assert found.startswith(begins) and len(found) <= text.MOST_CHARS + 1
    assert text.kept(value).startswith(begins) and len(text.kept(value)) <= text.MOST_CHARS + 100


def _array(at: int) -> Any:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    found = numpy.zeros(5000)
    found[at] = 1
    return found


@pytest.mark.parametrize(
    "make",
    [lambda at: "x" * (5000 + at), lambda at: [at == n for n in range(5000)], _array,
     lambda at: [["y"] * 900, "z" * at], lambda at: {"a": ["y"] * 900, "b": at}, lambda at: 10**6000 + at],
)  # fmt: skip
def test_values_that_differ_where_they_are_cut_have_other_texts(make: Callable[[int], Any]) -> None:
    one, same, other = (text.kept(make(at)) for at in (3000, 3000, 3001))
    assert one == same != other and "sha256" in one and "not read" not in one
    assert text.kept([["y"] * 9000, "z"]).endswith(")") and "the rest not read" in text.kept([["y"] * 9000, "z"])


def test_parameters_that_are_too_large_for_one_event_are_kept(tmp_path: Path) -> None:
    here = track.Place(str(tmp_path))
    values = {f"p{n}": "v" * 200_000 for n in range(20)} | {"lr": 0.1}
    assert track._append(here, "params", {"values": dict(values), "given": ["lr"]})
    told = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert {name: value for event in told for name, value in event["values"].items()} == values
    assert all(event["type"] == "params" and event["given"] == ["lr"] for event in told)


def test_a_type_that_takes_long_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        asked = 0

        def __str__(self) -> str:
            Slow.asked += 1
            return "done"

    monkeypatch.setattr(text, "SLOW_S", -1.0)
    assert [text.of(Slow()) for _ in range(3)] == ["done", *[f"<{Slow.__module__}.{Slow.__qualname__} object>"] * 2]
    assert Slow.asked == 1


SCRIPT = """
import argparse, studio
a = [1]
for _ in range(40): a = [a, a]
class Raises:
    def __repr__(self): raise ValueError('no')
parser = argparse.ArgumentParser()
parser.add_argument('--depth', type=lambda word: a, default=Raises())
parser.parse_args(['--depth', '3'])
studio.params({'shared': a, 'raises': Raises(), 'big': 10**6000, 'lr': 0.1, Raises(): 1})
studio.tags(['t', a])
studio.note(a)
studio.log_table('t', [{'x': a, 'y': Raises(), 'z': 1}])
for call in (lambda: studio.log({'x': 1}, a), lambda: studio.log_table('u', [[a]], columns=['x', 'y'])):
    try: call()
    except TypeError as exc: assert len(str(exc)) < 5000
print('whole')
"""


def test_a_script_with_such_values_runs_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(SCRIPT)
    done = studio("run", "-e", "k", "s.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"whole\n"), done.stderr
    found = record("k")
    assert found.params["lr"] == 0.1 and found.params["shared"].startswith("[[[[")
    assert found.params["raises"] == "<Raises object: its __str__ raised ValueError>" and "t" in found.tags


class Proxy:
    """Says that it is a dictionary, as the wrappers of some libraries do."""

    __class__ = property(lambda self: dict)  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Proxy()"


def test_a_proxy_is_spelled_as_it_spells_itself() -> None:
    assert (text.of(Proxy()), text.spelled([Proxy()])) == ("Proxy()", "[Proxy()]")
